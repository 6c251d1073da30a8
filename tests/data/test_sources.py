"""Recorded, Pairs and Online: what they draw, in what order, and what they refuse."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlft.base import RunError, UserError, question_id
from rlft.data import Offline, Online, Pairs, Recorded
from rlft.data.formats import MODELS
from rlft.data.pairs import combine

Write = Callable[[str, list[Any]], str]


@pytest.fixture
def solutions(write: Write) -> str:
    """40 questions with two right and two wrong solutions each, but for the first, which has none right."""
    return write(
        "solutions.jsonl",
        [
            {
                "question": f"question {n}",
                "ground_truth": f"so\nA: {n}",
                **{m: {"is_correct": n > 0 and i < 2, "solution": f"{n} model {i}"} for i, m in enumerate(MODELS)},
            }
            for n in range(40)
        ],
    )


def ids(groups: list[Any]) -> list[str]:
    return [group.query.id for group in groups]


def test_recorded_trains_the_template(gsm8k: str, context: Any, said: list[str]) -> None:
    source = Recorded(train_file=gsm8k, completion="{solution}", prompt="{question} Think.", system="Be brief.")
    source.bind(context())
    (group,) = source.next(1)
    (completion,) = group.completions
    assert group.query.answer is not None
    assert completion.text.startswith("She has ") and "\n#### " in completion.text
    system, user = group.query.messages
    assert system == {"role": "system", "content": "Be brief."}
    assert user["content"].endswith("How many has she? Think.")
    assert group.query.id == question_id(user["content"].removesuffix(" Think."))
    assert source.name == "recorded · gsm8k.jsonl"
    assert any("read as gsm8k (prompt|question|problem + answer; to read it otherwise: data." in s for s in said)

    short = Recorded(train_file=gsm8k, completion="\\boxed{{answer}}")
    short.bind(context())
    (group,) = short.next(1)
    assert group.completions[0].text == f"\\boxed{{{group.query.answer}}}"


def test_the_rows_own_system_turn_stays(write: Write, context: Any) -> None:
    turns = [{"role": r, "content": r[0]} for r in ("system", "user", "assistant")]
    source = Recorded(train_file=write("m.jsonl", [{"messages": turns}]), held_out_share=0, system="other")
    source.bind(context())
    (group,) = source.next(1)
    assert [m["content"] for m in group.query.messages] == ["s", "u"]
    assert group.query.metadata == {"row": 1}
    assert group.completions[0].text == "a"


def test_every_epoch_is_a_permutation_and_shuffle_can_be_off(gsm8k: str, context: Any) -> None:
    source = Recorded(train_file=gsm8k)
    source.bind(context())
    size = 200 - len(source.held_out())
    first, second = ids(source.next(size)), ids(source.next(size))
    assert sorted(first) == sorted(second) and len(set(first)) == size
    assert first != second
    other = Recorded(train_file=gsm8k)
    other.bind(context(seed=1))
    assert ids(other.next(size)) != first
    plain = Recorded(train_file=gsm8k, shuffle=False)
    plain.bind(context())
    rows = [group.query.metadata["row"] for group in plain.next(2 * size)]
    assert rows[:size] == rows[size:] == sorted(rows[:size])


def sources(gsm8k: str, solutions: str) -> list[Callable[[], Any]]:
    return [
        lambda: Recorded(train_file=gsm8k),
        lambda: Pairs(train_file=solutions),
        lambda: Online(train_file=gsm8k, samples_per_prompt=2),
        lambda: Offline(train_file=gsm8k, samples_per_prompt=4, keep="right", pool=20),
        lambda: Offline(train_file=gsm8k, samples_per_prompt=4, keep="pairs", pool=20),
    ]


@pytest.mark.parametrize("which", range(5))
def test_resume_draws_what_would_have_come(which: int, gsm8k: str, solutions: str, context: Any) -> None:
    make = sources(gsm8k, solutions)[which]
    whole = make()
    whole.bind(context())
    groups = [whole.next(7) for _ in range(40)]  # 280 rows: past the end of an epoch
    half = make()
    half.bind(context())
    for expected in groups[:19]:
        assert half.next(7) == expected
    state = json.loads(json.dumps(half.state_dict()))
    resumed = make()
    resumed.bind(context())
    resumed.load_state_dict(state)
    assert [resumed.next(7) for _ in range(21)] == groups[19:]
    assert resumed.sampled_tokens == whole.sampled_tokens
    assert resumed.state_dict() == whole.state_dict()


def test_online_samples_the_next_queries_of_the_step(gsm8k: str, context: Any, sampler: Any) -> None:
    draws = sampler()
    source = Online(train_file=gsm8k, samples_per_prompt=3, max_completion_tokens=9)
    source.bind(context(sampler=draws))
    first, second = source.next(4), source.next(4)
    assert [call[1:] for call in draws.calls] == [("rollout", 0, False), ("rollout", 1, False)]
    assert draws.calls[0][0] == ids(first) and not set(ids(first)) & set(ids(second))
    assert all(len(group.completions) == 3 for group in first)
    assert source.sampled_tokens == sum(len(c.token_ids) for g in first + second for c in g.completions) > 0
    assert source.name == "online · gsm8k.jsonl"


def test_a_query_that_comes_twice_in_a_step_is_drawn_anew(write: Write, context: Any) -> None:
    rows = [{"question": f"q{n}", "answer": "1"} for n in range(3)]
    source = Online(train_file=write("q.jsonl", rows), held_out_share=0, samples_per_prompt=4)
    source.bind(context())
    groups = source.next(7)
    by_query = {key: [g.completions for g in groups if g.query.id == key] for key in ids(groups)}
    assert sorted(map(len, by_query.values())) == [2, 2, 3]
    assert all(len(set(drawn)) == len(drawn) for drawn in by_query.values())


def test_sampling_sources_take_each_question_once(write: Write, context: Any, said: list[str]) -> None:
    rows = [{"question": q, "answer": "1"} for q in ("One and one?", "one  AND one? ", "two?")]
    source = Online(train_file=write("q.jsonl", rows), held_out_share=0)
    source.bind(context())
    assert len(set(ids(source.next(2)))) == 2
    assert "data: 1 rows dropped, their question is there already" in said


def test_an_evaluation_file_replaces_the_split(write: Write, gsm8k: str, context: Any, said: list[str]) -> None:
    rows = [json.loads(line) for line in Path(gsm8k).read_text().splitlines()][:10]
    rows.append({"question": "A new one?", "answer": "so\n#### 5"})
    source = Recorded(train_file=gsm8k, eval_file=write("test.jsonl", rows))
    source.bind(context())
    held = {query.id for query in source.held_out()}
    assert held == {question_id(row["question"]) for row in rows}
    drawn = set(ids(source.next(190)))
    assert len(drawn) == 190 and not drawn & held
    assert any(line.startswith("data: 10 rows dropped, their question is in ") for line in said)


def test_the_held_out_prefix_does_not_depend_on_the_share(gsm8k: str, context: Any) -> None:
    small, large = Recorded(train_file=gsm8k, held_out_share=0.1), Recorded(train_file=gsm8k, held_out_share=0.4)
    small.bind(context())
    large.bind(context(seed=3))
    assert 0 < len(small.held_out()) < len(large.held_out())
    assert large.held_out()[: len(small.held_out())] == small.held_out()


def test_over_long_rows_are_dropped_and_counted_or_refused(write: Write, context: Any, said: list[str]) -> None:
    rows = [{"question": q, "answer": a} for q, a in (("a b c", "1 2"), ("a b", "1"), ("a", "1 2"))]
    file = write("q.jsonl", rows)
    limits = {"held_out_share": 0, "max_prompt_tokens": 3, "max_completion_tokens": 2}
    source = Recorded(train_file=file, **limits)
    source.bind(context())
    assert [group.query.metadata["row"] for group in source.next(3)] == [2, 2, 2]
    assert "data: 1 rows dropped, their prompt is over data.max_prompt_tokens=3" in said
    assert "data: 1 rows dropped, their completion is over data.max_completion_tokens=2" in said
    with pytest.raises(UserError, match=r"q\.jsonl line 1: 4 tokens, data\.max_prompt_tokens is 3.*=4 to keep it"):
        Recorded(train_file=file, over_long="refuse", **limits).bind(context())
    limits["max_prompt_tokens"] = 4  # just enough
    with pytest.raises(UserError, match=r"q\.jsonl line 1: 3 tokens, data\.max_completion_tokens is 2"):
        Recorded(train_file=file, over_long="refuse", **limits).bind(context())
    limits["max_completion_tokens"] = 3
    whole = Recorded(train_file=file, over_long="refuse", **limits)
    whole.bind(context())
    assert len({group.query.id for group in whole.next(3)}) == 3
    with pytest.raises(UserError, match="no row is left to train on"):
        Recorded(train_file=file, held_out_share=0, max_prompt_tokens=1).bind(context())


@pytest.mark.parametrize(("limit", "each"), [(None, 4), (1, 1), (3, 3)])
def test_pairs_combine_right_and_wrong_solutions(solutions: str, context: Any, limit: int | None, each: int) -> None:
    source = Pairs(train_file=solutions, pairs_per_question=limit, shuffle=False)
    source.bind(context())
    trained = {question_id(f"question {n}") for n in range(1, 40)} - {query.id for query in source.held_out()}
    groups = source.next(each * len(trained))
    assert set(ids(groups)) == trained
    for group in groups:
        right, wrong = (completion.text[-1] for completion in group.completions)
        assert right in "01" and wrong in "23"
    assert len({(g.query.id, *(c.text for c in g.completions)) for g in groups}) == each * len(trained)
    assert source.name == "preference · solutions.jsonl"


def test_combinations_spread_over_the_completions() -> None:
    assert combine([0, 1, 2], [7, 8], 2) == [(0, 7), (1, 8)]
    assert sorted(combine([0, 1, 2], [7, 8], None)) == [(i, j) for i in (0, 1, 2) for j in (7, 8)]
    assert combine([], [7], None) == []


def test_preferences_pair_within_a_row_and_labels_within_a_question(write: Write, context: Any) -> None:
    rows = [{"prompt": "q", "chosen": f"a{n}", "rejected": f"b{n}"} for n in range(2)]
    source = Pairs(train_file=write("p.jsonl", rows), held_out_share=0, shuffle=False)
    source.bind(context())
    # The third draw is the next epoch's first: there are no pairs across rows.
    assert [[c.text for c in g.completions] for g in source.next(3)] == [["a0", "b0"], ["a1", "b1"], ["a0", "b0"]]
    labelled = [{"prompt": "q", "completion": c, "label": c < "m"} for c in "ayz"]
    source = Pairs(train_file=write("l.jsonl", labelled), held_out_share=0, shuffle=False)
    source.bind(context())
    assert [[c.text for c in g.completions] for g in source.next(2)] == [["a", "y"], ["a", "z"]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: Recorded(), r"exactly one of task, train_file and hub_id is expected; none is given\. Type e\.g\."),
        (lambda f: Online(task="gcd", train_file=f), "task and train_file are given"),
        (lambda f: Pairs(task="gcd"), "data=offline data.keep=pairs"),
        (lambda f: Pairs(train_file=f), r"gsm8k\.jsonl: the rows have no pairs; expected chosen and rejected"),
        (lambda f: Recorded(train_file=f, format="mesages"), "data.format=mesages.*Did you mean messages"),
        (lambda f: Recorded(train_file=f, prompt="Solve it."), r"data\.prompt='Solve it\.': expected .*{question}"),
        (lambda f: Recorded(train_file=f, completion="{anwser}"), r"data\.completion='\{anwser\}': expected {answer}"),
        (lambda f: Recorded(train_file=f, held_out_share=1.1), "data.held_out_share=1.1: expected a share"),
        (lambda f: Recorded(train_file=f, held_out_share=1.0), "no row is left to train on"),
        (lambda f: Recorded(eval_file=f), "none is given"),
        (lambda f: Recorded(train_file=f, validation_share=0.96), "data.validation_share=0.96: expected a share"),
        (lambda f: Recorded(train_file=f, evaluate_on="validation"), "type e.g. data.validation_share=0.05"),
        (lambda f: Recorded(train_file=f, max_prompt_tokens=0), "data.max_prompt_tokens=0: expected a whole number"),
        (lambda f: Recorded(train_file=f, over_long="cut"), "data.over_long=cut: expected one of drop, refuse"),
        (lambda f: Online(train_file=f, samples_per_prompt=0), "data.samples_per_prompt=0: expected"),
        (lambda f: Online(train_file=f, temperature=-1.0), "data.temperature=-1.0: expected"),
        (lambda f: Online(train_file=f, top_k=-1), "data.top_k=-1: expected"),
        (lambda f: Online(train_file=f, top_p=0.0), "data.top_p=0.0: expected"),
        (lambda f: Online(train_file=f, min_p=1.0), "data.min_p=1.0: expected"),
        (lambda f: Pairs(train_file=f, pairs_per_question=0), "data.pairs_per_question=0: expected"),
        (lambda f: Offline(train_file=f, pool=0), "data.pool=0: expected"),
        (lambda f: Offline(train_file=f, keep="some"), "data.keep=some: expected one of all, right, pairs"),
        (lambda f: Offline(train_file=f, keep="pairs", samples_per_prompt=1), "data.samples_per_prompt=2 or more"),
    ],
)
def test_mistakes_name_the_key(make: Callable[[str], Any], message: str, gsm8k: str, context: Any) -> None:
    with pytest.raises(UserError, match=message):
        make(gsm8k).bind(context())


def test_rows_without_an_answer(write: Write, context: Any, said: list[str]) -> None:
    rows = [{"messages": [{"role": "user", "content": f"q{n}"}]} for n in range(50)]
    file = write("m.jsonl", rows)
    online = Online(train_file=file, held_out_share=0.2)
    online.bind(context())
    assert {query.answer for query in online.held_out()} == {None}
    with pytest.raises(UserError, match="no row is left"):
        Recorded(train_file=file, held_out_share=0.2).bind(context())
    assert any(line.endswith("rows dropped, they have no recorded answer to train on") for line in said)


def test_without_a_sampler_the_data_can_still_be_checked(gsm8k: str, context: Any) -> None:
    from dataclasses import replace

    nothing = replace(context(), sampler=None)
    online, offline = Online(train_file=gsm8k), Offline(train_file=gsm8k)
    online.bind(nothing)
    offline.bind(nothing)
    assert online.held_out() == offline.held_out() != []
    with pytest.raises(RunError, match="no model to sample from"):
        online.next(1)


def test_over_long_completions_leave_their_pairs(write: Write, context: Any, said: list[str]) -> None:
    rows = [{"prompt": f"q{n}", "chosen": "a", "rejected": "b " * n} for n in (1, 2, 3)]
    source = Pairs(train_file=write("p.jsonl", rows), held_out_share=0, max_completion_tokens=3, shuffle=False)
    source.bind(context())
    assert [group.query.metadata["row"] for group in source.next(3)] == [1, 2, 1]
    assert "data: 1 completions dropped, they are over data.max_completion_tokens=3" in said
    assert "data: 2 pairs of 2 questions; 1 questions have none" in said
