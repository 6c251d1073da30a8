"""An explanation as a page and on the terminal."""

import io
import re
from dataclasses import replace
from typing import Literal

import pytest
from explained import HOSTILE, explanation
from rich.console import Console

from rlft.report.explained import page, show
from rlft.report.markup import join

MOST = 2_000_000


def shown(system: Literal["standard", "truecolor"] | None) -> str:
    text = io.StringIO()
    show(explanation(text="tok"), Console(file=text, width=200, color_system=system, force_terminal=bool(system)))
    return text.getvalue()


def test_the_page_holds_every_token_and_asks_for_nothing() -> None:
    made = page(explanation())
    assert made.count('class="tokens"') == 4 + 2  # the second method is given two of the four
    assert made.count("Not given to this method") == 2
    assert HOSTILE not in made and join(HOSTILE) in made
    assert re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(?:https?:|//)", made.replace(join(HOSTILE), "")) == []


def test_tokens_are_shaded_by_sign_and_size() -> None:
    made = explanation(completions=2, tokens=5, text="tok")
    made = page(replace(made, methods=made.methods[:1]))
    first, second = re.findall(r'<p class="tokens".*?</p>', made)
    assert re.findall(r'class="([ud]\d)', first) == ["u2", "u3", "u4", "u5", "u5"]
    assert re.findall(r'class="([ud]\d)', second) == ["d2", "d3", "d4", "d5", "d5"]
    assert first.count("struck") == 1 and first.count("untrained") == 1
    assert 'data-names="GC|live(ρ)"' in first and 'data-same="Â 1 · w 1"' in first
    assert 'data-n="+0.2|1"' in first and 'data-n="+1|0"' in first


def test_what_moves_nothing_is_said_to() -> None:
    made = page(explanation(methods=1))
    assert "None of these methods moves anything here." in made and "nothing moves" in made
    assert "agree in sign for 4 of 4 changes" in page(explanation(methods=2))


@pytest.mark.parametrize("size", [(8, 24), (8, 3000), (64, 1000)])
def test_the_page_stays_small(size: tuple[int, int]) -> None:
    completions, tokens = size
    made = page(explanation(completions, tokens, methods=5, text="tok"))
    assert len(made.encode()) < MOST
    assert ("further tokens" in made) == (tokens > 24)


def test_the_terminal_has_colours_or_numbers() -> None:
    plain, coloured = shown(None), shown("truecolor")
    assert "\x1b[" not in plain and "tok[+0.167] a[+0.333]" in plain and "■[+1]" in plain
    assert "tok[+0.167]" in shown("standard"), "16 colours are too few for shades"
    assert "48;2;31;116;184" in coloured and "[+0.167]" not in coloured  # the darkest blue
    for text in (plain, coloured):
        assert "GC +0.167 to +1 · Â 1 · live(ρ) 0 to 1 · w 1" in text
        assert "not given to this method" in text and "a note" in text
        assert "method_0: predicted and measured change agree in sign for 100.0%" in text
