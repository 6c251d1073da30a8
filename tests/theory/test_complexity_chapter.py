"""docs/theory/complexity.md: its constants by hand, its numbers from `rlft cost` as it is now."""

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from theory_complexity import PROMPT, SIZES, draw, hours_at_scale, lengths_of, mean_keys, per_question, shape_of, works

from rlft.cli.main import main
from rlft.models.config import ModelConfig
from rlft.models.flops import Shape, Tokens
from rlft.theory import Model, Work
from rlft.theory.flops import run_flops
from rlft.theory.growth import leading_term
from rlft.theory.memory import run_memory

CHAPTER = Path(__file__).parents[2] / "docs" / "theory" / "complexity.md"
TEXT = CHAPTER.read_text(encoding="utf-8")
WEIGHTS = Shape(body=1000, head=0, adapter=0, merge=0, attention=0, whole=False)
P, C, G = 64, 16, 8
READ = P + G * (C - 1)
"""Positions of a question: the prompt once, and of each answer all tokens but the last."""

# By hand, as multiples of N: sampling 2; π_old 2; π_ref 2; a critic's values 2, its pass forward 2 and backward 2; the
# policy forward 2 and backward 2, weights being frozen.
BY_HAND = {
    "sft": 4 * (P + C - 1),
    "rft": 2 * READ + 4 * (P + C - 1),
    "dpo": 2 * READ + (2 + 4) * (P + 2 * (C - 1)),
    "ppo": (2 + 2 + 2 + 6 + 4) * READ,
    "grpo": (2 + 2 + 4) * READ,
}


@pytest.mark.parametrize("method", BY_HAND)
def test_what_is_proportional_to_the_model(method: str) -> None:
    assert per_question(works()[method], WEIGHTS, P, C) == pytest.approx(WEIGHTS.body * BY_HAND[method])


def test_whole_weights_cost_two_more_a_token() -> None:
    whole = replace(WEIGHTS, whole=True)
    for method, rows in (("sft", P + C - 1), ("grpo", READ), ("ppo", READ)):
        more = per_question(works()[method], whole, P, C) - per_question(works()[method], WEIGHTS, P, C)
        assert more == pytest.approx(2 * WEIGHTS.body * rows)


def test_passes_over_a_batch_are_added_up() -> None:
    """PPO with E epochs: 8 + 8·E, GRPO: 4 + 4·E, and 2 more for π_old where E > 1."""
    ppo, grpo = works()["ppo"], works()["grpo"]
    for epochs in (2, 4):
        assert per_question(replace(ppo, epochs=epochs), WEIGHTS, P, C) == pytest.approx(1000 * (8 + 8 * epochs) * READ)
        again = replace(grpo, epochs=epochs, roles=grpo.roles | {"old"})
        assert per_question(again, WEIGHTS, P, C) == pytest.approx(1000 * (6 + 4 * epochs) * READ)


def test_twice_the_model_and_twice_the_data() -> None:
    shape = shape_of(*SIZES["135M"])
    double = Shape(*(2 * x for x in (shape.body, shape.head, shape.adapter, shape.merge, shape.attention)), whole=False)
    for work in works().values():
        now, lengths = run_flops(work, shape, lengths_of(P, C, 360)), lengths_of(P, C, 720)
        assert sum(run_flops(work, double, lengths_of(P, C, 360)).values()) == pytest.approx(2 * sum(now.values()))
        twice = run_flops(replace(work, steps=2 * work.steps), shape, lengths)
        assert twice == pytest.approx({part: 2 * flops for part, flops in now.items()})
        same_pool = run_flops(replace(work, steps=2 * work.steps), shape, lengths_of(P, C, 360))
        fixed = now["rollout"] if work.sampled == "once" else 0
        assert sum(same_pool.values()) == pytest.approx(2 * sum(now.values()) - fixed)
        body = replace(shape, body=2 * shape.body)
        grown = sum(run_flops(work, body, lengths_of(P, C, 360)).values()) - sum(now.values())
        assert grown / 360 == pytest.approx(shape.body * BY_HAND[work.method], rel=1e-3)


def test_the_lengths_enter_as_a_quadratic_and_attention_is_its_square() -> None:
    shape, work = shape_of(*SIZES["135M"]), works()["grpo"]
    f = [per_question(work, shape, P, c) for c in (100, 200, 300, 400)]
    first = [b - a for a, b in pairwise(f)]
    second = [b - a for a, b in pairwise(first)]
    assert second[0] == pytest.approx(second[1])
    # Forward three times (4) and backward once (10) over C²/2 keys of each of G answers: 2·a·h² for a·C².
    assert second[0] == pytest.approx(2 * (3 * 4 + 10) / 2 * G * shape.attention * 100**2)


@pytest.mark.parametrize(("forward", "weights"), [(4, 2), (14, 4), (14, 6)])
def test_where_attention_costs_what_the_weights_do(forward: int, weights: int) -> None:
    shape = replace(shape_of(*SIZES["7B"]), head=0, adapter=0, whole=weights == 6)
    tokens = Tokens(positions=1, keys=mean_keys(shape, forward, weights), scored=0)

    def cost(of: Shape) -> float:
        return of.forward(tokens) + (of.backward(tokens) if forward > 4 else 0)

    assert cost(shape) == pytest.approx(2 * cost(replace(shape, attention=0)))


def test_memory_per_weight() -> None:
    def held(shape: Shape, work: Work) -> dict[str, float]:
        model = Model(
            shape=shape, weights=10**9, adapted=0, layers=2, width=8, inner=16, vocabulary=12, cache=32, source="",
            settings=ModelConfig(), config=None,
        )  # fmt: skip
        return run_memory(work, model, lengths_of(P, C, 0), torch.bfloat16.itemsize, on_cpu=False)

    adapter = replace(WEIGHTS, adapter=10**6)
    light, heavy = held(adapter, works()["grpo"]), held(replace(WEIGHTS, whole=True), works()["grpo"])
    assert (light["weights"], light["trained"]) == (2e9, 18e6) and "reference copy" not in light
    assert (heavy["weights"], heavy["trained"], heavy["reference copy"]) == (2e9, 16e9, 2e9)
    assert held(adapter, works()["ppo"])["critic"] == 18e6
    assert all(f"{n} bytes" in TEXT for n in (2, 16, 18))


def numbers(row: str) -> list[float]:
    """Returns the numbers in the cells of a row of the chapter that are nothing but a number."""
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    return [float(cell) for cell in cells if re.fullmatch(r"[\d.]+(?:e\d+)?", cell)]


def rows(first: str) -> list[str]:
    return [line for line in TEXT.split("\n") if line.startswith(f"| {first} |")]


def test_the_bill_is_the_one_that_rlft_cost_prints_now(capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = re.findall(r"^    rlft (cost recipes=.*)$", TEXT, re.MULTILINE)
    assert main([*command.split(), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["recipes"]
    assert [row["recipe"] for row in found] == [f"{method}_math" for method in works()]
    for row in found:
        work = works()[row["method"]]
        assert row["model"]["body"] == shape_of(*SIZES["135M"]).body
        assert {k: row["model"][k] for k in ("head", "adapter", "merge", "attention")} == {
            k: getattr(shape_of(*SIZES["135M"]), k) for k in ("head", "adapter", "merge", "attention")
        }
        lengths = replace(lengths_of(P, C, 256), distinct=1 if work.sampled == "once" else None)
        leading, growth = row["growth"]["leading"], row["growth"]
        assert leading == leading_term(work, WEIGHTS, lengths)
        (line,) = rows(f"`{row['recipe']}`")
        assert f"| {leading} |" in line
        bill = row["upper"]["totals"]["flops"] / (45 * 8)
        assert numbers(line) == pytest.approx([growth["model"], growth["length"], bill], rel=5e-3, abs=0.005)


def test_the_numbers_of_the_chapter_are_these() -> None:
    for name, size in SIZES.items():
        shape = shape_of(*size)
        (keys,) = [numbers(line) for line in rows(name) if len(numbers(line)) == 3]
        assert keys == [round(mean_keys(shape, f, w)) for f, w in ((4, 2), (14, 4), (14, 6))]
    for name in ("7B", "70B"):
        (hours,) = [numbers(line) for line in rows(name) if len(numbers(line)) == 5]
        assert hours == [round(each, 2) for each in hours_at_scale(name).values()]
    assert round(989e12 * 0.4 / 3350e9) == 118 and "118 rows" in TEXT and f"P = {PROMPT}" in TEXT


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    draw(tmp_path / "complexity.svg")
    assert (tmp_path / "complexity.svg").read_text(encoding="utf-8").startswith("<?xml") and "(complexity.svg)" in TEXT
