"""`rlft show`: what a recipe is, in one line and in full."""

from rlft.cli.options import Arguments, Parser, no_names, recipe_options


def options(parser: Parser) -> None:
    """Declares the options of `rlft show`."""
    parser.usage = "rlft show recipe=NAME [group=choice …] [key=value …] [options]"
    parser.description = "Prints a recipe's data source, reward and algorithm with its coefficient, and all its values."
    recipe_options(parser)


def run(arguments: Arguments) -> tuple[int, dict[str, object]]:
    """Prints the triple and the resolved YAML."""
    import yaml

    from rlft.recipe import build, compose, run_directory

    no_names(arguments)
    composed = compose(arguments.overrides, arguments.config_dir, arguments.plugins)
    run_dir = run_directory(composed.config)
    plan = build(composed.config, run_dir, arguments.plugins)
    for note in composed.notes:
        print(f"# {note}")
    print(f"# {plan.triple()}")
    print(f"# run directory {run_dir}\n")
    print(yaml.safe_dump(plan.config, sort_keys=False, allow_unicode=True, width=120).rstrip())
    return 0, {"triple": plan.triple(), "run_dir": str(run_dir), "choices": composed.choices, "config": plan.config}
