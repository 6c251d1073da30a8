"""`rlft compare`: methods side by side, from runs that there are or from recipes that it runs first."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlft.cli.options import Arguments, Parser, Usage, launcher_words, listed, recipe_options, trust_option
from rlft.evaluation.intervals import SEEDS

if TYPE_CHECKING:
    from rlft.base import Query
    from rlft.cli.sweep import Job


def options(parser: Parser) -> None:
    """Declares the options of `rlft compare`."""
    parser.usage = (
        "rlft compare RUN_DIR RUN_DIR … [baseline=NAME] [--out DIR] [allow_mismatch=true] [options]\n"
        "       rlft compare recipes=[NAME,NAME,…] [seeds=N] [tune=KEY=V,V] [baseline=NAME] [key=value …] [--out DIR]\n"
        "               [options]"
    )
    parser.description = (
        "Which method wins, by how much and how sure: held-out accuracy with 95% intervals over seeds and questions,\n"
        "differences paired by question, and what each method cost. Runs that differ in their seed alone are pooled.\n"
        "A table here, and compare.html (a page of its own), .json, .csv, .md and .png in a folder."
    )
    parser.epilog = (
        "  baseline=NAME        a recipe, a method as the table calls it, or a run's directory: the others are held\n"
        "                       against it alone, and the correction for several pairs is for these\n"
        "  allow_mismatch=true  compare runs that differ in more than their method all the same, and say so\n\n"
        "with recipes=:\n"
        f"  seeds=     how many (0, 1, …), or which: seeds=[3,7,9] ({SEEDS})\n"
        "  budget.UNIT=  flops, generated_tokens, trained_tokens, prompts, reward_calls or seconds, equal for all\n"
        "  tune=      values that are tried with every recipe first, on validation questions; each takes its best\n"
        "  hydra/launcher=joblib hydra.launcher.n_jobs=4   runs side by side (extra joblib), or submitit on a cluster\n"
        "  key=value  for all recipes that have the key; finished runs are not run again, interrupted ones go on\n\n"
        "examples:\n"
        "  rlft compare runs/*/ baseline=sft_math\n"
        "  rlft compare recipes=[sft_math,grpo_math] seeds=5 budget.flops=1e14\n"
        "  rlft compare recipes=[sft_math,grpo_math] tune=trainer.learning_rate=1e-4,3e-4\n"
        "  rlft compare recipes=[grpo_math] algorithm.beta=0,0.04"
    )
    parser.add_argument("--out", type=Path, default=Path("compare"), metavar="DIR", help="where to write (compare)")
    recipe_options(parser)
    trust_option(parser)


@dataclass(frozen=True)
class Asked:
    """What was typed for this verb alone: `words` are the recipes' own, `launcher` those for who runs them."""

    recipes: list[str]
    seeds: list[int]
    tune: list[str]
    baseline: str | None
    mismatch: bool
    words: list[str]
    launcher: list[str]


def run(arguments: Arguments) -> tuple[int, dict[str, object]]:
    """Runs what is to be run, compares, and prints the table. Status 1 where a run failed."""
    from rich.console import Console

    from rlft.comparison import compare, render

    asked = read(arguments.overrides, arguments.names)
    assert arguments.out is not None
    ran = Ran(0, [Path(name) for name in arguments.names], asked.baseline)
    if asked.recipes:
        ran = _run_recipes(arguments, asked)
    result = compare(
        ran.folders, arguments.out, allow_mismatch=asked.mismatch, baseline=ran.baseline, failed=ran.failed,
        tuning=ran.tuning,
    )  # fmt: skip
    render(result, Console())
    return ran.status, result


@dataclass(frozen=True)
class Ran:
    """What there is to compare: the status, the directories of the runs that have ended, the baseline's name, what is
    to be said of runs that failed, and what was tried in tuning."""

    status: int
    folders: list[Path]
    baseline: str | None
    failed: list[str] = field(default_factory=list)
    tuning: list[dict[str, Any]] = field(default_factory=list)


def _run_recipes(arguments: Arguments, asked: Asked) -> Ran:
    """Tunes if asked to, and runs every recipe with every seed."""
    from rlft.base import RunError, UserError
    from rlft.cli.dtype import one_dtype
    from rlft.cli.keys import words_of_each
    from rlft.cli.sweep import plan_jobs, run_jobs
    from rlft.cli.tune import SHARE, tune

    words = asked.words
    if asked.tune and not any(word.lstrip("+").startswith("data.validation_share=") for word in words):
        words = [*words, SHARE]
    seeds = f"seed={','.join(map(str, asked.seeds))}"
    own = words_of_each(asked.recipes, words, arguments)

    def jobs_of(chosen: dict[str, list[str]]) -> "list[Job]":
        return [
            job
            for recipe in asked.recipes
            for job in plan_jobs(
                arguments, [f"recipe={recipe}", seeds, *own[recipe], *chosen.get(recipe, [])], fixed=set(words)
            )
        ]

    planned = jobs_of({})
    if scorers := [_name(job) for job in planned if job.trains != "log_probs"]:
        raise UserError(
            f"{', '.join(dict.fromkeys(scorers))}: what scores completions answers no questions, and has no accuracy "
            "to compare; leave it out, and compare policies that are trained with it (reward.path=RUN_DIR/adapter)"
        )
    if len(planned) < 2:
        raise UserError(
            f"{_name(planned[0])} with one seed is one run, and a comparison takes two or more: name further recipes, "
            "or more seeds (seeds=3)"
        )
    _refuse_unlike(planned, asked, arguments)
    _baseline_runs(planned, asked.baseline)
    tuned = []
    if asked.tune:
        tuned = tune(arguments, own, asked.tune, max(asked.seeds) + 1, asked.launcher)
        planned = jobs_of({each.recipe: each.words for each in tuned})
        _refuse_unlike(planned, asked, arguments)
    status, swept = run_jobs(one_dtype(planned, asked.launcher), arguments, asked.launcher)
    rows = swept["runs"]
    assert isinstance(rows, list)
    folders = [Path(row["run_dir"]) for row in rows if row["status"] != "failed"]
    failed = [f"{row['overrides']} ({row['run_dir']}): {row['error']}" for row in rows if row["status"] == "failed"]
    if failed and len(folders) < 2:
        raise RunError(f"too few runs are left to compare; the same command runs these again: {'; '.join(failed)}")
    held = _baseline_runs(planned, asked.baseline)
    ended = next((str(path) for path in folders if path in held), None)
    if held and ended is None:
        raise RunError(
            f"baseline={asked.baseline}: none of its runs came to its end; the same command runs these again: "
            f"{'; '.join(failed)}"
        )
    return Ran(status, folders, ended, failed, [each.as_dict() for each in tuned])


def _baseline_runs(jobs: "list[Job]", baseline: str | None) -> list[Path]:
    """Returns where the runs of the baseline write, by a recipe and, of one with several values, some of these; none if
    there is no baseline. Raises UserError if there is no such recipe, or several values of it."""
    from rlft.base import UserError

    if baseline is None:
        return []
    called = [_name(job) for job in jobs]
    fitting = {name for name in called if set(baseline.split()) <= set(name.split())}
    if len(fitting) != 1:
        known = ", ".join(dict.fromkeys(f"baseline='{name}'" if " " in name else f"baseline={name}" for name in called))
        raise UserError(f"baseline={baseline}: expected one of {known}")
    return [job.run_dir for job in jobs if _name(job) in fitting]


def _refuse_unlike(jobs: "list[Job]", asked: Asked, arguments: Arguments) -> None:
    """Raises UserError if the recipes differ in what they must share, unless that was allowed."""
    from rlft.base import UserError
    from rlft.comparison import unlike
    from rlft.recipe import build, held_out

    configs = {_name(job): job.config for job in jobs}

    def questions(name: str) -> "list[Query] | None":
        return held_out(build(configs[name], Path(), arguments.plugins))

    if not asked.mismatch and (differ := unlike(configs, questions)):
        raise UserError(
            f"these recipes cannot be compared: {'; '.join(differ)}. To compare them all the same: allow_mismatch=true"
        )


def _name(job: "Job") -> str:
    return " ".join(word.removeprefix("recipe=") for word in job.varied.split() if not word.startswith("seed="))


def read(words: list[str], names: list[str]) -> Asked:
    """Returns the words of this verb apart from those of the recipes. Raises Usage where they make no sense."""
    own = {"recipes": "", "seeds": "", "tune": "", "baseline": "", "allow_mismatch": "false"}
    rest: list[str] = []
    launcher, words = launcher_words(words)
    for word in words:
        key, _, value = word.partition("=")
        if key in own:
            own[key] = value
        else:
            rest.append(word)
    if own["allow_mismatch"] not in ("true", "false"):
        raise Usage(f"allow_mismatch={own['allow_mismatch']}: expected true or false")
    recipes = listed(own["recipes"])
    if twice := [name for name in recipes if recipes.count(name) > 1]:
        raise Usage(f"recipes={own['recipes']}: {twice[0]} is named twice; name each recipe once")
    if recipes and names:
        raise Usage(f"{names[0]}: either run directories or recipes=[…], not both")
    of_recipes = [*rest, *launcher, *(f"{key}={own[key]}" for key in ("seeds", "tune") if own[key])]
    if not recipes and of_recipes:
        raise Usage(
            f"{of_recipes[0]}: `rlft compare` takes run directories, baseline=NAME and allow_mismatch=true, or "
            "recipes=[NAME,…] with seeds=N and key=value"
        )
    for word in rest:
        key, _, value = word.lstrip("+~").partition("=")
        if key in ("recipe", "seed", "output_dir"):
            raise Usage(f"{word}: write recipes=[NAME,…] and seeds=N; each run has a directory of its own")
        if (key, value) == ("trainer.eval_size", "0") or (key == "trainer.stop_after" and value != "0"):
            raise Usage(f"{word}: a comparison takes finished runs that were asked held-out questions; leave it away")
    seeds, tuned, baseline = _seeds(own["seeds"]), _tuned(own["tune"]), own["baseline"] or None
    return Asked(recipes, seeds, tuned, baseline, own["allow_mismatch"] == "true", rest, launcher)


def _tuned(value: str) -> list[str]:
    """Returns the sweeps of `tune=`."""
    words = value.split()
    if any("=" not in word or "," not in word for word in words):
        raise Usage(f"tune={value}: expected values to try, e.g. tune=trainer.learning_rate=1e-4,3e-4")
    return words


def _seeds(value: str) -> list[int]:
    """Returns the seeds of `seeds=N` or `seeds=[3,7,9]`.

    >>> _seeds(""), _seeds("2"), _seeds("[3,7]")
    ([0, 1, 2], [0, 1], [3, 7])
    """
    if not value:
        return list(range(SEEDS))
    each = listed(value)
    seeds = [int(seed) for seed in each if seed.isdecimal()]
    one = len(seeds) == 1 and seeds[0] > 0 and not value.startswith("[")
    if not seeds or len(set(seeds)) < len(each) or not (one or value.startswith("[")):
        raise Usage(f"seeds={value}: expected how many, e.g. seeds=3, or which, e.g. seeds=[3,7,9]")
    return list(range(seeds[0])) if one else seeds
