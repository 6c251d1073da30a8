"""`rlft train`: one recipe, or with -m every value of a sweep."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlft.cli.options import Arguments, Parser, no_names, recipe_options, trust_option

if TYPE_CHECKING:
    from rlft.train.plan import Plan


def options(parser: Parser) -> None:
    """Declares the options of `rlft train`."""
    parser.usage = "rlft train recipe=NAME [group=choice …] [key=value …] [-m] [options]"
    parser.description = "Trains a model by a recipe. Mistakes in it are found before any model is loaded."
    parser.epilog = (
        "examples:\n"
        "  rlft train recipe=grpo_math\n"
        "  rlft train recipe=grpo_math algorithm.beta=0.01 trainer.steps=60 seed=1\n"
        "  rlft train recipe=grpo_gsm8k data.train_file=train.jsonl model=hub model.path=FOLDER\n"
        "  rlft train -m recipe=grpo_math algorithm.beta=0,0.04\n\n"
        "`rlft ls` lists the choices of every group, `rlft show recipe=NAME` a recipe's values."
    )
    parser.add_argument("-m", "--multirun", action="store_true", help="a=1,2 runs both values, one after the other")
    recipe_options(parser)
    trust_option(parser)


def run(arguments: Arguments) -> tuple[int, dict[str, object]]:
    """Trains, unless the same recipe has finished in its directory already."""
    from rlft.base import UserError
    from rlft.recipe import build, compose, read_data, run_directory

    no_names(arguments)
    if arguments.multirun:
        from rlft.cli.sweep import sweep

        return sweep(arguments)
    composed = compose(arguments.overrides, arguments.config_dir, arguments.plugins)
    run_dir = run_directory(composed.config)
    plan = build(composed.config, run_dir, arguments.plugins)
    for note in composed.notes:
        print(note)
    require_place(composed.config, run_dir)
    done = finished(run_dir)
    if done is not None:
        print(f"{run_dir} has finished already; nothing is run again")
        warn_of_changed_files(composed.config, run_dir)
        show_summary(done)
        return 0, done
    if has_checkpoint(run_dir):
        raise UserError(
            f"{run_dir} holds an unfinished run of this recipe: go on with `{arguments.resuming(run_dir)}`, "
            "or give another output_dir="
        )
    read_data(plan)
    return start(plan, arguments, resume=False)


def require_place(config: dict[str, Any], run_dir: Path) -> None:
    """Raises UserError where a recipe may not run: in a directory with somebody else's files, or with another recipe's
    run that has finished or can be gone on with."""
    from rlft.base import UserError
    from rlft.recipe import differences
    from rlft.train.run_dir import require_own

    require_own(run_dir)
    if (finished(run_dir) is not None or has_checkpoint(run_dir)) and (other := differences(config, run_dir)):
        raise UserError(
            f"{run_dir} holds a run of another recipe, which differs in {', '.join(other)}: give another output_dir="
        )


def warn_of_changed_files(config: dict[str, Any], run_dir: Path) -> None:
    """Says so where a finished run that is taken again has read files that hold something else by now."""
    from rlft.train.inputs import changed

    if files := changed(config, run_dir):
        away = shlex.join(["mv", str(run_dir), f"{run_dir}-before"])
        print(f"{', '.join(files)} changed since {run_dir} read it; to run it again, type first: {away}")


def start(plan: "Plan", arguments: Arguments, *, resume: bool) -> tuple[int, dict[str, object]]:
    """Runs a plan, in this process or in as many as its trainer asks for; returns the status and the summary.

    The status is 130 where an interruption ended the run, 0 where it came to its end or to `trainer.stop_after`.
    """
    from rlft.recipe import freeze

    if not resume and _first():
        freeze(plan.config, plan.run_dir)  # before anything takes long: what is killed from here on can be resumed
    alone = plan.trainer.processes == 1 or "WORLD_SIZE" in os.environ
    try:
        if alone:
            from rlft.train import train

            head(plan)
            summary = train(plan, resume=resume, trust_remote_code=arguments.trust_remote_code)
        else:
            from rlft.cli.launch import launch

            summary = launch(plan, arguments, resume=resume)
    except KeyboardInterrupt:
        # The run's own handler has saved by now, if it had got as far as a first step.
        tip = f"; go on with `{arguments.resuming(plan.run_dir)}`" if has_checkpoint(plan.run_dir) else ""
        raise KeyboardInterrupt(f"interrupted{tip}") from None
    if alone and _first():
        write_page(plan.run_dir)
        if summary.get("status") == "stopped":
            print(f"stopped; go on with `{arguments.resuming(plan.run_dir)}`")
        else:
            show_summary(summary)
            print(f"everything is in {plan.run_dir}")
    wanted = summary.get("status") != "stopped" or summary.get("steps") == plan.trainer.stop_after
    return (0 if wanted else 130), summary


def write_page(run_dir: Path) -> None:
    """Writes report.html. A page is not worth a run: whatever goes wrong is said and no more."""
    from rlft.report import write_report

    try:
        write_report(run_dir)
    except Exception as error:
        print(f"report.html was not written ({type(error).__name__}: {error}); `rlft report {run_dir}` tries again")


def head(plan: "Plan") -> None:
    """Prints what heads every run, once for all processes."""
    if _first():
        print(plan.triple())
        print(f"recipe {plan.recipe} · run directory {plan.run_dir}")


def _first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def finished(run_dir: Path) -> dict[str, Any] | None:
    """Returns the summary of a run that reached its end, or None."""
    from rlft.train import read_summary

    summary = read_summary(run_dir)
    return summary if summary is not None and summary.get("status") == "finished" else None


def has_checkpoint(run_dir: Path) -> bool:
    """Returns whether there is anything to resume from."""
    from rlft.train.checkpoint import latest

    return latest(run_dir) is not None


def accuracies(result: dict[str, Any] | None) -> tuple[str, str, str]:
    """Returns the cells of a table: what a run's accuracy was before, after, and the difference with its interval.

    Args:
        result: the `eval` part of its summary, None or without an interval if nothing was measured. Of a model of
            scores it has the accuracy over pairs, which is nothing before the first step.
    """
    if result and "pair_accuracy" in result:
        low, high = result["pair_interval"]
        return "", f"{result['pair_accuracy']:.1%} of pairs", f"({low:.1%} to {high:.1%})"
    if not result or not result.get("interval"):
        return "", "", ""
    low, high = result["interval"]
    difference = f"{result['difference']:+.1%} ({low:+.1%} to {high:+.1%})"
    return f"{result['accuracy_before']:.1%}", f"{result['accuracy_after']:.1%}", difference


def show_summary(summary: dict[str, Any]) -> None:
    """Prints what a finished run came to: accuracies, the difference with its interval, and the bill."""
    result, totals = summary.get("eval"), summary.get("totals")
    if result and "pair_accuracy" in result:
        from rlft.evaluation.pairs import sentence

        print(sentence(result))
    if result and result.get("interval"):
        low, high = result["interval"]
        print(
            f"held-out accuracy {result['accuracy_before']:.1%} ({result['accuracy_before_long']:.1%} at "
            f"{result['long_tokens']} tokens) → {result['accuracy_after']:.1%}: {100 * result['difference']:+.1f} "
            f"points [{100 * low:+.1f}, {100 * high:+.1f}] over the better of the two (95%, paired, n={result['n']}); "
            f"cut off {result['cut_share_before']:.1%} → {result['cut_share_after']:.1%}"
        )
    if totals:
        print(
            f"{totals['generated_tokens']:,} tokens generated, {totals['trained_tokens']:,} trained, "
            f"{totals['seconds']:.0f} s of training, {summary['peak_memory_bytes'] / 1e9:.2f} GB at most"
        )
