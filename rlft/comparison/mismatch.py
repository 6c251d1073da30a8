"""Whether runs may be compared at all."""

from rlft.comparison.alike import JUDGE, differing, judge
from rlft.comparison.record import Record

CONDITIONS = {
    "base_model": "base model",
    "template_hash": "chat template",
    "max_completion_tokens": "completion limit (tokens)",
    "decoding": "decoding",
}
"""Keys of summary.json's `eval` that runs must share, and their names for people."""


def mismatches(records: list[Record], labels: list[str]) -> list[str]:
    """Returns a sentence for every condition in which the runs differ: base model, chat template, completion limit,
    decoding, budget, verifier, questions, their prompt and the turns before it. Differences of accuracy would be owed
    to those as well as to the method."""
    found: list[str] = []
    for key, name in CONDITIONS.items():
        values = [record.summary["eval"].get(key) for record in records]
        shown = list(map(_base_model, records)) if key == "base_model" else values
        found += differing("runs", name, labels, values, shown)
    budgets = [record.summary.get("budget") or {} for record in records]
    found += differing("runs", "budget", labels, [f"{b['amount']:g} {b['unit']}" if b else "none" for b in budgets])
    judges = [judge(record.config) for record in records]
    names = [str(settings.get("_target_")).rpartition(".")[2] for settings in judges]
    found += differing("runs", JUDGE, labels, judges, names)
    first = records[0].correct.keys()
    for record, label in zip(records[1:], labels[1:], strict=True):
        if record.correct.keys() != first:
            shared = len(first & record.correct.keys())
            found.append(
                f"the runs differ in held-out questions ({labels[0]} has {len(first)}, {label} {len(record.correct)}, "
                f"{shared} of them in common)"
            )
    named = list(zip(labels, records, strict=True))
    found += _put_otherwise("the prompt", [(label, record.asked) for label, record in named])
    known = [(label, record.earlier) for label, record in named if record.earlier]
    found += _put_otherwise("the turns before the prompt", known)
    if len(known) < len(named):  # of runs from before these were kept, the recipe alone says something of them
        found += differing("runs", "data.system", labels, [record.config.get("data.system") for record in records])
    return found


def _base_model(record: Record) -> str:
    """Returns the hash of a run's weights with what its recipe says of them: of one model in two dtypes the hashes
    differ."""
    told = [str(record.config[key]) for key in ("model.path", "model.dtype") if key in record.config]
    return " ".join([str(record.summary["eval"].get("base_model")), *told])


def _put_otherwise(what: str, asked: list[tuple[str, dict[str, str]]]) -> list[str]:
    """Returns a sentence for every run that put questions otherwise than the first one.

    Args:
        what: of the question. asked: of every run, its name and by question what it was.
    """
    found: list[str] = []
    for label, theirs in asked[1:]:
        first, mine = asked[0]
        if other := [question for question in mine.keys() & theirs.keys() if mine[question] != theirs[question]]:
            one = min(other)
            found.append(
                f"the runs differ in {what} of {len(other)} questions, e.g. ({first}: {mine[one]!r}, "
                f"{label}: {theirs[one]!r})"
            )
    return found
