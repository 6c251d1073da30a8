"""`rlft cost`: FLOPs, memory and seconds of a recipe before it runs, and of several recipes side by side."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlft.cli.options import Arguments, Parser, Usage, listed, no_names, recipe_options, trust_option

if TYPE_CHECKING:
    import torch

    from rlft.theory import Case, Device, Lengths, Model, Rates, Work
    from rlft.train.plan import Plan

NUMBERS = {
    "lengths.prompt": "mean tokens of a prompt",
    "lengths.completion": "mean tokens of a completion",
    "acceptance": "share of right completions",
    "device_tflops": "peak of a device in the training dtype, 10¹² FLOP/s",
    "device_gb_per_s": "its memory's bandwidth, 10⁹ bytes/s",
    "devices": "how many share the work",
    "mfu": "share of the peak that is reached",
}
MFU = 0.4


def options(parser: Parser) -> None:
    """Declares the options of `rlft cost`."""
    width = max(map(len, NUMBERS)) + 2
    parser.usage = (
        "rlft cost recipe=NAME [key=value …] [lengths.completion=N] [acceptance=A] [options]\n"
        "       rlft cost from_run=RUN_DIR [options]\n"
        "       rlft cost recipes=[NAME,NAME,…] [key=value …] [options]"
    )
    parser.description = (
        "Says what a run will take: FLOPs by part, the most memory, and seconds, by timing this machine for a few\n"
        "seconds or from a device on paper. No weights are read. What is not known beforehand is an interval."
    )
    parser.epilog = (
        "beside a recipe's own values:\n"
        + "\n".join(f"  {key + '=':<{width}}{what}" for key, what in NUMBERS.items())
        + f"\n  {'from_run=':<{width}}lengths and acceptance as a run measured them; without a recipe, its bill too\n\n"
        "examples:\n"
        "  rlft cost recipe=grpo_math lengths.completion=20\n"
        "  rlft cost recipes=[sft_math,rft_math,dpo_math,ppo_math,grpo_math]\n"
        "  rlft cost recipe=grpo_gsm8k model.path=FOLDER device_tflops=989 device_gb_per_s=3350 devices=64"
    )
    recipe_options(parser)
    trust_option(parser)


@dataclass(frozen=True)
class Asked:
    """What was typed for this verb alone."""

    numbers: dict[str, float]
    from_run: Path | None
    recipes: list[str] | None
    words: list[str]


def run(arguments: Arguments) -> tuple[int, dict[str, object]]:
    """Prints a recipe's cost, or a table over recipes."""
    from rich.console import Console

    from rlft.theory import page

    no_names(arguments)
    asked = read(arguments.overrides)
    plans, compared = _plans(asked, arguments)
    clocks: dict[Any, Any] = {}
    cases = [_case(plan, asked, arguments, clocks, compared) for plan in plans]
    console = Console()
    if asked.recipes is not None:
        page.table(cases, console)
        return 0, {"recipes": [page.as_dict(case) for case in cases]}
    page.one(cases[0], console)
    return 0, page.as_dict(cases[0])


def read(words: list[str]) -> Asked:
    """Returns the words of this verb apart from those of the recipe. Raises Usage for a number that is none."""
    numbers: dict[str, float] = {}
    from_run, recipes, rest = None, None, []
    for word in words:
        key, _, value = word.partition("=")
        if key in NUMBERS:
            numbers[key] = _number(key, value)
        elif key == "from_run":
            from_run = Path(value)
        elif key == "recipes":
            recipes = listed(value)
        else:
            rest.append(word)
    if recipes is not None and (from_run is not None or any(word.startswith("recipe=") for word in rest)):
        raise Usage("recipes=[…] is a table over recipes as they are: leave recipe= and from_run= away")
    paper = [key for key in ("device_gb_per_s", "devices", "mfu") if key in numbers]
    if paper and "device_tflops" not in numbers:
        raise Usage(f"{paper[0]} describes a device on paper: add device_tflops=, e.g. device_tflops=989")
    return Asked(numbers, from_run, recipes, rest)


def _number(key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf") or (number == 0 and key != "acceptance"):
        raise Usage(f"{key}={value}: expected a number above 0, {NUMBERS[key]}")
    if key == "mfu" and number > 1:
        raise Usage(f"{key}={value}: expected a share, at most 1, {NUMBERS[key]}: 40% is {key}=0.40")
    return number


def _plans(asked: Asked, arguments: Arguments) -> "tuple[list[Plan], bool]":
    """Returns the recipes, and whether the one there is was run and is to be held against its bill."""
    from rlft.cli.keys import words_of_each
    from rlft.recipe import build, compose, load_plan, run_directory

    if asked.from_run is not None and not asked.words:
        return [load_plan(asked.from_run, arguments.plugins)], True
    typed = [asked.words]
    if asked.recipes is not None:
        own = words_of_each(asked.recipes, asked.words, arguments)
        typed = [[f"recipe={name}", *words] for name, words in own.items()]
    plans: list[Plan] = []
    for words in typed:
        composed = compose(words, arguments.config_dir, arguments.plugins)
        for note in composed.notes:
            print(note)
        plans.append(build(composed.config, run_directory(composed.config), arguments.plugins))
    return plans, False


def _case(plan: "Plan", asked: Asked, arguments: Arguments, clocks: dict[Any, Any], compared: bool) -> "Case":
    from rlft.theory import Case, bounds, estimate, growth, read_lengths, read_model, read_run, steps_bought

    numbers = asked.numbers
    if "devices" in numbers:
        plan = replace(plan, trainer=replace(plan.trainer, processes=int(numbers["devices"])))
    model = read_model(plan.model, arguments.trust_remote_code)
    device, dtype = _machine(plan, numbers)
    work = _work(plan, model, dtype, device, "device_tflops" in numbers)
    known = read_lengths(plan, model.source)
    given = (numbers.get(key) for key in ("lengths.prompt", "lengths.completion", "acceptance"))
    lengths = bounds(work, known, *given)
    measured = None
    if asked.from_run is not None:
        measured = read_run(asked.from_run, work, lengths[1].pool)
        work = replace(work, steps=measured.steps) if compared else work
        lengths = measured.onto(lengths, same=compared)
    clock = _clock(numbers, work, model, lengths, dtype, device, clocks)
    notes: list[str] = []
    if plan.budget.unit and not compared:
        most, least = (steps_bought(plan.budget, work, model, each, clock, dtype.itemsize) for each in lengths)
        between = f"{least} steps" if least == most else f"{least} to {most} steps, by its lengths; here {least}"
        notes.append(f"budget.{plan.budget.unit}={plan.budget.amount:g} is spent after {between}")
        work = replace(work, steps=least)
    found = estimate(work, model, lengths, dtype, clock, device.type == "cpu" and "device_tflops" not in numbers)
    return Case(
        recipe=plan.recipe,
        triple=plan.triple(),
        work=work,
        model=model,
        lengths=lengths,
        estimate=found,
        growth=growth(work, model.shape, lengths[1]),
        notes=[*notes, *_notes(plan, work, numbers)],
        measured=measured if compared else None,
    )


def _machine(plan: "Plan", numbers: dict[str, float]) -> "tuple[torch.device, torch.dtype]":
    """Returns where the run would compute, and in which dtype; a device on paper computes in bfloat16."""
    import torch

    from rlft.models.dtype import resolve_dtype

    if "device_tflops" in numbers:
        name = "bfloat16" if plan.model.dtype == "auto" else plan.model.dtype
        return torch.device("cpu"), resolve_dtype(name, torch.device("cpu"))
    device = torch.device("cuda" if torch.cuda.is_available() and plan.trainer.device == "auto" else "cpu")
    return device, resolve_dtype(plan.model.dtype, device)


def _work(plan: "Plan", model: "Model", dtype: "torch.dtype", device: "torch.device", on_paper: bool) -> "Work":
    """Returns what the run would do, its "auto" values resolved as it resolves them once it has its weights. How much
    memory a device on paper has free nobody knows, so that it keeps its activations unless asked not to."""
    from rlft.theory import is_native, read_teacher, read_work
    from rlft.train.memory import resolve

    trainer = plan.trainer
    if on_paper and trainer.gradient_checkpointing == "auto":
        trainer = replace(trainer, gradient_checkpointing="off")
    teacher = read_teacher(plan.teacher, plan.model)[1] if "teacher" in plan.algorithm.needs else 0
    weights = (model.weights + teacher) * dtype.itemsize
    tokens, recompute = resolve(trainer, plan.source, model.config, dtype, device, trainer.processes, weights)
    native = not on_paper and device.type == "cpu" and is_native(model)
    return read_work(plan, tokens, recompute, shared=native or not recompute, opens=native)


def _notes(plan: "Plan", work: "Work", numbers: dict[str, float]) -> list[str]:
    from rlft.models.rollout import Native

    notes = ["evaluations, start-up and what is written to disk are not in the training line"]
    if work.sampled == "once":
        notes.append("completions of π_ref are kept: a later run of the same recipe does not sample them again")
    if work.measured:
        notes.append(
            f"π_ref first answers each question {work.measured} times for the curriculum; a later run reads that"
        )
    if plan.curriculum.needs:
        notes.append("lengths are those of the data as a whole: the questions that the curriculum prefers may differ")
    if resample := getattr(plan.source, "resample", 0):
        notes.append(
            f"groups drawn anew are not foreseen: with data.resample={resample} up to {resample} more rollouts"
        )
    if not isinstance(plan.rollout, Native) and "device_tflops" not in numbers:
        notes.append("rollout seconds are those of rlft's own sampler")
    if work.recompute:
        whole = "" if work.shared else ", and trains whole sequences: each prompt once for every completion"
        notes.append(f"gradient checkpointing is on: backward runs every layer forward once more{whole}")
    if "reference" in work.roles and work.sampled != "each step":
        notes.append("π_ref runs once for each row that differs: log π_ref of what comes again is remembered")
    if "device_tflops" in numbers:
        mfu = numbers.get("mfu", MFU)
        notes.append(f"on paper: {mfu:.0%} of {numbers['device_tflops']:g} TFLOP/s; memory is that of each device")
        if work.sampled != "never" and "device_gb_per_s" not in numbers:
            notes.append("decoding reads all weights for every token: give device_gb_per_s= to have that counted")
    return notes


def _clock(
    numbers: dict[str, float],
    work: "Work",
    model: "Model",
    lengths: "tuple[Lengths, Lengths]",
    dtype: "torch.dtype",
    device: "torch.device",
    clocks: dict[Any, Any],
) -> "Device | Rates":
    """Returns the device on paper, or this machine's rates, which recipes of one model share."""
    from rlft.theory import Device, calibrate

    if "device_tflops" in numbers:
        count, mfu = int(numbers.get("devices", 1)), numbers.get("mfu", MFU)
        return Device(numbers["device_tflops"], count, mfu, numbers.get("device_gb_per_s"))
    key = (str(model.settings), dtype, work.recompute)
    if key not in clocks:
        clocks[key] = calibrate(work, model, lengths[1], dtype, device)
    return clocks[key]
