"""What the steps came to: the sections of the JSON, and the tables. Pure functions of the workers' records."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from bench.flops import FORMULA, Shape, reference_flops, share, update_flops
from bench.worker import Record

PARTS = ("rollout_s", "reference_s", "update_s")
METHODS = ("grpo", "grpo_short", "grpo_replay", "dpo", "sft")

Records = Sequence[Record]


def rate(records: Records) -> float:
    """Returns the median over steps of trained (or drawn) tokens per second of the whole step.

    >>> rate([{"tokens": 20, "seconds": 2.0}, {"tokens": 60, "seconds": 2.0}, {"tokens": 8, "seconds": 2.0}])
    10.0
    """
    return median(record["tokens"] / record["seconds"] for record in records)


def side(records: Records) -> Record:
    """Returns one contender's medians over its steps, and its peak."""
    return {
        "tokens_per_s": rate(records),
        "step_s": median(record["seconds"] for record in records),
        **{part: median(record[part] for record in records) for part in PARTS if part in records[0]},
        "tokens": median(record["tokens"] for record in records),
        "peak_bytes": records[-1]["peak_bytes"],
        "steps": len(records),
    }


def comparison(ours: Records, theirs: Records, shape: Shape, gemm: float) -> Record:
    """Returns the section of a method.

    Args:
        ours, theirs: the records of rlft and of TRL after the warm-up, of the same rounds.
        shape: of the model.
        gemm: the machine's bfloat16 rate, FLOP/s.
    """
    mine, other = side(ours), side(theirs)
    work = [update_flops(shape, record["positions"], record["tokens"]) for record in ours]
    section: Record = {
        "rlft_tokens_per_s": mine["tokens_per_s"],
        "trl_tokens_per_s": other["tokens_per_s"],
        "speedup": mine["tokens_per_s"] / other["tokens_per_s"],
        "speedup_by_round": [
            (one["tokens"] / one["seconds"]) / (two["tokens"] / two["seconds"])
            for one, two in zip(ours, theirs, strict=True)
        ],
        "memory_ratio": mine["peak_bytes"] / other["peak_bytes"],
        "gemm_share": share(work, [record["update_s"] for record in ours], gemm),
        "gemm_formula": FORMULA,
        "rlft": mine,
        "trl": other,
    }
    if mine["reference_s"] > 0.01 * mine["step_s"]:
        passes = [reference_flops(shape, record["positions"], record["tokens"]) for record in ours]
        section["reference_gemm_share"] = share(passes, [record["reference_s"] for record in ours], gemm)
    return section


def unequal(ours: Records, theirs: Records, keys: Sequence[str]) -> list[str]:
    """Returns where two sides that were given the same work say that they did not do the same: empty if nowhere.

    >>> unequal([{"tokens": 3}, {"tokens": 4}], [{"tokens": 3}, {"tokens": 5}], ["tokens"])
    ['step 2: tokens 4 and 5']
    """
    rounds = enumerate(zip(ours, theirs, strict=True), 1)
    return [f"step {n}: {key} {a[key]} and {b[key]}" for n, (a, b) in rounds for key in keys if a[key] != b[key]]


def growth(points: Sequence[tuple[int, float]]) -> list[float]:
    """Returns by what factor the seconds grow from each point to the next, of (setting, seconds).

    >>> growth([(64, 2.0), (128, 3.0), (256, 6.0)])
    [1.5, 2.0]
    """
    return [after / before for (_, before), (_, after) in pairwise(points)]


def tables(result: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Returns the tables of a result, each a title, its columns and its rows, as text."""
    found = []
    methods = [name for name in METHODS if name in result]
    if methods:
        found.append(_methods({name: result[name] for name in methods}))
        found += [_variants(name, result[name]) for name in methods if result[name].get("trl_variants")]
    if "rollout" in result:
        found.append(_rollout(result["rollout"]))
    if "scaling" in result:
        found.append(_scaling(result["scaling"]))
    return found


def _methods(sections: Mapping[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    columns = ["work", "side", "tokens", "tokens/s", "step", "rollout", "reference", "update", "peak GB"]
    rows = []
    for name, section in sections.items():
        for which in ("rlft", "trl"):
            one = section[which]
            label = "rlft" if which == "rlft" else f"TRL, {section['trl_variant']}"
            parts = [f"{one[part]:.1f}" if one.get(part, 0.0) >= 0.05 else "–" for part in PARTS]
            speed = [f"{one['tokens']:.0f}", f"{one['tokens_per_s']:.0f}", f"{one['step_s']:.1f}"]
            rows.append([name, label, *speed, *parts, _gb(one)])
        rows.append(
            [
                name,
                "ratio",
                "",
                f"{section['speedup']:.2f}x",
                "",
                "",
                "",
                f"{section['gemm_share']:.0%} of GEMM",
                f"{section['memory_ratio']:.2f}x",
            ]
        )
    return "Training: trained tokens and seconds of a step, with its parts, medians after the warm-up", columns, rows


def _variants(name: str, section: Mapping[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    rows = [
        [variant, f"{one['tokens_per_s']:.0f}", f"{one['step_s']:.1f}", _gb(one)]
        if one["tokens_per_s"]
        else [variant, one["ended"], "–", "–"]
        for variant, one in section["trl_variants"].items()
    ]
    return f"{name}: what TRL does best with", ["micro-batch", "tokens/s", "step s", "peak GB"], rows


def _rollout(section: Mapping[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    engines = list(dict.fromkeys(engine for row in section["by_rows"].values() for engine in row))
    rows = [
        [rows, *(f"{found[engine]['tokens_per_s']:.0f}" if engine in found else "–" for engine in engines)]
        for rows, found in section["by_rows"].items()
    ]
    longest = [max(one[engine]["start_up_s"] for one in section["by_rows"].values()) for engine in engines]
    rows.append(["start-up, s", *(f"{seconds:.1f}" for seconds in longest)])
    return f"Rollout, tokens/s, completions of {section['limit']} tokens", ["rows", *engines], rows


def _scaling(section: Mapping[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    rows = []
    for axis, points in section["axes"].items():
        factors = ["–", *(f"{factor:.2f}x" for factor in growth([(p["value"], p["step_s"]) for p in points]))]
        rows += [
            [axis, str(point["value"]), f"{point['step_s']:.2f}", factor]
            for point, factor in zip(points, factors, strict=True)
        ]
    return "A GRPO step of rlft", ["what doubles", "value", "step s", "growth"], rows


def _gb(record: Mapping[str, Any]) -> str:
    return f"{record['peak_bytes'] / 1e9:.2f}"
