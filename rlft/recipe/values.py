"""One value against one annotation, strictly."""

import types
import typing
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin

from rlft.base import UserError

MISSING = "???"
Nested = Callable[[Any, type, str], Any]
"""Reads a value whose annotation is a class of its own: (value, class, key) to a checked node."""

WORDS = {int: "an integer", float: "a number", bool: "true or false", str: "text", type(None): "null"}


class _Mismatch(Exception):
    """A value does not fit one alternative of a union."""


def read(value: Any, hint: Any, key: str, nested: Nested) -> Any:
    """Returns the value as the annotation wants it: an integer where a float is wanted becomes one, and a list where a
    tuple is wanted; nothing else is converted, and a bool is no number.

    Args:
        value: plain values as YAML gives them.
        hint: a resolved annotation: a primitive, Literal, Union, list, tuple[X, ...], dict, Any or a class.
        key: the value's key in the recipe, for messages.
        nested: called for annotations that are classes of their own.

    Raises:
        UserError: the value does not fit, or is still mandatory (`???`).
    """
    if isinstance(value, str) and value == MISSING:
        raise UserError(f"{key} has no value: type {key}={_example(hint, key)}")
    try:
        return _read(value, hint, key, nested)
    except _Mismatch:
        message = f"{key}: expected {describe(hint)}, got {value!r}"
        if not isinstance(value, str | list | dict) and "text" in describe(hint):
            message += f"; for text, type '{key}=\"{value}\"'"
        raise UserError(message) from None


def describe(hint: Any) -> str:
    """Returns an annotation in words.

    >>> describe(int | None)
    'an integer or null'
    """
    if hint in WORDS:
        return WORDS[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(map(str, arguments)) if len(arguments) < 3 else f"one of {', '.join(map(str, arguments))}"
    if _is_union(origin):
        return " or ".join(describe(argument) for argument in arguments)
    if origin in (list, tuple) or hint in (list, tuple):
        return f"a list (of {describe(arguments[0])})" if arguments else "a list"
    if origin is dict or hint is dict:
        return "a mapping"
    if hint is Any:
        return "any value"
    return f"a {getattr(hint, '__name__', hint)} (a mapping with its _target_)"


def _is_union(origin: Any) -> bool:
    return origin in (Union, types.UnionType)


def _example(hint: Any, key: str) -> str:
    if get_origin(hint) is Literal:
        return str(get_args(hint)[0])
    if "integer" in describe(hint) or "number" in describe(hint):
        return "NUMBER"
    return "PATH" if key.endswith(("path", "file")) else "VALUE"


def _read(value: Any, hint: Any, key: str, nested: Nested) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Literal:
        return _literal(value, arguments)
    if _is_union(origin):
        return _union(value, arguments, key, nested)
    if origin in (list, tuple) or hint in (list, tuple):
        return _sequence(value, origin or hint, arguments, key, nested)
    if origin is dict or hint is dict:
        return _mapping(value, arguments, key, nested)
    if hint in WORDS:
        return _primitive(value, hint)
    if not isinstance(hint, type):
        raise TypeError(f"{key}: a recipe cannot hold values of type {hint}")
    if not isinstance(value, dict):
        raise _Mismatch
    return nested(value, hint, key)


def _primitive(value: Any, hint: type) -> Any:
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise _Mismatch
    return value


def _literal(value: Any, choices: tuple[Any, ...]) -> Any:
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise _Mismatch
    return value


def _union(value: Any, hints: tuple[Any, ...], key: str, nested: Nested) -> Any:
    # An exact type first, so that 1 for `float | int` stays an integer.
    for hint in sorted(hints, key=lambda hint: type(value) is not hint):
        try:
            return _read(value, hint, key, nested)
        except _Mismatch:
            continue
    raise _Mismatch


def _sequence(value: Any, kind: type, hints: tuple[Any, ...], key: str, nested: Nested) -> Any:
    if not isinstance(value, list | tuple):
        raise _Mismatch
    item = hints[0] if hints else typing.Any
    return kind(read(entry, item, f"{key}[{index}]", nested) for index, entry in enumerate(value))


def _mapping(value: Any, hints: tuple[Any, ...], key: str, nested: Nested) -> Any:
    if not isinstance(value, dict):
        raise _Mismatch
    names, items = hints or (typing.Any, typing.Any)
    return {
        read(name, names, key, nested): read(entry, items, f"{key}.{name}", nested) for name, entry in value.items()
    }
