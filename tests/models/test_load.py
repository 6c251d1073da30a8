"""Models, adapters and seeds: what is drawn, what is read, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import make_batch, randomise, tiny_model_dir

from rlft.base import Batch, Processes, UserError
from rlft.models.config import ModelConfig
from rlft.models.load import POLICY, REFERENCE, Loaded, load
from rlft.models.policy import Policy
from rlft.models.roles import Reference, ReferenceRole, score_rows

BATCH = make_batch([[5, 6, 7], [8]], [[[9, 10], [11, 12, 13]], [[14, 15]]])


def get(folder: Path, seed: int = 0, **changes: Any) -> Loaded:
    settings = {"path": str(folder), "dtype": "float32", "rank": 2, **changes}
    return load(ModelConfig(**settings), seed, torch.device("cpu"), print)


def adapter(loaded: Loaded, name: str = POLICY) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in loaded.model.named_parameters() if f".{name}." in n}


def scores(policy: Policy) -> torch.Tensor:
    return score_rows(policy, BATCH, 4096, "completion", Processes())


def test_the_seed_fixes_the_adapter_bit_for_bit(tiny_dir: Path) -> None:
    torch.manual_seed(1)
    first = get(tiny_dir, seed=3)
    torch.manual_seed(2)
    again = get(tiny_dir, seed=3)
    assert first.adapter_hash == again.adapter_hash
    one, two = adapter(first), adapter(again)
    assert one.keys() == two.keys() and len(one) == 28
    assert all(torch.equal(one[n], two[n]) for n in one)
    other = get(tiny_dir, seed=4)
    assert other.adapter_hash != first.adapter_hash and other.base_hash == first.base_hash
    assert all(not torch.equal(one[n], p) for n, p in adapter(other).items() if "lora_A" in n)


def test_a_new_adapter_changes_nothing_and_only_it_is_trained(tiny_dir: Path) -> None:
    loaded = get(tiny_dir)
    trained = {n for n, p in loaded.model.named_parameters() if p.requires_grad}
    assert trained == set(adapter(loaded))
    assert not loaded.model.training
    bare = get(tiny_dir, adapter="none")
    assert torch.allclose(scores(Policy(loaded.model, print)), scores(Policy(bare.model, print)), atol=1e-5)


def test_without_an_adapter_every_weight_is_trained(tiny_dir: Path) -> None:
    loaded = get(tiny_dir, adapter="none")
    assert not hasattr(loaded.model, "peft_config")
    assert all(p.requires_grad for p in loaded.model.parameters())
    assert loaded.base_hash == get(tiny_dir).base_hash


def test_settings_reach_the_adapter(tiny_dir: Path) -> None:
    loaded = get(tiny_dir, rank=3, alpha=12.0, dropout=0.25, target_modules=["q_proj", "v_proj"])
    config = loaded.model.peft_config[POLICY]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (3, 12, 0.25)
    assert len(adapter(loaded)) == 2 * 2 * 2
    assert not [n for n in adapter(get(tiny_dir)) if "lm_head" in n]  # "all-linear" leaves the head out


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_weights_and_adapter_have_the_dtype(tiny_dir: Path, dtype: str) -> None:
    loaded = get(tiny_dir, dtype=dtype)
    assert str(loaded.dtype) == f"torch.{dtype}"
    assert {p.dtype for p in loaded.model.parameters()} == {loaded.dtype}


def exported(tiny_dir: Path, folder: Path) -> Loaded:
    loaded = get(tiny_dir, seed=5)
    randomise(loaded.model, POLICY, 0.5)
    loaded.model.save_pretrained(folder)
    return loaded


def test_a_run_goes_on_from_an_adapter_and_refers_to_its_frozen_copy(tiny_dir: Path, tmp_path: Path) -> None:
    before = exported(tiny_dir, tmp_path)
    expected = scores(Policy(before.model, print))
    after = get(tiny_dir, seed=9, rank=7, adapter_path=str(tmp_path))
    policy = Policy(after.model, print)
    assert torch.equal(scores(policy), expected)
    randomised = adapter(before)
    assert all(torch.equal(p, randomised[n]) for n, p in adapter(after).items())
    assert after.model.peft_config[POLICY].r == 2
    trained = {n for n, p in after.model.named_parameters() if p.requires_grad}
    assert trained == set(adapter(after)) and not trained & set(adapter(after, REFERENCE))
    role = ReferenceRole(Reference(policy), 4096, "completion", Processes())
    randomise(after.model, POLICY, 0.5, seed=3)  # the policy moves on
    assert (scores(policy) - expected).abs().max() > 0.01
    logp_ref = role.annotate(BATCH).logp_ref
    assert logp_ref is not None and torch.equal(logp_ref, expected)
    assert {n for n, p in after.model.named_parameters() if p.requires_grad} == trained
    bare = scores(Policy(get(tiny_dir, adapter="none").model, print))
    assert (expected - bare).abs().max() > 0.01


@pytest.mark.parametrize("kind", ["lora", "none"])
def test_the_reference_stays_where_the_run_began(tiny_dir: Path, kind: str) -> None:
    loaded = get(tiny_dir, adapter=kind)
    policy = Policy(loaded.model, print)
    expected = scores(policy)
    role = ReferenceRole(Reference(policy), 4096, "completion", Processes())
    with torch.no_grad():
        for p in loaded.model.parameters():
            if p.requires_grad:
                p.add_(0.1)
    logp_ref = role.annotate(BATCH).logp_ref
    assert logp_ref is not None and torch.equal(logp_ref, expected)
    assert (scores(policy) - expected).abs().max() > 0.01
    assert not logp_ref.requires_grad


def test_rows_are_scored_alike_however_they_are_split(tiny_dir: Path) -> None:
    policy = Policy(get(tiny_dir, dtype="float64").model, print)
    whole = policy(BATCH)[0].detach()
    for tokens in (1, 8, 4096):
        for atom in ("completion", "group"):
            found = score_rows(policy, BATCH, tokens, atom, Processes())  # type: ignore[arg-type]
            assert found.dtype == torch.float64 and not found.requires_grad
            assert (found - whole).abs().max() < 1e-6  # Llama's norm is float32
    empty: Batch = BATCH.rows(torch.empty(0, dtype=torch.long))
    assert score_rows(policy, empty, 8, "completion", Processes()).shape == (0, 1)


def test_a_template_from_a_file(tiny_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "chat.jinja"
    start = "{% if add_generation_prompt %}<|im_end|>{% endif %}"
    file.write_text("{% for m in messages %}{{ m.role }}> {{ m.content }}{% endfor %}" + start)
    chat = get(tiny_dir, chat_template=str(file)).chat
    assert chat.render(({"role": "user", "content": "hi"},)) == "user> hi<|im_end|>"
    assert chat.fingerprint != get(tiny_dir).chat.fingerprint
    with pytest.raises(UserError, match=r"model\.chat_template=.*missing\.jinja: No such file"):
        get(tiny_dir, chat_template=str(tmp_path / "missing.jinja"))


def test_the_generation_configs_ends_count(tmp_path: Path) -> None:
    folder = tiny_model_dir(tmp_path / "model")
    file = folder / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "eos_token_id": [0, 17]}))
    assert get(folder).chat.eos_ids == {0, 2, 17}


def test_what_cannot_be_loaded_is_refused_by_name(
    tiny_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    exported(tiny_dir, tmp_path / "other")
    (tmp_path / "broken" / "adapter_config.json").write_text("{}")
    larger = tiny_model_dir(tmp_path / "larger", hidden_size=32)
    refused: list[tuple[str, dict[str, Any]]] = [
        (r"model\.path=.*nowhere", {"path": str(tmp_path / "nowhere")}),
        (r"model\.path=.*empty", {"path": str(tmp_path / "empty")}),
        (r"model\.path=no-such-user/no-such-model", {"path": "no-such-user/no-such-model"}),
        (r"model\.adapter_path=.*empty: no adapter_config\.json there", {"adapter_path": str(tmp_path / "empty")}),
        (r"model\.adapter_path=.*broken", {"adapter_path": str(tmp_path / "broken")}),
        (r"model\.adapter_path=.*other", {"path": str(larger), "adapter_path": str(tmp_path / "other")}),
        (r"model\.adapter_path is set and model\.adapter=none", {"adapter_path": "x", "adapter": "none"}),
        (r"model\.target_modules=\['no_such'\]", {"target_modules": ["no_such"]}),
        (r"model\.rank=0", {"rank": 0}),
    ]
    for message, changes in refused:
        with pytest.raises(UserError, match=message):
            get(tiny_dir, **changes)
