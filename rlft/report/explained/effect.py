"""What moves each completion, and where one step takes it."""

from rlft.report.explained.numbers import columns, signed
from rlft.report.frame import Section, about, row, rows, table, under
from rlft.report.markup import Html, el, join
from rlft.report.scale import Scale, percent, si, span
from rlft.theory.explain import Explanation, Method, Quantity

HEIGHT, THICK = 26, 8


def effects(explanation: Explanation) -> Section:
    """Returns the section on the step: bars of the predicted and the measured change."""
    quantity = explanation.quantity
    unit = f", {quantity.unit}," if quantity.unit else ""
    parts = [_effect(explanation, method) for method in explanation.methods]
    said = (
        f"The change of `{quantity.completion}`{unit} by one step of AdamW at a learning rate of "
        f"{explanation.learning_rate:g}. Upper bar: to first order, `⟨∇ {quantity.completion}, δθ⟩`, δθ what the "
        "optimiser changed. Lower bar: measured. "
        "AdamW's first step moves each weight by about the learning rate however small its gradient is: how "
        "coefficients stand to each other counts, their common scale does not."
    )
    return Section("step", "One step", "What one step does", said, join(*parts))


def _effect(explanation: Explanation, method: Method) -> Html:
    values = [*method.predicted, *method.measured, 0.0]
    low, high = span(values)
    scale = Scale(min(low, 0.0), max(high, 0.0), 1, 99)
    lines: list[Html] = []
    for number, told in enumerate(explanation.completions):
        predicted, measured = method.predicted[number], method.measured[number]
        note = f"completion {number + 1}: predicted {signed(predicted)}, measured {signed(measured)}"
        drawn = _bars(scale, predicted, measured, note)
        lines.append(row(f"{number + 1} · r = {told.reward:.3g}", drawn, f"{signed(predicted)} / {signed(measured)}"))
    agreement = "nothing moves" if method.agreement is None else f"one sign for {percent(method.agreement)}"
    return join(el("h3", f"{method.name}: {agreement}"), rows(*lines, under(_axis(scale, explanation.quantity))))


def _bars(scale: Scale, predicted: float, measured: float, note: str) -> Html:
    zero = scale(0.0)
    middle = HEIGHT / 2
    bars = [
        el("rect", class_=kind, x=f"{min(zero, scale(value)):.2f}%", width=f"{abs(scale(value) - zero):.2f}%",
           y=top, height=float(THICK))
        for kind, value, top in (("predicted", predicted, middle - THICK - 1), ("measured", measured, middle + 1))
    ]  # fmt: skip
    line = el("line", class_="zero", x1=f"{zero:.2f}%", x2=f"{zero:.2f}%", y1="0", y2="100%")
    return el("svg", el("title", note), *bars, line, class_="strip bars", height=str(HEIGHT), role="img")


def _axis(scale: Scale, quantity: Quantity) -> Html:
    texts = [el("text", si(tick), x=f"{scale(tick):.2f}%", y="12", text_anchor="middle") for tick in scale.ticks(4)]
    name = el("text", f"Δ {quantity.measured}", class_="name", x="50%", y="29", text_anchor="middle")
    return el("svg", *texts, name, class_="strip axis", height="34", aria_hidden="true")


def parts(explanation: Explanation) -> Section:
    """Returns the section on what the coefficients are made of: a table for each method."""
    tables = [join(el("h3", method.name), about(method.formula), _made_of(explanation, method))
              for method in explanation.methods]  # fmt: skip
    said = (
        "The coefficient of each completion's tokens and what goes into it, from the least token to the greatest. "
        "Where a coefficient has several terms, they add up to it."
    )
    return Section("parts", "Parts", "What moves them", said, join(*tables))


def _made_of(explanation: Explanation, method: Method) -> Html:
    known = [columns(method, place) for place in range(len(method.rows))]
    lines: list[list[str]] = []
    for place, number in enumerate(method.rows):
        name = f"{number + 1} · r = {explanation.completions[number].reward:.3g}"
        lines.append([name, *(column.range for column in known[place]), signed(method.pull(place))])
    return table(["completion", *(column.name for column in known[0]), "Σ w·GC"], lines, "right whole")
