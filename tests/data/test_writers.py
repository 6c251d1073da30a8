"""Who wrote an answer: how strong writers are, pairs in which that says nothing, and what is held out."""

from collections.abc import Callable
from typing import Any

import pytest

from rlft.base import Group, Query, UserError
from rlft.data import Offline, Pairs
from rlft.data.formats import MODELS

Write = Callable[[str, list[Any]], str]
STRONG, WEAK, *OTHERS = MODELS


def solutions(n: int, right: str, wrong: str) -> dict[str, Any]:
    """A row in which one model is right and one is wrong; the others write what the wrong one did."""
    row: dict[str, Any] = {"question": f"What is {n}?", "ground_truth": f"A: {n}"}
    for model in MODELS:
        row[model] = {"is_correct": model == right, "solution": f"{n} is {n}" if model == right else f"{n}, no"}
    # MODELS[0] comes first: a text that several have is taken to be the first one's.
    row[wrong]["solution"] = f"{n} is not by {wrong}"
    return row


@pytest.fixture
def file(write: Write) -> str:
    """Of 40 questions the strong one has 30 right where the weak one is wrong; of 10 it is the other way round."""
    return write(
        "solutions.jsonl",
        [solutions(n, STRONG, WEAK) if n % 4 else solutions(n, WEAK, STRONG) for n in range(40)],
    )


def bound(path: str, context: Any, **fields: Any) -> Pairs:
    source = Pairs(train_file=path, **fields)
    source.bind(context())
    return source


def writers(group: Group) -> tuple[str, str]:
    """Who is right and who is wrong in a pair of the test's file, by its texts."""
    right, wrong = (c.text for c in group.completions)
    n = int(right.split()[0])
    return (STRONG if n % 4 else WEAK), wrong.rpartition(" ")[2]


def test_balanced_pairs_say_nothing_of_who_wrote_the_right_one(file: str, context: Any) -> None:
    every = bound(file, context, held_out_share=0)
    assert len(every._groups) == 80, "the wrong one's text, and the one that the others share"
    balanced = bound(file, context, held_out_share=0, balance_writers=True)
    found = [writers(group) for group in balanced._groups if "not by" in group.completions[1].text]
    assert found.count((STRONG, WEAK)) == found.count((WEAK, STRONG)) == 10
    kept = {group.query.id for group in balanced._groups if writers(group) == (STRONG, WEAK)}
    first = sorted({g.query.id for g in every._groups if writers(g) == (STRONG, WEAK)})[:10]
    assert kept == set(first), "which ones goes by the questions' ids"
    places = [every._groups.index(group) for group in balanced._groups]
    assert places == sorted(places), "in the file's order"


def test_pairs_of_unknown_writers_cannot_be_balanced(write: Write, context: Any) -> None:
    path = write("pairs.jsonl", [{"prompt": f"q{n}", "chosen": "1", "rejected": "2"} for n in range(9)])
    with pytest.raises(UserError, match=r"data\.balance_writers=true: who wrote the answers to 'q\d' is not known"):
        bound(path, context, balance_writers=True)
    groups = bound(path, context, held_out_share=0.5).held_out_groups(99)
    assert groups and groups[0].query.metadata["writers"] == [None, None]


def test_held_out_answers_come_whole_with_their_writers_and_how_strong_these_are(file: str, context: Any) -> None:
    source = bound(file, context, held_out_share=0.5, balance_writers=True)
    held = source.held_out()
    groups = source.held_out_groups(99)
    assert [group.query.id for group in groups] == [query.id for query in held]
    assert len(groups) > 5
    assert source.held_out_groups(3) == groups[:3]
    for group in groups:
        metadata = group.query.metadata
        assert [reward.value for reward in group.rewards] == [1.0, 0.0, 0.0]
        n = int(group.completions[0].text.split()[0])
        assert metadata["writers"][0] == (STRONG if n % 4 else WEAK)
        for completion, writer in zip(group.completions[1:], metadata["writers"][1:], strict=True):
            assert "not by" not in completion.text or completion.text.endswith(writer)
        # Of all 40 rows: 30 right of the 40 texts that are the strong one's, 10 right of the weak one's.
        assert metadata["strength"][STRONG] == 0.75
        assert metadata["strength"][WEAK] == pytest.approx(10 / 40)
    trained = {group.query.id for group in source._groups}
    assert not trained & {group.query.id for group in groups}


def test_sampled_pairs_are_held_out_too(gsm8k: str, context: Any, sampler: Any) -> None:
    asked = sampler()
    source = Offline(train_file=gsm8k, keep="pairs", samples_per_prompt=4, held_out_share=0.2)
    source.bind(context(sampler=asked))
    groups = source.held_out_groups(5)
    assert [group.query for group in groups] == source.held_out()[:5]
    assert all(len(group.completions) == 4 and not group.rewards for group in groups)
    assert asked.calls[-1][1:] == ("held-out", 0, True)
    other = Offline(train_file=gsm8k, keep="right", samples_per_prompt=4)
    other.bind(context())
    assert other.held_out_groups(5) == []


def test_a_source_has_none_by_itself(gsm8k: str, context: Any) -> None:
    from rlft.data import Recorded

    source = Recorded(train_file=gsm8k)
    source.bind(context())
    assert source.held_out_groups(5) == [] and isinstance(source.held_out()[0], Query)
