"""`rlft explain` on the tiny model: from a recipe, a run, the command line and a file."""

import json
from pathlib import Path
from typing import Any

import pytest
from runs import REWARD, make_plan, run
from tiny import tiny_model_dir

from rlft.cli.main import main
from rlft.recipe import freeze
from rlft.train.session import set_up
from rlft.train.trial import restore

ANSWERS = ["prompt=What is 17 + 25?", 'completions=["42", "41, or so", "42."]', "rewards=[1,0,1]"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model_dir(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RLFT_CACHE", str(tmp_path / "cache"))


def explain(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["explain", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def tiny(model: Path, *reward: str) -> list[str]:
    words = ["model=hub", "model.rank=2", "trainer.device=cpu", f"model.path={model}"]
    return [*words, *reward]


def test_methods_beside_each_other_on_completions_of_one_s_own(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*tiny(model), *ANSWERS, "algorithms=[rft,dpo,grpo,ppo]", "algorithm.beta=0.5"]
    found = explain(capsys, *words)
    rft, dpo, grpo, ppo = found["methods"]
    assert [told["reward"] for told in found["completions"]] == [1, 0, 1]
    assert found["completions"][1]["tokens"] == ["4", "1", ",", " or", " so", "■"]
    assert (rft["rows"], dpo["rows"]) == ([0, 1, 2], [0, 1])
    assert rft["gc"] == [[1.0] * 3, [0.0] * 6, [1.0] * 4]
    assert dpo["gc"] == [[0.25] * 3, [-0.25] * 6], "β/2 at π = π_ref, as the command line has β"
    assert grpo["terms"]["β·(π_ref/π - 1)"] == [[0.0] * 3, [0.0] * 6, [0.0] * 4]
    # Rewards 1, 0, 1: (1 - 2/3)/√(1/3) = 1/√3, but for δ.
    assert grpo["gc"][0] == pytest.approx([3**-0.5] * 3, rel=1e-3)
    assert {"V", "return"} <= ppo["factors"].keys()
    assert all(method["agreement"] >= 0.9 for method in found["methods"])
    assert grpo["predicted"] == pytest.approx(grpo["measured"], rel=0.1, abs=1e-5)
    assert any(note.startswith("dpo takes pairs") for note in found["notes"])
    written = (tmp_path / "explain.html").read_text(encoding="utf-8")
    assert found["page"] == "explain.html" and len(written.encode()) < 2_000_000
    # Every method starts from the same weights, which come back bit by bit.
    again = explain(capsys, *tiny(model), *ANSWERS, "algorithms=[ppo,grpo]", "algorithm.beta=0.5")
    assert {method["name"]: method for method in again["methods"]}["grpo"] == grpo


def test_a_group_of_a_recipe_and_a_later_step(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*tiny(model, *REWARD), "data.task_size=120", "data.max_completion_tokens=4", "data.samples_per_prompt=4"]
    found = explain(capsys, *words, "groups=2", "algorithms=[grpo,kto]", "step=3", "lr=1e-2", "--out", "deep/page.html")
    assert Path("deep/page.html").is_file()
    assert len(found["prompts"]) == 2 and len(found["completions"]) == 8
    for prompt in range(2):
        assert len({told["reward"] for told in found["completions"] if told["prompt"] == prompt}) == 2
    grpo = found["methods"][0]
    ratios = [ratio for row in grpo["factors"]["ρ"] for ratio in row]
    assert max(ratios) > 1.001 and min(ratios) < 0.999, "two steps were taken before"
    assert any(any(row) for row in grpo["terms"]["β·(π_ref/π - 1)"])


def test_a_run_is_explained_where_it_stands(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan(model, Path("run"), "ppo", "trainer.steps=2", "trainer.eval_size=0")
    freeze(plan.config, plan.run_dir)
    run(plan)
    found = explain(capsys, "run", "algorithms=[ppo,dr_grpo,dpo]", "algorithm.beta=0.3")
    assert found["page"] == "run/explain.html" and found["recipe"] == "ppo_math"
    ppo, dr_grpo, dpo = found["methods"]
    assert any(value for row in ppo["factors"]["V"] for value in row), "its critic has learnt"
    assert any(ratio != 1 for row in ppo["factors"]["π_ref/π"] for ratio in row), "its adapter has"
    limit = plan.config["data"]["max_completion_tokens"]
    assert dr_grpo["weight"][0][0] == pytest.approx(1 / (limit * len(dr_grpo["rows"])))
    assert dpo["formula"].startswith("GC = ±β·σ(-βh)") and found["methods"][2]["rows"] != found["methods"][0]["rows"]
    freeze(plan.config, Path("unborn"))
    assert main(["explain", "unborn"]) == 2
    assert "has no checkpoint yet: go on with `rlft resume unborn`" in capsys.readouterr().err


def test_a_value_that_asks_for_a_role_the_run_had_not(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With one optimiser step a batch π_old is π_θ, and the checkpoint knows of no such role."""
    plan = make_plan(model, Path("run"), "ppo", "trainer.steps=1", "trainer.epochs=1", "trainer.mini_batches=1")
    freeze(plan.config, plan.run_dir)
    run(plan)
    as_it_ran, changed = (explain(capsys, "run", *more)["methods"] for more in ([], ["trainer.mini_batches=2"]))
    assert changed == as_it_ran


def test_the_terminal_and_a_file_of_several_prompts(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"prompt": f"{n} + 1 =", "completions": [str(n + 1), "no"], "rewards": [1, 0.0]} for n in (4, 6)]
    Path("mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert main(["explain", *tiny(model), "file=mine.jsonl", "algorithms=[kto,hinge]"]) == 0
    said = capsys.readouterr().out
    assert "q: 4 + 1 =" in said and "q: 6 + 1 =" in said
    assert "5[+0.025]" in said, "λβ/4 at q = z0"
    assert "written: explain.html" in said
    same = [{"prompt": "q", "completions": ["a", "b"], "rewards": [1, 1]}]
    Path("same.json").write_text(json.dumps(same), encoding="utf-8")
    assert main(["explain", *tiny(model), "file=same.json"]) == 0
    assert "grpo moves nothing here" in capsys.readouterr().out


def test_a_run_with_a_controller_is_explained_with_the_beta_it_has(model: Path, capsys: Any) -> None:
    control = ["trainer.kl_target=1e-6", "trainer.kl_horizon=8"]
    plan = make_plan(model, Path("run"), "grpo", "trainer.steps=2", "trainer.eval_size=0", *control)
    freeze(plan.config, plan.run_dir)
    run(plan)
    found = explain(capsys, "run", "algorithms=[grpo,rft]", "step=2")["methods"][0]
    (name,) = [name for name in found["terms"] if name.startswith("β·")]
    slopes = [
        term / (ratio - 1)
        for terms, ratios in zip(found["terms"][name], found["factors"]["π_ref/π"], strict=True)
        for term, ratio in zip(terms, ratios, strict=True)
        if abs(ratio - 1) > 1e-3
    ]
    assert slopes and slopes == pytest.approx([slopes[0]] * len(slopes), rel=1e-3)
    assert slopes[0] > 0.04 * 1.15, "β is not what the recipe began with"


def test_all_weights_are_explained_with_the_reference_that_a_method_beside_reads(model: Path, capsys: Any) -> None:
    plan = make_plan(model, Path("run"), "rft", "trainer.steps=2", "trainer.eval_size=0", "model.adapter=none")
    freeze(plan.config, plan.run_dir)
    run(plan)
    dpo = explain(capsys, "run", *ANSWERS, "algorithms=[rft,dpo]")["methods"][1]
    assert any(abs(h) > 1e-4 for row in dpo["factors"]["h"] for h in row), "π_ref is not what the run has trained"


def test_what_a_run_in_another_dtype_remembers_of_the_reference_is_not_taken(model: Path) -> None:
    run(make_plan(model, Path("run"), "dpo", "trainer.steps=2", "trainer.eval_size=0"))
    held: list[int] = []
    for dtype in ("float32", "bfloat16"):
        session = set_up(make_plan(model, Path("other"), "dpo"), print)
        restore(session, Path("run"), dtype)
        held.append(len(session.roles["reference"].state_dict()["lengths"]))
        session.close()
    assert held[0] > 0 and held[1] == 0


@pytest.mark.parametrize("averaged", ["false", "true"])
def test_of_a_reward_model_the_change_of_its_score_is_told(averaged: str, model: Path, capsys: Any) -> None:
    words = [*tiny(model), *ANSWERS, "algorithms=[bradley_terry]", f"algorithm.averaged={averaged}"]
    found = explain(capsys, *words, "step=2", "lr=1e-4")
    (method,) = found["methods"]
    assert found["quantity"] == {"token": "s", "completion": "s(q, o)", "unit": ""}
    # A head that has taken one step: h is not 0 any more, and another step moves it on.
    assert method["agreement"] == 1.0
    assert method["measured"] == pytest.approx(method["predicted"], rel=0.1, abs=1e-5)
    gc = method["gc"][0]
    assert sum(map(abs, gc)) == pytest.approx(0.5, abs=0.1), "σ(-h) over the tokens, however many they are"
    text = Path("explain.html").read_text(encoding="utf-8")
    assert "∇ s" in text and "∇ log π" not in text and "log π(o|q)" not in text
    assert main(["explain", *words]) == 0
    assert "change of s(q, o), first order" in " ".join(capsys.readouterr().out.split())


def test_the_method_with_a_teacher_may_stand_anywhere(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*tiny(model), *ANSWERS, 'teacher.prompt="{question} It is 42."']
    assert [m["name"] for m in explain(capsys, *words, "algorithms=[rft,distill]")["methods"]] == ["rft", "distill"]
    assert main(["explain", *tiny(model), *ANSWERS, "algorithms=[rft,bradley_terry]"]) == 2
    assert "bradley_terry trains another kind of model than rft" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["algorithms=[grpo,grp]"], "there is no algorithm=grp: did you mean algorithm="),
        (["algorithms=[grpo]", "algorithm=rft"], "leave algorithm= away"),
        (["prompt=q", "completions=[a,b]"], "rewards= is missing"),
        (["prompt=q", "completions=[a,b]", "rewards=[1]"], "2 completions of the prompt 'q' and 1 rewards"),
        (["prompt=q", "completions=[a,b]", "rewards=[1,x]"], "rewards=[1,x]: expected numbers"),
        (["prompt=q", "completions=a", "rewards=[1]"], "completions=a: expected a list"),
        (["prompt=q", "completions=[]", "rewards=[]"], "has none; type completions="),
        (["prompt=q", "file=x.jsonl"], "either file=, or prompt="),
        (["file=nowhere.jsonl"], "nowhere.jsonl"),
        ([*ANSWERS, "groups=2"], "all prompts that are given are explained"),
        (["groups=0"], "groups=0: expected a whole number above 0"),
        (["step=1.5"], "step=1.5: expected a whole number above 0"),
        (["lr=fast"], "lr=fast: expected a number above 0"),
        (["a", "b"], "takes one run directory"),
        (["nowhere"], "is not a run directory"),
        (["algorithm.bta=1"], "did you mean"),
    ],
)
def test_mistakes(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("row", [{"prompt": "q", "completions": "a", "rewards": [1]}, {"text": "a"}])
def test_a_row_that_does_not_fit_is_named(row: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert main(["explain", "file=mine.jsonl"]) == 2
    assert "line 1: expected prompt (a text), completions (a list of texts)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rewards=[1,1]", "algorithms=[dpo]"], "give a wrong answer beside a right one"),
        (["rewards=[1,0]", "algorithms=[kto]"], "type groups=2 or more"),
        (["rewards=[1,0]", "algorithms=[grpo_process]"], "type reward=arithmetic_steps"),
        (["rewards=[1,0]", "algorithms=[grpo_process]", "reward=arithmetic_steps"], "have one reward each"),
    ],
)
def test_a_method_that_lacks_something_says_what(
    words: list[str], message: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", *tiny(model), "prompt=q", "completions=[a,b]", *words]) == 2
    assert message in capsys.readouterr().err
