"""`rlft resume`: an interrupted run goes on as if it had not been."""

import argparse
from pathlib import Path

from rlft.cli.options import Arguments, Parser, Usage, plugin_option, trust_option


def options(parser: Parser) -> None:
    """Declares the options of `rlft resume`."""
    parser.usage = "rlft resume RUN_DIR [trainer.stop_after=N] [options]"
    parser.description = (
        "Goes on from the newest checkpoint, by the recipe frozen in the run directory.\n"
        "The result is that of a run that was never interrupted."
    )
    parser.add_argument("--worker", choices=("fresh", "resumed"), help=argparse.SUPPRESS)
    plugin_option(parser)
    trust_option(parser)


def run(arguments: Arguments) -> tuple[int, dict[str, object]]:
    """Goes on with a run, unless it has finished."""
    from rlft.cli.train import finished, show_summary, start
    from rlft.recipe import load_plan

    run_dir = the_run_dir(arguments, "rlft resume RUN_DIR")
    # stop_after is taken for an interruption: what is resumed goes on to the end, unless told again to stop.
    plan = load_plan(run_dir, arguments.plugins, _stop_after(arguments.overrides))
    if arguments.worker is None and (done := finished(run_dir)) is not None:
        print(f"{run_dir} has finished already")
        show_summary(done)
        return 0, done
    return start(plan, arguments, resume=arguments.worker != "fresh")


def the_run_dir(arguments: Arguments, usage: str) -> Path:
    """Returns the one run directory that was named. Raises Usage if there is none, or more than one."""
    if len(arguments.names) != 1:
        raise Usage(f"expected one run directory: {usage}; `rlft ls runs` lists those there are")
    return Path(arguments.names[0])


def _stop_after(overrides: list[str]) -> int:
    stop = 0
    for word in overrides:
        key, _, value = word.partition("=")
        if key != "trainer.stop_after":
            raise Usage(f"{word}: a run goes on by its frozen recipe; only trainer.stop_after=N can be given")
        if not value.isdecimal():
            raise Usage(f"trainer.stop_after: expected an integer, got {value!r}")
        stop = int(value)
    return stop
