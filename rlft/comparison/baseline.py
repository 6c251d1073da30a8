"""The method that all others are held against."""

from pathlib import Path

from rlft.base import UserError
from rlft.comparison.arms import Arm


def baseline(name: str, found: list[Arm], labels: list[str]) -> str:
    """Returns the label of the method that goes by a name: its label, the directory of a run of it, or its recipe or
    its algorithm where no other method has that.

    Raises:
        UserError: none does, or several do.
    """
    place = Path(name).resolve()
    known = [
        (label, any(run.path.resolve() == place for run in arm.runs), *map(arm.first.summary.get, ("recipe", "method")))
        for label, arm in zip(labels, found, strict=True)
    ]
    for column, wanted in enumerate((name, True, name, name)):
        fitting = [each[0] for each in known if each[column] == wanted]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise UserError(f"baseline={name}: several methods are called so; name one of {', '.join(fitting)}")
    raise UserError(f"baseline={name}: there is no such method; name one of {', '.join(labels)}")
