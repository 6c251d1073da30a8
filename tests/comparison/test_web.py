"""`compare.html`: nine parts in one file, and what each says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from compared import run
from pages import COMPARISON, Page, check
from written import EVIL, jsonl, step, written

from rlft.comparison import compare
from rlft.comparison.web.method import methods
from rlft.comparison.web.plots import front
from rlft.comparison.web.verdict import headline


def compared(tmp_path: Path, *runs: Path, **options: Any) -> Page:
    out = tmp_path / "out"
    result = compare(list(runs), out, **options)
    assert str(out / "compare.html") in result["files"]
    return check(out / "compare.html", COMPARISON)


def three(tmp_path: Path, method: str, rights: tuple[int, int, int], **settings: Any) -> list[Path]:
    return [
        written(tmp_path / f"{method}-{seed}", right, method=method, seed=seed, questions=60, **settings)
        for seed, right in enumerate(rights)
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three seeds of two methods and their comparison."""
    root = tmp_path_factory.mktemp("made")
    better = three(root, "grpo", (50, 51, 52), config="  beta: 0.04\n", flops=8e12)
    compare([*better, *three(root, "sft", (20, 21, 22), text="plain")], root / "out")
    return root


@pytest.fixture
def page(made: Path) -> Page:
    return check(made / "out" / "compare.html", COMPARISON)


def test_the_verdict_comes_first_and_in_words(page: Page) -> None:
    text = page.text["verdict"]
    assert (
        text.index("grpo beats sft.")
        < text.index("Accuracy of grpo, the highest")
        < text.index("grpo beats sft: +50.0 points")
    )
    assert "the highest85.0%" in text and "+50.0 points" in text  # 51 and 21 of 60
    assert "for all pairs together; a seed of grpo beats one of sft in 100.0% of the cases" in text
    assert "8T FLOPs" in text and "2 times that of sft" in text


def test_the_leaderboard_has_an_interval_a_ring_per_seed_and_the_bills(page: Page) -> None:
    text = page.text["leaderboard"]
    assert text.index("grpo") < text.index("sft")
    assert len([ring for ring in page.tags["circle"] if ring["class"] == "dot"]) == 6
    assert "seed 2: 86.7%" in text  # 52 of 60
    assert "8T" in text and "4T" in text and "+81.7 [" in text and "11.0 s" in text
    assert "--part: 50%" in page.source  # half of the FLOPs of the dearer one


def test_curves_can_be_drawn_against_every_budget_flops_first(page: Page) -> None:
    choices = [button["id"] for button in page.tags["input"]]
    assert choices == ["by-flops", "by-generated", "by-trained", "by-seconds", "by-steps"]
    assert [button["id"] for button in page.tags["input"] if "checked" in button] == ["by-flops"]
    panels = [division["class"] for division in page.tags["div"] if "charts by-" in division.get("class", "")]
    assert panels == [f"charts {choice}" for choice in choices]
    assert page.text["curves"].count("tokens generated") == 2  # accuracy and reward


def test_metrics_without_flops_are_drawn_against_what_they_have(tmp_path: Path) -> None:
    one, two = written(tmp_path / "a", 10), written(tmp_path / "b", 12, method="sft")
    jsonl(two / "metrics.jsonl", [step(n, flops=None) for n in range(1, 5)])
    page = compared(tmp_path, one, two)
    assert "Not in every run's metrics.jsonl: FLOPs." in page.text["curves"]
    assert [button["id"] for button in page.tags["input"] if "checked" in button] == ["by-generated"]


def test_the_front_leaves_out_what_costs_more_and_answers_less(tmp_path: Path) -> None:
    paths = [
        written(tmp_path / name, right, method=name, flops=flops, seconds=9.0)
        for name, right, flops in (("cheap", 5, 1e12), ("worse", 4, 2e12), ("best", 15, 4e12), ("dear", 14, 5e12))
    ]
    section = front(methods(compare(paths, tmp_path / "out")))
    (stairs, _) = re.findall(r'class="line dashed" d="([^"]*)"', section.body)[:2]
    places = [tuple(map(float, place.split())) for place in re.split("[ML]", stairs)[1:]]
    # cheap at its place, along to best's FLOPs, up to best, and on to the dearest
    assert len(places) == 4
    assert places[0][1] == places[1][1] > places[2][1] == places[3][1] and places[1][0] == places[2][0]


def test_pass_at_k_says_how_to_obtain_it(page: Page) -> None:
    assert "rlft eval RUN_DIR eval.samples=8" in page.text["passes"]


def test_pass_at_k_is_drawn_of_methods_whose_runs_all_have_some(tmp_path: Path) -> None:
    runs = three(tmp_path, "grpo", (50, 51, 52))
    others = three(tmp_path, "sft", (20, 21, 22))
    for number, path in enumerate(runs):
        for name, least in (("trained", 0.4), ("base", 0.1)):
            value = least + number / 10
            measures = {k: {"value": value, "low": value - 0.1, "high": value + 0.1} for k in ("1", "2", "4")}
            sampled = {"samples": 4, "temperature": 1.0, "pass": measures, "maj": measures["2"]}
            (path / f"eval_{name}.json").write_text(json.dumps({"sampled": sampled}))
    (others[0] / "eval_trained.json").write_text((runs[0] / "eval_trained.json").read_text())
    text = compared(tmp_path, *runs, *others).text["passes"]
    # trained: the mean of 0.4, 0.5 and 0.6 within them; the base is that of the first run, with its own interval
    assert text.count("50.0% [40.0, 60.0]") == 4 and text.count("10.0% [0.0, 20.0]") == 4
    assert "No sampled answers: sft." in text and "4 answers to each question at temperature 1." in text
    file = runs[1] / "eval_trained.json"
    for change in ({"n": 20}, {"sampled": json.loads(file.read_text())["sampled"] | {"top_p": 0.9}}):
        kept = file.read_text()
        file.write_text(json.dumps(json.loads(kept) | change))
        assert "Not all answers were drawn alike" in compared(tmp_path, *runs, *others).text["passes"]
        file.write_text(kept)
    for number, path in enumerate(file for folder in (*runs, others[0]) for file in folder.glob("eval_*.json")):
        known = json.loads(path.read_text())  # greedy answers to more questions than were drawn for
        path.write_text(json.dumps(known | {"n": number, "sampled": known["sampled"] | {"n": 20}}))
    assert "4 answers to each question at temperature 1." in compared(tmp_path, *runs, *others).text["passes"]


def test_regressions_are_told_before_and_after(page: Page) -> None:
    text = page.text["regressions"]
    for title in ("KL to the reference", "Completion length", "Cut off at the limit", "Entropy"):
        assert title in text
    assert "7.0 → 7.0" in text  # tokens of every answer
    assert "96.7% → 15.0%" in text  # unfinished: 58 of 60 before; 10, 9 and 8 of 60 after
    assert "0.041 → 1" in text  # KL at the fourth step; entropy at the first and the last
    assert "Format reward" not in text


def test_a_reward_s_format_part_is_watched_and_ends_are_those_of_the_steps(tmp_path: Path) -> None:
    one, two = written(tmp_path / "a", 10), written(tmp_path / "b", 12, method="sft")
    rows = [step(n, **{"reward/part/format": 0.5, "entropy": 2.0 + (n == 1) - (n == 90)}) for n in range(1, 91)]
    jsonl(one / "metrics.jsonl", rows)
    text = compared(tmp_path, one, two).text["regressions"]
    assert "Format reward" in text
    assert "0.93 → 1" in text  # KL 90/100; entropy 3 → 1, though the curve is of means of three steps


def test_flips_show_both_answers_as_text(page: Page) -> None:
    text = page.text["flips"]
    assert (
        "Of 60 questions, 30 were answered rightly by grpo seed 0 alone and 0 by sft seed 0 alone; 10 of these" in text
    )
    assert "48 were answered rightly by grpo seed 0 alone and 0 by the untrained model alone" in text
    assert "grpo seed 0: right, read as 3" in text and "sft seed 0: wrong" in text and "plain" in text
    assert EVIL in text and EVIL not in page.source


def test_flips_are_counted_for_either_side(tmp_path: Path) -> None:
    one, two = written(tmp_path / "a", 10), written(tmp_path / "b", 4, method="sft")
    rows = [json.loads(line) for line in (two / "eval_after.jsonl").read_text().splitlines()]
    for number in (15, 16, 17):
        rows[number]["correct"] = True
    jsonl(two / "eval_after.jsonl", rows)
    text = compared(tmp_path, one, two).text["flips"]
    # 0-9 against 0-3 and 15-17
    assert "6 were answered rightly by grpo seed 0 alone and 3 by sft seed 0 alone; 9 of these 9 are below." in text


def test_settings_that_differ_stand_beside_each_other(page: Page) -> None:
    text = page.text["settings"]
    differing, shared = text.split("values that all share")
    assert "algorithm.beta0.04–" in differing and "recipegrpo_mathsft_math" in differing
    assert "trainer.steps" not in differing and "trainer.steps4" in shared
    assert "<code>seed</code>" not in page.source and "<code>output_dir</code>" not in page.source


def test_the_commands_repeat_the_comparison_and_its_runs(made: Path, page: Page) -> None:
    text = page.text["commands"]
    assert f"rlft compare {made}/grpo-0" in text and f"--out {made}/out" in text
    assert text.count("rlft train recipe=grpo_math 'data.prompt={question}!'") == 3
    assert f"rlft resume {made}/sft-2-again" in text
    assert "allow_mismatch" not in text


def test_mismatches_failures_and_notes_are_on_the_page(tmp_path: Path) -> None:
    paths = [run(tmp_path, "sft", 20), run(tmp_path, "grpo", 60, base_model="<b>qwen</b>")]
    stopped = run(tmp_path, "ppo", 90, status="stopped")
    page = compared(tmp_path, *paths, stopped, allow_mismatch=True, failed=["seed=2 (runs/x): NaN"])
    text = page.text["verdict"]
    assert "Mismatch: the runs differ in base model (grpo: <b>qwen</b>, sft: smol)." in text
    assert "Failed, left out: seed=2 (runs/x): NaN." in text and f"Not finished, left out: {stopped}." in text
    assert "no winner is named: that takes three seeds of each method" in text and "Seed noise not estimated" in text
    assert "allow_mismatch=true" in page.text["commands"]
    # these runs have no metrics, no bill in FLOPs and no texts, and a page all the same
    assert "The runs have no metrics.jsonl." in page.text["curves"]


def test_a_budget_is_shown_and_curves_are_drawn_against_it(tmp_path: Path) -> None:
    paths = [written(tmp_path / "a", 10), written(tmp_path / "b", 12, method="sft", warm_start={"trained_tokens": 30})]
    for path in paths:
        summary = json.loads((path / "summary.json").read_text())
        summary["budget"] = {"unit": "trained_tokens", "amount": 2e4, "spent": 2e4}
        (path / "summary.json").write_text(json.dumps(summary))
    page = compared(tmp_path, *paths)
    assert "All had an equal budget of 20k trained tokens." in page.text["leaderboard"]
    assert [button["id"] for button in page.tags["input"] if "checked" in button] == ["by-trained"]
    assert "sft · at 50: 60.0%" in page.text["curves"]  # 20 of its own after a warm start of 30
    assert "grpo · at 20: 50.0%" in page.text["curves"]


def test_what_flops_went_to_and_what_was_tuned_is_told(tmp_path: Path) -> None:
    parts = {"rollout": 3e12, "backward": 1e12}
    paths = [written(tmp_path / "a", 10, flops_by_part=parts), written(tmp_path / "b", 12, method="sft")]
    trial = {"words": "x=1", "accuracy": 0.5, "n": 7, "path": "runs/t", "flops": 2e9, "seconds": 1.0}
    page = compared(tmp_path, *paths, tuning=[{"recipe": "grpo_math", "chosen": "x=1", "trials": [trial]}])
    assert "methodrolloutbackwardsft00grpo3T1T" in page.text["leaderboard"]
    assert "grpo_math takes x=1, the best of 1 on 7 validation questions" in page.text["verdict"]


def pair(better: str, other: str, decided: bool, difference: float = 0.1, p: float | None = 0.01) -> dict[str, Any]:
    return {"better": better, "other": other, "decided": decided, "difference": difference, "p": p}


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([pair("a", "b", True), pair("a", "c", True), pair("b", "c", False)], "a beats every other method."),
        ([pair("a", "b", True)], "a beats b."),
        ([pair("a", "b", False), pair("a", "c", True)], "a beats c; against b it is not decided."),
        ([pair("a", "b", False), pair("a", "c", False)], "Not decided: a answered most, but its lead may be chance."),
        ([pair("a", "b", True, -0.1)], "Not decided: a answered most, but its lead may be chance."),
        (
            [pair("a", "b", False, p=None)],
            "a answered most, but no winner is named: that takes three seeds of each method.",
        ),
        ([], "a: 50.0% of the held-out questions."),
    ],
)
def test_the_headline_says_no_more_than_the_pairs(pairs: list[dict[str, Any]], words: str) -> None:
    assert headline({"methods": [{"label": "a", "accuracy": 0.5}], "pairs": pairs}) == words


def test_a_page_of_18_long_runs_is_small(tmp_path: Path) -> None:
    paths = [
        written(tmp_path / f"{method}{seed}", 10 + seed, method=method, seed=seed, steps=400)
        for method in "abcdef"
        for seed in range(3)
    ]
    compared(tmp_path, *paths)
    assert (tmp_path / "out" / "compare.html").stat().st_size < 1_000_000
