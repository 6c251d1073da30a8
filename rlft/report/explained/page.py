"""`explain.html`: methods beside each other on the same completions."""

from rlft.report.explained.effect import effects, parts
from rlft.report.explained.tokens import questions
from rlft.report.frame import Section, document, notes, tiles
from rlft.report.markup import el, join
from rlft.report.scale import percent
from rlft.theory.explain import Explanation


def page(explanation: Explanation) -> str:
    """Returns the page. It asks nothing of any other file or machine; for one group, however long, it is
    smaller than 2 MB."""
    names = ", ".join(method.name for method in explanation.methods)
    counts = f"{len(explanation.completions)} completions of {len(explanation.prompts)} question"
    return document(
        f"What moves each token: {names}",
        f"{counts}{'s' * (len(explanation.prompts) > 1)} · {explanation.recipe} · {explanation.model}",
        [_result(explanation), *questions(explanation), parts(explanation), effects(explanation)],
    )


def _result(explanation: Explanation) -> Section:
    known = [method for method in explanation.methods if method.agreement is not None]
    figures = [
        (method.name, percent(method.agreement), "of completions move as predicted" if method in known else "no step")
        for method in explanation.methods
    ]
    total = len(explanation.completions)
    right = sum(round((method.agreement or 0.0) * total) for method in known)
    headline = (
        f"First order and measurement agree in sign for {right} of {total * len(known)} changes."
        if known
        else "None of these methods moves anything here."
    )
    said = (
        f"The update is `Σ w · GC · ∇ {explanation.quantity.token}` over the tokens. Each method takes one step from "
        f"the same weights on the same completions (step {explanation.step}, learning rate "
        f"{explanation.learning_rate:g}), which is taken back."
    )
    body = join(el("p", headline, class_="headline"), tiles(figures), notes(explanation.notes))
    return Section("result", "Result", "Result", said, body)
