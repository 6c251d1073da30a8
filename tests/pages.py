"""A page read back: its sections, ids and texts, and whatever would need another file or a network."""

import re
from html.parser import HTMLParser
from pathlib import Path

COMPARISON = ["verdict", "leaderboard", "curves", "front", "passes", "regressions", "flips", "settings", "commands"]
REPORT = [
    "result",
    "curves",
    "convergence",
    "samples",
    "flips",
    "coefficients",
    "configuration",
    "environment",
    "commands",
]
"""Ids of the sections."""
VOID = {"br", "input", "link", "meta"}
LOADING = {"src", "href", "xlink:href", "srcset", "data", "action", "poster", "style"}


class Page(HTMLParser):
    """What a page is made of.

    Attributes:
        ids: all of them. sections: ids of the sections, in order.
        tags: the elements by their tag, as attributes. text: of each section, what a reader sees.
        outside: attributes and style sheets that name something to load.
    """

    def __init__(self, path: Path):
        super().__init__(convert_charrefs=True)
        self.ids: list[str] = []
        self.sections: list[str] = []
        self.tags: dict[str, list[dict[str, str]]] = {}
        self.text: dict[str, str] = {}
        self.outside: list[str] = []
        self._open: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        assert len(values) == len(attrs), f"an attribute stands twice in {tag}: {attrs}"
        self.tags.setdefault(tag, []).append(values)
        assert not any(name.startswith("on") for name in values), f"a handler in {tag}: {attrs}"
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "section":
            self.sections.append(values["id"])
        self.outside += [v for n, v in values.items() if n in LOADING and _loads(n, v)]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop() == tag, f"{tag} is closed where it is not open"

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            self.outside += re.findall(r"url\([^)]*\)|@import[^;]*", data)
        if "section" in self._open:
            section = self.sections[-1]
            self.text[section] = self.text.get(section, "") + data


def _loads(name: str, value: str) -> bool:
    return "url(" in value if name == "style" else not (value.startswith("#") or value == "data:,")


def check(path: Path, sections: list[str]) -> Page:
    """Returns a page that has these sections, ids that are unique, and needs nothing from elsewhere."""
    page = Page(path)
    assert page.sections == sections
    assert len(set(page.ids)) == len(page.ids)
    assert page.outside == []
    assert len(page.tags["script"]) == 1 and not {"iframe", "object", "embed", "img"} & page.tags.keys()
    targets = [link["href"].removeprefix("#") for link in page.tags["a"]]
    assert targets == sections
    return page
