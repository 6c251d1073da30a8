"""A token classifier as a judge of steps, on a tiny random one."""

from pathlib import Path

import pytest

from rlft.base import RunError, UserError
from rlft.rewards import Implicit, ProcessModel
from tests.rewards.conftest import TEMPLATE, group, judge_config

WORDS = ["<unk>", "</s>", "user", "assistant", ":", "?", "a", "b", "c", "d", ";"]


def save(path: Path, labels: int = 2, causal: bool = False, template: str = TEMPLATE, broken: bool = False) -> str:
    """Writes a tiny Llama that scores tokens, with a word tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaForCausalLM, LlamaForTokenClassification, PreTrainedTokenizerFast

    torch.manual_seed(0)
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", eos_token="</s>")
    tokenizer.chat_template = template
    config = judge_config(len(WORDS), labels)
    model = (LlamaForCausalLM if causal else LlamaForTokenClassification)(config)
    if broken:
        model.score.bias.data.fill_(torch.inf)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


@pytest.mark.parametrize("template", [TEMPLATE, TEMPLATE.replace("m['content']", "m['content'].strip()")])
@pytest.mark.parametrize("labels", [1, 2])
def test_scores_are_the_model_s_own_at_the_end_of_each_step(labels: int, template: str, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForTokenClassification

    path = save(tmp_path, labels, template=template)
    groups = [group("a;b c;", "\nd"), group("c c;d;a")]
    reward = ProcessModel(path=path, outcome=Implicit(), separator=";", batch_size=2, device="cpu")
    scored = [r for g in reward.score(groups) for r in g.rewards]
    reward.close()

    model = AutoModelForTokenClassification.from_pretrained(path).eval()
    expected_ends = {"a;b c;": [2, 6], "d;": [2], "c c;d;a;": [4, 6, 7]}
    for (text, ends), result in zip(expected_ends.items(), scored, strict=True):
        words = f"user : ? </s> assistant : {text} </s>".replace(";", " ; ").split()
        with torch.no_grad():
            logits = model(torch.tensor([[WORDS.index(word) for word in words]])).logits[0]
        own = [logits[t] for t, word in enumerate(words) if word == ";"]
        expected = [float(row[0]) if labels == 1 else float(row.softmax(0)[1]) for row in own]
        assert [end for end, _ in result.steps] == ends
        assert [value for _, value in result.steps] == pytest.approx(expected, abs=1e-5)
        assert result.value == 1.0 and len(set(expected)) == len(expected)
        assert result.parts == pytest.approx(
            {"implicit": 1.0, "process_model": sum(expected) / len(expected)}, abs=1e-5
        )


def test_no_groups_load_no_model() -> None:
    assert ProcessModel(path="/no/such/model").score([]) == []


def test_a_blank_completion_is_one_step(tmp_path: Path) -> None:
    reward = ProcessModel(path=save(tmp_path), outcome=Implicit(), device="cpu")
    (scored,) = reward.score([group("")])
    assert [end for end, _ in scored.rewards[0].steps] == [0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": 3}, "has 3 labels; a process reward model has one or 2"),
        ({"causal": True}, r"no trained process reward model: its weights lack score\.(bias|weight)"),
    ],
)
def test_a_model_that_cannot_judge_steps_is_refused(options: dict[str, int], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        ProcessModel(path=save(tmp_path, **options), outcome=Implicit()).score([group("a")])


def test_a_tokenizer_that_knows_no_places_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import PreTrainedTokenizerFast

    monkeypatch.setattr(PreTrainedTokenizerFast, "is_fast", False)
    with pytest.raises(UserError, match="does not say where in a text a token stands"):
        ProcessModel(path=save(tmp_path), outcome=Implicit()).score([group("a")])


def test_a_score_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"gives (nan|inf|-inf) for query q"):
        ProcessModel(path=save(tmp_path, 1, broken=True), outcome=Implicit(), device="cpu").score([group("a")])


def test_a_conversation_that_is_too_long_is_refused_not_cut(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="reads at most 32 tokens, query q"):
        ProcessModel(path=save(tmp_path), outcome=Implicit(), device="cpu").score([group("a " * 40)])


def test_a_batch_holds_something() -> None:
    with pytest.raises(UserError, match=r"reward\.batch_size=0"):
        ProcessModel(path="x", batch_size=0)
