"""Conversations as tokens, with the pretrained model's tokenizer and with templates of other habits."""

from typing import Any

import pytest
from tiny import real_model_dir
from transformers import AutoTokenizer

from rlft.base import UserError
from rlft.models.chat import ChatTemplate

USER = ({"role": "user", "content": "What is 12 + 7?"},)
WITH_SYSTEM = ({"role": "system", "content": "Be short."}, *USER)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
    "{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)
START, END = 1, 2  # <|im_start|>, which is also bos; <|im_end|>, which is also eos and pad


def tokenizer(template: str | None = "its own") -> Any:
    made = AutoTokenizer.from_pretrained(real_model_dir())
    if template != "its own":
        made.chat_template = template
    return made


def chat(template: str | None = "its own", eos_ids: set[int] | None = None) -> ChatTemplate:
    return ChatTemplate(tokenizer(template), {END} if eos_ids is None else eos_ids)


def test_the_prompt_is_the_templates_up_to_the_answer() -> None:
    made = tokenizer()
    expected = made.apply_chat_template(list(WITH_SYSTEM), tokenize=True, add_generation_prompt=True)["input_ids"]
    ours = chat()
    assert ours.prompt(WITH_SYSTEM) == expected
    turns = ["system\nBe short.<|im_end|>\n", "user\nWhat is 12 + 7?<|im_end|>\n", "assistant\n"]
    text = "".join("<|im_start|>" + turn for turn in turns)
    assert ours.render(WITH_SYSTEM) == text
    assert made.decode(expected) == text


def test_an_answer_ends_with_the_end_of_turn_token_although_it_pads_too() -> None:
    made = tokenizer()
    made.pad_token = made.eos_token
    answer = ChatTemplate(made, {END}).completion(USER, "19")
    assert answer.token_ids == (*made("19", add_special_tokens=False)["input_ids"], END)
    assert answer.finished and answer.trained is None and answer.text == "19"
    assert made.convert_ids_to_tokens(list(answer.token_ids)) == ["1", "9", "<|im_end|>"]


def test_a_recorded_answer_sees_the_very_tokens_a_sampled_one_does() -> None:
    ours, made = chat(), tokenizer()
    whole = made.apply_chat_template([*USER, {"role": "assistant", "content": "It is 19."}], tokenize=True)["input_ids"]
    tokens = [*ours.prompt(USER), *ours.completion(USER, "It is 19.").token_ids]
    assert whole[: len(tokens)] == tokens
    assert made.decode(whole[len(tokens) :]) == "\n"


def test_digits_are_split_singly() -> None:
    answer = chat().completion(USER, "1234567890")
    assert tokenizer().convert_ids_to_tokens(list(answer.token_ids)) == [*"1234567890", "<|im_end|>"]


def test_text_drops_special_tokens_and_keeps_spaces() -> None:
    ours = chat()
    assert ours.text([*tokenizer()(" it 's , ok .")["input_ids"], END]) == " it 's , ok ."


def beginning(template: str | None, token: str, number: int) -> Any:
    """A tokenizer that puts a token before every text."""
    from tokenizers.processors import TemplateProcessing

    made = tokenizer(template)
    made.bos_token = token
    made.backend_tokenizer.post_processor = TemplateProcessing(single=f"{token} $A", special_tokens=[(token, number)])
    return made


def test_one_beginning_token() -> None:
    for ours in (chat(LLAMA), ChatTemplate(beginning(LLAMA, "<|im_start|>", START), {END})):
        prompt = ours.prompt(USER)
        assert prompt[0] == START and START not in prompt[1:]
    answer = ours.completion(USER, "19").token_ids
    assert answer[-1] == END and tokenizer().decode(answer) == " 19<|im_end|>"
    with pytest.raises(UserError, match="both add a BOS"):
        chat("{{ bos_token }}" + LLAMA)


def test_a_template_that_refuses_a_system_turn() -> None:
    with pytest.raises(UserError, match=r"refuses a conversation of turns \[system, user\]: no system turn"):
        chat(LLAMA).prompt(WITH_SYSTEM)


def test_a_tokenizer_without_a_template() -> None:
    ours, made = chat(None), tokenizer(None)
    assert not ours.templated
    assert ours.render(WITH_SYSTEM) == "Be short.\nWhat is 12 + 7?\n"
    assert ours.prompt(USER) == made("What is 12 + 7?\n")["input_ids"]
    assert ours.completion(USER, "19").token_ids == (*made("19", add_special_tokens=False)["input_ids"], END)


def test_a_base_tokenizer_that_begins_texts_begins_prompts_and_not_answers() -> None:
    ours = ChatTemplate(beginning(None, "<|endoftext|>", 0), {END})
    prompt = ours.prompt(USER)
    assert prompt[0] == 0 and 0 not in prompt[1:]
    assert 0 not in ours.completion(USER, "19").token_ids


def test_the_templates_own_end_of_turn_counts_as_an_end() -> None:
    template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<reponame>{% endfor %}"
    ours = chat(template + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}", {0})
    turn = tokenizer().convert_tokens_to_ids("<reponame>")
    assert ours.eos_ids == {0, turn}
    assert ours.completion(USER, "19").token_ids[-1] == turn
    assert chat().eos_ids == {END}


def test_a_template_whose_answers_do_not_go_on_from_the_prompt() -> None:
    template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}assistant: <think>{% endif %}"
    )
    ours = chat(template)
    assert ours.render(USER).endswith("assistant: <think>")
    assert tokenizer().decode(ours.completion(USER, "19").token_ids) == "19<|im_end|>"


def test_no_end_token_at_all_is_refused() -> None:
    made = tokenizer(None)
    made.eos_token = None
    with pytest.raises(UserError, match="name no end token"):
        ChatTemplate(made, set())


def test_the_fingerprint_tells_templates_tokenizers_and_ends_apart() -> None:
    prints = [chat().fingerprint, chat(LLAMA).fingerprint, chat(None).fingerprint, chat(eos_ids={0, END}).fingerprint]
    assert len(set(prints)) == 4
    assert chat().fingerprint == prints[0]
