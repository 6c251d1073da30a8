"""The log-ratio of another query's completion after each row's prompt, against transformers row by row."""

import pytest
import torch
from tiny import direct, make_batch, random_batch, randomise, tiny_model, with_adapter

from rlft.base import Processes, UserError
from rlft.models.load import POLICY
from rlft.models.policy import Policy
from rlft.models.roles import MismatchedRole, Reference, next_prompt

BATCH = random_batch()  # 3 + 1 + 2 rows


def test_rows_take_those_of_another_prompt() -> None:
    one, two = [[7, 8]], [[7, 8], [9]]
    assert next_prompt(make_batch([[5], [6]], [two, two])).tolist() == [2, 3, 0, 1]
    assert next_prompt(make_batch([[5], [6], [4, 5]], [two, one, two])).tolist() == [2, 3, 3, 0, 1]
    # Two queries may ask the same.
    assert next_prompt(make_batch([[5], [5], [6]], [one, one, one])).tolist() == [2, 2, 0]
    with pytest.raises(UserError, match=r"trainer\.prompts_per_step=2 or more"):
        next_prompt(make_batch([[5], [5]], [one, one]))


@torch.no_grad()
def test_it_is_the_sum_of_log_ratios() -> None:
    model = with_adapter(tiny_model())
    policy = Policy(model, print)
    role = MismatchedRole(Reference(policy), 64, "completion", Processes())
    randomise(model, POLICY, 0.5, seed=3)
    found = role.annotate(BATCH).mismatched
    other = next_prompt(BATCH)
    moved = BATCH.replace(
        completion_ids=BATCH.completion_ids[other], attention=BATCH.attention[other], mask=BATCH.mask[other]
    )
    logp, _ = direct(model, moved)
    with model.disable_adapter():
        logp_ref, _ = direct(model, moved)
    assert found is not None and found.shape == (len(BATCH),)
    expected = (logp - logp_ref).sum(1)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found.double(), expected.double(), rtol=0, atol=1e-5)


def test_one_query_alone_has_no_other() -> None:
    policy = Policy(with_adapter(tiny_model()), print)
    role = MismatchedRole(Reference(policy), 64, "completion", Processes())
    with pytest.raises(UserError, match="one question alone"):
        role.annotate(make_batch([[5, 6]], [[[7, 8], [9]]]))
