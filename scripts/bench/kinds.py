"""The kinds of measurement: which contenders do which work, and what of it goes into the JSON."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from bench import material, report
from bench.contender import Contender, Ended, Say, alternate
from bench.flops import Shape
from bench.worker import Record
from rlft.base import Chat

LEARNING_RATE = 1e-6
"""Small: the policy stays what it was, and with it the lengths of its completions."""
GRPO_BETA, DPO_BETA = 0.04, 0.1
AXES = {"samples": (4, 8, 16), "completion": (64, 128, 256), "prompt": (64, 128, 256, 512)}
END_TO_END = 24
"""Questions that make the text of one prompt, which is cut to its length; no two texts begin alike."""
QUICK_AXES = {"samples": (2, 4), "completion": (8, 16), "prompt": (64, 128)}
VARIANTS = {
    "grpo": ["4", "8", "16", "32", "8+checkpointing", "8+continuous_batching"],
    "grpo_short": ["4", "8", "16", "32", "8+continuous_batching"],
    "grpo_replay": ["4", "8", "16", "32", "8+checkpointing"],
    "dpo": ["4", "8", "16", "4+sorted", "4+checkpointing"],
    "sft": ["4", "8", "16", "32", "8+sorted", "4+padding_free", "8+checkpointing"],
}
"""TRL's contenders: a micro-batch, with options."""
OPTIONS = ("checkpointing", "sorted", "padding_free", "continuous_batching")
"""What a contender may have beside its micro-batch: gradient checkpointing (TRL's default: less memory, more seconds);
the rows of each step sorted by length, as transformers' batch_rebalance sampler does; for SFT the rows of a
micro-batch laid end to end; for GRPO transformers' continuous batching in the place of `generate`."""


@dataclass(frozen=True)
class Setting:
    """What a run of the script was told.

    Attributes:
        model: the model's folder. chat: its template. work: a folder for what passes between the processes.
        warmup, steps: of every contender. tune_steps: of each of TRL's variants before the best is taken.
        threads: of every worker. variants: TRL's contenders, None for those of `VARIANTS`.
        prompts, samples, limit: of a GRPO step. pairs, rows: of a DPO and an SFT step. rollout_rows: of a rollout.
        data, short_data, pair_data: files of questions with answers, of questions that are answered briefly, and of
            pairs; None for generated material.
        vllm_python: the interpreter of an environment with vLLM, None to leave it out.
        axes: what the scaling goes over. gemm: the bfloat16 rate, FLOP/s. say: prints a line.
    """

    model: str
    chat: Chat
    work: Path
    warmup: int
    steps: int
    tune_steps: int
    threads: int
    variants: list[str] | None
    prompts: int
    samples: int
    limit: int
    pairs: int
    rows: int
    rollout_rows: tuple[int, ...]
    data: str | None
    short_data: str | None
    pair_data: str | None
    vllm_python: str | None
    axes: dict[str, tuple[int, ...]]
    gemm: float
    say: Say

    def rounds(self) -> int:
        """Returns the most steps that a contender takes."""
        return self.warmup + max(self.steps, self.tune_steps)

    def material(self, name: str, each: int, pairs: bool = False, short: bool = False) -> Record:
        """Writes the rows of all steps, `each` of them a step; returns where."""
        path = self.pair_data if pairs else self.short_data if short else self.data
        count = each * self.rounds()
        task = material.SHORT_TASK if short else material.TASK
        rows = material.enough(material.read(path, pairs) if path else material.generated(count, task), count)
        if not pairs:
            rows = [replace(row, wrong="") for row in rows]
        return material.write(rows, self.chat, self.work / name)

    def contender(self, name: str, module: str, settings: Record, python: str | None = None) -> Contender:
        """Starts a worker."""
        return Contender(name, module, settings, self.threads, *([python] if python else []))


def variant(text: str) -> str:
    """Returns the text of a contender of TRL's as it is. Raises ValueError if it is none.

    >>> variant("8+sorted")
    '8+sorted'
    """
    size, *options = text.split("+")
    if int(size) < 1 or not set(options) <= set(OPTIONS):
        raise ValueError(text)
    return text


def words(setting: Setting, recipe: str, each: int, text: str, **data: Any) -> list[str]:
    """Returns the recipe on rlft's side: `each` groups of the file a step, in its order, whatever their length."""
    return [
        f"recipe={recipe}", "model=hub", f"model.path={setting.model}", "model.dtype=bfloat16", "model.rank=16",
        "model.alpha=32", f"data.train_file={text}", "data.prompt={question}".replace("{question}", "'{question}'"),
        "data.held_out_share=0", "data.shuffle=false", "data.over_long=refuse", "data.max_prompt_tokens=2048",
        *(f"data.{key}={value}" for key, value in data.items()),
        f"trainer.prompts_per_step={each}", f"trainer.learning_rate={LEARNING_RATE}", "trainer.eval_size=0",
    ]  # fmt: skip


def sampled_words(setting: Setting, text: str, prompts: int, samples: int, limit: int) -> list[str]:
    """Returns the GRPO recipe."""
    recipe = words(setting, "grpo_gsm8k", prompts, text, samples_per_prompt=samples, max_completion_tokens=limit)
    return [*recipe, f"algorithm.beta={GRPO_BETA}"]


def grpo(setting: Setting, name: str = "grpo") -> Record:
    """Whole GRPO steps, each side drawing its own completions of the same questions."""
    where = setting.material(name, setting.prompts, short=name == "grpo_short")
    ours = {"words": sampled_words(setting, where["text"], setting.prompts, setting.samples, setting.limit)}
    return compared(setting, name, ours, _grpo_settings(setting, where), ["prompt_tokens"])


def grpo_short(setting: Setting) -> Record:
    """The same on questions that are answered briefly: most completions end by themselves before the limit."""
    return grpo(setting, "grpo_short")


def grpo_replay(setting: Setting) -> Record:
    """The update with its reference pass: completions that rlft drew once, given to both sides."""
    where = setting.material("grpo_replay", setting.prompts)
    ours = {"words": sampled_words(setting, where["text"], setting.prompts, setting.samples, setting.limit)}
    replay = str(setting.work / "drawn.jsonl")
    Path(replay).unlink(missing_ok=True)
    alternate([setting.contender("drawing", "rlft_side", {**ours, "record": replay})], 0, setting.rounds(), setting.say)
    theirs = {**_grpo_settings(setting, where), "replay": replay}
    return compared(setting, "grpo_replay", {**ours, "replay": replay}, theirs, ["tokens", "prompt_tokens"])


def dpo(setting: Setting) -> Record:
    """DPO steps on the same pairs, π_ref computed in the step."""
    where = setting.material("dpo", setting.pairs, pairs=True)
    recipe = words(setting, "dpo_gsm8k", setting.pairs, where["text"], max_completion_tokens=2048)
    ours = {"words": [*recipe, f"algorithm.beta={DPO_BETA}"]}
    theirs = {"method": "dpo", "tokens": where["tokens"], "rows": setting.pairs, "beta": DPO_BETA}
    return compared(setting, "dpo", ours, theirs, ["tokens"])


def sft(setting: Setting) -> Record:
    """SFT steps on the same rows; the tokens of the answers are trained."""
    where = setting.material("sft", setting.rows)
    ours = {"words": words(setting, "sft_gsm8k", setting.rows, where["text"], max_completion_tokens=2048)}
    theirs = {"method": "sft", "tokens": where["tokens"], "rows": setting.rows}
    return compared(setting, "sft", ours, theirs, ["tokens"])


def compared(setting: Setting, name: str, ours: Record, theirs: Record, equal: list[str]) -> Record:
    """Finds TRL's best variant, then lets both sides take their steps in turn. `equal` names what must be the same on
    both sides in every step; raises SystemExit where it is not."""
    variants = [v for v in setting.variants or VARIANTS[name] if int(v.split("+")[0]) <= theirs["rows"]]
    tuned = {v: _tuned(setting, v, theirs) for v in variants} if len(variants) > 1 else {}
    best = max(tuned, key=lambda v: tuned[v]["tokens_per_s"]) if tuned else variants[0]
    rlft = setting.contender("rlft", "rlft_side", ours)
    trl = _trl(setting, best, theirs, setting.warmup + setting.steps)
    records = alternate([rlft, trl], setting.warmup, setting.steps, setting.say)
    mine, other = records[rlft.name], records[trl.name]
    if wrong := report.unequal(mine, other, equal):
        raise SystemExit(f"{name}: the two sides did not do the same work: {'; '.join(wrong)}")
    section = report.comparison(mine, other, Shape(**rlft.ready["shape"]), setting.gemm)
    return {**section, "trl_variant": best, "trl_variants": tuned, "warmup": setting.warmup}


def rollout(setting: Setting) -> Record:
    """Drawing completions of full length, and nothing else."""
    questions = max(setting.rollout_rows) // setting.samples
    where = setting.material("rollout", questions)
    recipe = sampled_words(setting, where["text"], questions, setting.samples, setting.limit)
    engines: dict[str, tuple[str, Record, str | None]] = {
        "rlft": ("rlft_side", {"words": recipe, "forced": True}, None),
        "generate": ("engines", {"engine": "generate"}, None),
        "continuous_batching": ("engines", {"engine": "continuous_batching"}, None),
    }
    if setting.vllm_python:
        engines["vllm"] = ("vllm_side", {}, setting.vllm_python)
    section: Record = {"limit": setting.limit, "samples": setting.samples, "by_rows": {}}
    for rows in setting.rollout_rows:
        draw = {"rows": rows, "samples": min(rows, setting.samples), "limit": setting.limit}
        told = {"model": setting.model, "tokens": where["tokens"], **draw, "rollout": draw}
        started = [setting.contender(name, m, {**told, **more}, p) for name, (m, more, p) in engines.items()]
        records = alternate(started, setting.warmup, setting.steps, setting.say)
        section["by_rows"][str(rows)] = {
            one.name: {
                "tokens_per_s": report.rate(records[one.name]),
                "peak_bytes": records[one.name][-1]["peak_bytes"],
                "start_up_s": one.start_up_s,
            }
            for one in started
        }
    middle = "32" if "32" in section["by_rows"] else next(iter(section["by_rows"]))
    rates = {f"{name}_tokens_per_s": one["tokens_per_s"] for name, one in section["by_rows"][middle].items()}
    return {"rows": int(middle), **rates, **section}


def scaling(setting: Setting) -> Record:
    """Seconds of rlft's GRPO step as samples per prompt, completion length or prompt length double, the others held."""
    held = {"samples": setting.samples, "completion": setting.limit, "prompt": min(setting.axes["prompt"])}
    axes: Record = {}
    for axis, values in setting.axes.items():
        started = [_scaled(setting, axis, value, {**held, axis: value}) for value in values]
        records = alternate(started, setting.warmup, setting.steps, setting.say)
        axes[axis] = [
            {
                "value": value,
                "step_s": median(record["seconds"] for record in found),
                **{part: median(record[part] for record in found) for part in report.PARTS},
                "prompt_tokens": found[0]["prompt_tokens"] / setting.prompts,
                "tokens": found[0]["tokens"],
            }
            for value, found in zip(values, records.values(), strict=True)
        ]
    return {"held": {**held, "prompts": setting.prompts}, "axes": axes}


def _scaled(setting: Setting, axis: str, value: int, chosen: dict[str, int]) -> Contender:
    """Starts rlft on prompts cut to a length, with completions forced to theirs."""
    count = setting.prompts * setting.rounds()
    rows = material.read(setting.data, False) if setting.data else material.generated(count + END_TO_END)
    rows = material.enough(rows, count + END_TO_END)
    texts = [" ".join(row.question for row in rows[i : i + END_TO_END]) for i in range(count)]
    cut = [material.Row(material.fitted(text, setting.chat, chosen["prompt"]), "-") for text in texts]
    where = material.write(cut, setting.chat, setting.work / f"{axis}-{value}")
    recipe = sampled_words(setting, where["text"], setting.prompts, chosen["samples"], chosen["completion"])
    return setting.contender(f"{axis}={value}", "rlft_side", {"words": recipe, "forced": True})


def _tuned(setting: Setting, variant: str, settings: Record) -> Record:
    """What a variant comes to alone; no tokens per second, and why, where it does not run on this machine."""
    try:
        contender = _trl(setting, variant, settings, setting.warmup + setting.tune_steps)
        records = alternate([contender], setting.warmup, setting.tune_steps, setting.say)
    except Ended as error:
        setting.say(str(error))
        return {"tokens_per_s": 0.0, "ended": error.reason}
    return report.side(records[contender.name])


def _trl(setting: Setting, variant: str, settings: Record, steps: int) -> Contender:
    size, *options = variant.split("+")
    told = {**settings, "micro_batch": int(size), "options": options, "steps": steps}
    told |= {"model": setting.model, "learning_rate": LEARNING_RATE}
    return setting.contender(f"TRL, {variant}", "trl_side", told)


def _grpo_settings(setting: Setting, where: Record) -> Record:
    return {
        "method": "grpo",
        "tokens": where["tokens"],
        "rows": setting.prompts * setting.samples,
        "samples": setting.samples,
        "limit": setting.limit,
        "beta": GRPO_BETA,
    }


KINDS: dict[str, Callable[[Setting], Record]] = {
    "grpo": grpo,
    "grpo_short": grpo_short,
    "grpo_replay": grpo_replay,
    "dpo": dpo,
    "sft": sft,
    "rollout": rollout,
    "scaling": scaling,
}
