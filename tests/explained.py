"""An explanation made by hand, as large and as awkward as is wanted."""

from rlft.theory.explain import END, QUANTITIES, Explanation, Method, Told

HOSTILE = "</script><img src=https://example.org/x.png onerror='alert(1)'>"


def explanation(completions: int = 4, tokens: int = 6, methods: int = 2, text: str = HOSTILE) -> Explanation:
    """Returns methods on completions of one question; the last token of each is clipped, the one before not trained.
    The first method is given all of them, the others the first two; the last one moves nothing."""
    told = [
        Told(0, float(row % 2), text, [text, *[" a"] * (tokens - 2), END], [True] * (tokens - 2) + [False, True])
        for row in range(completions)
    ]
    return Explanation(
        "grpo_math", "a/model", QUANTITIES["log_probs"], 1, 1e-5, [f"What is 1 + 1? {text}"], told,
        [_method(number, number == methods - 1, completions, tokens) for number in range(methods)], ["a note"],
    )  # fmt: skip


def _method(number: int, still: bool, completions: int, tokens: int) -> Method:
    rows = list(range(completions)) if number == 0 else [0, 1]
    values = [[0.0 if still else (-1) ** row * (t + 1) / tokens for t in range(tokens)] for row in rows]
    ones = [[1.0] * tokens for _ in rows]
    clipped = [[1.0] * (tokens - 1) + [0.0] for _ in rows]
    change = [0.0 if still else (-1) ** row * 0.001 * (row + 1) for row in range(completions)]
    return Method(
        name=f"method_{number}", formula="GC = Â·ρ·live(ρ)", rows=rows, gc=values, weight=ones,
        terms={"Â·ρ·live(ρ)": values}, factors={"Â": ones, "live(ρ)": clipped}, predicted=change,
        measured=[1.1 * value for value in change], agreement=None if still else 1.0,
    )  # fmt: skip
