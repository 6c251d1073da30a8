"""Log-probabilities of rows that a model which never changes has scored: they are the same whenever the row comes."""

from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from rlft.base import Batch
from rlft.base.batch import integers

LIMIT = 2**25  # numbers held: 128 MiB in float32, in memory and in every checkpoint
ROW = 128  # numbers that the entry of a row takes beside its tokens, about
KEY = 16  # bytes


class RowCache:
    """Log-probabilities of rows by what is in them: prompt, completion and which of its tokens are trained.

    Rows are taken in the order they come until `limit` numbers are held (a row counts as its trained tokens and `ROW`
    more); later ones are not, and are scored whenever they come. None is ever dropped, so that what is held depends on
    the rows that came, and not on where a run was interrupted or how many processes share it.
    """

    def __init__(self, limit: int = LIMIT):
        self.limit, self.size = limit, 0
        self.rows: dict[bytes, Tensor] = {}

    def missing(self, batch: Batch) -> Batch:
        """Returns the rows of a batch that are not held, those that are equal once."""
        first: dict[bytes, int] = {}
        for row, key in enumerate(row_keys(batch)):
            if key not in self.rows:
                first.setdefault(key, row)
        return batch.rows(torch.tensor(list(first.values()), dtype=torch.long))

    def complete(self, batch: Batch, scored: Batch, logp: Tensor) -> Tensor:
        """Returns log π [B, T] of a batch, 0 where nothing is trained, and holds what is new.

        Args:
            batch: any rows. scored: those that are `missing`. logp: log π of these, [M, T'].
        """
        new = {key: logp[row, mask] for row, (key, mask) in enumerate(zip(row_keys(scored), scored.mask, strict=True))}
        result = logp.new_zeros(batch.mask.shape)
        for row, key in enumerate(row_keys(batch)):
            result[row, batch.mask[row]] = new[key] if key in new else self.rows[key].to(result)
        for key, values in new.items():
            if self.size + len(values) + ROW <= self.limit:
                self.rows[key] = values.cpu()
                self.size += len(values) + ROW
        return result

    def state_dict(self) -> dict[str, Any]:
        """Returns keys [R, 16] (bytes), the number of values of each [R], and the values one after the other."""
        values = list(self.rows.values())
        return {
            "keys": torch.tensor(list(b"".join(self.rows)), dtype=torch.uint8).view(-1, KEY),
            "lengths": torch.tensor([len(v) for v in values], dtype=torch.long),
            "values": torch.cat(values) if values else torch.zeros(0),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Holds what `state_dict` returned, and nothing else."""
        keys = (bytes(key) for key in state["keys"].tolist())
        values = state["values"].split(integers(state["lengths"]))
        self.rows = dict(zip(keys, values, strict=True))
        self.size = sum(len(v) + ROW for v in values)


def row_keys(batch: Batch) -> list[bytes]:
    """Returns a hash for each row, equal for equal prompts, completions and trained tokens alone."""
    prompts = [integers(ids[seen]) for ids, seen in zip(batch.prompt_ids, batch.prompt_mask, strict=True)]
    rows = zip(integers(batch.group), batch.completion_ids, batch.attention, batch.mask, strict=True)
    contents = ((prompts[owner], integers(ids[seen]), integers(mask[seen])) for owner, ids, seen, mask in rows)
    return [blake2b(repr(content).encode(), digest_size=KEY).digest() for content in contents]
