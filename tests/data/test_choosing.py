"""What a source does with its curriculum: columns, levels, feedback, measuring, drawing anew, and what that costs."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from rlft.base import Curriculum, Pool, Reward, UserError
from rlft.data import Adaptive, Levels, Offline, Online, Pairs, Recorded, Sorted
from rlft.data.tasks import generate

Write = Callable[[str, list[Any]], str]
TERMS = {"min_terms": 2, "max_terms": 2}


@dataclass
class Backwards(Curriculum):
    """Somebody's own: the last rows first; keeps what it is shown."""

    label = "backwards"
    shown: list[Any] = field(default_factory=list)

    def bind(self, pool: Pool) -> None:
        self.size = len(pool.queries)

    def next(self, position: int, n: int) -> list[int]:
        return [self.size - 1 - (position + i) % self.size for i in range(n)]

    def observe(self, groups: list[Any]) -> None:
        self.shown.append(groups)

    def metrics(self) -> dict[str, float | None]:
        return {"size": self.size}


@pytest.fixture
def numbered(write: Write) -> str:
    return write("q.jsonl", [{"question": f"q{n}", "answer": str(n), "hard": -n} for n in range(12)])


def by_number(right: Callable[[int], int]) -> Callable[[list[Any]], list[Any]]:
    """Scores: the first `right`(number of the question) completions of a group are right."""

    def score(groups: list[Any]) -> list[Any]:
        rows = [(group, right(int(group.query.answer))) for group in groups]
        return [g.scored([Reward(float(i < some)) for i in range(len(g.completions))]) for g, some in rows]

    return score


def numbers(groups: list[Any]) -> list[int]:
    return [int(group.query.answer) for group in groups]


def bound(source: Any, context: Any, curriculum: Any = None, **options: Any) -> Any:
    source.bind(replace(context(**options), curriculum=curriculum))
    return source


def test_a_column_orders_every_source(numbered: str, write: Write, context: Any) -> None:
    pairs = write("p.jsonl", [{"prompt": f"q{n}", "chosen": "1", "rejected": "2", "hard": -n} for n in range(12)])
    for source in (
        Recorded(train_file=numbered),
        Online(train_file=numbered),
        Offline(train_file=numbered, keep="all"),
        Pairs(train_file=pairs),
    ):
        bound(source, context, Sorted(column="hard"))
        rows = [group.query.metadata["columns"]["hard"] for group in source.next(source.rows)]
        assert len(rows) == source.rows and rows == sorted(rows) and rows[0] < rows[-1]
        assert source.metrics() == {"curriculum/difficulty": pytest.approx(sum(rows) / len(rows))}
        drawn = {group.query.id for group in source.next(2 * source.rows)}
        assert source.held_out() and not drawn & {query.id for query in source.held_out()}


def test_an_evaluation_file_needs_no_column(numbered: str, write: Write, context: Any) -> None:
    file = write("e.jsonl", [{"question": "other", "answer": "1"}])
    source = bound(Online(train_file=numbered, eval_file=file), context, Sorted(column="hard"))
    assert numbers(source.next(3)) == [11, 10, 9]
    with pytest.raises(
        UserError, match=r"q\.jsonl line 1: there is no column hart .*it has question, answer, hard\. Did"
    ):
        bound(Online(train_file=numbered), context, Sorted(column="hart"))


def test_a_task_has_its_own_levels_and_columns(context: Any) -> None:
    examples = generate("chain_sum", TERMS, 90, levels=3)
    assert {example.metadata["level"] for example in examples} == {0, 1, 2}
    for example in examples:
        entry = example.metadata["entry"]["metadata"]
        assert (entry["num_terms"], entry["num_digits"]) == (2, 1 + example.metadata["level"])
    for level in (1, 2):
        assert 25 < sum(example.metadata["level"] == level for example in examples) <= 30
    assert {e.metadata["entry"]["metadata"]["num_terms"] for e in generate("chain_sum", {}, 90, levels=3)} == {2, 3, 4}
    assert "level" not in generate("chain_sum", TERMS, 3)[0].metadata
    assert len(generate("chain_sum", TERMS, 1, levels=3)) == 3, "each level has an entry"
    task = {"task": "chain_sum", "task_settings": TERMS, "task_size": 60}
    levels = bound(Online(**task, task_levels=3), context, Sorted()).next(50)
    column = bound(Online(**task, task_levels=3), context, Sorted(column="num_digits")).next(50)
    assert [g.query.metadata["level"] for g in levels] == [g.query.metadata["level"] for g in column]
    assert [g.query.metadata["level"] for g in levels] == sorted(g.query.metadata["level"] for g in levels)


@pytest.mark.parametrize(
    ("task", "levels", "message"),
    [
        ("chain_sum", 99, r"data\.task_levels=99: chain_sum has 11 levels"),
        ("composite", 2, r"data\.task_levels=2: composite has no levels of its own; type data\.task_levels=1"),
    ],
)
def test_levels_that_a_task_has_not(task: str, levels: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        generate(task, {}, 4, levels)


def test_a_curriculum_of_one_s_own_is_asked_and_told(numbered: str, context: Any) -> None:
    own = Backwards()
    source = bound(Online(train_file=numbered, held_out_share=0), context, own)
    groups = source.next(5)
    assert numbers(groups) == [11, 10, 9, 8, 7] and numbers(source.next(8)) == [6, 5, 4, 3, 2, 1, 0, 11]
    source.observe(groups)
    assert own.shown == [groups] and source.metrics() == {"curriculum/size": 12}


@pytest.mark.parametrize("curriculum", [Adaptive, Levels])
def test_what_was_learnt_goes_through_a_checkpoint(curriculum: Any, numbered: str, context: Any) -> None:
    def fresh() -> Any:
        own = curriculum(column="hard", **({"window": 2} if curriculum is Levels else {}))
        return bound(Online(train_file=numbered, resample=1), context, own, score=by_number(lambda n: n % 9))

    def drawn(source: Any, steps: int) -> list[Any]:
        found = []
        for _ in range(steps):
            found.append(source.next(3))
            source.observe(found[-1])
        return found

    whole, half = fresh(), fresh()
    expected = drawn(whole, 12)
    assert drawn(half, 6) == expected[:6]
    resumed = fresh()
    resumed.load_state_dict(json.loads(json.dumps(half.state_dict())))
    assert drawn(resumed, 6) == expected[6:] != expected[:6]
    assert resumed.state_dict() == whole.state_dict()
    old = fresh()
    old.load_state_dict({k: v for k, v in half.state_dict().items() if k != "curriculum"})
    assert old.position == half.position, "a checkpoint from before there were curricula"


def test_pass_rates_are_measured_once_on_the_bill(numbered: str, context: Any, sampler: Any, said: list[str]) -> None:
    cold, warm = sampler(), sampler()
    score = by_number(lambda n: n % 3)
    for draws in (cold, warm):
        source = Online(train_file=numbered, held_out_share=0, samples_per_prompt=8)
        bound(source, context, Sorted(measure=4, pool=6), sampler=draws, score=score)
        assert source.sampled_tokens > 24 and source.prefilled_tokens > 0
        assert (source.spared_seconds > 0) == (draws is warm), "a run is billed what another has paid"
        order = [number % 3 for number in numbers(source.next(6))]
        assert order == sorted(order, reverse=True), "the more answers are right the easier"
    assert cold.calls[0][1:] == ("offline", 0, True) and len(cold.calls) == 2
    assert [call[1] for call in warm.calls] == ["rollout"], "what was sampled is kept"
    right = sum(score(source.next(6))[i].rewards[j].value for i in range(6) for j in range(4))
    assert f"curriculum: π_ref is right in {right:.0f} of 24 answers" in said


def test_uniform_groups_are_drawn_anew(numbered: str, context: Any, sampler: Any) -> None:
    """Questions 0, 4 and 8 have groups of both kinds; Backwards gives 11, 10, 9, 8, …"""
    draws, own = sampler(), Backwards()
    source = Online(train_file=numbered, held_out_share=0, samples_per_prompt=4, resample=2)
    bound(source, context, own, sampler=draws, score=by_number(lambda n: (2, 0, 4, 0)[n % 4]))
    groups = source.next(3)  # 11, 10, 9; then 8, 7, 6; then 5, 4
    assert numbers(groups) == [8, 4, 11], "those that are mixed, then the first of the others"
    assert [len(call[0]) for call in draws.calls] == [3, 3, 2]
    assert all(len(group.rewards) == 4 for group in groups)
    assert source.position == 8 and source.metrics()["group/resampled"] == 5
    every = [text for call in draws.calls for text in call[0]]
    assert source.prefilled_tokens == sum(
        len(source._bound().chat.prompt(query.messages)) for query in source._queries if query.id in every
    )
    source.observe(groups)
    assert sorted(numbers(own.shown[0])) == [4, 5, 6, 7, 8, 9, 10, 11], "what was left out teaches too"
    assert numbers(source.next(2)) == [0, 3], "goes on where it stopped: 3, 2; then 1, 0"


def test_nothing_is_drawn_anew_where_all_groups_are_mixed(numbered: str, context: Any, sampler: Any) -> None:
    draws = sampler()
    source = Online(train_file=numbered, held_out_share=0, samples_per_prompt=2, resample=5)
    bound(source, context, sampler=draws, score=by_number(lambda n: 1))
    assert len(source.next(4)) == 4 == source.position and len(draws.calls) == 1
    assert source.metrics() == {"group/resampled": 0}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resample": -1}, r"data\.resample=-1"),
        (
            {"resample": 1, "samples_per_prompt": 1},
            r"every group of data\.samples_per_prompt=1 is all right or all wrong",
        ),
        ({"task_levels": 0}, r"data\.task_levels=0"),
    ],
)
def test_mistakes(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Online(train_file="q.jsonl", **fields).check()
