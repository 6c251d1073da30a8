"""Curves over seeds, against what was spent."""

import json
from pathlib import Path

import pytest
from written import jsonl, step, written

from rlft.report.chart import Point
from rlft.report.curves import AXES, STEPS, accuracy, over_seeds, spent, thin
from rlft.report.files import Files

AXIS = {axis.name: axis for axis in AXES}


def test_what_was_spent_by_each_step(tmp_path: Path) -> None:
    run = Files(written(tmp_path / "a", 10, steps=3))
    assert spent(run, AXIS["flops"]) == {1: 1e12, 2: 2e12, 3: 3e12}  # the line has the sum so far
    assert spent(run, AXIS["generated"]) == {1: 10, 2: 20, 3: 30}  # 10 a step
    assert spent(run, AXIS["trained"]) == {1: 5, 2: 10, 3: 15}
    # 3 steps of 2 s, 11 s in the bill: 5 s of sampling stand before the first step
    assert spent(run, AXIS["seconds"]) == {1: 7, 2: 9, 3: 11}
    assert spent(run, STEPS) == {1: 1, 2: 2, 3: 3}


def test_metrics_without_flops_have_no_such_axis(tmp_path: Path) -> None:
    path = written(tmp_path / "a", 10, steps=2)
    jsonl(path / "metrics.jsonl", [step(n, flops=None) for n in (1, 2)])
    run = Files(path)
    assert spent(run, AXIS["flops"]) == {} and over_seeds([run], "kl", AXIS["flops"]) == []
    assert accuracy([run], AXIS["flops"]) == []
    assert [point.y for point in over_seeds([run], "kl", AXIS["trained"])] == [0.01, 0.02]


def test_seeds_are_averaged_at_the_steps_that_all_of_them_have(tmp_path: Path) -> None:
    one, two = (written(tmp_path / name, 10, seed=seed, steps=n) for name, seed, n in (("a", 0, 3), ("b", 1, 2)))
    jsonl(two / "metrics.jsonl", [step(n, **{"reward/mean": 0.5, "flops": 3e12 * n}) for n in (1, 2)])
    points = over_seeds([Files(one), Files(two)], "reward/mean", AXIS["flops"])
    # step 1: (0.1 + 0.5)/2 at (1e12 + 3e12)/2; step 2: (0.2 + 0.5)/2 at (2e12 + 6e12)/2
    assert [(p.x, p.y, p.low, p.high) for p in points] == [(2e12, 0.3, 0.1, 0.5), (4e12, 0.35, 0.2, 0.5)]
    assert over_seeds([Files(one), Files(two)], "no such metric") == []


def test_a_metric_that_one_seed_lacks_is_not_drawn_for_the_other(tmp_path: Path) -> None:
    one, two = (written(tmp_path / name, 10, seed=seed) for name, seed in (("a", 0), ("b", 1)))
    jsonl(two / "metrics.jsonl", [step(n, kl=None) for n in range(1, 5)])
    assert over_seeds([Files(one), Files(two)], "kl") == []


def test_accuracy_starts_at_nothing_spent_and_ends_where_each_run_ended(tmp_path: Path) -> None:
    one, two = (
        written(tmp_path / name, right, seed=seed, steps=n)
        for name, right, seed, n in (("a", 10, 0, 4), ("b", 14, 1, 6))
    )
    for path, steps in ((one, 4), (two, 6)):
        rows = [step(n, **({"eval/accuracy": 0.3} if n % 2 == 0 else {})) for n in range(1, steps + 1)]
        jsonl(path / "metrics.jsonl", rows)
    points = accuracy([Files(one), Files(two)], STEPS)
    # before: 2 of 20 in both; step 2 is common to both, step 4 is the first one's last; the ends: 10/20 and 14/20
    assert [(p.x, p.y, p.low, p.high) for p in points] == [
        (0, 0.1, 0.1, 0.1), (2, 0.3, 0.3, 0.3), (5, pytest.approx(0.6), 0.5, 0.7),
    ]  # fmt: skip


def test_an_interrupted_run_ends_at_its_last_evaluation(tmp_path: Path) -> None:
    path = written(tmp_path / "a", 10, steps=2)
    jsonl(path / "metrics.jsonl", [step(1), step(2, **{"eval/accuracy": 0.4})])
    summary = json.loads((path / "summary.json").read_text())
    summary["eval"]["accuracy_after"] = None
    (path / "summary.json").write_text(json.dumps(summary))
    assert [(p.x, p.y) for p in accuracy([Files(path)], STEPS)] == [(0, 0.1), (2, 0.4)]


def test_a_curve_of_many_points_is_thinned_to_means_of_neighbours() -> None:
    points = [Point(float(x), 2.0 * x, 0.0, 4.0 * x) for x in range(80)]
    thinned = thin(points)
    assert len(thinned) == 40
    assert (thinned[1].x, thinned[1].y, thinned[1].low, thinned[1].high) == (2.5, 5.0, 0.0, 10.0)  # of 2 and 3
    assert thin(points[:40]) == points[:40]
