"""A transformers classifier that reads conversations: what reward models of completions and of steps have in common."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from rlft.base import Query, Reading, UserError
from rlft.rewards.adapter import read_adapter

Over = Literal["sequence", "token"]


@dataclass
class Classifier:
    """A classifier over whole sequences or over each token, loaded when it is first needed. Only safetensors are read
    and no remote code is run.

    Attributes:
        path: a local folder or a hub id; a folder may hold PEFT's adapter for one, which is merged into its base model.
            batch_size: rows run at once.
        device: "auto" takes the accelerator there is; "cpu" does not.
        over: what may be classified; a folder that does not say is taken for the first. labels: how many labels it may
            have.
        kind: what it is called in messages, e.g. "reward model".
    """

    path: str
    batch_size: int
    device: Literal["auto", "cpu"]
    over: tuple[Over, ...]
    labels: tuple[int, ...]
    kind: str
    _loaded: tuple[Any, Any, Over] | None = field(default=None, init=False)
    _read: tuple[int, int, int] = field(default=(0, 0, 0), init=False)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError(f"reward.batch_size={self.batch_size}: at least 1 is needed")

    def check(self) -> None:
        """Raises UserError if the path is no hub id and there is no such folder."""
        path = Path(self.path)
        if not path.exists() and (path.is_absolute() or len(path.parts) > 2):
            raise UserError(
                f"reward.path={self.path}: there is no such folder. Give one, or a hub id; recipe=reward_model_math "
                "and recipe=reward_model_gsm8k train a reward model and leave it in RUN_DIR/adapter"
            )

    def render(self, query: Query, text: str) -> str:
        """Returns the conversation, answered by a text, by the classifier's own chat template."""
        _, tokenizer, _ = self._ready()
        turns = [*query.messages, {"role": "assistant", "content": text}]
        return tokenizer.apply_chat_template(turns, tokenize=False)

    def opening(self, query: Query) -> str:
        """Returns the conversation up to where its answer begins, likewise."""
        _, tokenizer, _ = self._ready()
        return tokenizer.apply_chat_template([*query.messages], tokenize=False, add_generation_prompt=True)

    def encode(self, query: Query, rendered: str) -> Any:
        """Returns the tokens of a rendered conversation, as its tokenizer encodes a text.

        Raises:
            UserError: they are more than the model reads.
        """
        model, tokenizer, _ = self._ready()
        encoded = tokenizer(rendered, add_special_tokens=False)  # the template has written them
        limit, length = getattr(model.config, "max_position_embeddings", None), len(encoded["input_ids"])
        if limit is not None and length > limit:
            raise UserError(
                f"reward.path={self.path} reads at most {limit} tokens, query {query.id} with its completion has "
                f"{length}; lower data.max_prompt_tokens or data.max_completion_tokens"
            )
        return encoded

    @torch.no_grad()
    def logits(self, rows: Sequence[list[int]]) -> list[Tensor]:
        """Returns the logits of each row of tokens, float32 on the CPU: [labels] of a sequence, or [tokens, labels]."""
        model, tokenizer, over = self._ready()
        lengths = [len(row) for row in rows]
        heads = len(rows) if over == "sequence" else sum(lengths)
        new = (sum(lengths), sum(n * (n + 1) // 2 for n in lengths), heads)
        self._read = tuple(a + b for a, b in zip(self._read, new, strict=True))  # type: ignore[assignment]
        results: dict[int, Tensor] = {}
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))  # rows of like length share their padding
        for start in range(0, len(order), self.batch_size):
            part = order[start : start + self.batch_size]
            inputs = {"input_ids": [rows[row] for row in part]}
            batch = tokenizer.pad(inputs, padding_side="right", return_tensors="pt")
            logits = model(**batch.to(model.device)).logits.float().cpu()
            results |= dict(zip(part, logits, strict=True))
        return [results[row] for row in range(len(rows))]

    def readings(self) -> list[Reading]:
        """Returns what it has read so far."""
        return [Reading(self._loaded[0], *self._read)] if self._loaded else []

    def close(self) -> None:
        """Gives the model's memory back."""
        self._loaded = None

    def of_tokens(self) -> bool:
        """Returns whether it classifies each token."""
        return self._ready()[2] == "token"

    def _ready(self) -> tuple[Any, Any, Over]:
        self._loaded = self._loaded or self._load()
        return self._loaded

    def _load(self) -> tuple[Any, Any, Over]:
        import transformers

        try:
            adapter = read_adapter(self.path)
            source = adapter.base if adapter else self.path
            labels = {"num_labels": adapter.labels} if adapter else {}
            config = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False, **labels)
            if config.num_labels not in self.labels:
                wanted = " or ".join("one" if n == 1 else str(n) for n in self.labels)
                raise UserError(f"reward.path={self.path} has {config.num_labels} labels; a {self.kind} has {wanted}")
            tokenizer = transformers.AutoTokenizer.from_pretrained(self.path, trust_remote_code=False)
            # What an adapter was trained in, or its weights would be rounded as they are merged.
            options = {"dtype": adapter.dtype} if adapter else {}
            over = _over(adapter.task if adapter else None, config)
            over = over if over in self.over else self.over[0]
            auto = {
                "sequence": transformers.AutoModelForSequenceClassification,
                "token": transformers.AutoModelForTokenClassification,
            }[over]
            with _quiet():  # what is missing is said below, and an adapter brings its own head
                model, report = auto.from_pretrained(
                    source,
                    config=config,
                    trust_remote_code=False,
                    use_safetensors=True,
                    output_loading_info=True,
                    **options,
                )
            missing = set(report["missing_keys"])
            if adapter:
                model, missing = adapter.merged(model), missing - adapter.modules
        except (OSError, ValueError) as error:
            raise UserError(f"reward.path={self.path} cannot be loaded as a {self.kind}: {error}") from error
        if missing:
            names = ", ".join(sorted(missing))
            raise UserError(f"reward.path={self.path} is no trained {self.kind}: its weights lack {names}")
        if tokenizer.chat_template is None:
            raise UserError(f"reward.path={self.path}: its tokenizer has no chat template")
        if over == "token" and not tokenizer.is_fast:
            raise UserError(f"reward.path={self.path}: its tokenizer does not say where in a text a token stands")
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        if model.config.pad_token_id is None:
            model.config.pad_token_id = tokenizer.pad_token_id
        accelerator = torch.accelerator.current_accelerator() if self.device == "auto" else None
        return model.to(accelerator or "cpu").eval(), tokenizer, over


def place(rendered: str, text: str, opening: str | None = None) -> tuple[int, int]:
    """Returns where an answer stands in the conversation that ends with it, as the characters' first and last + 1. An
    empty one is only found behind the conversation's `opening`.

    >>> place("USER: 1+1? BOT: 2.", " 2. ")  # a template may strip what it is given
    (16, 18)
    >>> place("USER: 1+1? BOT: /", "", "USER: 1+1? BOT: ")
    (16, 16)
    """
    known = opening is not None and rendered.startswith(opening)
    start = len(opening or "") if known else 0
    kept = text if text in rendered[start:] else text.strip()
    begin = rendered.find(kept, start) if known else rendered.rfind(kept)
    return begin, begin + len(kept)


def _over(task: str | None, config: Any) -> Over:
    """Returns what a classifier classifies, by an adapter's task or the model's class."""
    of_tokens = task == "TOKEN_CLS" or str((config.architectures or [""])[0]).endswith("ForTokenClassification")
    return "token" if of_tokens else "sequence"


@contextmanager
def _quiet() -> Iterator[None]:
    """Holds back what transformers warns of."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
