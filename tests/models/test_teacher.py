"""Who the teacher is, what it reads, and that it stays what it was while the policy learns."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import randomise, tiny_model_dir
from torch import Tensor

from rlft.base import Batch, Completion, Group, Processes, Query, Reward, UserError
from rlft.models.adapter import can_merge, merged
from rlft.models.config import ModelConfig, TeacherConfig
from rlft.models.load import POLICY, TEACHER, Loaded, load
from rlft.models.policy import Policy
from rlft.models.roles import score_rows
from rlft.models.row_cache import RowCache
from rlft.models.teacher import Teacher, TeacherRole, load_teacher
from rlft.train.collate import collate

ASKED = [
    Query("a", ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 3?"}), "5"),
    Query("b", ({"role": "user", "content": "What is 40 + 2 {all in all}?"},), "42"),
]
DRAWN = [[(9, 10), (11, 12, 13)], [(14, 15)]]
HINT = "{question} It is {answer}."
CPU = torch.device("cpu")


def get(folder: Path, seed: int = 0, **changes: Any) -> Loaded:
    return load(ModelConfig(**{"path": str(folder), "dtype": "float32", "rank": 2, **changes}), seed, CPU, print)


def batch_of(loaded: Loaded, teacher: TeacherConfig | None = None, queries: list[Query] = ASKED) -> Batch:
    groups = [
        Group(query, tuple(Completion(ids, "") for ids in drawn), (Reward(0.0),) * len(drawn))
        for query, drawn in zip(queries, DRAWN, strict=True)
    ]
    return collate(groups, loaded.chat, torch.float32, teacher)


def role_of(config: TeacherConfig, loaded: Loaded, settings: ModelConfig, cache: RowCache | None = None) -> TeacherRole:
    """As a run sets it up: what the teacher has of its own first, then the policy."""
    other = load_teacher(config, settings, loaded, CPU, print)
    return TeacherRole(Teacher(Policy(loaded.model, print), other), 4096, "completion", Processes(), cache)


def taught(role: TeacherRole, batch: Batch) -> Tensor:
    logp = role.annotate(batch).logp_teacher
    assert logp is not None and not logp.requires_grad
    return logp


def scores(policy: Policy, batch: Batch) -> Tensor:
    return score_rows(policy, batch, 4096, "completion", Processes())


def alone(folder: Path, **changes: Any) -> Policy:
    """A model in a process of its own, so to speak."""
    return Policy(get(folder, **changes).model, print)


def move(loaded: Loaded) -> None:
    with torch.no_grad():
        for p in loaded.model.parameters():
            if p.requires_grad:
                p.add_(0.05)


@pytest.fixture(scope="module")
def trained(tiny_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of rank 3 with dropout, far from nothing."""
    folder = tmp_path_factory.mktemp("trained")
    loaded = get(tiny_dir, seed=5, rank=3, dropout=0.1)
    randomise(loaded.model, POLICY, 0.5)
    loaded.model.save_pretrained(folder)
    return folder


def test_another_model(tiny_dir: Path, tmp_path: Path) -> None:
    folder, loaded = tiny_model_dir(tmp_path / "other", seed=1, hidden_size=32), get(tiny_dir)
    role = role_of(TeacherConfig(path=str(folder)), loaded, ModelConfig())
    batch = batch_of(loaded)
    found = taught(role, batch)
    assert torch.equal(found, scores(alone(folder, adapter="none"), batch))
    assert (found - scores(Policy(loaded.model, print), batch)).abs().max() > 0.01
    with role.reference.active() as teacher:
        assert not any(p.requires_grad for p in teacher.parameters())
        assert {p.dtype for p in teacher.parameters()} == {torch.float32}
        weights = sum(p.numel() for p in teacher.model.parameters())
        assert role.shape.adapter == 0 and role.shape.body < weights
    assert all(".default." in n for n, p in loaded.model.named_parameters() if p.requires_grad)
    again, third = tiny_model_dir(tmp_path / "again", seed=1, hidden_size=32), tiny_model_dir(tmp_path / "3", seed=2)
    hashes = [role_of(TeacherConfig(path=str(path)), loaded, ModelConfig()).hash for path in (again, third)]
    assert role.hash is not None and hashes[0] == role.hash != hashes[1]


def test_the_same_model_with_another_adapter_is_loaded_once(tiny_dir: Path, trained: Path) -> None:
    loaded, settings = get(tiny_dir), ModelConfig(path=str(tiny_dir))
    before = {n for n, p in loaded.model.named_parameters() if p.requires_grad}
    assert load_teacher(TeacherConfig(adapter_path=str(trained)), settings, loaded, CPU, print) is None
    policy = Policy(loaded.model, print)
    role = TeacherRole(Teacher(policy), 4096, "completion", Processes())
    assert policy.native is not None, "dropout of an adapter that is never trained is none"
    batch = batch_of(loaded)
    expected, mine = scores(alone(tiny_dir, adapter_path=str(trained)), batch), scores(policy, batch)
    found = taught(role, batch)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert (found - mine).abs().max() > 0.01
    assert torch.equal(scores(policy, batch), mine), "the policy's own adapter is on again"
    assert {n for n, p in loaded.model.named_parameters() if p.requires_grad} == before
    assert loaded.model.peft_config[TEACHER].r == 3 and loaded.model.peft_config[POLICY].r == 2
    assert role.shape.adapter * 2 == 3 * sum(p.numel() for p in loaded.model.parameters() if p.requires_grad)
    move(loaded)
    assert torch.equal(taught(role, batch), found)
    assert role.hash is not None and len(role.hash) == 16


@pytest.mark.parametrize("kind", ["lora", "none"])
def test_the_model_itself_that_is_shown_more(kind: str, tiny_dir: Path) -> None:
    loaded, config = get(tiny_dir, adapter=kind), TeacherConfig(prompt=HINT)
    role = role_of(config, loaded, ModelConfig(path=str(tiny_dir)))
    assert role.hash is None, "it has no weights of its own"
    shown = [Query(q.id, config.messages(q), q.answer) for q in ASKED]
    batch = batch_of(loaded, config)
    expected = scores(alone(tiny_dir, adapter="none"), batch_of(loaded, queries=shown))
    found = taught(role, batch)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert (found - scores(Policy(loaded.model, print), batch)).abs().max() > 1e-4
    move(loaded)
    assert torch.equal(taught(role, batch), found), "it is the model as the run began"
    rest = role.annotate(batch)
    assert rest.teacher_prompt_ids is None and rest.teacher_prompt_mask is None
    assert torch.equal(rest.prompt_ids, batch.prompt_ids)
    assert role.ran(batch).prompt_mask.sum() == sum(len(loaded.chat.prompt(q.messages)) for q in shown)


def test_a_teacher_s_adapter_on_other_layers_leaves_the_policy_s_as_it_was(tiny_dir: Path, trained: Path) -> None:
    narrow = get(tiny_dir, target_modules=["q_proj"])
    assert load_teacher(TeacherConfig(adapter_path=str(trained)), ModelConfig(), narrow, CPU, print) is None
    policy, batch = Policy(narrow.model, print), batch_of(narrow)
    role = TeacherRole(Teacher(policy), 4096, "completion", Processes())
    expected = scores(alone(tiny_dir, adapter_path=str(trained)), batch)
    torch.testing.assert_close(taught(role, batch), expected, rtol=0, atol=1e-5)
    randomise(narrow.model, POLICY, 0.5)
    mine = scores(policy, batch)
    assert can_merge(narrow.model) and can_merge(narrow.model, TEACHER)
    with merged(narrow.model):
        torch.testing.assert_close(scores(policy, batch), mine, rtol=0, atol=1e-5)


def test_other_ways_to_have_an_adapter(tiny_dir: Path, trained: Path, tmp_path: Path) -> None:
    """Of another model; and of the model all of whose weights are trained, which is then read twice."""
    copy = tmp_path / "copy"
    shutil.copytree(tiny_dir, copy)
    batch = batch_of(get(tiny_dir))
    expected = scores(alone(tiny_dir, adapter_path=str(trained)), batch)
    for path, kind in ((str(copy), "lora"), (None, "none")):
        loaded = get(tiny_dir, adapter=kind)
        config = TeacherConfig(path=path, adapter_path=str(trained))
        role = role_of(config, loaded, ModelConfig(path=str(tiny_dir), adapter=kind))  # type: ignore[arg-type]
        move(loaded)
        torch.testing.assert_close(taught(role, batch), expected, rtol=0, atol=1e-5)
        assert role.shape.adapter > 0


def test_a_run_that_goes_on_from_an_adapter_is_taught_by_it(tiny_dir: Path, trained: Path) -> None:
    loaded = get(tiny_dir, adapter_path=str(trained))
    role, batch = role_of(TeacherConfig(prompt="{question}"), loaded, ModelConfig()), batch_of(loaded)
    expected = scores(Policy(loaded.model, print), batch)
    move(loaded)
    assert torch.equal(taught(role, batch), expected)


def test_rows_that_come_again_are_remembered_by_what_the_teacher_read(tiny_dir: Path) -> None:
    loaded, config = get(tiny_dir), TeacherConfig(prompt=HINT)
    role = role_of(config, loaded, ModelConfig(path=str(tiny_dir)), RowCache())
    batch = batch_of(loaded, config)
    found = taught(role, batch)
    assert len(role.ran(batch)) == 3
    assert torch.equal(taught(role, batch), found) and len(role.ran(batch)) == 0
    taught(role, batch_of(loaded, TeacherConfig(prompt="{question} Well?")))
    assert len(role.ran(batch)) == 3


def test_what_the_teacher_reads() -> None:
    first, second = (TeacherConfig(prompt=HINT).messages(query) for query in ASKED)
    assert first == (ASKED[0].messages[0], {"role": "user", "content": "2 + 3? It is 5."})
    assert second == ({"role": "user", "content": "What is 40 + 2 {all in all}? It is 42."},)
    assert TeacherConfig().messages(ASKED[0]) == ASKED[0].messages
    braces = Query("c", ({"role": "user", "content": "{answer}?"},), "7")
    assert TeacherConfig(prompt=r"{question} \boxed{}").messages(braces)[0]["content"] == r"{answer}? \boxed{}"
    with pytest.raises(UserError, match=r"teacher\.prompt=.*query d has no reference answer"):
        TeacherConfig(prompt=HINT).messages(Query("d", braces.messages))


@pytest.mark.parametrize(
    ("prompt", "message"), [("{answer}", r"with \{question\}"), ("{question} {hint}", r"\{hint\} is neither")]
)
def test_a_template_that_cannot_be_filled_is_refused(prompt: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"teacher\.prompt=.*{message}"):
        TeacherConfig(prompt=prompt)


def test_a_revision_is_of_another_model() -> None:
    assert TeacherConfig(path="someone/model", revision="v2").revision == "v2"
    with pytest.raises(UserError, match=r"teacher\.revision=v2: it is of another model.*model\.revision"):
        TeacherConfig(prompt=HINT, revision="v2")


def test_parts_of_a_batch_have_their_teacher_s_prompts(tiny_dir: Path) -> None:
    loaded, config = get(tiny_dir), TeacherConfig(prompt=HINT)
    batch = batch_of(loaded, config)
    part = batch.rows(torch.tensor([2]))
    assert part.teacher_prompt_ids is not None and part.teacher_prompt_mask is not None
    assert part.teacher_prompt_ids.tolist() == [loaded.chat.prompt(config.messages(ASKED[1]))]
    assert part.teacher_prompt_mask.all() and part.prompt_ids.tolist() == [loaded.chat.prompt(ASKED[1].messages)]
    assert batch_of(loaded, TeacherConfig(path="x")).teacher_prompt_ids is None


def test_what_cannot_teach_is_refused_by_name(tiny_dir: Path, trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "words"
    shutil.copytree(tiny_dir, other)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["Ġof"], vocabulary["Ġthe"] = vocabulary["Ġthe"], vocabulary["Ġof"]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    narrow = tiny_model_dir(tmp_path / "narrow", vocab_size=100)
    larger = tiny_model_dir(tmp_path / "larger", hidden_size=32)
    refused = [
        (
            TeacherConfig(path=str(other)),
            r"teacher\.path=.*words: its vocabulary of \d+ tokens is not that of the model",
        ),
        (TeacherConfig(path=str(narrow)), r"teacher\.path=.*narrow: its vocabulary"),
        (TeacherConfig(path=str(tmp_path / "nowhere")), r"teacher\.path=.*nowhere.*give a local folder or a hub id"),
        (TeacherConfig(adapter_path=str(tiny_dir)), r"teacher\.adapter_path=.*: no adapter_config\.json there"),
        (TeacherConfig(path=str(larger), adapter_path=str(trained)), r"teacher\.adapter_path=.*made for this model"),
    ]
    loaded = get(tiny_dir)
    for config, message in refused:
        with pytest.raises(UserError, match=message):
            load_teacher(config, ModelConfig(path=str(tiny_dir)), loaded, CPU, print)
