"""`rlft eval`: accuracy on held-out questions, with its interval."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlft.cli.options import Arguments, Parser, Usage, recipe_options, trust_option

if TYPE_CHECKING:
    from rlft.train.plan import Plan


def options(parser: Parser) -> None:
    """Declares the options of `rlft eval`."""
    parser.usage = "rlft eval RUN_DIR [options]\n       rlft eval recipe=NAME [key=value …] [adapter=FOLDER] [options]"
    parser.description = (
        "Measures accuracy on the held-out questions of a run (its base model and its trained one),\n"
        "or of a recipe (its model as it is, or with an adapter in PEFT format)."
    )
    recipe_options(parser)
    trust_option(parser)


def run(arguments: Arguments) -> tuple[int, dict[str, object]]:
    """Evaluates and prints a line per model."""
    from rlft.train import evaluate_plan

    results: dict[str, object] = {}
    for name, (plan, adapter) in _what(arguments).items():
        result = evaluate_plan(plan, name, adapter, arguments.trust_remote_code)
        results[name] = result
        print(_line(name, result))
    return 0, results


def _what(arguments: Arguments) -> "dict[str, tuple[Plan, str | None]]":
    """Returns what is to be measured by the name it is shown under: a plan, and an adapter to put on its model."""
    from rlft.base import UserError
    from rlft.recipe import build, compose, load_plan, run_directory

    if arguments.names:
        if len(arguments.names) > 1 or arguments.overrides:
            raise Usage("expected one run directory, or recipe=NAME with key=value")
        run_dir = Path(arguments.names[0])
        plan = load_plan(run_dir, arguments.plugins)
        trained = run_dir / ("adapter" if plan.model.adapter == "lora" else "model")
        if not trained.is_dir():
            raise UserError(f"{run_dir} has no trained model yet (no {trained}): go on with `rlft resume {run_dir}`")
        if plan.model.adapter == "lora":
            return {"base": (plan, None), "trained": (plan, str(trained))}
        whole = replace(plan, model=replace(plan.model, path=str(trained), adapter_path=None))
        return {"base": (plan, None), "trained": (whole, None)}
    given = [word for word in arguments.overrides if word.startswith("adapter=")]
    words = [word for word in arguments.overrides if word not in given]
    composed = compose(words, arguments.config_dir, arguments.plugins)
    plan = build(composed.config, run_directory(composed.config), arguments.plugins)
    for note in composed.notes:
        print(note)
    adapter = given[-1].partition("=")[2] if given else None
    return {"adapter" if adapter else "base": (plan, adapter)}


def _line(name: str, result: dict[str, Any]) -> str:
    low, high = result["interval"]
    return f"{name}: accuracy {result['accuracy']:.1%} (95% interval {low:.1%} to {high:.1%}, n={result['n']})"
