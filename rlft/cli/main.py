"""The dispatcher: from the words typed to a verb, and from whatever happens to a message and an exit status.

Neither torch nor hydra is imported here, so that help answers at once.
"""

import contextlib
import json
import os
import sys
import traceback
from difflib import get_close_matches
from importlib import import_module
from typing import Protocol, cast

from rlft import __version__
from rlft.cli.options import Arguments, Parser, Usage, parse

VERBS = {
    "train": "train a model by a recipe, or by several (-m)",
    "resume": "go on with an interrupted run",
    "eval": "accuracy, avg@n, maj@n and pass@k of a run's models, or of any other",
    "compare": "several runs side by side: accuracy with intervals, tokens, seconds",
    "report": "one run as a page: result, curves, samples, configuration",
    "ls": "list recipes, algorithms, data, rewards, models or runs",
    "show": "a recipe's data source, reward and algorithm, and all its values",
    "validate": "check a recipe without loading a model",
    "verify": "whether methods are what they claim: gradients, splits, expectations",
    "explain": "the coefficient of every token, by method, and what one step does",
    "cost": "FLOPs, memory and seconds of a recipe before it runs",
}


class Verb(Protocol):
    """What every verb's module holds."""

    def options(self, parser: Parser) -> None:
        """Declares the verb's own options and its text for `--help`."""
        ...

    def run(self, arguments: Arguments) -> tuple[int, dict[str, object]]:
        """Does it, printing for people; returns the exit status and what `--json` prints."""
        ...


def main(argv: list[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, 1 for a run that failed, 2 for a mistake in what was typed,
    130 for an interruption."""
    words = sys.argv[1:] if argv is None else argv
    as_json = "--json" in words
    try:
        return _dispatch(words)
    except KeyboardInterrupt as interruption:
        print(str(interruption) or "interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except Exception as error:
        return _report(error, as_json)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        if len(words) > 1 and words[0] == "help":
            return _dispatch([words[1], "--help"])
        print(_help())
        return 0
    if words[0] in ("-V", "--version"):
        print(f"rlft {__version__}")
        return 0
    name = words[0]
    if name not in VERBS:
        near = get_close_matches(name, VERBS, n=1)
        tip = f"did you mean `rlft {near[0]}`?" if near else f"the commands are {', '.join(VERBS)}"
        raise Usage(f"there is no command {name!r}: {tip}")
    verb = cast(Verb, import_module(f"rlft.cli.{name}"))
    arguments = parse(name, verb.options, words[1:])
    if arguments is None:
        return 0
    if not arguments.json:
        return verb.run(arguments)[0]
    with contextlib.redirect_stdout(sys.stderr):
        status, result = verb.run(arguments)
    print(json.dumps(result, ensure_ascii=False))
    return status


def _report(error: Exception, as_json: bool) -> int:
    """Prints an error and returns the status it stands for."""
    kind, message, status = _meaning(error)
    if os.environ.get("RLFT_TRACEBACK") == "1":
        traceback.print_exception(error)
    print(f"rlft: {message}", file=sys.stderr)
    if kind == "unexpected":
        print("rlft: set RLFT_TRACEBACK=1 to see where", file=sys.stderr)
    if as_json:
        print(json.dumps({"status": "error", "error": message}, ensure_ascii=False))
    return status


def _meaning(error: Exception) -> tuple[str, str, int]:
    if isinstance(error, Usage):
        return "usage", str(error), 2
    # rlft.base imports torch; an error of its kinds can only have come from where it is imported already.
    errors = sys.modules.get("rlft.base.errors")
    if errors is not None and isinstance(error, errors.UserError):
        return "user", str(error), 2
    if errors is not None and isinstance(error, errors.RunError):
        return "run", str(error), 1
    return "unexpected", f"{type(error).__name__}: {error}", 1


def _help() -> str:
    width = max(map(len, VERBS))
    lines = "\n".join(f"  {name:<{width}}  {text}" for name, text in VERBS.items())
    return (
        "rlft fine-tunes language models by recipes: a data source, a reward and an algorithm.\n\n"
        f"usage: rlft COMMAND …\n\n{lines}\n\n"
        "  rlft train recipe=grpo_math                        a recipe as it is\n"
        "  rlft train recipe=grpo_math algorithm.beta=0.01    with a value changed\n"
        "  rlft train recipe=grpo_math algorithm=dr_grpo      with another part\n\n"
        "`rlft COMMAND --help` says more; `rlft --version`."
    )
