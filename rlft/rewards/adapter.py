"""Classifiers that are kept as an adapter beside their base model, as rlft trains them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

PREFIX = "base_model.model."
"""What PEFT puts before the names of weights."""


@dataclass(frozen=True)
class ClassifierAdapter:
    """What is to be known of a PEFT adapter before its base model is loaded.

    Attributes:
        path: its folder. base: the folder or hub id of the base model. task: PEFT's name of what the model is for.
        labels: that its head has, 0 without one. dtype: that it was trained in.
        modules: the weights that stand in it whole, by the names that the model has for them.
    """

    path: str
    base: str
    task: str | None
    labels: int
    dtype: Any
    modules: frozenset[str]

    def merged(self, model: Any) -> Any:
        """Returns the base model with the adapter in its weights."""
        from peft import PeftModel

        return PeftModel.from_pretrained(model, self.path).merge_and_unload()


def read_adapter(path: str) -> ClassifierAdapter | None:
    """Returns what a local folder holds of an adapter, or None if it holds none. Only safetensors are read.

    Raises:
        OSError: it has settings and no weights.
    """
    folder = Path(path)
    if not (folder / "adapter_config.json").is_file():
        return None
    from peft import PeftConfig
    from safetensors import safe_open

    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        dtype = next((file.get_tensor(name).dtype for name in file.keys() if "lora_" in name), None)  # noqa: SIM118
        names = {name.removeprefix(PREFIX): name for name in file.keys() if "lora_" not in name}  # noqa: SIM118
        heads = [name for name in names if name.endswith("score.weight")]
        labels = file.get_slice(names[heads[0]]).get_shape()[0] if heads else 0
    settings = PeftConfig.from_pretrained(path)
    base, task = str(settings.base_model_name_or_path), settings.task_type
    return ClassifierAdapter(path, base, task, labels, dtype, frozenset(names))
