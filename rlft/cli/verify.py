"""`rlft verify`: whether methods are what they claim to be, shown without a model."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from rlft.cli.options import Arguments, Parser, Usage, recipe_options

if TYPE_CHECKING:
    from rlft.theory.proof import Check, Proof

BASE = "grpo_math"
"""The recipe that algorithms are put into where none is named: all of them fit."""


def options(parser: Parser) -> None:
    """Declares the options of `rlft verify`."""
    parser.usage = (
        "rlft verify [all | algorithm=NAME | algorithm=NAME,NAME] [algorithm.KEY=value …] [options]\n"
        "       rlft verify algorithm=formula 'algorithm.coefficient=\"…\"' ['algorithm.objective=\"…\"']"
    )
    parser.description = (
        "Holds methods against what they claim, in float64 and without a model. Status 1 if a claim does not hold.\n"
        "  gradient     weight · coefficient is autograd's gradient of the published objective\n"
        "  split        micro-batches of single completions (or groups) come to what the whole batch does\n"
        "  order        rows in another order come to the same\n"
        "  padding      what stands under the mask is not read, not even a NaN\n"
        "  skipped      rows that are said to need no pass have a coefficient of 0\n"
        "  expectation  on a model whose completions can be listed, the mean update over all groups that can be drawn\n"
        "               is the closed form (without KL and entropy bonus, for completions that enter one by one)\n"
        "and the angle of that mean update to the gradient of the expected reward. Columns hold the greatest deviation."
    )
    parser.epilog = (
        "examples:\n"
        "  rlft verify\n"
        "  rlft verify algorithm=gspo,sapo\n"
        "  rlft verify algorithm=mine --config-dir my_recipes --plugin mine\n"
        "  rlft verify algorithm=formula 'algorithm.coefficient=\"reward*2\"' 'algorithm.objective=\"2*reward*logp\"'"
    )
    recipe_options(parser)


def run(arguments: Arguments) -> tuple[int, dict[str, object]]:
    """Prints a table, a line for each method. Status 1 if a claim of any does not hold."""
    if arguments.names not in ([], ["all"]):
        raise Usage(f"what is {arguments.names[0]!r}? `rlft verify` takes `all`, or algorithm=NAME")
    if arguments.names and arguments.overrides:
        raise Usage(f"{arguments.overrides[0]}: `all` is every algorithm as it is; leave one of them away")
    proofs = _proofs(arguments)
    _table(proofs)
    failed = [proof.name for proof in proofs if not proof.holds]
    if failed:
        print(f"does not hold: {', '.join(failed)}")
    return (1 if failed else 0), {
        "status": "failed" if failed else "ok",
        "failed": failed,
        "methods": [asdict(proof) | {"holds": proof.holds} for proof in proofs],
    }


def _proofs(arguments: Arguments) -> "list[Proof]":
    from rlft.recipe import build, compose, overrides, run_directory
    from rlft.recipe.groups import options as choices
    from rlft.theory.proof import prove

    keys = {word.lstrip("+~").partition("=")[0] for word in arguments.overrides}
    words = list(arguments.overrides)
    if "recipe" not in keys:
        words.insert(0, f"recipe={BASE}")
        if "algorithm" not in keys:
            words.append(f"algorithm={','.join(choices('algorithm', arguments.config_dir))}")
    proofs: list[Proof] = []
    for job in overrides.sweep(words):
        config = compose(job, arguments.config_dir, arguments.plugins).config
        algorithm = build(config, run_directory(config), arguments.plugins).algorithm
        varied = [word for word in job if word not in words and not word.startswith("algorithm=")]
        proofs.append(prove(" ".join([config["method"], *varied]), algorithm))
    return proofs


def _table(proofs: "list[Proof]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("method", *(check.name for check in proofs[0].checks), "angle")
    for proof in proofs:
        angle = "no update" if proof.angle is None else f"{proof.angle:.1f}°"
        table.add_row(proof.name, *(_cell(check) for check in proof.checks), angle)
    Console().print(table)
    for name, note in dict.fromkeys((c.name, c.note) for proof in proofs for c in proof.checks if c.error is None):
        print(f"– under {name}: {note}")


def _cell(check: "Check") -> str:
    if check.error is None:
        return "–"
    shown = "0" if check.error == 0 else f"{check.error:.0e}"
    return shown if check.holds else f"[red]✗ {shown}[/red]"
