"""Reads the answer out of a completion, and numbers out of answers."""

import re
from decimal import Decimal
from fractions import Fraction

# Exponents stay below four digits, so that an exact value stays small.
UNSIGNED = r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d{1,3}(?!\w))?"
LATEX_FRACTION = rf"\\frac\s*(?:\{{\s*(-?{UNSIGNED})\s*\}}\s*\{{\s*({UNSIGNED})\s*\}}|(\d)\s*(\d))"

LAST = re.compile(
    # A minus is a sign only where nothing stands before it that it could be subtracted from.
    rf"(?P<sign>(?<![\w)\]}}])-(?=[$\\.\d]))?(?:\\?\$)?(?P<minus>(?<=\$)-)?"
    rf"(?P<body>(?:(?<!\w)\d+\s*)?\\frac\s*(?:\{{\s*-?{UNSIGNED}\s*\}}\s*\{{\s*{UNSIGNED}\s*\}}|\d\s*\d)"
    rf"|(?:(?<![\w.,/])\d+ (?=\d+/\d))?(?<!\w){UNSIGNED}(?:\s*/\s*{UNSIGNED})?)"
)
NUMBER = re.compile(rf"([+-]?)\s*({UNSIGNED})")
RATIO = re.compile(rf"([+-]?)\s*(?:(\d+)\s+)?({UNSIGNED})\s*/\s*({UNSIGNED})")
LATEX_RATIO = re.compile(rf"([+-]?)\s*(?:(\d+)\s*)?{LATEX_FRACTION}")
IN_WORDS = re.compile(rf"(?P<before>[^\d]*?)(?P<number>[+-]?{UNSIGNED})(?P<after>[^\d]*)")

WORDS = re.compile(r"[A-Za-z\s.,:;=!'\"/]*")
CHANGES_VALUE = re.compile(r"\b(?:pi|sqrt|log|exp|dozen|hundred|thousand|million|billion|minus|negative)\b", re.I)
SINGLE_LETTER = re.compile(r"[A-Za-z](?![A-Za-z])")

MINUS = str.maketrans({"\u2212": "-", "\ufe63": "-", "\uff0d": "-", "\u2044": "/"})
UNIT_SIGNS = re.compile(r"\\[$%]|\^\s*(?:\\circ|\{\s*\\circ\s*\})|[$%€£¥°]|\\[()\[\]]|\*\*")
SPACING = re.compile(r"\\(?:left|right)(?![A-Za-z])|\\[!,;: ]|~")
WRAPPER = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
THIN_SPACE = re.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))")

SAID = re.compile(r"\banswer(?:\s+is\b\s*:?|\s*[:=])(?P<said>(?:(?!\banswer\b).)*)", re.I)
STOP = re.compile(r"[.!?](?=[*_\"'”)]{0,3}(?:\s|$))")
EMPHASIS = "*_`\"'“” \t"
TAG = re.compile(r"<(/?)answer>", re.I)
NOISE = re.compile(r"\\(?:left|right|text|mathrm)(?![A-Za-z])|\\[!,; ]|[\s${}]")
BRACE = re.compile(r"\\[{}]|(?P<open>(?:(?P<boxed>\\boxed|\\fbox)\s*)?\{)|(?P<close>\})")
LONGEST = 400
"""Characters above which a text is no number."""


def extract_answer(text: str) -> str | None:
    r"""Returns the final answer of a text, or None if there is none.

    In this order: the last <answer>…</answer>, the last \boxed{…}, what follows the last ####, the last number (with
    its sign; a/b, 2 a/b and \frac{a}{b} are one number).

    >>> extract_answer("70 at first, <answer>72</answer>")
    '72'
    >>> extract_answer("It costs $1,234.50.")
    '1,234.50'
    """
    tagged = tagged_answer(text)
    if tagged is not None:
        return tagged
    matches = list(LAST.finditer(_tidy(text)))
    if not matches:
        return None
    last = matches[-1]
    return ("-" if last["sign"] or last["minus"] else "") + last["body"]


def tagged_answer(text: str) -> str | None:
    r"""Returns what a text marks as its answer with <answer>, \boxed or ####, or None if it marks nothing."""
    inner = _in_tag(text)
    if inner is not None:
        return _boxed(inner) or inner
    return _boxed(text) or _after_hashes(text)


def said_answer(text: str) -> str | None:
    """Returns the answer in words of a text that marks none, or None if it is empty: what follows the last "answer is"
    or "answer:", as far as the sentence goes, else all of it.

    >>> said_answer("It is on the Seine. So the answer is **Paris**. I am sure."), said_answer("Paris")
    ('Paris', 'Paris')
    """
    found = [STOP.split(match["said"], maxsplit=1)[0].strip(EMPHASIS) for match in SAID.finditer(text)]
    return next((said for said in reversed(found) if said), text.strip()) or None


def to_number(text: str) -> Fraction | None:
    r"""Returns the exact value of a text that is one number, or None.

    Read as numbers: 1,234.50; $18; 18% (as 18); -5 with any minus; 3/4, 2 1/2, \frac{3}{4}; 1e3; a number among words
    that do not change it ("72 apples", "x = 5").

    >>> to_number("$1,234.50"), to_number("x + 1")
    (Fraction(2469, 2), None)
    """
    if len(text) > LONGEST:
        return None
    text = WRAPPER.sub(r" \1 ", _tidy(text))
    text = UNIT_SIGNS.sub("", SPACING.sub("", text)).strip().rstrip(".,;: ")
    if match := NUMBER.fullmatch(text):
        return _signed(match[1], exact(match[2]))
    if match := RATIO.fullmatch(text):
        return _ratio(match[1], match[2], match[3], match[4])
    if match := LATEX_RATIO.fullmatch(text):
        return _ratio(match[1], match[2], match[3] or match[5], match[4] or match[6])
    return _in_words(text)


def spelled(text: str) -> str:
    """Returns an answer without what does not tell two answers apart: case, spaces, LaTeX's frills, a full stop."""
    return NOISE.sub("", text).rstrip(".").casefold()


def canonical(text: str) -> Fraction | str:
    """Returns what all spellings of one answer share: the value of a number, else how it is spelled.

    >>> canonical("72.0") == canonical("$72"), canonical("Paris.") == canonical("paris")
    (True, True)
    """
    value = to_number(text)
    return spelled(text) if value is None else value


def _tidy(text: str) -> str:
    """Returns the text with one spelling of minus, \\frac and thousands."""
    text = text.translate(MINUS).replace("{,}", ",").replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    return THIN_SPACE.sub("", text)


def exact(text: str) -> Fraction:
    """Returns the value of a text that `UNSIGNED` matches, with or without a sign."""
    return Fraction(Decimal(text.replace(",", "")))


def _signed(sign: str, value: Fraction) -> Fraction:
    return -value if sign == "-" else value


def _ratio(sign: str, whole: str | None, above: str, below: str) -> Fraction | None:
    denominator = exact(below)
    if denominator == 0:
        return None
    above_sign, above = ("-", above[1:]) if above.startswith("-") else ("+", above)
    return _signed(sign, Fraction(int(whole or 0)) + _signed(above_sign, exact(above) / denominator))


def _in_words(text: str) -> Fraction | None:
    match = IN_WORDS.fullmatch(text)
    if match is None:
        return None
    before, after = match["before"], match["after"]
    if not WORDS.fullmatch(before) or not WORDS.fullmatch(after) or CHANGES_VALUE.search(f"{before} {after}"):
        return None
    if before[-1:].isalpha() or SINGLE_LETTER.match(after):  # x5, 5x: not the number 5
        return None
    return to_number(match["number"])


def _in_tag(text: str) -> str | None:
    """Returns the content of the last closed, non-empty <answer> tag."""
    found, start = None, None
    for tag in TAG.finditer(text):
        if not tag[1]:
            start = tag.end()
        elif start is not None:
            found, start = text[start : tag.start()].strip() or found, None
    return found


def _boxed(text: str) -> str | None:
    """Returns the content of the last closed, non-empty \\boxed, of the innermost where they are nested."""
    found = None
    opened: list[tuple[bool, int]] = []
    for brace in BRACE.finditer(text):
        if brace["open"]:
            opened.append((bool(brace["boxed"]), brace.end()))
        elif brace["close"] and opened:
            boxed, start = opened.pop()
            if boxed:
                found = text[start : brace.start()].strip() or found
    return found and (_boxed(found) or found)


def _after_hashes(text: str) -> str | None:
    """Returns what follows the last ####; a heading ("#### Step 1") is no answer unless it is the last line."""
    lines = [line for line in text.splitlines() if line.strip()]
    for number, line in enumerate(reversed(lines)):
        _, mark, rest = line.rpartition("####")
        rest = rest.strip()
        if mark and rest and (number == 0 or NUMBER.fullmatch(UNIT_SIGNS.sub("", _tidy(rest)).strip().rstrip("."))):
            return rest
    return None
