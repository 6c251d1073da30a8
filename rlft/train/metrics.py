"""What a step is measured by."""

import resource
import sys
from typing import Any

import torch
from torch import Tensor

from rlft.base import Batch, Group, Processes

KEYS = (
    "step",
    "reward/mean",
    "reward/std",
    "reward/share_right",
    "kl",
    "log_ratio",
    "kl_teacher",
    "entropy",
    "ratio/clip_low",
    "ratio/clip_high",
    "ratio/min",
    "ratio/max",
    "gc/mean_abs",
    "gc/share_positive",
    "gc/share_negative",
    "gc/share_zero",
    "grad_norm",
    "grad_cosine",
    "grad_snr",
    "grad_signal",
    "grad_noise_floor",
    "noise_floor_since",
    "ess",
    "acceptance",
    "kl/beta",
    "learning_rate",
    "sampler_gap",
    "mismatch/mean",
    "mismatch/cut_share",
    "completion_length/mean",
    "completion_length/max",
    "completion_length/cut_share",
    "completion_length/right",
    "completion_length/wrong",
    "group/all_right",
    "group/all_wrong",
    "reward/errors",
    "tokens/generated",
    "tokens/trained",
    "flops",
    "time/step_s",
    "time/rollout_s",
    "time/reward_s",
    "time/annotate_s",
    "time/update_s",
    "memory/peak_bytes",
)
"""The keys of every line of metrics.jsonl; null where a run has no such thing. `reward/part/NAME` and `critic/…` join
them where there are parts or a critic. Tokens and seconds are the step's own; `flops` are the run's so far."""


LARGEST = 300.0  # nats, of a completion's log-ratio: its square stays a number


class Tally:
    """Adds up, over the micro-batches of all processes, what the coefficient did to the trained tokens.

    Attributes:
        clip_range: outside which ratios count as clipped; None for a method that clips none.
        on_policy: whether the completions are π_θ's. Means over those that are not estimate no KL.
    """

    NAMES = (
        *("tokens", "run", "abs", "positive", "negative", "entropy", "kl", "log_ratio", "kl_teacher", "low", "high"),
        *("gap", "mismatch", "cut", "rows", "rho", "rho_squared"),
    )

    def __init__(self, clip_range: tuple[float, float] | None, on_policy: bool = True):
        self.clip_range, self.on_policy = clip_range, on_policy
        self.sums = torch.zeros(len(self.NAMES), dtype=torch.float64)
        self.ratio_min, self.ratio_max = float("inf"), float("-inf")
        self.has_reference = self.has_teacher = self.has_gap = self.has_mismatch = False

    def add(
        self, micro: Batch, logp: Tensor, entropy: Tensor, gc: Tensor, mismatch: tuple[Tensor, Tensor] | None = None
    ) -> None:
        """Takes a micro-batch in, with log π, entropy, coefficient and mismatch weights (and which are cut) [B, T]."""
        mask = micro.mask
        if not bool(mask.any()):
            return
        used = gc[mask]
        values = dict.fromkeys(self.NAMES, 0.0)
        values["tokens"] = values["run"] = float(mask.sum())
        values["abs"] = float(used.abs().sum())
        values["positive"] = float((used > 0).sum())
        values["negative"] = float((used < 0).sum())
        values["entropy"] = float(entropy[mask].sum())
        if micro.logp_ref is not None:
            self.has_reference = True
            log_ratio = (micro.logp_ref - logp)[mask]
            values["kl"] = float((log_ratio.exp() - log_ratio - 1).sum())
            values["log_ratio"] = -float(log_ratio.sum())
        if micro.logp_teacher is not None:
            self.has_teacher = True
            values["kl_teacher"] = float((logp - micro.logp_teacher)[mask].sum())
        if micro.logp_sampled is not None:
            self.has_gap = True
            values["gap"] = float((micro.logp_sampled - logp)[mask].abs().sum())
        if mismatch is not None:
            self.has_mismatch = True
            values["mismatch"], values["cut"] = (float(part[mask].sum()) for part in mismatch)
        rho = torch.ones(int(mask.any(1).sum()), dtype=torch.float64)
        if micro.logp_old is not None:
            whole = torch.where(mask, logp - micro.logp_old, 0.0).double().sum(1)[mask.any(1)]
            rho = whole.clamp(max=LARGEST).exp()
            ratio = (logp - micro.logp_old)[mask].exp()
            self.ratio_min = min(self.ratio_min, float(ratio.min()))
            self.ratio_max = max(self.ratio_max, float(ratio.max()))
            if self.clip_range:
                values["low"] = float((ratio < self.clip_range[0]).sum())
                values["high"] = float((ratio > self.clip_range[1]).sum())
        values["rows"], values["rho"], values["rho_squared"] = float(len(rho)), float(rho.sum()), float(rho @ rho)
        self.sums += torch.tensor([values[n] for n in self.NAMES], dtype=torch.float64)

    def skip(self, tokens: int) -> None:
        """Takes in trained tokens that were not run since their coefficient is 0."""
        self.sums[self.NAMES.index("tokens")] += tokens

    def metrics(self, processes: Processes) -> dict[str, float | None]:
        """Returns the means: of the coefficient over all trained tokens, of all else over those that were run. The KL
        is the k3 estimate, π_θ‖π_ref, that to a teacher the mean log-ratio (k1), both nats a token; where the
        completions are not π_θ's, the mean of log(π_θ/π_ref) stands in the place of the former. `ess` is Kish's
        effective sample size (Σρ)²/Σρ² of the completions' own weights ρ = π_θ/π_old, over how many there are: 1 where
        samples are π_θ's."""
        processes.add([self.sums])
        extremes = processes.gather([(self.ratio_min, self.ratio_max)])
        lowest, highest = min(low for low, _ in extremes), max(high for _, high in extremes)
        total = dict(zip(self.NAMES, self.sums.tolist(), strict=True))
        n, run = max(1.0, total["tokens"]), max(1.0, total["run"])
        clipped = self.clip_range is not None
        return {
            "gc/mean_abs": total["abs"] / n,
            "gc/share_positive": total["positive"] / n,
            "gc/share_negative": total["negative"] / n,
            "gc/share_zero": 1 - (total["positive"] + total["negative"]) / n,
            "entropy": total["entropy"] / run if total["run"] else None,
            "kl": total["kl"] / run if self.has_reference and self.on_policy else None,
            "log_ratio": total["log_ratio"] / run if self.has_reference and not self.on_policy else None,
            "kl_teacher": total["kl_teacher"] / run if self.has_teacher else None,
            "sampler_gap": total["gap"] / run if self.has_gap else None,
            "mismatch/mean": total["mismatch"] / run if self.has_mismatch else None,
            "mismatch/cut_share": total["cut"] / run if self.has_mismatch else None,
            "ess": total["rho"] ** 2 / (total["rho_squared"] * total["rows"]) if total["rho"] else None,
            "ratio/clip_low": total["low"] / run if clipped else None,
            "ratio/clip_high": total["high"] / run if clipped else None,
            "ratio/min": lowest if lowest < float("inf") else None,
            "ratio/max": highest if highest > float("-inf") else None,
        }


def group_metrics(groups: list[Group]) -> dict[str, float | None]:
    """Returns what groups say as they were judged, before any rank, clip or scale: rewards and their parts, lengths,
    the share of right completions (a reward above 0.5), and of groups that are all right or all wrong."""
    rewards = [r for g in groups for r in g.rewards]
    completions = [c for g in groups for c in g.completions]
    values = [r.value for r in rewards]
    lengths = [len(c.token_ids) for c in completions]
    right = [n for n, v in zip(lengths, values, strict=True) if v > 0.5]
    wrong = [n for n, v in zip(lengths, values, strict=True) if v <= 0.5]
    mean = sum(values) / len(values)
    metrics: dict[str, float | None] = {
        "reward/mean": mean,
        "reward/std": (sum((v - mean) ** 2 for v in values) / max(1, len(values) - 1)) ** 0.5,
        "reward/share_right": len(right) / len(values),
        "reward/errors": sum(r.error is not None for r in rewards),
        "completion_length/mean": sum(lengths) / len(lengths),
        "completion_length/max": max(lengths),
        "completion_length/cut_share": sum(not c.finished for c in completions) / len(completions),
        "completion_length/right": sum(right) / len(right) if right else None,
        "completion_length/wrong": sum(wrong) / len(wrong) if wrong else None,
        "group/all_right": sum(all(r.value > 0.5 for r in g.rewards) for g in groups) / len(groups),
        "group/all_wrong": sum(all(r.value <= 0.5 for r in g.rewards) for g in groups) / len(groups),
    }
    for name in sorted({name for r in rewards for name in r.parts}):
        parts = [r.parts[name] for r in rewards if name in r.parts]
        metrics[f"reward/part/{name}"] = sum(parts) / len(parts)
    return metrics


def line(values: dict[str, Any]) -> dict[str, Any]:
    """Returns one line of metrics.jsonl: every key of `KEYS`, then the others."""
    return {**dict.fromkeys(KEYS), **values}


def peak_memory() -> int:
    """Returns the most memory in use so far, bytes: the device's where there is one, else this process's."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
