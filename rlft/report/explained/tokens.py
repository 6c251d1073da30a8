"""Completions as coloured tokens, methods beside each other, within a page's size."""

from rlft.report.explained.numbers import SHADES, Column, columns, largest, shade, signed
from rlft.report.frame import Section, about
from rlft.report.markup import Html, el, join
from rlft.theory.explain import Explanation, Method, Told

ROOM = 1_300_000
"""Bytes of a page that tokens may take: with the rest it stays below 2 MB."""
LONGEST = 2_000  # characters of a question


def questions(explanation: Explanation) -> list[Section]:
    """Returns a section for each question, with its completions."""
    pairs = sum(len(method.rows) for method in explanation.methods)
    room = ROOM // max(1, pairs)
    found: list[Section] = []
    for number, prompt in enumerate(explanation.prompts):
        rows = [row for row, told in enumerate(explanation.completions) if told.prompt == number]
        cards = [_card(explanation, row, room) for row in rows]
        name = "Tokens" if len(explanation.prompts) == 1 else f"Question {number + 1}"
        said = (
            f"What each method multiplies `∇ {explanation.quantity.token}` of a token by: point at a token, or tap it, "
            "for its numbers. Shades are shares of the method's own largest `|GC|`."
        )
        readout = None if number else el("p", class_="readout", role="status")  # the numbers of one token at a time
        body = join(el("pre", prompt[:LONGEST]), _legend(), *cards, readout)
        found.append(Section(f"q{number + 1}", name, "Every token's coefficient", said, body))
    return found


def _legend() -> Html:
    levels = [*range(-SHADES, 0), 0, *range(1, SHADES + 1)]
    steps = [el("span", "0" if level == 0 else "+" if level > 0 else "−", class_=_class(level)) for level in levels]
    return el(
        "p",
        el("span", "lowered", class_="end"),
        el("span", *steps, class_="shades"),
        el("span", "raised", class_="end"),
        el("span", "0: no pull · ■ the end of the turn · struck out: clipped", class_="end"),
        class_="shading",
    )


def _card(explanation: Explanation, row: int, room: int) -> Html:
    told = explanation.completions[row]
    head = f"completion {row + 1} · reward {told.reward:.3g} · {len(told.tokens)} tokens"
    views = [_view(explanation.quantity.completion, method, row, told, room) for method in explanation.methods]
    return el("div", el("h3", head), el("div", *views, class_="views"), class_="completion")


def _view(symbol: str, method: Method, row: int, told: Told, room: int) -> Html:
    predicted, measured = signed(method.predicted[row]), signed(method.measured[row])
    change = f"Δ {symbol} {predicted} predicted, {measured} measured"
    head = el("p", el("b", method.name), " ", change, class_="of")
    if row not in method.rows:
        return el("div", head, about("Not given to this method."))
    return el("div", head, _tokens(method, method.rows.index(row), told, room))


def _tokens(method: Method, place: int, told: Told, room: int) -> Html:
    """Returns the tokens of a completion. Numbers that all of them have in common are written once."""
    known = columns(method, place)
    varied = [column for column in known if column.varies]
    same = [f"{column.name} {column.range}" for column in known if not column.varies]
    most, spans, size = largest(method), list[Html](), 0
    for t, token in enumerate(told.tokens):
        kind = _class(shade(method.gc[place][t], most), _clipped(known, t), told.trained[t])
        own = "|".join(column.write(column.values[t]) for column in varied)
        spans.append(el("span", _shown(token), class_=kind, data_n=own or None))
        size += len(spans[-1].encode())
        if size > room and t + 1 < len(told.tokens):
            spans.append(el("i", f" … and {len(told.tokens) - t - 1} further tokens, for which --json has the numbers"))
            break
    names = "|".join(column.name for column in varied)
    return el("p", *spans, class_="tokens", data_names=names or None, data_same=" · ".join(same) or None)


def _clipped(known: list[Column], t: int) -> bool:
    """Whether the method's clip stops a token: it is not live."""
    return any(column.name.startswith("live(") and column.values[t] == 0 for column in known)


def _class(level: int, struck: bool = False, trained: bool = True) -> str:
    shade_of = "n" if level == 0 else f"{'u' if level > 0 else 'd'}{abs(level)}"
    return " ".join([shade_of, *["struck"] * struck, *["untrained"] * (not trained)])


def _shown(token: str) -> str:
    return token.replace("\n", "⏎\n") if token else "·"
