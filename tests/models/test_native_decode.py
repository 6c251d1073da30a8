"""Native decoding: its states and tokens are those of whole sequences, and its draws have the model's frequencies."""

from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import FAMILIES, NumberChat, family, with_adapter
from torch import Tensor

from rlft.base import Processes, Query, Sampling
from rlft.models import decode as decoding
from rlft.models.adapter import only
from rlft.models.cache import WholeDecoder
from rlft.models.decode import decode
from rlft.models.native import NativeDecoder
from rlft.models.native import decode as native_decode
from rlft.models.native.weights import Linear, Low, pack, packs
from rlft.models.policy import Policy
from rlft.models.roles import Reference
from rlft.models.sampler import PolicySampler, decoder_of

PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 14, 15], [16, 17, 18]]


@pytest.fixture(scope="module", params=FAMILIES)
def policy(request: pytest.FixtureRequest) -> Policy:
    policy = Policy(with_adapter(family(request.param), scale=0.3), print)
    assert isinstance(decoder_of(policy), NativeDecoder)
    return policy


def compare(policy: Policy, prompts: list[list[int]], count: int, steps: list[list[bool]], tolerance: float) -> None:
    """Takes random tokens with both decoders, dropping after each all rows but those of `steps`."""
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        native, whole = decoder_of(policy), WholeDecoder(policy)
        ours, theirs = (d.start(prompts, count, len(steps) + 1) for d in (native, whole))
        for kept in steps:
            assert ours.shape == theirs.shape
            assert (native.logits(ours) - whole.logits(theirs)).abs().max() < tolerance
            rows = torch.tensor(kept[: len(ours)]).nonzero()[:, 0]
            if len(rows) == 0:
                return
            if len(rows) < len(ours):
                native.keep(rows)
                whole.keep(rows)
            token = torch.randint(3, 64, (len(rows),), generator=draw)
            ours, theirs = native.advance(token), whole.advance(token)
        assert (native.logits(ours) - whole.logits(theirs)).abs().max() < tolerance


@pytest.mark.parametrize("prompts", [PROMPTS, PROMPTS[::3], PROMPTS[:1]], ids=["unequal", "equal", "one"])
def test_states_are_those_of_whole_sequences(policy: Policy, prompts: list[list[int]]) -> None:
    compare(policy, prompts, 3, [[True] * 12] * 5, 1e-9)


def test_rows_may_be_dropped_at_every_length_and_a_query_may_lose_all_its_rows(policy: Policy) -> None:
    first_query_ends = [False] * 3 + [True] * 9
    last_row_ends = [[True] * n + [False] for n in range(8, 0, -1)]
    compare(policy, PROMPTS, 3, [[True] * 12, first_query_ends, *last_row_ends], 1e-9)


def test_the_room_for_keys_grows(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the room there was, with rows dropped between: what is not written yet must not be read."""
    monkeypatch.setattr(native_decode, "ROOM", 2)
    compare(policy, PROMPTS, 3, [[True] * 12, [True] * 12, [False] * 3 + [True] * 9, *[[True] * 9] * 3], 1e-9)


@pytest.fixture(scope="module")
def llama() -> Policy:
    return Policy(with_adapter(family("llama"), scale=0.3), print)


prompts = st.lists(st.lists(st.integers(3, 63), min_size=1, max_size=6), min_size=1, max_size=3)


@settings(max_examples=25)
@given(
    drawn=prompts,
    count=st.integers(1, 4),
    steps=st.lists(st.lists(st.booleans(), min_size=12, max_size=12), max_size=5),
)
def test_rows_dropped_in_any_order(llama: Policy, drawn: list[list[int]], count: int, steps: list[list[bool]]) -> None:
    compare(llama, drawn, count, steps, 1e-9)


@pytest.mark.parametrize("on", [True, False], ids=["adapter on", "adapter off"])
@pytest.mark.parametrize("temperature", [1.0, 0.0])
def test_the_same_draws_give_the_same_tokens(
    policy: Policy, on: bool, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "COMPACT", 1.0)
    ends = frozenset(range(3, 16))  # a fifth of the tokens: rows end at many lengths
    draws = torch.rand(16, 12, generator=torch.Generator().manual_seed(1))
    sampling = Sampling(max_tokens=12, temperature=temperature)
    with torch.no_grad(), only(policy.model, "default" if on else None):
        found = decode(decoder_of(policy), PROMPTS, draws, sampling, ends)
        whole = decode(WholeDecoder(policy), PROMPTS, draws, sampling, ends)
    assert [ids for ids, _ in found] == [ids for ids, _ in whole]
    for (_, ours), (_, theirs) in zip(found, whole, strict=True):
        assert torch.allclose(torch.tensor(ours), torch.tensor(theirs), rtol=0, atol=1e-6)
    assert temperature == 0 or len({len(ids) for ids, _ in found}) > 4


def test_a_decoder_keeps_the_adapters_it_was_made_with() -> None:
    policy = Policy(with_adapter(family("llama"), scale=0.3), print)
    with torch.no_grad():
        before = {n: p.clone() for n, p in policy.model.named_parameters()}
        on = decoder_of(policy)
        with only(policy.model, None):
            off = decoder_of(policy)
            base = WholeDecoder(policy).start(PROMPTS, 1, 1)
        expected = WholeDecoder(policy).start(PROMPTS, 1, 1)
        assert (on.start(PROMPTS, 1, 1) - expected).abs().max() < 1e-9
        assert (off.start(PROMPTS, 1, 1) - base).abs().max() < 1e-9
        assert (base - expected).abs().max() > 0.01
    assert all(torch.equal(p, before[n]) for n, p in policy.model.named_parameters()), "merging is into a copy"


def distribution(logits: Tensor, sampling: Sampling) -> Tensor:
    """The probabilities [V] that tokens are to be drawn with, found one token at a time from the most probable down."""
    p = torch.softmax(logits / sampling.temperature, -1)
    kept, before = torch.zeros_like(p), 0.0
    for rank, token in enumerate(p.argsort(descending=True).tolist()):
        inside = not sampling.top_k or rank < sampling.top_k
        if rank == 0 or (inside and before < sampling.top_p and p[token] >= sampling.min_p * p.max()):
            kept[token] = p[token]
        before += float(p[token])
    return kept / kept.sum()


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(max_tokens=2),
        Sampling(max_tokens=2, temperature=0.7, top_k=20),
        Sampling(max_tokens=2, temperature=0.7, top_p=0.8),
        Sampling(max_tokens=2, temperature=0.7, min_p=0.05),
        Sampling(max_tokens=2, temperature=0.7, top_k=30, top_p=0.9, min_p=0.02),
    ],
    ids=["plain", "top-k", "top-p", "min-p", "all three"],
)
def test_two_tokens_have_the_models_frequencies(llama: Policy, sampling: Sampling) -> None:
    """A chi-square test of the pairs of 20,000 draws, at one in a thousand (Wilson and Hilferty's approximation)."""
    count, prompt = 20_000, [5, 6, 7]
    chat: Any = NumberChat(ends=())
    sampler = PolicySampler(llama, Reference(llama), chat, 0, "", Processes())
    query = Query("q", ({"role": "user", "content": "5 6 7"},))
    group = sampler.sample([query], count, sampling, purpose="train", step=0)[0]
    seen = torch.zeros(64, 64, dtype=torch.float64)
    for completion in group.completions:
        seen[completion.token_ids] += 1
    with torch.no_grad():
        first = distribution(llama.model(torch.tensor([prompt])).logits[0, -1], sampling)
        after = llama.model(torch.tensor([[*prompt, token] for token in range(64)])).logits[:, -1]
        expected = count * torch.stack([p * distribution(z, sampling) for p, z in zip(first, after, strict=True)])
    assert seen.sum() == count and not seen[expected == 0].any()
    often = expected >= 5
    cells = list(zip(seen[often].tolist(), expected[often].tolist(), strict=True))
    if bool((expected[~often] > 0).any()):
        cells.append((float(seen[~often].sum()), float(expected[~often].sum())))
    free = len(cells) - 1
    assert free > 30
    chi_square = sum((s - e) ** 2 / e for s, e in cells)
    assert chi_square < free * (1 - 2 / (9 * free) + 3.09 * (2 / (9 * free)) ** 0.5) ** 3
    for completion in group.completions[:50]:
        a, b = completion.token_ids
        logp = torch.tensor([first[a], expected[a, b] / (count * first[a])]).log()
        assert completion.logps is not None
        assert torch.allclose(torch.tensor(completion.logps).double(), logp, rtol=0, atol=1e-5)


ROUNDING = torch.finfo(torch.bfloat16).eps / 2


@pytest.mark.parametrize(("rows", "bias"), product([1, 3, 32], [False, True]))
def test_packed_products_round_as_plain_ones(rows: int, bias: bool) -> None:
    draw = torch.Generator().manual_seed(rows)
    weight, x, onto = (torch.randn(*shape, generator=draw).bfloat16() for shape in ((48, 32), (rows, 32), (rows, 48)))
    offset = torch.randn(48, generator=draw).bfloat16() if bias else None
    plain, packed = Linear(weight, offset), Linear(weight, offset, packed=pack(weight))
    exact = x.double() @ weight.double().T + (0 if offset is None else offset.double())
    for linear in (plain, packed):
        y = linear(x)
        assert y.dtype == torch.bfloat16
        assert ((y.double() - exact).abs() <= 1.01 * ROUNDING * exact.abs() + 1e-5).all()
        total = linear(x, onto.clone()).double()
        room = 2 * ROUNDING * (exact.abs() + onto.double().abs())  # the product is rounded, then the sum
        assert ((total - exact - onto.double()).abs() <= 1.01 * room + ROUNDING).all()


def test_a_merged_product_is_the_sum_rounded_once() -> None:
    draw = torch.Generator().manual_seed(0)
    weight, down, up = (torch.randn(*shape, generator=draw).bfloat16() for shape in ((12, 8), (2, 8), (5, 2)))
    part = Low(down, up, slice(3, 8), 1.5)
    wide = torch.zeros(12, 2, dtype=torch.bfloat16)
    wide[part.out] = part.up * part.scale
    merged = Linear(weight, None, (part,), down, wide).merged()
    expected = weight.double()
    expected[part.out] += (part.up * part.scale).double() @ down.double()
    found = merged(torch.eye(8).bfloat16()).T.double()
    assert merged.parts == () and merged.down is None and merged.up is None
    assert ((found - expected).abs() <= 1.01 * ROUNDING * expected.abs() + 1e-6).all()
    assert (merged.packed is not None) == packs()
    assert pack(weight.float()) is None, "only bfloat16 gains from it"


def test_a_processor_without_bfloat16_takes_the_plain_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlft.models.native.weights.packs", lambda: False)
    assert pack(torch.zeros(4, 4, dtype=torch.bfloat16)) is None


def test_bfloat16_rows_are_near_their_whole_sequences() -> None:
    for name in FAMILIES:
        policy = Policy(with_adapter(family(name, torch.bfloat16)), print)
        compare(policy, PROMPTS, 3, [[True] * 12, [False] * 3 + [True] * 9, [True, False] * 6], 0.3)
