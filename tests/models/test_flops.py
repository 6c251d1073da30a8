"""The closed formulas of FLOPs against hand-derived values and against torch's own counter."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import make_batch, tiny_model, with_adapter
from transformers import LlamaConfig, LlamaForSequenceClassification, MixtralConfig, MixtralForCausalLM

from rlft.base import Batch, Processes
from rlft.models.adapter import only
from rlft.models.config import ModelConfig
from rlft.models.critic import CRITIC, CriticRole
from rlft.models.flops import Shape, Tokens, counter, sampling_flops, step_flops
from rlft.models.load import add_adapter
from rlft.models.policy import Policy

WIDE = {
    "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 6, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 96, "tie_word_embeddings": True,
}  # fmt: skip
BODY = 6 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 160)  # q and o; k and v; gate, up and down
ADAPTER = 6 * 2 * (2 * (64 + 64) + 2 * (64 + 32) + 3 * (64 + 160))  # rank 2: r(in + out) for each


def wide_policy(adapter: bool = True) -> Policy:
    model = tiny_model(config=LlamaConfig(**WIDE), dtype=torch.float32)
    return Policy(with_adapter(model) if adapter else model.requires_grad_(True), print)


def wide_batch() -> Batch:
    """Equal lengths: a path that pads reads as many tokens as one that does not."""
    return make_batch([[5] * 10, [6] * 10], [[[7] * 8] * 4, [[8] * 8] * 4])


def counted(what: Any) -> int:
    with counter() as flops:
        what()
    return flops.get_total_flops()


def test_a_shape_is_read_off_the_model() -> None:
    shape = Shape.of(wide_policy().model)
    assert (shape.body, shape.head, shape.adapter) == (BODY, 64 * 96, ADAPTER)
    assert (shape.attention, shape.whole) == (6 * 4 * 16, False)
    # Merging W + B·A: 2·r·in·out for each matrix, and the matrices are the body.
    assert shape.merge == 2 * 2 * BODY
    assert Shape.of(wide_policy(adapter=False).model).whole


def test_a_model_without_storage_has_the_same_shape() -> None:
    with torch.device("meta"):
        model = type(tiny_model())(LlamaConfig(**WIDE))
    assert Shape.of(add_adapter(model, ModelConfig(rank=2), 0)) == Shape.of(wide_policy().model)


def test_a_critic_and_an_untied_embedding_are_no_part_of_the_body() -> None:
    model = with_adapter(tiny_model(config=LlamaConfig(**WIDE | {"tie_word_embeddings": False})))
    expected = Shape.of(model)
    assert (expected.body, expected.head, expected.adapter) == (BODY, 64 * 96, ADAPTER)
    model.add_adapter(CRITIC, model.peft_config["default"])
    assert Shape.of(model) == expected


def test_of_experts_only_those_a_token_is_routed_to_count() -> None:
    settings = {**WIDE, "num_local_experts": 4, "num_experts_per_tok": 2}
    shape = Shape.of(tiny_model(MixtralForCausalLM, MixtralConfig(**settings), torch.float32))
    experts, router = 4 * 3 * 64 * 160, 4 * 64
    assert shape.body == 6 * (2 * 64 * 64 + 2 * 64 * 32 + experts / 2 + router)


def test_tokens_of_a_batch() -> None:
    batch = make_batch([[1, 2, 3], [4]], [[[5, 6], [7]], [[8, 9, 8]]], holes=((2, 0),))
    # Inputs: prompts 3 and 1; completions without their last token 1, 0 and 2.
    # Keys: 1+2+3 and 1; 4; 2+3. Scored: 2 + 1 + 3, less the hole.
    assert Tokens.of(batch) == Tokens(positions=7, keys=6 + 1 + 4 + 5, scored=5)
    assert Tokens.of(batch, shared=False) == Tokens(positions=10, keys=6 + 6 + 1 + 4 + 5, scored=5)


def test_mean_lengths_give_what_equal_lengths_do() -> None:
    batch = make_batch([[1] * 5, [1] * 5], [[[2] * 4] * 3, [[2] * 4] * 3])
    assert Tokens.of_group(5, 4, 3) * 2 == Tokens.of(batch)
    assert Tokens.of_group(5, 4, 3, shared=False) * 2 == Tokens.of(batch, shared=False)


def test_a_token_costs_six_operations_a_weight_where_all_are_trained_and_four_where_they_are_frozen() -> None:
    tokens = Tokens(positions=10)
    whole = Shape(body=1000, head=0, adapter=0, merge=0, attention=0, whole=True)
    assert whole.forward(tokens) + whole.backward(tokens) == 6 * 1000 * 10
    frozen = Shape(body=1000, head=0, adapter=10, merge=0, attention=0, whole=False)
    assert frozen.forward(tokens) + frozen.backward(tokens) == (4 * 1000 + 6 * 10) * 10


def test_the_parts_of_a_step() -> None:
    shape = Shape(body=100, head=7, adapter=10, merge=1000, attention=0, whole=False)
    scored, trained = Tokens(positions=10, scored=4), Tokens(positions=5, scored=2)
    parts = step_flops(shape, {"old": scored, "reference": scored, "critic": scored}, trained, epochs=2)
    values = 2 * 110 * 10
    assert parts == {
        "old": 2 * 110 * 10 + 2 * 7 * 4,
        "reference": 2 * 100 * 10 + 2 * 7 * 4,
        "critic": values + 2 * (values + (2 * 100 + 4 * 10) * 10),
        "forward": 2 * (2 * 110 * 5 + 2 * 7 * 2),
        "backward": 2 * ((2 * 100 + 4 * 10) * 5 + 2 * 7 * 2),
    }
    assert set(step_flops(shape, {}, trained, 1)) == {"forward", "backward"}
    assert sampling_flops(shape, scored, merges=3) == 3000 + 2 * 100 * 10 + 2 * 7 * 4


@pytest.mark.parametrize("adapter", [True, False])
def test_training_costs_what_torch_counts(adapter: bool) -> None:
    policy, batch = wide_policy(adapter), wide_batch()
    shape, tokens = Shape.of(policy.model), Tokens.of(batch)

    def train() -> None:
        logp, _ = policy(batch)
        logp.backward(torch.ones_like(logp))

    assert counted(train) == pytest.approx(shape.forward(tokens) + shape.backward(tokens), rel=0.1)


@pytest.mark.parametrize("adapter", [True, False])
def test_gradient_checkpointing_costs_what_torch_counts(adapter: bool) -> None:
    """Natively a forward of the blocks more; through transformers whole sequences, too."""
    policy, batch = wide_policy(adapter), wide_batch()
    policy.checkpoint(True)
    assert policy.trains_shared == adapter
    shape, tokens = Shape.of(policy.model), Tokens.of(batch, shared=adapter)

    def train() -> None:
        logp, _ = policy(batch)
        logp.backward(torch.ones_like(logp))

    found = counted(train)
    assert found == pytest.approx(sum(step_flops(shape, {}, tokens, 1, recompute=True).values()), rel=0.1)
    assert found > 1.1 * sum(step_flops(shape, {}, tokens, 1).values())


def test_a_critic_beside_an_adapter_recomputes_and_one_of_its_own_does_not() -> None:
    policy, batch = wide_policy(), wide_batch()
    critic = CriticRole(
        policy, 4096, "completion", Processes(), 0, learning_rate=1e-3, betas=(0.9, 0.99), weight_decay=0.0,
        max_norm=1.0, clip=0.2,
    )  # fmt: skip
    policy.checkpoint(True)
    shape, tokens = Shape.of(policy.model), Tokens.of(batch)
    batch = batch.replace(weight=batch.mask.float(), returns=batch.mask.float())
    learning = counted(lambda: critic.learn(critic.annotate(batch)))
    again = step_flops(shape, {"critic": tokens}, tokens, 1, recompute=True)["critic"]
    assert learning == pytest.approx(again, rel=0.1)
    plain = step_flops(shape, {"critic": tokens}, tokens, 1)["critic"]
    assert again == plain + shape.forward(tokens, head=False)
    whole = replace(shape, whole=True)
    own = [step_flops(whole, {"critic": tokens}, tokens, 1, r, tokens * r)["critic"] for r in (False, True)]
    assert own[0] == own[1] > 0
    learnt = step_flops(shape, {"critic": tokens}, tokens, 1, True, tokens * 2)["critic"]
    assert learnt == 2 * again - shape.forward(tokens, head=False)


def test_the_reference_and_the_critic_cost_what_torch_counts() -> None:
    policy, batch = wide_policy(), wide_batch()
    shape, tokens = Shape.of(policy.model), Tokens.of(batch)
    with torch.no_grad(), only(policy.model, None):
        scoring = counted(lambda: policy(batch))
    assert scoring == pytest.approx(step_flops(shape, {"reference": tokens}, tokens, 1)["reference"], rel=0.1)
    critic = CriticRole(
        policy, 4096, "completion", Processes(), 0, learning_rate=1e-3, betas=(0.9, 0.99), weight_decay=0.0,
        max_norm=1.0, clip=0.2,
    )  # fmt: skip
    batch = batch.replace(weight=batch.mask.float(), returns=batch.mask.float())
    learning = counted(lambda: critic.learn(critic.annotate(batch)))
    assert learning == pytest.approx(step_flops(shape, {"critic": tokens}, tokens, 1)["critic"], rel=0.1)


def test_a_classifier_has_the_body_of_its_language_model_and_a_head_of_its_own() -> None:
    model = LlamaForSequenceClassification(LlamaConfig(**WIDE, num_labels=3))
    shape = Shape.of(model)
    assert (shape.body, shape.head, shape.adapter) == (BODY, 3 * 64, 0)
    model.score = torch.nn.Sequential(model.score)  # more than a layer
    assert (Shape.of(model).body, Shape.of(model).head) == (BODY + 3 * 64, 0)
