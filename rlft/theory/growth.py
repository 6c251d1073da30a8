"""How a method's cost grows with the model N, the data D and the lengths: its leading term, and exponents.

Leading terms count what is proportional to N: 2 operations per weight and token forward, 2 for the gradient of the
activations, 2 for that of trained weights. SFT of all weights is the familiar 6·N·D (Kaplan et al., arXiv 2001.08361,
section 2.1), and with frozen weights under adapters 4·N·D.
"""

import math
from collections import defaultdict
from dataclasses import dataclass, replace

from rlft.models.flops import Shape, Tokens, step_flops
from rlft.theory.flops import passes, run_flops
from rlft.theory.lengths import Lengths
from rlft.theory.work import Work


@dataclass(frozen=True)
class Growth:
    """How a recipe's FLOPs grow.

    Attributes:
        leading: the term in N, with D queries trained on, R of them for the first time, M queries sampled from once,
            prompts of P tokens, completions of C, and the share a of rows whose coefficient is not zero.
        model, data, length: exponents of the FLOPs when N (by layers), D (and M), or C is doubled.
        attention: the share of the FLOPs that is attention's, which is quadratic in the lengths.
    """

    leading: str
    model: float
    data: float
    length: float
    attention: float


def growth(work: Work, shape: Shape, lengths: Lengths) -> Growth:
    """Returns how a recipe's FLOPs grow from where it stands."""

    def total(work: Work = work, shape: Shape = shape, lengths: Lengths = lengths) -> float:
        return sum(run_flops(work, shape, lengths).values())

    now = total()
    deeper = replace(
        shape,
        body=2 * shape.body,
        adapter=2 * shape.adapter,
        merge=2 * shape.merge,
        attention=2 * shape.attention,
    )
    longer = replace(lengths, completion=2 * lengths.completion, sampled=2 * lengths.sampled)
    more = replace(lengths, pool=2 * lengths.pool, distinct=lengths.distinct and 2 * lengths.distinct)
    return Growth(
        leading=leading_term(work, shape, lengths),
        model=math.log2(total(shape=deeper) / now),
        data=math.log2(total(work=replace(work, steps=2 * work.steps, frozen=2 * work.frozen), lengths=more) / now),
        length=math.log2(total(lengths=longer) / now),
        attention=1 - total(shape=replace(shape, attention=0)) / now,
    )


def leading_term(work: Work, shape: Shape, lengths: Lengths) -> str:
    """Returns the FLOPs proportional to N as text. The coefficients are those of `rlft.models.flops`, asked for one
    weight and one token."""
    one = Tokens(positions=1)
    unit = Shape(body=1, head=0, adapter=0, merge=0, attention=0, whole=shape.whole)
    teacher = work.teacher and replace(unit, body=work.teacher.body / shape.body)
    step = step_flops(unit, dict.fromkeys(work.roles, one), one, work.epochs, work.recompute, teacher=teacher)
    all_rows = _tokens(work.rows)
    run = passes(work, lengths)
    trained = _tokens(work.rows, "" if run.live == 1 else "a·", work.shared)
    terms: defaultdict[tuple[str, str], float] = defaultdict(float)
    if work.sampled != "never":
        queries = "M" if work.sampled == "once" else "D"
        terms[queries, _tokens(work.samples)] += unit.forward(one, adapter=False)
    if work.measured:
        terms["M", _tokens(work.measured)] += unit.forward(one, adapter=False)
    for part, flops in step.items():
        terms["R" if run.share(part) < 1 else "D", trained if part in ("forward", "backward") else all_rows] += flops
    return " + ".join(f"{flops:g}·N·{queries}·({tokens})" for (queries, tokens), flops in terms.items())


def _tokens(rows: int, share: str = "", shared: bool = True) -> str:
    times = f"{share}{rows if rows > 1 else ''}"
    return f"{'' if shared else times}P + {times}C"
