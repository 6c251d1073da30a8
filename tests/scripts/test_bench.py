"""The benchmark's own arithmetic: FLOPs, the JSON's sections, tables, material, the pipe to the workers."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from bench import material, report
from bench.contender import Contender, Ended, alternate
from bench.flops import Shape, reference_flops, share, update_flops
from bench.kinds import KINDS, VARIANTS, variant
from bench.noise import noise
from hypothesis import given
from hypothesis import strategies as st
from performance_doc import HEAD, page
from performance_plots import draw
from tiny import NumberChat

from rlft.base import UserError

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SMOLLM2 = Shape(linear=106_168_320, adapter=4_884_480, width=576, vocabulary=49_152)


def record(tokens: int, seconds: float, update: float = 1.0, reference: float = 0.5, **more: Any) -> dict[str, Any]:
    parts = {"rollout_s": seconds - update - reference, "reference_s": reference, "update_s": update}
    return {"tokens": tokens, "seconds": seconds, **parts, "positions": 10, "prompt_tokens": 4, "peak_bytes": 4, **more}


def test_the_flops_of_an_update_are_those_of_its_products() -> None:
    # One linear layer of 3 to 2 (N = 6), frozen, with an adapter of rank 1 (A = 3 + 2), and a head of 2 to 4 that is
    # frozen too, counted by what autograd runs: the layer's input needs a gradient, as it does inside a model.
    from torch.utils.flop_counter import FlopCounterMode

    tokens, trained = 7, 4
    x = torch.randn(tokens, 3, requires_grad=True)
    frozen, down, up = torch.randn(3, 2), torch.randn(3, 1, requires_grad=True), torch.randn(1, 2, requires_grad=True)
    head = torch.randn(2, 4)
    with FlopCounterMode(display=False) as counter:
        hidden = x @ frozen + x @ down @ up
        (hidden[:trained] @ head).sum().backward()
    assert counter.get_total_flops() == update_flops(Shape(6, 5, 2, 4), tokens, trained)


def test_the_flops_of_a_reference_pass() -> None:
    # 2·10·7 for the layers and 2·3·5·4 for the head
    assert reference_flops(Shape(10, 2, 3, 5), 7, 4) == 140 + 120


def test_the_flops_of_a_step_of_the_measured_model() -> None:
    # 32 completions of 80 tokens to 4 prompts of 65: 4·65 + 32·79 positions, 2560 trained; about 1.6 TFLOP
    flops = update_flops(SMOLLM2, 4 * 65 + 32 * 79, 2560)
    layers = (4 * 106_168_320 + 6 * 4_884_480) * 2788
    assert flops == layers + 4 * 576 * 49_152 * 2560
    assert flops == pytest.approx(1.555e12, rel=1e-3)


def test_the_share_is_the_median_over_steps() -> None:
    assert share([8.0, 6.0, 9.0], [2.0, 3.0, 3.0], rate=10.0) == pytest.approx(0.3)  # of 4, 2 and 3 per second


def test_a_comparison_says_what_the_medians_say() -> None:
    ours = [record(100, 2.0, peak_bytes=10), record(120, 2.0, peak_bytes=30), record(110, 2.0, peak_bytes=30)]
    theirs = [record(100, 10.0, peak_bytes=60), record(90, 10.0, peak_bytes=60), record(80, 8.0, peak_bytes=100)]
    shape = Shape(linear=10, adapter=0, width=1, vocabulary=1)
    section = report.comparison(ours, theirs, shape, gemm=1600.0)
    assert section["rlft_tokens_per_s"] == 55 and section["trl_tokens_per_s"] == 10
    assert section["speedup"] == 5.5 and section["speedup_by_round"] == [5.0, pytest.approx(60 / 9), 5.5]
    assert section["memory_ratio"] == 0.3  # the peaks at the end
    assert section["gemm_share"] == pytest.approx((400 + 4 * 110) / 1600)  # updates of one second
    assert section["reference_gemm_share"] == pytest.approx((200 + 2 * 110) / 0.5 / 1600)
    assert section["rlft"] == {
        "tokens_per_s": 55, "step_s": 2.0, "rollout_s": 0.5, "reference_s": 0.5, "update_s": 1.0, "tokens": 110,
        "peak_bytes": 30, "steps": 3,
    }  # fmt: skip


def test_without_a_reference_pass_there_is_no_share_of_it() -> None:
    records = [record(10, 1.0, reference=0.0)]
    assert "reference_gemm_share" not in report.comparison(records, records, SMOLLM2, 1.0)


def test_sides_that_did_other_work_are_found() -> None:
    ours, theirs = [record(3, 1.0), record(4, 1.0)], [record(3, 1.0, prompt_tokens=5), record(5, 1.0)]
    assert report.unequal(ours, theirs, ["tokens"]) == ["step 2: tokens 4 and 5"]
    assert report.unequal(ours, theirs, ["prompt_tokens"]) == ["step 1: prompt_tokens 4 and 5"]


def result() -> dict[str, Any]:
    section = report.comparison([record(100, 2.0)], [record(100, 10.0, peak_bytes=8)], SMOLLM2, 1e15)
    method = {
        **section,
        "trl_variant": "8",
        "trl_variants": {"8": report.side([record(100, 10.0)]), "32": {"tokens_per_s": 0.0, "ended": "out of memory"}},
        "quick": False,
    }
    points = [
        {"value": v, "step_s": s, "rollout_s": s / 2, "reference_s": 0.0, "update_s": s / 2}
        for v, s in ((4, 2.0), (8, 3.0))
    ]
    rates = {"rlft": {"tokens_per_s": 99.0, "start_up_s": 5.0}, "generate": {"tokens_per_s": 11.0, "start_up_s": 4.0}}
    return {
        "machine": {
            "cpu": "a processor", "cores": 2, "threads": 2, "memory_bytes": 2**34, "versions": {"torch": "2"},
            "gemm_bfloat16": 4e11, "gemm_float32": 2e11, "date": "2000-01-01",
        },
        "grpo": method,
        "rollout": {"rows": 32, "limit": 128, "by_rows": {"32": rates}},
        "scaling": {"held": {"prompts": 4, "prompt": 64, "samples": 8, "completion": 128}, "axes": {"samples": points}},
    }  # fmt: skip


def test_the_tables_hold_the_numbers() -> None:
    found = {title: rows for title, _, rows in report.tables(result())}
    training, variants, rollout, scaling = found.values()
    assert training[0] == ["grpo", "rlft", "100", "50", "2.0", "0.5", "0.5", "1.0", "0.00"]
    assert (
        training[1][:4] == ["grpo", "TRL, 8", "100", "10"] and training[2][3] == "5.00x" and training[2][-1] == "0.50x"
    )
    assert variants == [["8", "10", "10.0", "0.00"], ["32", "out of memory", "–", "–"]]
    assert rollout == [["32", "99", "11"], ["start-up, s", "5.0", "4.0"]]
    assert scaling == [["samples", "4", "2.00", "–"], ["samples", "8", "3.00", "1.50x"]]


def test_every_row_of_a_table_is_as_wide_as_its_columns() -> None:
    for _, columns, rows in report.tables(result()):
        assert all(len(row) == len(columns) for row in rows)


def test_a_result_without_sections_has_no_tables() -> None:
    assert report.tables({"machine": {}}) == []


def test_the_page_is_made_of_the_measurements(tmp_path: Path) -> None:
    text = page(result())
    assert text.startswith(HEAD) and "400 GFLOP/s in bfloat16" in text and "| grpo | 50 | 10 | 5.00x |" in text
    [plot] = draw(result(), tmp_path)
    assert f"]({plot.name})" in text and plot.read_text().count("samples per prompt") >= 1
    again = plot.read_bytes()
    draw(result(), tmp_path)
    assert plot.read_bytes() == again


def test_the_page_refuses_quick_measurements() -> None:
    with pytest.raises(SystemExit, match="grpo: measured with --quick"):
        page({"grpo": {"quick": True}})


def test_the_page_in_the_repository_is_the_one_that_its_measurements_make() -> None:
    measured = json.loads((DOCS / "performance.json").read_text(encoding="utf-8"))
    assert (DOCS / "performance.md").read_text(encoding="utf-8") == page(measured)


@given(st.integers(0, 10**6), st.text(alphabet="ab+ =\n"))
def test_the_wrong_answer_has_every_number_one_higher(number: int, text: str) -> None:
    assert material.raised(f"{text}{number}{text}") == f"{text}{number + 1}{text}"


@pytest.mark.parametrize("task", [material.TASK, material.SHORT_TASK])
def test_generated_material_has_distinct_questions_and_two_answers(task: str) -> None:
    rows = material.generated(12, task)
    assert len({row.question for row in rows}) == 12
    assert all(row.wrong != row.right for row in rows)
    assert all(("####" in row.right) == (task == material.TASK) for row in rows), "worked out, or brief"


def test_files_of_rows_and_pairs_are_read(tmp_path: Path) -> None:
    gsm8k = tmp_path / "train.jsonl"
    gsm8k.write_text(json.dumps({"question": "q", "answer": "1 + 1 = 2\n#### 2"}) + "\n")
    assert material.read(str(gsm8k), pairs=False) == [material.Row("q", "1 + 1 = 2\n#### 2")]
    with pytest.raises(UserError, match="no row has a right and a wrong answer"):
        material.read(str(gsm8k), pairs=True)
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"prompt": "q", "chosen": "2", "rejected": "3"}) + "\n")
    assert material.read(str(pairs), pairs=True) == [material.Row("q", "2", "3")]
    with pytest.raises(UserError, match="1 rows of material, 2 are needed"):
        material.enough(material.read(str(pairs), pairs=True), 2)


@given(st.integers(1, 8))
def test_a_prompt_is_cut_to_its_length(length: int) -> None:
    assert material.fitted("11 12 13 14 15 16 17 18", NumberChat(), length).split() == [
        str(n) for n in range(11, 11 + length)
    ]


def test_a_prompt_that_cannot_be_short_enough_is_refused() -> None:
    with pytest.raises(UserError, match="no prompt of 0 tokens"):
        material.fitted("11 12", NumberChat(), 0)


@given(st.text(), st.text())
def test_the_reward_is_a_number_of_the_text_alone(one: str, other: str) -> None:
    assert 0 <= noise(one) < 1 and (noise(one) == noise(other)) == (one == other)


def test_every_trained_kind_has_variants_to_choose_from() -> None:
    assert set(VARIANTS) == set(report.METHODS) == set(KINDS) - {"rollout", "scaling"}
    assert all(variant(text) == text for texts in VARIANTS.values() for text in texts)


@pytest.mark.parametrize("text", ["0", "x", "4+fast", "sorted"])
def test_a_variant_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        variant(text)


ECHO = """
from bench.worker import Channel
channel = Channel()
print("this goes to the log")
channel.ready()
taken = []
channel.serve(lambda: taken.append(1) or {"tokens": len(taken), "seconds": channel.settings["pace"]})
"""


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "bench_echo.py").write_text(ECHO)
    (tmp_path / "bench_is_killed.py").write_text("import os; os.kill(os.getpid(), 9)")
    (tmp_path / "bench_dies.py").write_text('raise SystemExit("cannot go on")')
    return str(tmp_path)


def contender(name: str, folder: str, module: str, **settings: Any) -> Contender:
    # A worker is `python -m bench.MODULE`; here an interpreter that finds the module in the test's folder.
    python = Path(folder) / f"python-{module}"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} {folder}/{module}.py\n")
    python.chmod(0o755)
    return Contender(name, module, settings, 1, str(python))


def test_contenders_take_their_steps_in_turn_and_warm_up_first(folder: str) -> None:
    said: list[str] = []
    pair = [contender(name, folder, "bench_echo", pace=pace) for name, pace in (("one", 1.0), ("two", 2.0))]
    records = alternate(pair, warmup=1, steps=2, say=said.append)
    assert [line.split(":")[0] for line in said] == ["one", "two"] * 3
    assert [line.split(",")[0] for line in said][::2] == ["one: warm-up", "one: step 1 of 2", "one: step 2 of 2"]
    assert [r["tokens"] for r in records["one"]] == [2, 3] and records["two"][0]["seconds"] == 2.0
    assert all(one.start_up_s > 0 for one in pair)
    assert all(r["peak_bytes"] > 2**20 for r in records["one"])


def test_a_worker_that_dies_says_why(folder: str) -> None:
    with pytest.raises(Ended, match=r"one ended before its answer \(status 1\):\ncannot go on") as failure:
        contender("one", folder, "bench_dies")
    assert failure.value.reason == "cannot go on"
    with pytest.raises(Ended) as failure:
        contender("one", folder, "bench_is_killed")
    assert failure.value.reason == "out of memory"
