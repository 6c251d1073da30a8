"""`rlft compare`: several runs side by side."""

from pathlib import Path

from rlft.cli.options import Arguments, Parser, Usage


def options(parser: Parser) -> None:
    """Declares the options of `rlft compare`."""
    parser.usage = "rlft compare RUN_DIR RUN_DIR … [--out DIR] [allow_mismatch=true] [options]"
    parser.description = (
        "Held-out accuracy with 95% intervals, differences paired by question, and what each run cost:\n"
        "a table here, and compare.json, compare.csv, compare.md and compare.png in a folder."
    )
    parser.add_argument("--out", type=Path, default=Path("compare"), metavar="DIR", help="where to write (compare)")


def run(arguments: Arguments) -> tuple[int, dict[str, object]]:
    """Compares and prints the table."""
    from rich.console import Console

    from rlft.comparison import compare, render

    for word in arguments.overrides:
        if word not in ("allow_mismatch=true", "allow_mismatch=false"):
            raise Usage(f"{word}: `rlft compare` takes run directories and allow_mismatch=true")
    assert arguments.out is not None
    mismatch = "allow_mismatch=true" in arguments.overrides
    result = compare([Path(name) for name in arguments.names], arguments.out, allow_mismatch=mismatch)
    render(result, Console())
    return 0, result
