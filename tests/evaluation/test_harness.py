"""Results of lm-evaluation-harness, in the form that lm_eval 0.4.13 writes."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlft.base import UserError
from rlft.evaluation.harness import Score, read_harness, scores
from rlft.evaluation.sampled import interval

RESULTS: dict[str, Any] = {
    "results": {
        "sums": {
            "name": "sums", "alias": " - sums", "sample_len": 4,
            "exact_match,strict": 0.75, "exact_match_stderr,strict": 0.25,
            "exact_match,loose": 1, "exact_match_stderr,loose": 0.0,
        },
        "words": {"alias": "words", "perplexity,none": 12.5, "perplexity_stderr,none": 0.5, "bleu,none": 0.25},
        "group": {"alias": "group", "acc,none": 0.5, "acc_stderr,none": "N/A", "acc_norm,none": " "},
    },
    "n-samples": {"sums": {"original": 9, "effective": 4}, "words": {"original": 7, "effective": 7}},
}  # fmt: skip


def test_every_metric_is_read_with_its_error_and_questions(tmp_path: Path) -> None:
    expected = [
        Score("sums", "exact_match", "strict", 0.75, 0.25, 4),
        Score("sums", "exact_match", "loose", 1.0, 0.0, 4),
        Score("words", "perplexity", "none", 12.5, 0.5, 7),
        Score("words", "bleu", "none", 0.25, None, 7),
        Score("group", "acc", "none", 0.5, None, None),
    ]
    assert scores(RESULTS) == expected
    file = tmp_path / "harness_base.json"
    file.write_text(json.dumps(RESULTS))
    assert read_harness(file) == expected
    assert [score.name for score in expected[1:3]] == ["sums exact_match (loose)", "words perplexity"]


def test_the_interval_of_a_share_is_that_of_its_answers() -> None:
    """Three right of four: the harness's standard error is sqrt(0.25 · 0.75 · 4/3 / 4) = 0.25."""
    strict, loose, perplexity, bleu, _ = scores(RESULTS)
    assert strict.interval == pytest.approx(interval([1, 1, 1, 0]))
    assert loose.interval == pytest.approx(interval([1, 1, 1, 1]))
    assert perplexity.interval == pytest.approx((12.5 - 0.98, 12.5 + 0.98))
    assert bleu.interval is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"results\.json: cannot be read as results of lm_eval"),
        ("[1]", r"results\.json: expected the results of lm_eval, found a list"),
        ('{"eval": 1}', r"results\.json: not results of lm_eval: they have a key `results`"),
    ],
)
def test_another_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_harness(tmp_path / "results.json")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.json: cannot be read"):
        read_harness(tmp_path / "none.json")
