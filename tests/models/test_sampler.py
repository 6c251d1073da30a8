"""Completions: whose they are, which draws made them, and that rows do not disturb one another."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import END, NumberChat, make_batch, tiny_model, with_adapter

from rlft.base import Completion, Group, Processes, Query, Sampling
from rlft.models import decode as decoding
from rlft.models import sampler as module
from rlft.models.adapter import only
from rlft.models.cache import CachedDecoder, WholeDecoder
from rlft.models.decode import Decoder, decode, left_padded
from rlft.models.native import NativeDecoder, read_head
from rlft.models.policy import Policy
from rlft.models.roles import Reference
from rlft.models.sampler import PolicySampler

SAMPLING = Sampling(max_tokens=12)
CHAT: Any = NumberChat()


def query(words: str) -> Query:
    return Query(words, ({"role": "user", "content": words},))


QUERIES = [query("5 6 7"), query("8"), query("9 10 11 12 13 14 15"), query("16 17"), query("5 20 30 40 50")]


def make_sampler(model: Any, seed: int = 0, chat: Any = CHAT) -> PolicySampler:
    policy = Policy(model, print)
    return PolicySampler(policy, Reference(policy), chat, seed, "fingerprint", Processes())


def draw(
    sampler: PolicySampler, queries: list[Query], count: int = 4, sampling: Sampling = SAMPLING, **where: Any
) -> Any:
    return sampler.sample(queries, count, sampling, **{"purpose": "train", "step": 3, **where})


def tokens(groups: list[Group]) -> list[list[tuple[int, ...]]]:
    return [[c.token_ids for c in g.completions] for g in groups]


def batch_of(groups: list[Group]) -> Any:
    rows = [[list(c.token_ids) for c in g.completions] for g in groups]
    return make_batch([CHAT.prompt(g.query.messages) for g in groups], rows)


@pytest.fixture(scope="module")
def model() -> Any:
    return with_adapter(tiny_model(), scale=0.3)


def test_a_querys_draws_do_not_depend_on_its_company(model: Any) -> None:
    sampler = make_sampler(model)
    together = tokens(draw(sampler, QUERIES))
    assert [tokens(draw(sampler, [q]))[0] for q in QUERIES] == together
    assert tokens(draw(sampler, QUERIES[::-1])) == together[::-1]
    assert len({row for rows in together for row in rows}) == 20


def test_neither_do_they_depend_on_how_many_rows_go_at_once(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = make_sampler(model)
    expected = tokens(draw(sampler, QUERIES))
    monkeypatch.setattr(module, "ROWS", 4)
    assert tokens(draw(sampler, QUERIES)) == expected


def test_draws_depend_on_seed_purpose_step_and_query(model: Any) -> None:
    base = tokens(draw(make_sampler(model), QUERIES[:1]))
    assert tokens(draw(make_sampler(model), QUERIES[:1])) == base
    assert tokens(draw(make_sampler(model, seed=1), QUERIES[:1])) != base
    assert tokens(draw(make_sampler(model), QUERIES[:1], purpose="evaluate")) != base
    assert tokens(draw(make_sampler(model), QUERIES[:1], step=4)) != base
    named = Query("another id", QUERIES[0].messages)
    assert tokens(draw(make_sampler(model), [named])) != base


@pytest.mark.parametrize("compact", [0.0, 0.75, 1.0])
def test_dropping_rows_that_have_ended_changes_no_other(
    model: Any, monkeypatch: pytest.MonkeyPatch, compact: float
) -> None:
    chat: Any = NumberChat((2, 7, 11, 19, 23, 31, 40, 41, 50, 60))  # many ends: rows end at every length
    monkeypatch.setattr(decoding, "COMPACT", compact)
    sampler = make_sampler(model, chat=chat)
    policy = sampler.policy
    prompts = [chat.prompt(q.messages) for q in QUERIES]
    draws = torch.rand(20, 12, generator=torch.Generator().manual_seed(1))

    def draw_with(decoder: Decoder) -> Any:
        return decode(decoder, prompts, draws, SAMPLING, frozenset(chat.eos_ids))

    with torch.no_grad():
        kept = draw_with(NativeDecoder(policy.native, read_head(policy.base.lm_head)))
        cached = draw_with(CachedDecoder(policy))
        whole = draw_with(WholeDecoder(policy))
    for found in (kept, cached):
        assert [ids for ids, _ in found] == [ids for ids, _ in whole]
        for (_, ours), (_, theirs) in zip(found, whole, strict=True):
            assert torch.allclose(torch.tensor(ours), torch.tensor(theirs), atol=1e-6)
    lengths = {len(ids) for ids, _ in kept}
    assert len(lengths) >= 5 and all(not chat.eos_ids & set(ids[:-1]) for ids, _ in kept)


def test_log_probabilities_are_the_policys(model: Any) -> None:
    sampler = make_sampler(model)
    groups = draw(sampler, QUERIES)
    batch = batch_of(groups)
    with torch.no_grad():
        logp = sampler.policy(batch)[0]
    sampled = torch.cat([torch.tensor(c.logps) for g in groups for c in g.completions])
    assert (logp[batch.mask] - sampled.double()).abs().max() < 2e-6


def test_the_reference_is_sampled_without_the_adapter(model: Any) -> None:
    sampler = make_sampler(model)
    groups = draw(sampler, QUERIES, reference=True)
    batch = batch_of(groups)
    with torch.no_grad():
        policy = sampler.policy(batch)[0]
        with only(model, None):
            reference = sampler.policy(batch)[0]
    sampled = torch.cat([torch.tensor(c.logps) for g in groups for c in g.completions]).double()
    assert (reference[batch.mask] - sampled).abs().max() < 2e-6
    assert (policy[batch.mask] - sampled).abs().max() > 0.1
    plain = make_sampler(tiny_model())
    assert tokens(draw(plain, QUERIES)) == tokens(groups)
    assert tokens(draw(plain, QUERIES, reference=True)) == tokens(groups)


def test_the_limit_is_kept_and_finished_says_who_ended(model: Any) -> None:
    chat: Any = NumberChat((2, 7, 11, 19))
    sampler = make_sampler(model, chat=chat)
    for limit in (1, 2, 8):
        groups = draw(sampler, QUERIES, sampling=Sampling(max_tokens=limit))
        rows = [c for g in groups for c in g.completions]
        assert max(len(c.token_ids) for c in rows) == limit
        for c in rows:
            assert c.finished == (c.token_ids[-1] in chat.eos_ids)
            assert c.finished or len(c.token_ids) == limit
            assert c.logps is not None and len(c.logps) == len(c.token_ids)
            assert c.text == chat.text(list(c.token_ids))
    assert {c.finished for c in rows} == {True, False}


def test_the_first_completions_do_not_depend_on_how_many_follow(model: Any) -> None:
    sampler = make_sampler(model)
    many = tokens(draw(sampler, QUERIES, count=4))
    assert tokens(draw(sampler, QUERIES, count=2)) == [rows[:2] for rows in many]


def test_no_gradient_or_flag_is_left(model: Any) -> None:
    sampler = make_sampler(model)
    flags = [p.requires_grad for p in model.parameters()]
    for reference in (True, False):
        draw(sampler, QUERIES, reference=reference)
    assert [p.requires_grad for p in model.parameters()] == flags
    assert all(p.grad is None for p in model.parameters())
    assert sampler.fingerprint() == "fingerprint"


def test_first_tokens_have_the_models_frequencies(model: Any) -> None:
    """A chi-square test against the exact probabilities, at one in a thousand (Wilson and Hilferty)."""
    count = 8000
    group = draw(make_sampler(model), [query("5 6 7")], count=count, sampling=Sampling(max_tokens=1))[0]
    with torch.no_grad():
        expected = count * torch.softmax(model(torch.tensor([[5, 6, 7]])).logits[0, -1], -1)
    assert expected.min() > 5
    seen = torch.bincount(torch.tensor([c.token_ids[0] for c in group.completions]), minlength=64)
    chi_square = float(((seen - expected) ** 2 / expected).sum())
    assert chi_square < 63 * (1 - 2 / (9 * 63) + 3.09 * (2 / (9 * 63)) ** 0.5) ** 3


def test_left_padding() -> None:
    ids, mask = left_padded([[5, 6, 7], [8]], torch.device("cpu"))
    assert ids.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]


def test_a_cut_row_beside_an_ended_one() -> None:
    """A model that always ends: every completion is the end token alone, greedy as well as drawn."""
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    model.lm_head.bias = torch.nn.Parameter(torch.full((64,), -50.0, dtype=torch.float64))
    with torch.no_grad():
        model.lm_head.bias[END] = 50.0
    sampler = make_sampler(model)
    for temperature in (0.0, 1.0):
        groups = draw(sampler, QUERIES[:2], count=2, sampling=Sampling(max_tokens=3, temperature=temperature))
        expected = Completion((END,), str(END), True, None, (0.0,))
        assert [c for g in groups for c in g.completions] == [expected] * 4


@pytest.mark.parametrize(("gigabytes", "rows"), [(8, 1024), (0.5, 150)])
def test_a_gpu_decodes_as_many_rows_as_a_share_of_its_memory_holds(
    gigabytes: float, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand: 2 (keys, values) x 2 layers x 2 heads x 8 x 128 positions x 4 bytes, and 16 bytes a word; 30 words in
    one case, 50,000 in the other."""
    config = SimpleNamespace(
        num_hidden_layers=2, num_key_value_heads=2, num_attention_heads=4, head_dim=8, hidden_size=32,
        vocab_size=30 if gigabytes == 8 else 50_000,
    )  # fmt: skip
    head = SimpleNamespace(weight=torch.zeros(1))
    base = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: config), get_output_embeddings=lambda: head)
    policy: Any = SimpleNamespace(device=torch.device("cpu"), base=base)
    assert module.rows_at_once(policy, 128) == module.ROWS
    policy.device = torch.device("cuda")
    memory = SimpleNamespace(total_memory=int(gigabytes * 1e9))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: memory)
    assert module.rows_at_once(policy, 128) == rows
