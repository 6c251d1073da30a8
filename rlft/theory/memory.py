"""The most memory that a run holds, by part."""

from rlft.base import READ_REFERENCE
from rlft.models.policy import CHUNK_NUMBERS
from rlft.models.sampler import ROWS
from rlft.theory.flops import passes
from rlft.theory.lengths import Lengths
from rlft.theory.model import Model
from rlft.theory.work import Work

# Measured by `python scripts/calibrate_cost.py memory`, with torch 2.13 on Linux; what each is stands there.
LIBRARIES = 0.55e9  # bytes of a run whose model weighs nothing
KEPT_WIDTH = 9.0  # vectors of the model's width that a layer keeps of a position for backward
KEPT_WIDTH_WIDE = 7.7  # likewise where no half precision is widened to float32 on the way
KEPT_INNER = 2.06  # vectors of the feed-forward width
SCORED = 3.5  # bytes for each logit that scoring by the head works on at once
DRAWN = 12.0  # bytes for each logit of the rows decoded together

# Counted in the tensors of `rlft.models.native`. Weights stay mapped from their file beside these if it has them in the
# run's dtype; else the copies take the place of what was converted.
JOINED = 0.66  # share of the adapted weights that is copied to stand in joined products: q, k, v, gate and up

# From the *_math recipes by `python scripts/calibrate_cost.py runs`: peaks of those that sample what they train on lie
# 0.16 to 0.32 GB above the other parts, and that of the one that does not lies at them.
HELD = 0.3  # of what sampling takes, the share that the C library holds in pieces besides, then and afterwards

MASTER = 4 + 8 + 4  # bytes per trained weight: float32 copy, Adam's two moments, gradient


def run_memory(work: Work, model: Model, lengths: Lengths, itemsize: int, on_cpu: bool) -> dict[str, float]:
    """Returns bytes by part. Sampling and training take turns, so that of their own parts only the larger sum counts:
    `peak` adds it to what is there throughout.

    Args:
        work, model, lengths: the run.
        itemsize: bytes of a number in the model's dtype.
        on_cpu: whether the model lies in the process's own memory, beside the interpreter and its libraries.
    """
    shape = model.shape
    trained = model.weights if shape.whole else shape.adapter
    critic = shape.adapter or 0
    mapped = on_cpu and model.stored in (None, itemsize)
    parts = {
        "libraries": LIBRARIES if on_cpu else 0.0,
        "weights": (model.weights + (JOINED * model.adapted if mapped else 0)) * float(itemsize),
        "trained": float(_trained(trained, itemsize, own=shape.whole)),
    }
    if shape.whole and work.roles & READ_REFERENCE:
        parts["reference copy"] = float(model.weights * itemsize)
    if "teacher" in work.roles:
        copied = model.weights if shape.whole and work.teacher is None else 0  # of what the run began as
        parts["teacher"] = float((work.teacher_weights + copied) * itemsize)
    if "critic" in work.roles:
        parts["critic"] = float(_trained(critic, itemsize, own=False))
    sampling = _sampling(work, model, lengths, itemsize, on_cpu)
    if on_cpu and work.sampled != "never":
        parts["heap in pieces"] = HELD * sum(sampling.values())
    return parts | sampling | _update(work, model, lengths, itemsize)


def peak(parts: dict[str, float]) -> float:
    """Returns the bytes held at the worst moment."""
    throughout = sum(size for part, size in parts.items() if ": " not in part)
    turns = [sum(s for part, s in parts.items() if part.startswith(turn)) for turn in ("rollout: ", "update: ")]
    return throughout + max(turns)


def _trained(weights: int, itemsize: int, own: bool) -> int:
    """Trained weights, their optimiser and gradient. Wide weights are their own float32 copies; `own` ones are counted
    with the model."""
    wide = itemsize >= 4
    return weights * (MASTER - (4 if wide else 0) + (0 if own else itemsize))


def _sampling(work: Work, model: Model, lengths: Lengths, itemsize: int, on_cpu: bool) -> dict[str, float]:
    samples = max(work.samples, 1 if work.evaluations else 0)
    if not samples:
        return {}
    limit = max((lengths.longest, *(min(e, lengths.answer) for e in work.evaluations)))
    draws = max(1, -(-work.queries // work.processes)) if work.sampled == "each step" else ROWS
    rows = min(ROWS, max(draws * samples, min(ROWS, lengths.questions if work.evaluations else 0)))
    # Half precisions are packed for oneDNN, the head too, beside the merged weights themselves.
    packed = model.adapted + model.shape.head if on_cpu and itemsize == 2 else 0
    merged = model.adapted + packed
    return {
        "rollout: merged weights": float(merged * itemsize),
        "rollout: keys and values": rows * (lengths.prompt + limit) * model.cache * itemsize,
        "rollout: logits": float(rows * model.vocabulary * DRAWN),
    }


def _update(work: Work, model: Model, lengths: Lengths, itemsize: int) -> dict[str, float]:
    p = passes(work, lengths)
    # A critic learns of every row, the policy of those that move it.
    share = 1.0 if "critic" in work.roles else p.busiest.positions / p.learnt.positions
    positions = min(work.tokens, share * p.whole / work.processes) * p.learnt.positions / p.whole
    layer = (KEPT_WIDTH if itemsize == 2 else KEPT_WIDTH_WIDE) * model.width + KEPT_INNER * model.inner
    kept = model.layers * model.width + layer if work.recompute else model.layers * layer
    logits = SCORED * CHUNK_NUMBERS if work.trains == "log_probs" else 0.0
    return {"update: activations": positions * kept * itemsize, "update: logits": logits}
