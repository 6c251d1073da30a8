"""`rlft ls`: what there is to choose from, and what has been run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlft.cli.options import Arguments, Parser, Usage, recipe_options

KINDS = {
    "recipes": "recipe",
    "algorithms": "algorithm",
    "data": "data",
    "curricula": "curriculum",
    "rewards": "reward",
    "models": "model",
    "rollouts": "rollout",
    "trainers": "trainer",
}
Rows = list[dict[str, Any]]


def options(parser: Parser) -> None:
    """Declares the options of `rlft ls`."""
    parser.usage = f"rlft ls [{' | '.join([*KINDS, 'runs'])}] [options]"
    parser.description = "Lists the choices of a group (all of them if none is named), or the runs under runs/."
    recipe_options(parser)


def run(arguments: Arguments) -> tuple[int, dict[str, object]]:
    """Prints a table per kind."""
    kinds = arguments.names or list(KINDS)
    for kind in kinds:
        if kind not in (*KINDS, "runs"):
            raise Usage(f"there is no list of {kind!r}: {', '.join([*KINDS, 'runs'])}")
    if arguments.overrides:
        raise Usage(f"{arguments.overrides[0]}: `rlft ls` takes no values; did you mean `rlft show`?")
    listing = {kind: _LISTS.get(kind, _choices)(kind, arguments) for kind in kinds}
    for kind, rows in listing.items():
        _table(kind, rows)
    return 0, dict(listing)


def _choices(kind: str, arguments: Arguments) -> Rows:
    from rlft.recipe.groups import options as choices
    from rlft.recipe.groups import summary_line

    found = choices(KINDS[kind], arguments.config_dir)
    return [{"name": name, "what": summary_line(path), "file": str(path)} for name, path in found.items()]


def _algorithms(kind: str, arguments: Arguments) -> Rows:
    """Returns the algorithms with their coefficients, each put into a recipe that all of them fit."""
    from rlft.base import UserError
    from rlft.recipe import build, compose

    rows = _choices(kind, arguments)
    for row in rows:
        try:
            words = ["recipe=grpo_math", f"algorithm={row['name']}"]
            config = compose(words, arguments.config_dir, arguments.plugins).config
            row["what"] = build(config, Path("runs"), arguments.plugins).algorithm.formula
        except UserError as error:
            row["what"] = f"({error})"
    return rows


def _runs(kind: str, arguments: Arguments) -> Rows:
    from rlft.cli.train import accuracies
    from rlft.train import read_summary

    rows: Rows = []
    for path in sorted(Path(kind).glob("*/config.yaml")):
        summary = read_summary(path.parent) or {"status": "unfinished"}
        what = " ".join([str(summary["status"]), " → ".join(filter(None, accuracies(summary.get("eval"))[:2]))]).strip()
        rows.append({"name": str(path.parent), "what": what, "summary": summary})
    return rows


_LISTS: dict[str, Callable[[str, Arguments], Rows]] = {"algorithms": _algorithms, "runs": _runs}


def _table(kind: str, rows: Rows) -> None:
    width = max((len(row["name"]) for row in rows), default=0)
    print(kind)
    for row in rows:
        print(f"  {row['name']:<{width}}  {row['what']}")
    if not rows:
        print("  none")
