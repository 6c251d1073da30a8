"""The page around its sections, and the pieces that sections are made of."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

from rlft.report.markup import Html, el, join, verbatim


@dataclass(frozen=True)
class Section:
    """One part of a page.

    Attributes:
        id: its anchor. name: in the list of parts.
        heading: over it. about: a sentence on what is shown and how it is to be read.
        body: what is shown.
    """

    id: str
    name: str
    heading: str
    about: str
    body: Html


def document(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Returns a whole page. It asks nothing of any other file or machine."""
    held = files("rlft.report")
    style, script = (verbatim(held.joinpath(f"page.{end}").read_text(encoding="utf-8")) for end in ("css", "js"))
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        el("title", title),
        el("link", rel="icon", href="data:,"),
        el("style", style),
    )
    top = el(
        "header",
        el("div", el("h1", title), el("p", subtitle)),
        el("button", "light / dark", class_="theme", type="button"),
    )
    links = [el("li", el("a", section.name, href=f"#{section.id}")) for section in sections]
    main = el("main", *(_section(section) for section in sections))
    foot = el("footer", "Made by rlft. This file needs no network and no other file.")
    body = el("body", top, el("nav", el("ul", *links)), main, foot, el("script", script))
    return "<!doctype html>\n" + el("html", head, body, lang="en") + "\n"


def _policy(script: str) -> str:
    """Returns what a browser may do with the page: load nothing, run the page's own script and no other."""
    digest = b64encode(sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"


def _section(section: Section) -> Html:
    said = about(section.about) if section.about else None
    return el("section", el("h2", section.heading), said, section.body, id=section.id)


def tiles(entries: Sequence[tuple[str, str, str]]) -> Html:
    """Returns figures to be read first: what it is, the figure, and what stands under it."""
    cells = [el("div", el("dt", name), el("dd", big, class_="big"), el("dd", small, class_="small"))
             for name, big, small in entries]  # fmt: skip
    return el("dl", *cells, class_="tiles")


def notes(lines: Sequence[str], bad: Sequence[str] = ()) -> Html | None:
    """Returns sentences one under another, those of what went wrong first."""
    if not lines and not bad:
        return None
    return el(
        "ul",
        *(el("li", line, class_="bad") for line in bad),
        *(el("li", prose(line)) for line in lines),
        class_="notes",
    )


def prose(text: str) -> Html:
    """Returns a sentence in which what stands between backticks is code.

    >>> prose("`rlft eval` draws")
    '<code>rlft eval</code> draws'
    """
    parts = text.split("`")
    return join(*(el("code", part) if number % 2 else part for number, part in enumerate(parts)))


def about(text: str) -> Html:
    """Returns a paragraph on what is shown, or on why nothing is."""
    return el("p", prose(text), class_="about")


def row(who: str, drawn: Html, number: str) -> Html:
    """Returns a row of `rows`: a name, a strip and its number."""
    cells = ((who, "who"), (drawn, "drawn"), (number, "number"))
    return el("div", *(el("div", cell, class_=kind) for cell, kind in cells))


def rows(*entries: Html, kind: str = "rows") -> Html:
    """Returns strips under one another; of kind "pairs", beside sentences."""
    return el("div", *entries, class_=kind)


def under(axis: Html) -> Html:
    """Returns the numbers under the strips of `rows`."""
    return el("div", el("div", axis, class_="drawn"))


def table(
    headings: Sequence[str], lines: Sequence[Sequence[str]], kind: str = "right", parts: Sequence[Sequence[float]] = ()
) -> Html:
    """Returns a table.

    Args:
        headings: of the columns.
        lines: the rows, texts or elements.
        kind: classes: "right" sets all columns but the first to the right, "cards" makes a card of each row on a phone,
            "whole" breaks no cell.
        parts: by row and column, the share of a cell that a bar behind it fills; 0 is no bar.
    """
    body: list[Html] = []
    for number, line in enumerate(lines):
        shares = parts[number] if parts else [0.0] * len(line)
        body.append(el("tr", *map(_cell, headings, line, shares)))
    return el(
        "div",
        el("table", el("thead", el("tr", *(el("th", name) for name in headings))), el("tbody", *body), class_=kind),
        class_="table",
    )


def _cell(heading: str, text: str, share: float) -> Html:
    bar = f"--part: {100 * share:.0f}%" if share else None
    return el("td", el("span", text), data_name=heading, class_="bar" if bar else None, style=bar)


def folded(title: str | Html, *children: str | None, is_open: bool = False) -> Html:
    """Returns what is shown on demand."""
    return el("details", el("summary", title), el("div", *children), open=is_open)


def texts(*entries: tuple[str, str]) -> Html:
    """Returns texts beside one another, each under a line on what it is; what was written stays as it was."""
    return el("div", *(el("div", el("p", name), el("pre", text)) for name, text in entries), class_="texts")


def command(text: str) -> Html:
    """Returns a command with a button that copies it."""
    return el("div", el("pre", text), el("button", "copy", type="button"), class_="command")
