"""Completions of π_ref: the cache, what is kept, and what is said."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlft.base import Reward, UserError
from rlft.data import Offline
from rlft.data.cache import CHUNK


def fresh(path: str, **fields: Any) -> Offline:
    return Offline(**{"train_file": path, "samples_per_prompt": 4, "keep": "all", **fields})


def drawn(source: Offline) -> list[Any]:
    return [source.next(11) for _ in range(20)]


def chunks(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").rglob("*.jsonl"))


@pytest.mark.parametrize("keep", ["all", "right", "pairs"])
def test_cold_and_warm_cache_give_the_same(keep: str, gsm8k: str, context: Any, sampler: Any, said: list[str]) -> None:
    cold, warm = fresh(gsm8k, keep=keep), fresh(gsm8k, keep=keep)
    first, second = sampler(), sampler()
    cold.bind(context(sampler=first))
    assert any("sampled π_ref on 32 of 190 questions" in line or "sampled π_ref on 32 of" in line for line in said)
    warm.bind(context(sampler=second))
    assert first.calls and not second.calls
    assert {call[1:] for call in first.calls} == {("offline", 0, True)}
    assert drawn(cold) == drawn(warm)
    assert cold.sampled_tokens == warm.sampled_tokens
    if keep == "all":
        assert cold.sampled_tokens == sum(len(c.token_ids) for g in cold._groups for c in g.completions) > 0
    assert cold.held_out() == warm.held_out()


@pytest.mark.parametrize("keep", ["all", "right", "pairs"])
def test_what_is_kept_of_what_was_sampled_is_counted(keep: str, gsm8k: str, context: Any, said: list[str]) -> None:
    source = fresh(gsm8k, keep=keep)
    source.bind(context())
    if keep == "all":
        assert source.kept_share == 1
        return
    (line,) = (line for line in said if "acceptance" in line)
    right, total = (int(word) for word in line.split("acceptance ")[1].split(" (")[0].split(" of "))
    kept = right if keep == "right" else 2 * len(source._groups)  # a completion stands in one pair
    assert source.kept_share == pytest.approx(kept / total) and 0 < kept < total


def test_an_interruption_keeps_the_chunks_done(gsm8k: str, context: Any, sampler: Any, tmp_path: Path) -> None:
    whole = sampler()
    reference = fresh(gsm8k)
    reference.bind(context(sampler=whole))
    for file in chunks(tmp_path):
        file.unlink()
    with pytest.raises(KeyboardInterrupt):
        fresh(gsm8k).bind(context(sampler=sampler(fail_after=2)))
    assert len(chunks(tmp_path)) == 2
    rest = sampler()
    resumed = fresh(gsm8k)
    resumed.bind(context(sampler=rest))
    assert rest.calls == whole.calls[2:]
    assert all(len(call[0]) <= CHUNK for call in whole.calls)
    assert drawn(resumed) == drawn(reference)


@pytest.mark.parametrize("damage", ["{", "", "[]\n" * CHUNK])
def test_a_damaged_chunk_is_sampled_again(damage: str, gsm8k: str, context: Any, sampler: Any, tmp_path: Path) -> None:
    reference = fresh(gsm8k)
    reference.bind(context())
    chunks(tmp_path)[1].write_text(damage)
    again = sampler()
    repaired = fresh(gsm8k)
    repaired.bind(context(sampler=again))
    assert len(again.calls) == 1
    assert drawn(repaired) == drawn(reference)


@pytest.mark.parametrize("damage", ["a sample missing", "another query's"])
def test_a_chunk_of_something_else_is_sampled_again(
    damage: str, gsm8k: str, context: Any, sampler: Any, tmp_path: Path
) -> None:
    fresh(gsm8k).bind(context())
    file = chunks(tmp_path)[0]
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    if damage == "a sample missing":
        lines[0]["completions"].pop()
    else:
        lines[0]["id"] = "other"
    file.write_text("\n".join(map(json.dumps, lines)))
    again = sampler()
    fresh(gsm8k).bind(context(sampler=again))
    assert len(again.calls) == 1


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        ({}, {}),
        ({"keep": "right", "shuffle": False}, {}),
        ({"temperature": 0.7}, {}),
        ({"top_k": 5}, {}),
        ({"top_p": 0.9}, {}),
        ({"min_p": 0.1}, {}),
        ({"max_completion_tokens": 7}, {}),
        ({"samples_per_prompt": 5}, {}),
        ({"prompt": "{question} Think."}, {}),
        ({"pool": 20}, {}),
        ({}, {"seed": 1}),
        ({}, {"weights": "others"}),
    ],
)
def test_the_cache_is_stale_when_the_samples_would_differ(
    fields: dict[str, Any], changes: dict[str, Any], gsm8k: str, context: Any, sampler: Any
) -> None:
    fresh(gsm8k).bind(context())
    again = sampler(**changes)
    fresh(gsm8k, **fields).bind(context(seed=changes.get("seed", 0), sampler=again))
    stale = bool(set(fields) - {"keep", "shuffle"} or changes)
    assert bool(again.calls) == stale


def test_scores_are_computed_afresh(gsm8k: str, context: Any, sampler: Any) -> None:
    fresh(gsm8k, keep="right").bind(context())

    def all_right(groups: list[Any]) -> list[Any]:
        return [g.scored([Reward(0.6)] * len(g.completions)) for g in groups]

    again = sampler()
    source = fresh(gsm8k, keep="right")
    source.bind(context(sampler=again, score=all_right))
    assert not again.calls
    size = 4 * (200 - len(source.held_out()))
    assert len(set(map(id, source.next(size)))) == size


def test_right_ones_each_alone_and_the_acceptance_said(gsm8k: str, context: Any, said: list[str]) -> None:
    source = fresh(gsm8k, keep="right", pool=50)
    source.bind(context())
    (line,) = [line for line in said if "acceptance" in line]
    right = int(line.split()[2])
    assert line == f"data: acceptance {right} of 200 ({right / 200:.1%})"
    groups = source.next(right)
    assert all(len(g.completions) == 1 and g.completions[0].text == g.query.answer for g in groups)
    assert len({g.query.id for g in groups}) <= 50
    assert source.name == "offline · gsm8k.jsonl"


@pytest.mark.parametrize("limit", [1, None])
def test_pairs_of_a_right_and_a_wrong_one(gsm8k: str, context: Any, limit: int | None) -> None:
    source = fresh(gsm8k, keep="pairs", pairs_per_question=limit, shuffle=False)
    source.bind(context())
    groups = source.next(source._size())
    for group in groups:
        good, bad = group.completions
        assert good.text == group.query.answer != bad.text
    counts = [len([g for g in groups if g.query.id == key]) for key in {g.query.id for g in groups}]
    assert max(counts) == 1 if limit else max(counts) == 4  # two right of four make four pairs


def test_completions_that_could_not_be_scored_are_neither_right_nor_wrong(gsm8k: str, context: Any) -> None:
    def broken(groups: list[Any]) -> list[Any]:
        return [g.scored([Reward(1.0), *[Reward(0.0, error="timeout")] * 3]) for g in groups]

    with pytest.raises(UserError, match=r"data\.keep=pairs: none of \d+ completions .* is wrong where needed"):
        fresh(gsm8k, keep="pairs").bind(context(score=broken))


@pytest.mark.parametrize("keep", ["right", "pairs"])
def test_no_right_sample_at_all(keep: str, gsm8k: str, context: Any, sampler: Any) -> None:
    with pytest.raises(UserError, match=rf"data\.keep={keep}: none of \d+ .*is right .*data\.samples_per_prompt="):
        fresh(gsm8k, keep=keep).bind(context(sampler=sampler(chance=0)))


def test_a_cache_that_cannot_be_written(gsm8k: str, context: Any, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="cache of sampled completions cannot be written"):
        fresh(gsm8k).bind(context())
