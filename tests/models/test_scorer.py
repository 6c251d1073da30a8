"""A model that scores: its score is that of a sequence classifier which reads the whole conversation."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_model_dir
from torch import Tensor

from rlft import ops
from rlft.base import Batch, Completion, Group, Query, Reward
from rlft.models.config import ModelConfig
from rlft.models.load import Loaded, load
from rlft.models.scorer import Scorer, TokenScorer, closed
from rlft.rewards import RewardModel
from rlft.train.collate import collate
from rlft.train.run_dir import export

TEXTS = [["17 + 25 is 42", "43"], ["I do not know."]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model_dir(tmp_path_factory.mktemp("tiny"))


def make(folder: Path, kind: type[Scorer] = Scorer, **settings: Any) -> tuple[Scorer, Loaded]:
    """Returns a scorer whose adapter and head are not those it starts with."""
    loaded = load(ModelConfig(str(folder), dtype="float32", **settings), 0, torch.device("cpu"), print)
    scorer = kind(loaded.model, loaded.chat, print)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in scorer.named_parameters():
            if "lora_B" in name or "head" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=draw))
    return scorer, loaded


def conversations(loaded: Loaded, unfinished: bool = False) -> list[Group]:
    groups: list[Group] = []
    for k, texts in enumerate(TEXTS):
        query = Query(str(k), ({"role": "user", "content": f"What is {k} + 25?"},))
        completions = [loaded.chat.completion(query.messages, text) for text in texts]
        if unfinished:  # cut before its end of turn
            completions = [Completion(c.token_ids[:-1], c.text, finished=False) for c in completions]
        groups.append(Group(query, tuple(completions), tuple(Reward(0.0) for _ in completions)))
    return groups


def scores(scorer: Scorer, batch: Batch) -> Tensor:
    with torch.no_grad():
        return scorer(batch)[0]


@pytest.mark.parametrize("adapter", ["lora", "none"])
@pytest.mark.parametrize("unfinished", [False, True])
def test_the_score_is_that_of_the_classifier_it_is_saved_as(
    adapter: str, unfinished: bool, folder: Path, tmp_path: Path
) -> None:
    scorer, loaded = make(folder, adapter=adapter)
    groups = conversations(loaded, unfinished)
    batch = collate(groups, loaded.chat, torch.float32)
    found = scores(scorer, batch)
    path = export(scorer, loaded, tmp_path / "out")
    judged = RewardModel(path=str(path), device="cpu").score([Group(g.query, g.completions) for g in groups])
    expected = [reward.value for group in judged for reward in group.rewards]
    assert len(set(expected)) == 3
    assert found.sum(1).tolist() == pytest.approx(expected, abs=1e-5)
    last = batch.attention.sum(1) - 1
    assert torch.equal(found[torch.arange(3), last], found.sum(1)), "it stands at the last token"


def test_a_saved_score_is_read_again(folder: Path, tmp_path: Path) -> None:
    for adapter, kind in product(("lora", "none"), (Scorer, TokenScorer)):
        scorer, loaded = make(folder, kind, adapter=adapter)
        batch = collate(conversations(loaded), loaded.chat, torch.float32)
        path, before = export(scorer, loaded, tmp_path / f"{adapter}-{kind.__name__}"), scores(scorer, batch)
        with torch.no_grad():
            for parameter in scorer.parameters():
                if parameter.requires_grad:
                    parameter.mul_(0.5)
        assert not torch.allclose(scores(scorer, batch), before)
        scorer.load_pretrained(path)
        assert torch.equal(scores(scorer, batch), before)


def test_plain_peft_reads_it(folder: Path, tmp_path: Path) -> None:
    from peft import AutoPeftModelForSequenceClassification

    scorer, loaded = make(folder)
    groups = conversations(loaded)
    path = export(scorer, loaded, tmp_path / "out")
    model = AutoPeftModelForSequenceClassification.from_pretrained(str(path), num_labels=1).eval()
    turns = [*groups[0].query.messages, {"role": "assistant", "content": TEXTS[0][0]}]
    ids = loaded.chat.tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        value = model(**ids).logits.item()
    batch = collate(groups, loaded.chat, torch.float32)
    assert value == pytest.approx(float(scores(scorer, batch)[0].sum()), abs=1e-5)


@pytest.mark.parametrize("adapter", ["lora", "none"])
@pytest.mark.parametrize("unfinished", [False, True])
def test_the_scores_of_tokens_are_those_of_the_token_classifier_they_are_saved_as(
    adapter: str, unfinished: bool, folder: Path, tmp_path: Path
) -> None:
    from peft import AutoPeftModelForTokenClassification
    from transformers import AutoModelForTokenClassification

    scorer, loaded = make(folder, TokenScorer, adapter=adapter)
    groups = conversations(loaded, unfinished)
    batch = collate(groups, loaded.chat, torch.float32)
    found = scores(scorer, batch)
    path = export(scorer, loaded, tmp_path / "out")
    auto = AutoPeftModelForTokenClassification if adapter == "lora" else AutoModelForTokenClassification
    model = auto.from_pretrained(str(path), num_labels=1).eval()
    rows = [(g.query, c) for g in groups for c in g.completions]
    for row, (query, completion) in enumerate(rows):
        prompt, ids = loaded.chat.prompt(query.messages), list(completion.token_ids)
        with torch.no_grad():
            expected = model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) :, 0].tolist()
        assert found[row, : len(ids)].tolist() == pytest.approx(expected, abs=1e-5)
        assert not found[row, len(ids) :].any()
    judged = RewardModel(path=str(path), device="cpu").score([Group(g.query, g.completions) for g in groups])
    means = [reward.value for group in judged for reward in group.rewards]
    assert ops.row_mean(found, batch.mask).tolist() == pytest.approx(means, abs=1e-5) and len(set(means)) == 3


@pytest.mark.parametrize("text", ["", "a"])
def test_an_empty_answer_and_a_word_of_the_question_are_found_where_they_stand(
    text: str, folder: Path, tmp_path: Path
) -> None:
    scorer, loaded = make(folder, TokenScorer)
    query = Query("0", ({"role": "user", "content": "What is a?"},))
    group = Group(query, (loaded.chat.completion(query.messages, text),), (Reward(0.0),))
    batch = collate([group], loaded.chat, torch.float32)
    (judged,) = RewardModel(path=str(export(scorer, loaded, tmp_path)), device="cpu").score([group])
    expected = float(ops.row_mean(scores(scorer, batch), batch.mask))
    assert expected != 0 and judged.rewards[0].value == pytest.approx(expected, abs=1e-5)


def test_scores_start_at_zero_and_their_head_is_trained(folder: Path) -> None:
    loaded = load(ModelConfig(str(folder), dtype="float32"), 0, torch.device("cpu"), print)
    scorer = Scorer(loaded.model, loaded.chat, print)
    batch = collate(conversations(loaded), loaded.chat, torch.float32)
    score, entropy = scorer(batch)
    assert not score.any() and not entropy.any()
    score.sum().backward()
    assert scorer.heads == [scorer.head.weight]
    assert scorer.head.weight.grad is not None and scorer.head.weight.grad.any()


def test_what_a_template_ends_with_is_read_unless_it_is_padding(folder: Path) -> None:
    scorer, loaded = make(folder)
    end, line = scorer.closing  # <|im_end|> and a line's end
    assert loaded.chat.text([line]) == "\n" and end in loaded.chat.eos_ids
    scorer.base.config.pad_token_id = line
    assert Scorer(loaded.model, loaded.chat, print).closing == [end]


def test_rows_of_several_lengths_are_closed() -> None:
    batch = Batch(
        prompt_ids=torch.tensor([[1]]),
        prompt_mask=torch.tensor([[True]]),
        completion_ids=torch.tensor([[5, 2, 0], [5, 6, 7]]),
        attention=torch.tensor([[True, True, False], [True, True, True]]),
        mask=torch.tensor([[True, True, False], [True, True, True]]),
        group=torch.tensor([0, 0]),
        finished=torch.tensor([True, False]),
        reward=torch.zeros(2),
    )
    found = closed(batch, [2])
    assert found.completion_ids.tolist() == [[5, 2, 0, 0, 0], [5, 6, 7, 2, 0]]
    assert found.attention.sum(1).tolist() == [3, 5]
    assert found.mask.nonzero().tolist() == [[0, 2], [1, 4]]
    assert closed(batch, []).mask.nonzero().tolist() == [[0, 1], [1, 3]]
