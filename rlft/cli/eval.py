"""`rlft eval`: greedy accuracy, and avg@n, maj@n and pass@k of sampled answers, with their intervals."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rlft.cli.options import Arguments, Parser, Usage, listed, recipe_options, trust_option
from rlft.cli.questions import ORIGINS, suffix, words_before

if TYPE_CHECKING:
    from rlft.evaluation.config import EvalConfig
    from rlft.train.plan import Plan


def options(parser: Parser) -> None:
    """Declares the options of `rlft eval`."""
    parser.usage = (
        "rlft eval RUN_DIR [eval.KEY=VALUE …] [key=value …] [options]\n"
        "       rlft eval [recipe=NAME] [adapter=FOLDER] [eval.KEY=VALUE …] [key=value …] [options]"
    )
    parser.description = (
        "Asks a run's base model and its trained one, or a recipe's model (as it is, or with an adapter in PEFT\n"
        "format), the held-out questions or those of another file. Prints accuracies with 95% intervals; every answer\n"
        "is written to eval_*.jsonl in the run directory, beside those to other questions."
    )
    parser.epilog = (
        "how it is asked:\n"
        "  eval.samples=N       draw N answers to each question, for avg@N, maj@N and pass@k (none)\n"
        "  eval.temperature=T   of these (1), also eval.top_p=, eval.top_k=, eval.min_p=\n"
        "  eval.questions=N     at most N questions, or eval.questions=all (all of a file or dataset that is named\n"
        "                       here, else trainer.eval_size)\n"
        "  seed=                fixes the draws; data.max_completion_tokens= limits every answer\n\n"
        "what is asked:\n"
        "  data.eval_file=F     the questions of a json, jsonl or parquet file; nothing to train on is needed\n"
        "  without recipe=      the questions of data.eval_file=, data.train_file=, data.hub_id= or data.task=, as\n"
        "                       they stand (data.prompt='\"{question} Answer briefly.\"' adds to them)\n"
        "  of a run             another data.train_file=, data.hub_id= or data.hub_split= than its own is asked whole\n"
        "  data.columns=        which column is which, where it is not detected\n\n"
        "examples:\n"
        "  rlft eval runs/grpo_math-1a2b3c4d eval.samples=8\n"
        "  rlft eval runs/grpo_gsm8k-1a2b3c4d data.eval_file=gsm8k_test.jsonl\n"
        "  rlft eval data.eval_file=svamp.json data.columns='{question: Body+Question, answer: Answer}'\n"
        "  rlft eval data.eval_file=math.jsonl model=hub model.path=FOLDER adapter=FOLDER eval.samples=16\n"
        "  rlft eval data.hub_id=openai/gsm8k data.hub_config=main data.hub_split=test\n"
        "  rlft eval data.task=leg_counting data.task_size=500\n"
        "  rlft eval runs/grpo_gsm8k-1a2b3c4d --harness arc_easy,mine.yaml eval.questions=100"
    )
    parser.add_argument(
        "--harness",
        metavar="TASK,TASK",
        help="run these tasks of lm-evaluation-harness instead (extra lm_eval); one's own by their YAML file",
    )
    recipe_options(parser)
    trust_option(parser)


@dataclass(frozen=True)
class Subject:
    """A model to measure: a plan, an adapter to put on its model, and the name of the files it writes."""

    plan: "Plan"
    adapter: str | None
    file: str


def run(arguments: Arguments) -> tuple[int, dict[str, object]]:
    """Evaluates, and prints a table with a column per model."""
    from rich.console import Console

    from rlft.evaluation.config import EvalConfig
    from rlft.evaluation.page import render
    from rlft.recipe import own_words, read_data
    from rlft.train import evaluate_plan

    asked, words = own_words(arguments.overrides, "eval", EvalConfig)
    arguments = replace(arguments, overrides=words)
    if arguments.harness is not None:
        return _harness(arguments, asked)
    if asked.questions is None and _names_a_set(_typed(words)):
        asked = replace(asked, questions="all")
    results = {}
    for name, subject in _subjects(arguments).items():
        read_data(subject.plan, training=False)
        results[name] = evaluate_plan(
            subject.plan, subject.file, subject.adapter, arguments.trust_remote_code, asked=asked
        )
    render(results, Console())
    return 0, results


def _harness(arguments: Arguments, asked: "EvalConfig") -> tuple[int, dict[str, object]]:
    from rich.console import Console

    from rlft.evaluation.config import EvalConfig
    from rlft.evaluation.page import render_scores
    from rlft.train.harness import require_harness, run_harness

    if replace(asked, questions=None) != EvalConfig():
        raise Usage("--harness: of the eval.* words only eval.questions=N counts; a task says itself how it is asked")
    require_harness()
    limit = asked.questions if isinstance(asked.questions, int) else None
    tasks = listed(arguments.harness or "")
    results = {
        name: run_harness(s.plan, tasks, s.file, s.adapter, limit, arguments.trust_remote_code)
        for name, s in _subjects(arguments).items()
    }
    render_scores(results, Console())
    return 0, {name: [asdict(score) for score in found] for name, found in results.items()}


def _subjects(arguments: Arguments) -> dict[str, Subject]:
    """Returns what is to be measured, by the name it is shown under."""
    from rlft.recipe import build, compose, load_plan, run_directory

    words = arguments.overrides
    typed = _typed(words)
    if arguments.names:
        if len(arguments.names) > 1 or "recipe" in typed or "adapter" in typed:
            raise Usage("expected one run directory with key=value, or recipe=NAME with key=value and adapter=FOLDER")
        run_dir = Path(arguments.names[0])
        config = load_plan(run_dir, arguments.plugins).config
        plan = load_plan(run_dir, arguments.plugins, changes=[*words_before(words, config), *words])
        end = suffix(words, config, plan.source.asks)
        return {name: replace(subject, file=f"{name}{end}") for name, subject in _of_run(plan).items()}
    if typed.get("data.eval_file", "null") != "null":  # what a recipe is trained on is not asked for
        words = [*(f"data.{key}=null" for key in ORIGINS), *words]
    nameless = None if "recipe" in typed else "eval"
    if nameless:
        words = ["data.held_out_share=1", *words]
    composed = compose(
        [word for word in words if not word.startswith("adapter=")], arguments.config_dir, arguments.plugins, nameless
    )
    for note in composed.notes:
        print(note)
    plan = build(composed.config, run_directory(composed.config), arguments.plugins)
    name = "adapter" if typed.get("adapter") else "base"
    return {name: Subject(plan, typed.get("adapter"), name)}


def _typed(words: list[str]) -> dict[str, str]:
    """Returns what was typed, by key."""
    return {key.lstrip("+"): value for key, _, value in (word.partition("=") for word in words)}


def _names_a_set(typed: dict[str, str]) -> bool:
    """Returns whether the command line names a file or dataset for this evaluation and no number of questions."""
    if "trainer.eval_size" in typed:
        return False
    places = {"data.train_file", "data.hub_id", "data.hub_config", "data.hub_split"}
    return ("recipe" not in typed and not places.isdisjoint(typed)) or typed.get("data.eval_file", "null") != "null"


def _of_run(plan: "Plan") -> dict[str, Subject]:
    """Returns the base model of a run and what it has trained."""
    from rlft.base import UserError

    lora, run_dir = plan.model.adapter == "lora", plan.run_dir
    trained = run_dir / ("adapter" if lora else "model")
    if not trained.is_dir():
        raise UserError(f"{run_dir} has no trained model yet (no {trained}): go on with `rlft resume {run_dir}`")
    base = Subject(plan, None, "base")
    if lora:
        return {"base": base, "trained": Subject(plan, str(trained), "trained")}
    whole = replace(plan, model=replace(plan.model, path=str(trained), adapter_path=None))
    return {"base": base, "trained": Subject(whole, None, "trained")}
