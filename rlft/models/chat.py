"""Conversations as tokens: one rendering for training, evaluation and sampling."""

import hashlib
from typing import Any

from rlft.base import Completion, Message, UserError

_PROBE: tuple[Message, ...] = ({"role": "user", "content": "q"},)


class ChatTemplate:
    """Renders with the tokenizer's chat template; a tokenizer without one gets the turns' texts, a line each.

    The prompt and the answer are tokenised apart, so that a recorded answer sees the prompt's tokens exactly as a
    sampled one does.

    Attributes:
        eos_ids: the tokens that end a turn: the tokenizer's, the generation config's and the template's own.
        fingerprint: hash of the template, the vocabulary's size and the end tokens.
    """

    def __init__(self, tokenizer: Any, eos_ids: set[int]):
        self.tokenizer = tokenizer
        self.eos_ids = set(eos_ids)
        self.templated = bool(tokenizer.chat_template)
        suffix = self._suffix(_PROBE, "a")
        special = {*tokenizer.all_special_ids, *(i for i, t in tokenizer.added_tokens_decoder.items() if t.special)}
        ends = [i for i in self._tokens(suffix) if i in special]
        if self.templated and ends:
            self.eos_ids.add(ends[-1])
        if not self.eos_ids:
            raise UserError("the tokenizer and the generation config name no end token; set eos_token in the tokenizer")
        described = [tokenizer.chat_template, len(tokenizer), sorted(self.eos_ids), self._tokens("12 345, ok?\n")]
        self.fingerprint = hashlib.sha256(repr(described).encode()).hexdigest()[:16]
        ids = self.prompt(_PROBE)
        if tokenizer.bos_token_id is not None and ids[:2] == [tokenizer.bos_token_id] * 2:
            raise UserError(
                "the chat template and the tokenizer both add a BOS token: two stand at the start of a prompt"
            )

    def prompt(self, messages: tuple[Message, ...]) -> list[int]:
        """Returns the tokens of a conversation up to where the answer begins."""
        return self._tokens(self.render(messages), special=not self.templated)

    def render(self, messages: tuple[Message, ...]) -> str:
        """Returns the text that `prompt` tokenises."""
        if not self.templated:
            return "".join(m["content"] + "\n" for m in messages)
        try:
            return self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        except Exception as error:  # templates raise what they like, e.g. for a system turn they do not know
            roles = ", ".join(m["role"] for m in messages)
            raise UserError(f"the model's chat template refuses a conversation of turns [{roles}]: {error}") from error

    def completion(self, messages: tuple[Message, ...], text: str) -> Completion:
        """Returns a recorded answer as tokens, the end-of-turn token last."""
        ids = self._tokens(self._suffix(messages, text))
        ends = [i for i, token in enumerate(ids) if token in self.eos_ids]
        ids = ids[: ends[-1] + 1] if ends else [*ids, min(self.eos_ids)]
        return Completion(token_ids=tuple(ids), text=text)

    def closing(self) -> list[int]:
        """Returns the tokens that a rendered conversation ends with behind the text of its answer: the end of turn
        first, and what the template writes after it."""
        ids = self._tokens(self._suffix(_PROBE, "a"))
        ends = [i for i, token in enumerate(ids) if token in self.eos_ids]
        return ids[ends[-1] :] if ends else [min(self.eos_ids)]

    def text(self, token_ids: list[int]) -> str:
        """Returns tokens as text, without special tokens."""
        return self.tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _suffix(self, messages: tuple[Message, ...], text: str) -> str:
        """What the template puts after the prompt for an answer; else the answer and the end token."""
        end = self.tokenizer.eos_token or ""
        if not self.templated:
            return text + end
        turns = [*messages, {"role": "assistant", "content": text}]
        whole = self.tokenizer.apply_chat_template(turns, tokenize=False)
        prompt = self.render(messages)
        return whole[len(prompt) :] if whole.startswith(prompt) else text + end

    def _tokens(self, text: str, special: bool = False) -> list[int]:
        return self.tokenizer(text, add_special_tokens=special)["input_ids"]
