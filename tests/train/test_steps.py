"""Steps that end somewhere in a text end at one token of it, whatever the tokeniser made of the text."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import make_plan, run
from tiny import real_model_dir
from transformers import AutoTokenizer

from rlft.base import Completion, Group, Query, Reward, UserError
from rlft.models.chat import ChatTemplate
from rlft.train.collate import collate
from rlft.train.steps import step_rewards

QUERY = Query("q", ({"role": "user", "content": "?"},))


class Words:
    """A tokenizer of given pieces: token i is the i-th of them."""

    def __init__(self, *pieces: bytes):
        self.pieces = pieces

    def prompt(self, messages: Any) -> list[int]:
        return [0]

    def text(self, token_ids: list[int]) -> str:
        return b"".join(self.pieces[i] for i in token_ids).decode(errors="replace")


def ends(pieces: list[bytes], *steps: tuple[int, float], hidden: int = 0) -> dict[int, float]:
    """Returns where steps end in a completion of these tokens and `hidden` ones that show no text."""
    chat: Any = Words(*pieces, *[b""] * hidden)
    tokens = tuple(range(len(pieces) + hidden))
    return step_rewards(Reward(0.0, steps=steps), Completion(tokens, b"".join(pieces).decode()), chat)


@pytest.fixture(scope="module")
def chat() -> ChatTemplate:
    return ChatTemplate(AutoTokenizer.from_pretrained(real_model_dir()), set())


def test_a_step_ends_at_the_token_that_completes_it() -> None:
    assert ends([b"1+1", b"=2", b"\n", b"#", b"2"], (6, 1.0), (8, 0.5)) == {2: 1.0, 4: 0.5}


def test_a_token_that_reaches_into_the_next_step_ends_the_step() -> None:
    assert ends([b"1\n", b"2\n3", b"\n4"], (2, 1.0), (4, 0.0), (7, 0.5)) == {0: 1.0, 1: 0.0, 2: 0.5}


def test_steps_that_end_in_one_token_are_one_with_their_mean() -> None:
    assert ends([b"1\n2\n3\n", b"4"], (2, 1.0), (4, 0.0), (6, 0.5), (7, 0.25)) == {0: 0.5, 1: 0.25}


def test_the_last_step_takes_in_what_shows_no_text() -> None:
    pieces = [b"1\n", b"2"]
    assert ends(pieces, (2, 1.0), (3, 0.5), hidden=2) == {0: 1.0, 3: 0.5}
    assert ends(pieces, (2, 1.0), hidden=2) == {0: 1.0}
    assert ends([], (0, 0.5), hidden=1) == {0: 0.5}


def test_a_character_is_whole_only_with_its_last_byte() -> None:
    e, heart = "é".encode(), "❤".encode()
    assert ends([e[:1], e[1:], b"\n2"], (1, 1.0)) == {1: 1.0}
    assert ends([b"a", heart[:1], heart[1:2], heart[2:], b"b", b"c"], (1, 0.0), (2, 1.0), (3, 0.5)) == {
        0: 0.0, 3: 1.0, 4: 0.5,
    }  # fmt: skip


def test_a_completion_without_tokens_or_steps_has_none() -> None:
    assert ends([], (0, 1.0)) == {} and ends([b"1"]) == {}


@settings(max_examples=60)
@given(text=st.text(alphabet="12+= \n#éж❤🙂中", min_size=1, max_size=24), data=st.data())
def test_with_a_real_tokenizer_the_token_is_the_first_that_holds_the_step(
    chat: ChatTemplate, text: str, data: st.DataObject
) -> None:
    tokens = chat.tokenizer(text, add_special_tokens=False)["input_ids"]
    end = data.draw(st.integers(1, len(text)))
    shown = [chat.text(tokens[: t + 1]) for t in range(len(tokens))]
    assert shown[-1] == text
    (index,) = step_rewards(Reward(0.0, steps=((end, 1.0),)), Completion(tuple(tokens), text), chat)
    assert index == (
        next(t for t, s in enumerate(shown) if s.startswith(text[:end])) if end < len(text) else len(tokens) - 1
    )


def test_batches_have_the_rewards_where_steps_end(chat: ChatTemplate) -> None:
    texts = ["1 + 1 = 2\n#### 2", "2"]
    completions = tuple(chat.completion(QUERY.messages, text) for text in texts)
    rewards = [Reward(1.0, steps=((10, 0.0), (16, 1.0))), Reward(0.5)]
    batch = collate([Group(QUERY, completions).scored(rewards)], chat, torch.float64)
    assert batch.step_reward is not None and batch.step_end is not None
    newline = completions[0].token_ids.index(chat.tokenizer("\n")["input_ids"][0])
    last = len(completions[0].token_ids) - 1
    assert completions[0].token_ids[last] in chat.eos_ids
    assert batch.step_end.nonzero().tolist() == [[0, newline], [0, last]]
    assert batch.step_reward[batch.step_end].tolist() == [0.0, 1.0] and batch.step_reward.sum() == 1


def test_a_cut_off_completion_s_last_step_ends_with_it(chat: ChatTemplate) -> None:
    tokens = chat.tokenizer("1 + 1 = 2\n2 + ", add_special_tokens=False)["input_ids"]
    cut = Completion(tuple(tokens), "1 + 1 = 2\n2 + ", finished=False)
    assert list(step_rewards(Reward(0.0, steps=((10, 1.0), (14, 0.0))), cut, chat).values()) == [1.0, 0.0]
    assert max(step_rewards(Reward(0.0, steps=((14, 0.0),)), cut, chat)) == len(tokens) - 1


def test_training_on_steps_that_no_reward_judges_is_refused(tiny_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="algorithm grpo_process needs rewards of steps, and the reward format judges none"
    ):
        run(make_plan(tiny_dir, tmp_path, "grpo", "algorithm=grpo_process"))
