"""`rlft report`: one run as a page."""

from rlft.cli.options import Arguments, Parser, Usage


def options(parser: Parser) -> None:
    """Declares the options of `rlft report`."""
    parser.usage = "rlft report RUN_DIR [--json]"
    parser.description = (
        "Writes RUN_DIR/report.html: the result in words, curves, samples over time, questions that flipped,\n"
        "statistics of the coefficient, configuration, environment and the commands to repeat it. One file that\n"
        "needs no network. `rlft train` and `rlft resume` write it at their end; this writes it anew, or while a run\n"
        "is going on."
    )


def run(arguments: Arguments) -> tuple[int, dict[str, object]]:
    """Writes the page and says where it is."""
    from rlft.cli.resume import the_run_dir
    from rlft.report import write_report

    if arguments.overrides:
        raise Usage(f"{arguments.overrides[0]}: `rlft report` takes no values, only a run directory")
    path = write_report(the_run_dir(arguments, "rlft report RUN_DIR"))
    print(f"written: {path}")
    return 0, {"report": str(path)}
