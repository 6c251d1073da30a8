"""The same work through rlft and through TRL: one process per contender, stepped in turn by `scripts/bench.py`."""
