"""Drawing tokens one after another: the loop every way of decoding shares, and the choice of a token."""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from rlft.base import Sampling

COMPACT = 0.75  # rows are dropped from the cache when at most this share of them goes on
SPAN = 256  # tokens of the vocabulary that are added up together

Drawn = tuple[list[int], list[float]]
"""A completion's token ids, and the log-probability each was drawn with."""


class Decoder(Protocol):
    """A model with a cache of the rows being decoded."""

    def start(self, prompts: list[list[int]], count: int, limit: int) -> Tensor:
        """Runs prompts [K], makes room for `count` rows each of up to `limit` tokens, and returns the states [B, D]
        that the rows' first tokens come from; the rows of a prompt stand together."""
        ...

    def advance(self, token: Tensor) -> Tensor:
        """Takes each row's new token [B] and returns the state [B, D] that its next one comes from."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Drops every row but these [N] (long)."""
        ...

    def logits(self, hidden: Tensor) -> Tensor:
        """Returns the logits [B, V] of states [B, D]."""
        ...


def decode(
    decoder: Decoder, prompts: list[list[int]], draws: Tensor, sampling: Sampling, ends: frozenset[int]
) -> list[Drawn]:
    """Returns a completion for every row of draws [B, limit] in [0, 1), B a multiple of the prompts; a token of `ends`
    is the last of its row. Rows that have ended are dropped, which changes no other row."""
    rows, limit = draws.shape
    hidden = decoder.start(prompts, rows // len(prompts), limit)
    device = hidden.device
    stops = torch.tensor(sorted(ends), device=device)
    tokens = torch.zeros(rows, limit, dtype=torch.long, device=device)
    logps = torch.zeros(rows, limit, device=device)
    length = torch.full((rows,), limit, device=device)
    place = torch.arange(rows, device=device)  # the rows still in the cache
    live = torch.ones_like(place, dtype=torch.bool)
    for t in range(limit):
        token, logp = choose(decoder.logits(hidden), draws[place, t], sampling)
        tokens[place, t], logps[place, t] = token, logp
        ended = live & torch.isin(token, stops)
        length[place[ended]] = t + 1
        live = live & ~ended
        going = int(live.sum())
        if going == 0 or t + 1 == limit:
            break
        if going <= COMPACT * len(place):
            keep = torch.nonzero(live).flatten()
            decoder.keep(keep)
            place, token, live = place[keep], token[keep], live[keep]
        hidden = decoder.advance(token)
    return [
        (ids[:n], values[:n]) for ids, values, n in zip(tokens.tolist(), logps.tolist(), length.tolist(), strict=True)
    ]


def choose(logits: Tensor, draw: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Returns the token [B] of each row of logits [B, V] and its log-probability [B] under the distribution it was
    drawn from, nats. The token is found where the cumulative distribution passes the draw [B] in [0, 1)."""
    if sampling.temperature == 0:
        log_p = torch.log_softmax(logits.float(), -1)
        token = logits.argmax(-1)
        return token, log_p.gather(1, token[:, None])[:, 0]
    logits = logits.float()
    p = torch.softmax(logits if sampling.temperature == 1 else logits / sampling.temperature, -1)
    if sampling.top_k or sampling.top_p < 1 or sampling.min_p > 0:
        p = _filtered(p, sampling)
    token, total = invert(p, draw)
    return token, (p.gather(1, token[:, None])[:, 0] / total).log()


def invert(p: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the first token [B] at which the cumulative sum of weights p [B, V] passes a share `draw` [B], in [0, 1),
    of their total [B], and that total. The sums of spans tell which span to go through token by token: a cumulative sum
    over a whole vocabulary is the slowest part of drawing a token."""
    spans = functional.pad(p, (0, -p.shape[1] % SPAN)).unflatten(1, (-1, SPAN))
    sums = spans.sum(2)
    total = sums.sum(1)
    span, before = _passing(sums, draw * total)
    token, _ = _passing(spans[torch.arange(len(p), device=p.device), span], draw * total - before)
    return span * SPAN + token, total


def _passing(weights: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the first place [B] at which the cumulative sum of weights [B, n] passes `at` [B], and the sum before it.
    Where rounding lets none pass it is the last whose weight is not zero."""
    sums = functional.pad(weights.cumsum(1), (1, 0))
    places = torch.arange(weights.shape[1], device=weights.device)
    last = torch.where(weights > 0, places, 0).amax(1)
    place = torch.minimum((sums[:, 1:] <= at[:, None]).sum(1), last)
    return place, sums.gather(1, place[:, None])[:, 0]


def _filtered(p: Tensor, sampling: Sampling) -> Tensor:
    """Zeroes what top-k, top-p and min-p leave out; the most probable token always stays."""
    order = p.sort(-1, descending=True)
    keep = torch.ones_like(p, dtype=torch.bool)
    if sampling.top_k:
        keep[:, sampling.top_k :] = False
    keep &= order.values.cumsum(-1) - order.values < sampling.top_p
    keep &= order.values >= sampling.min_p * order.values[:, :1]
    keep[:, 0] = True
    return torch.zeros_like(p).scatter(1, order.indices, order.values * keep)


def left_padded(rows: list[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns token ids [K, P] padded on the left with 0, and their mask [K, P] (long)."""
    width = max(len(r) for r in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, width - len(row) :] = torch.tensor(row)
        mask[i, width - len(row) :] = 1
    return ids.to(device), mask.to(device)
