"""A sequence classifier as reward, on a tiny random one."""

from pathlib import Path

import pytest

from rlft.base import UserError
from rlft.rewards import RewardModel
from tests.rewards.conftest import TEMPLATE, group, judge_config

WORDS = ["<unk>", "</s>", "user", "assistant", ":", "?", "a", "b", "c", "d"]


def save(path: Path, labels: int = 1, causal: bool = False, template: str | None = TEMPLATE) -> str:
    """Writes a tiny Llama with a word tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        LlamaForCausalLM,
        LlamaForSequenceClassification,
        PreTrainedTokenizerFast,
    )

    torch.manual_seed(0)
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    # Like Llama's it adds a token of its own, which a rendered conversation must not get again.
    inner.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 1)])
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", eos_token="</s>")
    tokenizer.chat_template = template
    config = judge_config(len(WORDS), labels)
    model = LlamaForCausalLM(config) if causal else LlamaForSequenceClassification(config)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


def test_scores_are_the_model_s_own_whatever_the_batch(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    path = save(tmp_path)
    groups = [group("a", "a b c d", "b"), group("c c")]
    together = RewardModel(path=path, batch_size=3, device="cpu").score(groups)
    values = [r.value for g in together for r in g.rewards]
    assert len(set(values)) == 4
    assert together[0].rewards[0].parts == {"reward_model": values[0]}

    model = AutoModelForSequenceClassification.from_pretrained(path).eval()
    model.config.pad_token_id = 1
    texts = ["a", "a b c d", "b", "c c"]
    for text, value in zip(texts, values, strict=True):
        words = f"user : ? </s> assistant : {text} </s>".split()
        with torch.no_grad():
            logits = model(torch.tensor([[WORDS.index(word) for word in words]])).logits
        assert value == pytest.approx(float(logits[0, 0]), abs=1e-5)


def test_no_groups_load_no_model() -> None:
    assert RewardModel(path="/no/such/model").score([]) == []


def test_a_classifier_of_several_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has 3 labels"):
        RewardModel(path=save(tmp_path, labels=3)).score([group("a")])


def test_a_model_without_a_trained_head_is_refused(tmp_path: Path) -> None:
    path = Path(save(tmp_path, causal=True))
    with pytest.raises(UserError, match=r"no trained reward model: its weights lack score\.weight"):
        RewardModel(path=str(path)).score([group("a")])


def test_a_tokenizer_without_a_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no chat template"):
        RewardModel(path=save(tmp_path, template=None)).score([group("a")])


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"reward.path={tmp_path}/none cannot be loaded"):
        RewardModel(path=f"{tmp_path}/none").score([group("a")])


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    import torch

    path = Path(save(tmp_path))
    (path / "model.safetensors").unlink()
    torch.save({}, path / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be loaded"):
        RewardModel(path=str(path)).score([group("a")])


def test_a_conversation_that_is_too_long_is_refused_not_cut(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="reads at most 32 tokens, query q"):
        RewardModel(path=save(tmp_path), device="cpu").score([group("a " * 40)])


def test_a_batch_holds_something() -> None:
    with pytest.raises(UserError, match=r"reward\.batch_size=0"):
        RewardModel(path="x", batch_size=0)


def test_an_adapter_without_a_score_is_no_reward_model(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from rlft.rewards.adapter import read_adapter

    base = save(tmp_path / "base", causal=True)
    assert read_adapter(base) is None
    settings = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings).save_pretrained(tmp_path / "adapter")
    with pytest.raises(UserError, match="has 0 labels; a reward model has one"):
        RewardModel(path=f"{tmp_path}/adapter").score([group("a")])
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(UserError, match="cannot be loaded as a reward model"):
        RewardModel(path=f"{tmp_path}/adapter").score([group("a")])


def test_a_folder_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    from rlft.rewards import Combine, Format, ProcessModel

    for path in (f"{tmp_path}/none", "runs/no_such_run/adapter"):
        reward = RewardModel(path=path)
        judges = [reward, Combine(parts={"a": reward, "b": Format(pattern="a")}, weights={"a": 1.0, "b": 1.0})]
        judges += [ProcessModel(path="x", outcome=reward), ProcessModel(path=path)]
        for judge in judges:
            with pytest.raises(UserError, match=f"reward.path={path}: there is no such folder"):
                judge.check()
    RewardModel(path="someone/model").check()  # a hub id
    RewardModel(path=str(tmp_path)).check()
