"""`rlft explain` on the pretrained model: one group, one step of AdamW at 1e-5."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.real

Rlft = Callable[..., dict[str, Any]]


def test_first_order_and_measurement_agree_on_one_grpo_group(rlft: Rlft, tmp_path: Path) -> None:
    # A 4 in the answer is rewarded: some of a group have one, so that no question is drawn in vain.
    reward = ["reward=format", "reward.match=search", 'reward.pattern="4"', "reward.cut_off=train"]
    words = ["data.max_completion_tokens=16", "data.task_size=400", "trainer.prompts_per_step=1", "trainer.device=cpu"]
    found = rlft("explain", "recipe=grpo_math", *reward, *words)
    (grpo,) = found["methods"]
    assert grpo["name"] == "grpo" and found["learning_rate"] == 1e-5
    assert len(grpo["rows"]) == len(found["completions"]) == 8
    assert len({told["reward"] for told in found["completions"]}) == 2
    assert grpo["agreement"] >= 0.9
    assert max(map(abs, grpo["measured"])) > 1e-3, "far above what float32 rounds away"
    page = (tmp_path / "explain.html").read_bytes()
    assert len(page) < 2_000_000 and b"http://" not in page and b"https://" not in page
