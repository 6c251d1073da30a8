"""An explanation as plain values: for the page, the terminal and `--json`."""

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from rlft.base import Chat, Completion, Group
from rlft.theory.explain.coefficients import Coefficients
from rlft.theory.explain.effect import Effect
from rlft.theory.explain.quantity import Quantity

END = "■"
"""Stands for the end of a turn."""

Tokens = list[list[float]]
"""By completion and token."""


@dataclass(frozen=True)
class Told:
    """A completion.

    Attributes:
        prompt: the number of its prompt. reward: r(q, o). text: as the reward sees it.
        tokens: their texts, one after another the completion; empty where a character is not complete yet.
        trained: which of them take part in the gradient.
    """

    prompt: int
    reward: float
    text: str
    tokens: list[str]
    trained: list[bool]


@dataclass(frozen=True)
class Method:
    """What a method does with the completions.

    Attributes:
        name, formula: of the algorithm.
        rows: the numbers of the completions that it is given.
        gc, weight: of these, by token. terms: the summands of the coefficient. factors: what those are made of.
        predicted, measured: of all completions, the change of the quantity by one step.
        agreement: the share of them whose predicted and measured change have one sign; None where nothing changes.
    """

    name: str
    formula: str
    rows: list[int]
    gc: Tokens
    weight: Tokens
    terms: dict[str, Tokens]
    factors: dict[str, Tokens]
    predicted: list[float]
    measured: list[float]
    agreement: float | None

    def mean(self, place: int) -> float:
        """Returns the mean coefficient of a completion's tokens, by its place among `rows`."""
        return sum(self.gc[place]) / max(1, len(self.gc[place]))

    def pull(self, place: int) -> float:
        """Returns Σ_t w·GC of a completion, by its place among `rows`."""
        return sum(w * gc for w, gc in zip(self.weight[place], self.gc[place], strict=True))


@dataclass(frozen=True)
class Explanation:
    """Methods beside each other on the same completions.

    Attributes:
        recipe: what the completions and the model are of. model: its path. quantity: what it says of completions.
        step: the optimiser step on these completions that is explained, from 1.
        learning_rate: of that step. prompts: the questions as text. notes: what has to be known beside.
    """

    recipe: str
    model: str
    quantity: Quantity
    step: int
    learning_rate: float
    prompts: list[str]
    completions: list[Told]
    methods: list[Method]
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Returns what `--json` prints."""
        return asdict(self)


def tell(groups: list[Group], chat: Chat) -> tuple[list[str], list[Told]]:
    """Returns the prompts and the completions of scored groups."""
    prompts = [group.query.messages[-1]["content"] for group in groups]
    told = [
        Told(number, reward.value, completion.text, pieces(completion, chat), _trained(completion))
        for number, group in enumerate(groups)
        for completion, reward in zip(group.completions, group.rewards, strict=True)
    ]
    return prompts, told


def method(name: str, formula: str, rows: list[int], told: list[Told], found: Coefficients, effect: Effect) -> Method:
    """Returns what was found out about a method, with the padding taken off."""
    lengths = [len(told[row].tokens) for row in rows]
    return Method(
        name=name,
        formula=formula,
        rows=rows,
        gc=_cut(found.gc, lengths),
        weight=_cut(found.weight, lengths),
        terms={text: _cut(values, lengths) for text, values in found.terms.items()},
        factors={symbol: _cut(values, lengths) for symbol, values in found.factors.items()},
        predicted=effect.predicted.tolist(),
        measured=effect.measured.tolist(),
        agreement=effect.agreement,
    )


def pieces(completion: Completion, chat: Chat) -> list[str]:
    """Returns what each token adds to the text. A token that ends the turn is `END`; one that is but a part of a
    character is empty, and the token that completes it has it whole."""
    found: list[str] = []
    ids, before = list(completion.token_ids), ""
    for place in range(len(ids)):
        text = chat.text(ids[: place + 1])
        whole = not text.endswith("\N{REPLACEMENT CHARACTER}")
        found.append(text[len(before) :] if whole else "")
        before = text if whole else before
    if found and completion.finished and not found[-1]:
        found[-1] = END
    return found


def _trained(completion: Completion) -> list[bool]:
    return [True] * len(completion.token_ids) if completion.trained is None else list(completion.trained)


def _cut(values: Tensor, lengths: list[int]) -> Tokens:
    return [row[:length] for row, length in zip(values.double().tolist(), lengths, strict=True)]
