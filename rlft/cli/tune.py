"""An equal chance for every method: the same values are tried with each, on questions that are not the comparison's."""

from dataclasses import dataclass
from typing import Any

from rlft.base import RunError
from rlft.cli.dtype import one_dtype
from rlft.cli.options import Arguments
from rlft.cli.sweep import plan_jobs, run_jobs
from rlft.cli.train import finished

SHARE = "data.validation_share=0.05"
"""Of the questions, where the recipes keep none: they are not trained on either."""


@dataclass(frozen=True)
class Tuned:
    """What was tried with one recipe.

    Attributes:
        recipe: its name. words: the values that did best, as they are typed.
        trials: by value: words, accuracy, n, path, and what it cost.
    """

    recipe: str
    words: list[str]
    trials: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """Returns what compare.json says of it."""
        return {"recipe": self.recipe, "chosen": " ".join(self.words), "trials": self.trials}


def tune(
    arguments: Arguments, recipes: dict[str, list[str]], values: list[str], seed: int, launcher: list[str]
) -> list[Tuned]:
    """Returns the values to take with each recipe: those of the highest accuracy on the validation questions, the first
    of equal ones.

    Args:
        arguments: of the command. recipes: by name, the words of all runs of it.
        values: sweeps, e.g. ["trainer.learning_rate=1e-4,3e-4"]; every combination is tried with every recipe, once.
        seed: of the trials, which no run of the comparison has.
        launcher: words that choose who runs them.

    Raises:
        RunError: no trial of a recipe came to its end.
    """
    jobs = []
    for recipe, words in recipes.items():
        typed = [f"recipe={recipe}", f"seed={seed}", *words, "data.evaluate_on=validation", *values]
        jobs += [(recipe, job) for job in plan_jobs(arguments, typed, fixed={*words, "data.evaluate_on=validation"})]
    print(f"tuning: {len(jobs)} runs, evaluated on validation questions")
    run_jobs(one_dtype([job for _, job in jobs], launcher), arguments, launcher)
    tuned: list[Tuned] = []
    for recipe in recipes:
        trials = [
            _trial(job.words, values, summary)
            for name, job in jobs
            if name == recipe and (summary := finished(job.run_dir)) and summary.get("eval")
        ]
        if not trials:
            raise RunError(f"tuning: no run of {recipe} came to its end; the messages above say why")
        best = max(trials, key=lambda trial: trial["accuracy"])
        tuned.append(Tuned(recipe, best["words"], trials))
        print(f"tuning: {recipe} takes {' '.join(best['words'])}, {best['accuracy']:.1%} of {best['n']}")
    return tuned


def _trial(typed: list[str], values: list[str], summary: dict[str, Any]) -> dict[str, Any]:
    keys = [word.partition("=")[0].lstrip("+") for word in values]
    return {
        "words": [word for word in typed if word.partition("=")[0].lstrip("+") in keys],
        "accuracy": summary["eval"]["accuracy_after"],
        "n": summary["eval"]["n"],
        "path": summary["run_dir"],
        "flops": summary["totals"]["flops"],
        "seconds": summary["totals"]["seconds"],
    }
