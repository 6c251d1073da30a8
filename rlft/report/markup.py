"""HTML and SVG elements. Text becomes markup in one place, here, so that nothing a model wrote can become a tag."""

from html import escape


class Html(str):
    """Markup, made by `el` and `join` alone; any other string is text and is escaped."""

    __slots__ = ()


VOID = {"br", "input", "link", "meta"}

Value = str | float | bool | None


def el(tag: str, *children: str | None, **attributes: Value) -> Html:
    """Returns an element.

    Args:
        tag: its name.
        children: elements, or texts, which are escaped; None is nothing.
        attributes: by name, with `_` for `-` and one at the end dropped. None and False leave an attribute out, True
            gives it no value.

    >>> el("p", "1 < 2 ", el("b", "so"), class_="x", hidden=True, title=None)
    '<p class="x" hidden>1 &lt; 2 <b>so</b></p>'
    >>> el("circle", cx=1.25, stroke_width=2.0)
    '<circle cx="1.2" stroke-width="2"></circle>'
    """
    words = "".join(_attribute(name, value) for name, value in attributes.items())
    return Html(f"<{tag}{words}>" + ("" if tag in VOID else f"{join(*children)}</{tag}>"))


def join(*children: str | None) -> Html:
    """Returns elements and texts one after another.

    >>> join("a & b", el("br"), None)
    'a &amp; b<br>'
    """
    return Html("".join(child if isinstance(child, Html) else escape(child) for child in children if child is not None))


def verbatim(text: str) -> Html:
    """Returns text as markup: for what this package itself holds, its style sheet and script."""
    return Html(text)


def _attribute(name: str, value: Value) -> str:
    name = name.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    return f' {name}="{escape(value) if isinstance(value, str) else short(value)}"'


def short(value: float) -> str:
    """Returns a length in pixels or percent, to a tenth.

    >>> short(12.04), short(3.0), short(-0.01)
    ('12', '3', '0')
    """
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
