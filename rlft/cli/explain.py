"""`rlft explain`: the coefficient of every token, several methods beside each other, and what one step does."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rlft.cli.options import Arguments, Parser, Usage, listed, recipe_options, trust_option

if TYPE_CHECKING:
    from rlft.base import Algorithm
    from rlft.data.given import Entry
    from rlft.theory.explain import Explanation, Method
    from rlft.train.plan import Plan
    from rlft.train.session import Session

BASE = "grpo_math"
"""The recipe where none is named: all algorithms fit it."""


def options(parser: Parser) -> None:
    """Declares the options of `rlft explain`."""
    parser.usage = (
        "rlft explain [recipe=NAME] [algorithms=[NAME,NAME,…]] [groups=N] [key=value …] [--out FILE] [options]\n"
        "       rlft explain RUN_DIR [algorithms=[…]] [groups=N] [key=value …] [options]\n"
        "       rlft explain prompt=TEXT completions=[TEXT,TEXT] rewards=[1,0] [recipe=NAME] [options]\n"
        "       rlft explain file=FILE [recipe=NAME] [options]"
    )
    parser.description = (
        "Shows what a method multiplies ∇ log π of every token by, what that coefficient is made of, and what one\n"
        "optimiser step on these completions does to the probability of each: to first order, and as measured. The\n"
        "step is taken by the trainer's own AdamW, and taken back. Coloured tokens here, and a page of its own."
    )
    parser.epilog = (
        "what is explained:\n"
        "  algorithms=    several on the same completions; those of pairs get the best and the worst of each question\n"
        "  groups=N       questions with their completions (1); of a recipe or run, as its next step would draw them,\n"
        "                 and rather such as have right and wrong answers\n"
        "  prompt=, completions=, rewards=   completions of your own, or file= with such columns, a prompt a line\n"
        "  step=N         the N-th optimiser step on these completions (1): from the second on π differs from π_old\n"
        "  lr=            learning rate of the step (1e-5)\n\n"
        "examples:\n"
        "  rlft explain recipe=grpo_math algorithms=[rft,dpo,grpo,grpo_note]\n"
        "  rlft explain runs/grpo_math-1a2b3c4d algorithm.beta=0.1 --out beta.html\n"
        "  rlft explain prompt='What is 17 + 25?' completions='[\"42\",\"It is 41.\"]' rewards=[1,0] algorithms=[dpo]\n"
        "  rlft explain algorithms=[grpo,dr_grpo] step=4 lr=3e-4"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page (explain.html, of a run in its directory)")
    recipe_options(parser)
    trust_option(parser)


@dataclass(frozen=True)
class Asked:
    """What was typed for this verb alone; `words` are the recipe's own."""

    algorithms: list[str] = field(default_factory=list[str])
    entries: "list[Entry]" = field(default_factory=list)
    groups: int = 1
    step: int = 1
    learning_rate: float = 1e-5
    words: list[str] = field(default_factory=list[str])


def run(arguments: Arguments) -> tuple[int, dict[str, object]]:
    """Explains, prints the tokens and writes the page."""
    from rich.console import Console

    from rlft.report.explained import page, show
    from rlft.train.run_dir import write_text

    if len(arguments.names) > 1:
        raise Usage(f"what is {arguments.names[1]!r}? `rlft explain` takes one run directory, and key=value")
    run_dir = Path(arguments.names[0]) if arguments.names else None
    asked = read(arguments.overrides)
    plan, algorithms = (_of_recipe if run_dir is None else _of_run)(asked, arguments)
    explanation = _explain(plan, algorithms, asked, run_dir, arguments.trust_remote_code)
    out = arguments.out or (run_dir or Path()) / "explain.html"
    write_text(out, page(explanation))
    show(explanation, Console())
    print(f"written: {out}")
    return 0, {"page": str(out), **explanation.as_dict()}


def read(words: list[str]) -> Asked:
    """Returns the words of this verb apart from those of the recipe. Raises Usage for those that make no sense."""
    own: dict[str, str] = {}
    rest: list[str] = []
    for word in words:
        key, _, value = word.partition("=")
        if key in ("algorithms", "groups", "step", "lr", "prompt", "completions", "rewards", "file"):
            own[key] = value
        else:
            rest.append(word)
    entries = _entries(own)
    if entries and "groups" in own:
        raise Usage(f"groups={own['groups']}: all prompts that are given are explained; leave it away")
    if "algorithms" in own and any(word.startswith("algorithm=") for word in rest):
        raise Usage("algorithms=[…] names them all: leave algorithm= away")
    return Asked(
        algorithms=list(dict.fromkeys(listed(own.get("algorithms", "")))),
        entries=entries,
        groups=len(entries) or int(_number(own, "groups", "1", whole=True)),
        step=int(_number(own, "step", "1", whole=True)),
        learning_rate=_number(own, "lr", "1e-5"),
        words=rest,
    )


def _number(own: dict[str, str], key: str, default: str, whole: bool = False) -> float:
    value = own.get(key, default)
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf") or (whole and number != int(number)):
        raise Usage(f"{key}={value}: expected a {'whole ' * whole}number above 0, e.g. {key}={default}")
    return number


def _entries(own: dict[str, str]) -> "list[Entry]":
    """Returns the completions that were typed, or are in a file."""
    typed = [key for key in ("prompt", "completions", "rewards") if key in own]
    if not typed and "file" not in own:
        return []
    if "file" in own and typed:
        raise Usage(f"{typed[0]}=: either file=, or prompt=, completions= and rewards=")
    from rlft.data.given import Entry, read_given

    if "file" in own:
        return read_given(own["file"])
    if missing := [key for key in ("prompt", "completions", "rewards") if key not in own]:
        raise Usage(
            f'{missing[0]}= is missing: type prompt=TEXT completions=\'["TEXT","TEXT"]\' rewards=[1,0], a reward for '
            "each completion"
        )
    rewards = _list(own, "rewards")
    try:
        numbers = tuple(float(reward) for reward in rewards)
    except ValueError:
        raise Usage(f"rewards={own['rewards']}: expected numbers, e.g. rewards=[1,0]") from None
    return [Entry(own["prompt"], tuple(_list(own, "completions")), numbers)]


def _list(own: dict[str, str], key: str) -> list[str]:
    """Returns a typed list of texts, whatever they look like."""
    import yaml

    try:
        values = yaml.load(own[key], Loader=yaml.BaseLoader)
    except yaml.YAMLError:
        values = None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise Usage(f'{key}={own[key]}: expected a list; quote what has commas or brackets in it: {key}=\'["…","…"]\'')
    return values


def _of_recipe(asked: Asked, arguments: Arguments) -> "tuple[Plan, dict[str, Algorithm]]":
    """Returns a recipe's plan, and the algorithms by name, each as the recipe would have it."""
    from rlft.cli.keys import words_of_each
    from rlft.recipe import build, compose, run_directory

    words = asked.words
    if not any(word.startswith("recipe=") for word in words):
        words = [f"recipe={BASE}", *words]
    typed = [words]
    if asked.algorithms:
        own = words_of_each(asked.algorithms, words, arguments, group="algorithm")
        typed = [[*own[name], f"algorithm={name}"] for name in asked.algorithms]
    plans: list[Plan] = []
    for each in typed:
        composed = compose(each, arguments.config_dir, arguments.plugins)
        plans.append(build(composed.config, run_directory(composed.config), arguments.plugins))
    taught = (plan for plan in plans if "teacher" in plan.algorithm.needs)  # the session has to load who teaches
    return next(taught, plans[0]), {plan.method: plan.algorithm for plan in plans}


def _of_run(asked: Asked, arguments: Arguments) -> "tuple[Plan, dict[str, Algorithm]]":
    """Returns a run's plan, and the algorithms: its own as it was frozen, others as they come."""
    from rlft.cli.keys import words_of_each
    from rlft.recipe import build, compose, load_plan, run_directory

    run_dir = Path(arguments.names[0])
    own = [word for word in asked.words if word.lstrip("+").startswith("algorithm.")]
    plan = load_plan(run_dir, arguments.plugins, changes=[word for word in asked.words if word not in own])
    names = asked.algorithms or [plan.method]
    words = words_of_each(names, own, arguments, group="algorithm", beside=["~recipe"])
    limit = plan.config["data"].get("max_completion_tokens")
    context = [] if limit is None else [f"data.max_completion_tokens={limit}"]
    found: dict[str, Algorithm] = {}
    for name in names:
        if name == plan.method:
            found[name] = load_plan(run_dir, arguments.plugins, changes=words[name]).algorithm
        else:
            choice = [f"algorithm={name}", *context, *words[name]]
            config = compose(choice, arguments.config_dir, arguments.plugins, nameless="explain").config
            found[name] = build(config, run_directory(config), arguments.plugins).algorithm
    return plan, found


def _explain(
    plan: "Plan", algorithms: "dict[str, Algorithm]", asked: Asked, run_dir: Path | None, trust_remote_code: bool
) -> "Explanation":
    from rlft.data.curriculum import NoCurriculum
    from rlft.data.given import Given
    from rlft.models.rollout import Native
    from rlft.train.budget import Budget
    from rlft.train.session import set_up
    from rlft.train.trial import restore

    if asked.entries:
        plan = replace(plan, source=Given(asked.entries), curriculum=NoCurriculum(), budget=Budget())
    # A step this small is lost in the rounding of half precisions.
    own = plan.model.dtype
    dtype = "float64" if own == "float64" else "float32"
    if run_dir is not None and own != dtype:
        print(f"the run is in {own}: this is in {dtype}, and what π_ref samples once it samples anew")
    trainer = replace(plan.trainer, processes=1, trackers=[])
    plan = replace(plan, model=replace(plan.model, dtype=dtype), trainer=trainer, rollout=Native())
    needs = frozenset().union(*(algorithm.needs for algorithm in algorithms.values()))
    session = set_up(plan, print, trust_remote_code, needs=needs)
    try:
        if run_dir is not None:
            restore(session, run_dir, own)
        return _methods(session, algorithms, asked)
    finally:
        session.close()


def _methods(session: "Session", algorithms: "dict[str, Algorithm]", asked: Asked) -> "Explanation":
    """Takes every method's step in turn, each from where the model stands."""
    from rlft.models.roles import score_rows
    from rlft.theory.explain import QUANTITIES, Explanation, Method, coefficients, method, one_step, restored, tell
    from rlft.train.collate import collate
    from rlft.train.trial import draw, trial

    chat, policy, plan = session.loaded.chat, session.policy, session.plan
    groups = draw(session, asked.groups)
    whole = collate(groups, chat, policy.score_dtype)
    prompts, told = tell(groups, chat)
    found: list[Method] = []
    for name, algorithm in algorithms.items():
        if algorithm == plan.algorithm:  # as the run has it now: a controller may have moved its β
            algorithm = session.learner.algorithm
        print(f"{name}: {algorithm.formula}")
        each = trial(session, algorithm, name, groups, asked.learning_rate, asked.step)
        learner, batch = each.learner, each.batch
        with restored(learner.optimizer.parameters):
            for earlier in range(asked.step - 1):
                learner.update(batch, earlier)
            logp = score_rows(policy, batch, learner.tokens, algorithm.atom, session.processes)
            effect = one_step(
                policy,
                whole,
                learner.optimizer.parameters,
                learner.tokens,
                lambda learner=learner, batch=batch: learner.update(batch, asked.step - 1),
            )
        found.append(method(name, algorithm.formula, each.rows, told, coefficients(algorithm, batch, logp), effect))
    return Explanation(
        recipe=plan.recipe,
        model=plan.model.hub_id or plan.model.path,
        quantity=QUANTITIES[plan.algorithm.trains],
        step=asked.step,
        learning_rate=asked.learning_rate,
        prompts=prompts,
        completions=told,
        methods=found,
        notes=_notes(found, len(told)),
    )


def _notes(methods: "list[Method]", completions: int) -> list[str]:
    """Returns what has to be known of these methods on these completions."""
    notes = [
        f"{method.name} takes pairs: it is given the best and the worst completion of each question, by reward"
        for method in methods
        if len(method.rows) < completions
    ]
    notes += [
        f"{method.name} moves nothing here: its coefficient is 0 for all of these completions"
        for method in methods
        if method.agreement is None
    ]
    return notes
