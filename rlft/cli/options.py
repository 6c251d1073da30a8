"""The options that verbs share, and what is said about words that are none."""

import argparse
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn


class Usage(Exception):
    """The command line cannot be read; the command ends with status 2. (A class apart from `rlft.base.UserError`,
    since that one's package imports torch.)"""


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are reported like all others."""

    def error(self, message: str) -> NoReturn:
        """Raises Usage with argparse's message."""
        raise Usage(f"{message}; `{self.prog} --help` says what there is")


@dataclass(frozen=True)
class Arguments:
    """What was typed after a verb.

    Attributes:
        overrides: words with an equals sign, and deletions (`~key`). names: all other words.
        json: print one object on stdout, and people's text on stderr.
        config_dir: the user's own directory of recipes. plugins: packages whose classes a recipe may name.
        trust_remote_code: allow a hub model's own code to run.
        multirun: run every value of a sweep. out: where a verb that writes a page or an image writes it.
        harness: tasks of lm-evaluation-harness, between commas.
        worker: this process was started by another one, for a "fresh" or "resumed" run.
    """

    overrides: list[str]
    names: list[str]
    json: bool = False
    config_dir: Path | None = None
    plugins: tuple[str, ...] = ()
    trust_remote_code: bool = False
    multirun: bool = False
    out: Path | None = None
    harness: str | None = None
    worker: str | None = None

    def of_a_run(self) -> list[str]:
        """Returns the options that a frozen recipe still needs as words, for a command that this one starts."""
        words = [word for plugin in self.plugins for word in ("--plugin", plugin)]
        return [*words, "--trust-remote-code"] if self.trust_remote_code else words

    def resuming(self, run_dir: Path) -> str:
        """Returns the command that goes on with a run of this one's."""
        return shlex.join(["rlft", "resume", str(run_dir), *self.of_a_run()])

    def repeated(self) -> list[str]:
        """Returns the options that composing a recipe needs as words, for a command that this one starts."""
        folder = [] if self.config_dir is None else ["--config-dir", str(self.config_dir)]
        return [*self.of_a_run(), *folder]


def parse(verb: str, declare: Callable[[Parser], None], words: list[str]) -> Arguments | None:
    """Returns the words after a verb, understood; None if help was asked for and given.

    Raises:
        Usage: an unknown option, or one without its value.
    """
    parser = Parser(
        prog=f"rlft {verb}", allow_abbrev=False, add_help=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    declare(parser)
    parser.add_argument("-h", "--help", action="store_true", help="show this")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout, all else on stderr")
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    known, unknown = parser.parse_known_intermixed_args(words)
    if known.help:
        print(parser.format_help().rstrip())
        return None
    if unknown:
        raise Usage(_unknown_option(unknown[0], words, parser.prog))
    values = {name: value for name, value in vars(known).items() if name not in ("help", "words")}
    if "plugins" in values:
        values["plugins"] = tuple(values["plugins"])
    overrides = [word for word in known.words if "=" in word or word.startswith("~")]
    return Arguments(overrides, [word for word in known.words if word not in overrides], **values)


def recipe_options(parser: Parser) -> None:
    """Declares what every verb that reads a recipe takes."""
    parser.add_argument("--config-dir", type=Path, metavar="DIR", help="your own recipes and groups; they go first")
    plugin_option(parser)


def plugin_option(parser: Parser) -> None:
    """Declares `--plugin`."""
    parser.add_argument(
        "--plugin",
        action="append",
        dest="plugins",
        default=[],
        metavar="PKG",
        help="a package whose classes and functions the recipe may name (importing it runs its code)",
    )


def trust_option(parser: Parser) -> None:
    """Declares `--trust-remote-code`."""
    parser.add_argument("--trust-remote-code", action="store_true", help="let a hub model run the code it comes with")


def no_names(arguments: Arguments) -> None:
    """Raises Usage if there are words that are neither options nor key=value."""
    if arguments.names:
        word = arguments.names[0]
        raise Usage(f"what is {word!r}? Values are written key=value (recipe={word}, algorithm.beta=0.01)")


def listed(value: str) -> list[str]:
    """Returns the names of a list as it is typed.

    >>> listed("[sft_math, grpo_math]"), listed("grpo_math")
    (['sft_math', 'grpo_math'], ['grpo_math'])
    """
    return [name.strip() for name in value.strip("[]").split(",") if name.strip()]


def launcher_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the words for a launcher of Hydra's, and the others.

    >>> launcher_words(["recipe=grpo_math", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"])
    (['hydra/launcher=joblib', 'hydra.launcher.n_jobs=2'], ['recipe=grpo_math'])
    """
    own = [word for word in words if word.lstrip("+").startswith(("hydra/launcher=", "hydra.launcher."))]
    return own, [word for word in words if word not in own]


def _unknown_option(option: str, words: list[str], prog: str) -> str:
    name, _, value = option.lstrip("-").partition("=")
    if not option.startswith("--"):
        return f"unknown option {option}; `{prog} --help` says what there is"
    if not value:
        position = words.index(option) + 1
        value = words[position] if position < len(words) and not words[position].startswith("-") else "VALUE"
    key = name.replace("-", "_")
    typed = option.partition("=")[0]
    return f"unknown option {typed}: a recipe's values have no dashes; write {_full_key(key)}={value}"


def _full_key(name: str) -> str:
    """Returns the key of a recipe that ends in a name, if there is just such a one."""
    if "." in name:
        return name
    from rlft.cli.keys import full_key

    return full_key(name)
