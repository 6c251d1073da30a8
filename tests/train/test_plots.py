"""Learning curves from metrics.jsonl."""

import builtins
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rlft.base import UserError
from rlft.train.plots import plot_run, read_metrics

pytest.importorskip("matplotlib")


def write(path: Path, rows: list[dict[str, Any]], tail: str = "") -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + tail, encoding="utf-8")
    return path


def rows(steps: int) -> list[dict[str, Any]]:
    return [
        {"step": s, "reward/mean": s / 10, "reward/std": 0.1, "kl": s / 100, "grad_norm": 1.0, "eval/accuracy": 0.5}
        for s in range(1, steps + 1)
    ]


def test_the_last_line_of_a_step_counts_and_steps_ascend(tmp_path: Path) -> None:
    file = write(tmp_path / "metrics.jsonl", [{"step": 2, "kl": 9.0}, {"step": 1, "kl": 1.0}, {"step": 2, "kl": 2.0}])
    assert read_metrics(file) == {"kl": ([1, 2], [1.0, 2.0])}


def test_values_that_are_not_finite_numbers_are_left_out(tmp_path: Path) -> None:
    file = write(tmp_path / "metrics.jsonl", [{"step": 1, "kl": None, "entropy": float("nan")}, {"step": 2, "kl": 0.5}])
    assert read_metrics(file) == {"kl": ([2], [0.5])}


def test_a_last_line_cut_by_a_kill_is_left_out_and_any_other_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "metrics.jsonl", [{"step": 1, "kl": 1.0}], tail='{"step": 2, "k')
    assert read_metrics(file) == {"kl": ([1], [1.0])}
    file.write_text('{"step": 1}\n[2]\n{"step": 3}\n', encoding="utf-8")
    with pytest.raises(UserError, match="line 2"):
        read_metrics(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metrics\.jsonl"):
        plot_run(tmp_path / "metrics.jsonl", tmp_path)


def test_one_figure_is_written_and_grows_with_what_there_is_to_draw(tmp_path: Path) -> None:
    one = plot_run(write(tmp_path / "a.jsonl", [{"step": 1, "kl": 1.0}]), tmp_path / "one")
    five = plot_run(write(tmp_path / "b.jsonl", rows(5)), tmp_path / "deep" / "five")
    assert one == [tmp_path / "one" / "learning_curves.png"]
    assert five == [tmp_path / "deep" / "five" / "learning_curves.png"]
    sizes = [tuple(int.from_bytes(f.read_bytes()[i : i + 4], "big") for i in (16, 20)) for f in (*one, *five)]
    assert sizes[1][0] == 3 * sizes[0][0] and sizes[1][1] == 2 * sizes[0][1]  # 1 chart; 4 charts in 3 columns, 2 rows


def test_every_chart_has_its_axes_labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: figures.append(self))
    plot_run(write(tmp_path / "metrics.jsonl", rows(3)), tmp_path)
    axes = figures[0].axes
    assert [a.get_title(loc="left") for a in axes] == [
        "Reward", "Held-out accuracy", "KL to the reference", "Gradient norm"
    ]  # fmt: skip
    assert all(a.get_xlabel() == "step" and a.get_ylabel() for a in axes)
    reward = axes[0]
    assert reward.lines[0].get_ydata() == pytest.approx([0.1, 0.2, 0.3])
    low, high = reward.collections[0].get_datalim(reward.transData).intervaly
    assert (low, high) == pytest.approx((0.0, 0.4))  # the band: 0.1 - 0.1 to 0.3 + 0.1


def test_nothing_to_draw_writes_nothing(tmp_path: Path) -> None:
    assert plot_run(write(tmp_path / "metrics.jsonl", [{"step": 1, "time/step_s": 2.0}]), tmp_path / "out") == []
    assert not (tmp_path / "out").exists()


def test_without_matplotlib_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any) -> ModuleType:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args)

    file = write(tmp_path / "metrics.jsonl", rows(2))
    monkeypatch.setattr(builtins, "__import__", refuse)
    assert plot_run(file, tmp_path / "out") == []
