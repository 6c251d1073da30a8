"""An explanation on the terminal: coloured tokens, or numbers beside them where there are no colours."""

from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from rlft.report.explained.numbers import GC, SHADES, columns, largest, shade, signed
from rlft.report.scale import percent
from rlft.theory.explain import END, Explanation, Method, Quantity, Told

UP = ("#e1effa", "#b5d6f2", "#83b9e6", "#4d98d6", "#1f74b8")
DOWN = ("#fdebdd", "#fbd0ae", "#f5ab74", "#e98239", "#c95f10")


def show(explanation: Explanation, console: Console) -> None:
    """Prints a table for each question: its completions, each under every method."""
    # Sixteen colours have no shades to tell a small coefficient of one sign from one of the other.
    colours = console.color_system in ("256", "truecolor") and not console.no_color
    for number, prompt in enumerate(explanation.prompts):
        _say(console, f"\nq: {prompt}")
        console.print(_table(explanation, number, colours))
    console.print(_legend(explanation.quantity, colours))
    for line in explanation.notes:
        _say(console, line)
    _say(
        console,
        f"step {explanation.step} of AdamW on these completions, at a learning rate of {explanation.learning_rate:g}; "
        "it was taken back",
    )
    for method in explanation.methods:
        if method.agreement is not None:
            _say(console, f"{method.name}: predicted and measured change agree in sign for {percent(method.agreement)}")


def _table(explanation: Explanation, number: int, colours: bool) -> Table:
    table = Table("r", "method", "Δ predicted", "Δ measured", "o, and what its tokens are multiplied by")
    for column, side in zip(table.columns[:4], ("right", "left", "right", "right"), strict=True):
        column.justify, column.no_wrap = side, True
    for row, told in enumerate(explanation.completions):
        if told.prompt != number:
            continue
        for place, method in enumerate(explanation.methods):
            change = (signed(method.predicted[row]), signed(method.measured[row]))
            reward = "" if place else f"{told.reward:.3g}"
            table.add_row(reward, method.name, *change, _completion(method, row, told, colours))
        table.add_section()
    return table


def _completion(method: Method, row: int, told: Told, colours: bool) -> Text:
    text = Text()
    if row not in method.rows:
        return text.append("not given to this method", "italic")
    place, most = method.rows.index(row), largest(method)
    for token, gc in zip(told.tokens, method.gc[place], strict=True):
        shown = token.replace("\n", "⏎")
        if colours:
            text.append(shown, _style(shade(gc, most)))
        else:
            text.append(f"{shown}[{signed(gc)}]")
    return text.append("\n" + " · ".join(f"{column.name} {column.range}" for column in columns(method, place)), "dim")


def _style(level: int) -> Style:
    """Returns how a shade looks."""
    if level == 0:
        return Style(underline=True)
    ground = (UP if level > 0 else DOWN)[abs(level) - 1]
    return Style(color="white" if abs(level) == SHADES else "black", bgcolor=ground)


def _legend(quantity: Quantity, colours: bool) -> Text:
    said = f"{END} the end of the turn; Δ: change of {quantity.measured}, first order and as measured"
    if not colours:
        return Text(f"token[{GC}], {said}")
    text = Text("GC of a token, as a share of the method's largest: ")
    for level in range(-SHADES, SHADES + 1):
        text.append(" 0 " if level == 0 else f" {'+' if level > 0 else '−'} ", style=_style(level))
    return text.append(f"  {said}")


def _say(console: Console, line: str) -> None:
    console.print(Text(line), soft_wrap=True)
