"""A trained reward model: a transformers sequence classifier with one label."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from rlft.base import Completion, Group, Query, Reading, Reward, RunError, UserError
from rlft.rewards.common import Scored


@dataclass(kw_only=True)
class RewardModel(Scored):
    """The score that a sequence classifier with one label gives the conversation, completion included.

    The conversation is rendered by the classifier's own chat template. Only safetensors are read and no remote code is
    run.

    Attributes:
        path: a local folder or a hub id.
        batch_size: conversations scored at once.
        device: "auto" takes the accelerator there is; "cpu" does not.
    """

    label: ClassVar[str] = "reward_model"

    path: str
    batch_size: int = 16
    device: Literal["auto", "cpu"] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 1:
            raise UserError(f"reward.batch_size={self.batch_size}: at least 1 is needed")
        self._loaded: tuple[Any, Any] | None = None
        self._read = [0, 0, 0]

    def readings(self) -> list[Reading]:
        return [Reading(self._loaded[0], *self._read)] if self._loaded else []

    def rate(self, query: Query, completions: tuple[Completion, ...]) -> list[Reward]:
        return list(self.score([Group(query, completions)])[0].rewards)

    def score(self, groups: list[Group]) -> list[Group]:
        pairs = [(group.query, completion) for group in groups for completion in group.completions]
        scores = iter(self._scores(pairs))
        result = []
        for group in groups:
            values = [next(scores) for _ in group.completions]
            result.append(self.settle(group, [Reward(value, {self.label: value}) for value in values]))
        return result

    def close(self) -> None:
        self._loaded = None

    @torch.no_grad()
    def _scores(self, pairs: list[tuple[Query, Completion]]) -> list[float]:
        if not pairs:
            return []
        self._loaded = self._loaded or self._load()
        model, tokenizer = self._loaded
        tokens = [self._tokens(model, tokenizer, query, completion) for query, completion in pairs]
        for row in tokens:
            self._read = [a + b for a, b in zip(self._read, (len(row), len(row) * (len(row) + 1) // 2, 1), strict=True)]
        scores = [0.0] * len(pairs)
        order = sorted(range(len(pairs)), key=lambda row: len(tokens[row]))  # rows of like length share their padding
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            inputs = {"input_ids": [tokens[row] for row in rows]}
            batch = tokenizer.pad(inputs, padding_side="right", return_tensors="pt")
            logits = model(**batch.to(model.device)).logits.float()
            for row, value in zip(rows, logits[:, 0].tolist(), strict=True):
                if not math.isfinite(value):
                    raise RunError(f"the reward model {self.path} gives {value} for query {pairs[row][0].id}")
                scores[row] = value
        return scores

    def _tokens(self, model: Any, tokenizer: Any, query: Query, completion: Completion) -> list[int]:
        messages = [*query.messages, {"role": "assistant", "content": completion.text}]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]  # the template has written them
        limit = getattr(model.config, "max_position_embeddings", None)
        if limit is not None and len(tokens) > limit:
            raise UserError(
                f"reward.path={self.path} reads at most {limit} tokens, query {query.id} with its completion has "
                f"{len(tokens)}; lower data.max_prompt_tokens or data.max_completion_tokens"
            )
        return tokens

    def _load(self) -> tuple[Any, Any]:
        from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

        try:
            config = AutoConfig.from_pretrained(self.path, trust_remote_code=False)
            if config.num_labels != 1:
                raise UserError(f"reward.path={self.path} has {config.num_labels} labels; a reward model has one")
            tokenizer = AutoTokenizer.from_pretrained(self.path, trust_remote_code=False)
            model, report = AutoModelForSequenceClassification.from_pretrained(
                self.path, config=config, trust_remote_code=False, use_safetensors=True, output_loading_info=True
            )
        except (OSError, ValueError) as error:
            raise UserError(f"reward.path={self.path} cannot be loaded as a reward model: {error}") from error
        if report["missing_keys"]:
            names = ", ".join(sorted(report["missing_keys"]))
            raise UserError(f"reward.path={self.path} is no trained reward model: its weights lack {names}")
        if tokenizer.chat_template is None:
            raise UserError(f"reward.path={self.path}: its tokenizer has no chat template")
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        if model.config.pad_token_id is None:
            model.config.pad_token_id = tokenizer.pad_token_id
        accelerator = torch.accelerator.current_accelerator() if self.device == "auto" else None
        return model.to(accelerator or "cpu").eval(), tokenizer
