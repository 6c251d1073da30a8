"""`rlft validate`: whether a recipe composes, fits its classes and its data."""

from rlft.cli.options import Arguments, Parser, no_names, recipe_options


def options(parser: Parser) -> None:
    """Declares the options of `rlft validate`."""
    parser.usage = "rlft validate recipe=NAME [group=choice …] [key=value …] [options]"
    parser.description = "Composes, checks and builds a recipe. No model is loaded; a local data file is read."
    recipe_options(parser)


def run(arguments: Arguments) -> tuple[int, dict[str, object]]:
    """Says that the recipe is sound, or ends with what is wrong with it."""
    from rlft.recipe import build, compose, read_data, run_directory

    no_names(arguments)
    composed = compose(arguments.overrides, arguments.config_dir, arguments.plugins)
    plan = build(composed.config, run_directory(composed.config), arguments.plugins)
    read_data(plan)
    for note in composed.notes:
        print(note)
    print(plan.triple())
    print(f"recipe {plan.recipe} is sound; it would run in {plan.run_dir}")
    return 0, {"status": "ok", "triple": plan.triple(), "run_dir": str(plan.run_dir)}
