"""Words that belong to a verb and to no recipe, typed and checked like a recipe's: `eval.samples=8`."""

from typing import Any, TypeVar, get_type_hints

from rlft.base import UserError
from rlft.recipe.check import field_names
from rlft.recipe.overrides import parse
from rlft.recipe.suggest import unknown_field
from rlft.recipe.values import read

T = TypeVar("T")


def own_words(words: list[str], node: str, cls: type[T]) -> tuple[T, list[str]]:
    """Returns the object that the words `NODE.KEY=VALUE` describe, and all other words.

    Args:
        words: as typed. node: e.g. "eval".
        cls: a dataclass of plain values whose fields are the keys.

    Raises:
        UserError: an unknown key, a value of the wrong type, a sweep, or one that the class refuses.
    """
    own = [word for word in words if word.lstrip("+").startswith((f"{node}.", f"{node}="))]
    hints, known = get_type_hints(cls), field_names(cls)
    values: dict[str, Any] = {}
    for override in parse(own):
        key = override.key_or_group.removeprefix(f"{node}.")
        if key not in known:
            raise UserError(unknown_field(node, key, known, {}, {}))
        if override.is_sweep_override():
            raise UserError(f"{override.input_line}: one value is expected, not a sweep")
        values[key] = read(override.value(), hints[key], f"{node}.{key}", _no_node)
    return cls(**values), [word for word in words if word not in own]


def _no_node(value: Any, base: type, key: str) -> Any:
    raise UserError(f"{key}: expected a plain value, got {value!r}")
