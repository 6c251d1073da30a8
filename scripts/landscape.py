"""Slices of J around a trained adapter, for four rewards on the same samples (docs/theory/reward_landscape.md).

Usage: python scripts/landscape.py RUN_DIR [--points 11] [--questions 48] [--samples 4] [--out landscape]

Two lines go through the adapter's weights θ = (A, B) and meet in them at α = 1:

    trained   W + α·BA: the base model at α = 0, further than it was trained beyond α = 1
    random    θ + (α - 1)·d: d is a normal draw, every row of it as long as that row of θ (filter normalisation:
              Li et al., arXiv 1712.09913, section 4)

At each place the model answers the same held-out questions. Draws are seeded by question and so are the same at every
place: what differs between neighbours is the policy alone. The answers must be whole numbers.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

import torch
from theory_figure import COLOURS, figure
from torch import Tensor

from rlft.base import Completion, Group, Query, Reward, RewardFunction, Sampling, generator
from rlft.evaluation.accuracy import answer_greedily
from rlft.evaluation.intervals import wilson
from rlft.evaluation.sampled import Measure, interval
from rlft.models.load import POLICY
from rlft.models.rollout import Native
from rlft.recipe import load_plan
from rlft.rewards import Combine, Format, MathAnswer, Scored, extract_answer, to_number
from rlft.train.examination import Examination
from rlft.train.session import Session, set_up

LINES = ("trained", "random")
FIRST, LAST = -0.5, 2.0


@dataclass(frozen=True)
class Place:
    """What the model is worth at one place of a line.

    Attributes:
        rewards: J of each, the mean over questions with its 95% interval. greedy: accuracy of greedy answers.
        cut: share of the drawn answers that did not end within the limit.
    """

    line: str
    alpha: float
    rewards: dict[str, Measure]
    greedy: Measure
    cut: float


@dataclass(kw_only=True)
class Digits(Scored):
    """The share of digits that stand where they should, counted from the units: a dense reward."""

    label: ClassVar[str] = "digits"

    def rate(self, query: Query, completions: tuple[Completion, ...]) -> list[Reward]:
        values = [closeness(str(query.answer), completion.text) for completion in completions]
        return [Reward(value, {self.label: value}) for value in values]


def closeness(gold: str, text: str) -> float:
    """Returns the share of places in which the answer's digit is the right one, out of those that either number has.

    >>> closeness("72", "That is 72."), closeness("72", "70"), closeness("72", "172"), closeness("72", "seventy")
    (1.0, 0.5, 0.6666666666666666, 0.0)
    """
    answer = extract_answer(text)
    number = None if answer is None else to_number(answer)
    if number is None or number.denominator != 1:
        return 0.0
    places = list(zip_longest(str(int(gold))[::-1], str(number.numerator)[::-1]))
    return fmean(one == other for one, other in places)


def make_rewards() -> dict[str, RewardFunction]:
    """Returns the four rewards, all from 0 to 1."""
    form = Format(pattern=r".*\d\W*", cut_off="penalise")  # it ends, and in a number, whichever
    shaped = Combine(parts={"right": MathAnswer(), "form": form}, weights={"right": 0.8, "form": 0.2})
    return {"sparse": MathAnswer(), "dense": Digits(), "shaped": shaped, "hackable": form}


def direction(weights: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Returns a random direction, each row as long as that row of the weights [rows, columns]."""
    result = {}
    for name, weight in weights.items():
        drawn = torch.randn(weight.shape, generator=generator(seed, "landscape", name)).to(weight)
        result[name] = drawn * weight.norm(dim=1, keepdim=True) / drawn.norm(dim=1, keepdim=True)
    return result


def at(line: str, alpha: float, weights: Mapping[str, Tensor], random: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the adapter's weights at a place of a line."""
    if line == "trained":
        return {name: alpha * weight if ".lora_B." in name else weight for name, weight in weights.items()}
    return {name: weight + (alpha - 1) * random[name] for name, weight in weights.items()}


def measure(values: Sequence[Sequence[float]]) -> Measure:
    """Returns the mean over questions of the mean of each one's values, with its interval."""
    means = [fmean(row) for row in values]
    return Measure(fmean(means), *interval(means))


def values(reward: RewardFunction, groups: list[Group]) -> list[list[float]]:
    """Returns what each completion of each group earns."""
    return [[each.value for each in group.rewards] for group in reward.score(groups)]


def places_of(points: int) -> list[tuple[str, float]]:
    """Returns the places of both lines, from the adapter outwards; what they share is there once."""
    each = {LINES[0]: points, LINES[1]: (points + 1) // 2}
    along = [
        (line, a) for line, n in each.items() for a in torch.linspace(FIRST, LAST, n, dtype=torch.float64).tolist()
    ]
    return sorted(((line, a) for line, a in along if line == LINES[0] or a != 1), key=lambda place: abs(place[1] - 1))


def walk(session: Session, examination: Examination, points: int, samples: int) -> Iterator[Place]:
    """Yields what is found at each place."""
    named = {n: p for n, p in session.policy.model.named_parameters() if f".{POLICY}." in n and "lora_" in n}
    weights = {name: parameter.detach().clone() for name, parameter in named.items()}
    random = direction(weights, session.plan.seed)
    rewards = make_rewards()
    sampling = Sampling(examination.limit, temperature=1.0)
    try:
        for line, alpha in places_of(points):
            with torch.no_grad():
                for name, value in at(line, alpha, weights, random).items():
                    named[name].copy_(value)
            asked = examination.queries
            drawn = session.sampler.sample(asked, samples, sampling, purpose="landscape", step=0)
            greedy = values(rewards["sparse"], answer_greedily(session.sampler, asked, examination.limit))
            right = round(sum(sum(row) for row in greedy))
            yield Place(
                line,
                alpha,
                {name: measure(values(reward, drawn)) for name, reward in rewards.items()},
                Measure(right / len(greedy), *wilson(right, len(greedy))),
                fmean(not c.finished for group in drawn for c in group.completions),
            )
    finally:
        for reward in rewards.values():
            reward.close()


def line_of(places: Sequence[Place], line: str) -> list[Place]:
    """Returns the places of a line, from low to high α; α = 1 belongs to all."""
    return sorted((p for p in places if p.line == line or p.alpha == 1), key=lambda p: p.alpha)


def table(places: Sequence[Place], heading: str) -> str:
    """Returns a table per line, in Markdown."""
    names = list(places[0].rewards)
    rows = [heading, ""]
    for line in LINES:
        rows += [
            f"| α, {line} | {' | '.join(names)} | greedy accuracy | cut off |",
            "|---:|" + "---:|" * (len(names) + 2),
        ]
        for place in line_of(places, line):
            cells = [_cell(m) for m in (*place.rewards.values(), place.greedy)]
            rows.append(f"| {place.alpha:g} | {' | '.join(cells)} | {place.cut:.0%} |")
        rows.append("")
    return "\n".join(rows)


def _cell(m: Measure) -> str:
    return f"{m.value:.2f} [{m.low:.2f}, {m.high:.2f}]"


def draw(places: Sequence[Place], path: Path) -> None:
    """Draws J of each reward along both lines."""
    with figure(path, len(LINES), same_height=True) as axes:
        for axis, line in zip(axes, LINES, strict=True):
            along = line_of(places, line)
            xs = [place.alpha for place in along]
            for colour, name in zip(COLOURS, places[0].rewards, strict=False):
                each = [place.rewards[name] for place in along]
                axis.plot(xs, [m.value for m in each], color=colour, label=name)
                axis.fill_between(xs, [m.low for m in each], [m.high for m in each], color=colour, alpha=0.15, lw=0)
            axis.plot(xs, [place.greedy.value for place in along], "--", color="#222222", label="greedy accuracy")
            axis.axvline(1, color="#bbbbbb", lw=0.8, zorder=0)
            axis.set_ylim(0, 1)
            axis.set_xlabel(f"α, {line} direction (1: the adapter)")
        axes[0].set_ylabel("J, and its 95% interval")
        axes[1].legend(frameon=False, ncols=2, loc="lower center")


def read(file: Path) -> list[Place]:
    """Returns the places of a landscape.json."""

    def place(row: dict[str, Any]) -> Place:
        rewards = {name: Measure(**m) for name, m in row["rewards"].items()}
        return Place(row["line"], row["alpha"], rewards, Measure(**row["greedy"]), row["cut"])

    return [place(row) for row in json.loads(file.read_text(encoding="utf-8"))["places"]]


def write(folder: Path, recipe: str, seed: int, samples: int, questions: int, places: Sequence[Place]) -> None:
    """Writes landscape.json, .md and .svg of what has been measured so far."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {"recipe": recipe, "seed": seed, "questions": questions, "samples": samples}
    text = json.dumps(record | {"places": [asdict(place) for place in places]}, indent=1)
    (folder / "landscape.json").write_text(text + "\n", encoding="utf-8")
    heading = f"{recipe}, seed {seed}: {questions} held-out questions, {samples} answers drawn to each"
    (folder / "landscape.md").write_text(table(places, heading), encoding="utf-8")
    draw(places, folder / "landscape.svg")


def main(words: Sequence[str] | None = None) -> None:
    """Measures both lines, and writes what is found after each place: it may be cut short."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="a run that trained an adapter")
    parser.add_argument(
        "--points",
        type=int,
        default=11,
        help=f"places from α = {FIRST:g} to {LAST:g} (11), half as many on the random line",
    )
    parser.add_argument("--questions", type=int, default=48, help="held-out questions (48)")
    parser.add_argument("--samples", type=int, default=4, help="answers drawn to each (4)")
    parser.add_argument("--out", type=Path, default=Path("landscape"), help="folder of what is written")
    asked = parser.parse_args(words)
    adapter = asked.run_dir / "adapter"
    if not adapter.is_dir():
        raise SystemExit(f"{asked.run_dir} has no adapter/: give the directory of a run that trained one")
    if asked.points < 2:
        raise SystemExit(f"--points {asked.points}: a line has two ends")
    plan = load_plan(asked.run_dir)
    plan = replace(
        plan,
        model=replace(plan.model, adapter_path=str(adapter)),
        trainer=replace(plan.trainer, eval_size=asked.questions),
        rollout=Native(),
    )
    session = set_up(plan, print, training=False)
    places = []
    try:
        examination = Examination(session)
        if not examination.queries:
            raise SystemExit(f"{asked.run_dir} has no held-out question with an answer")
        for place in walk(session, examination, asked.points, asked.samples):
            places.append(place)
            write(asked.out, plan.recipe, plan.seed, asked.samples, len(examination.queries), places)
            each = ", ".join(f"{name} {m.value:.3f}" for name, m in place.rewards.items())
            print(f"{place.line} {place.alpha:g}: {each}, greedy {place.greedy.value:.3f}", flush=True)
    finally:
        session.close()


if __name__ == "__main__":
    main()
