"""Answers and numbers read out of texts."""

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlft.rewards import extract_answer, said_answer, to_number

ANSWERS = [
    ("", None),
    ("   \n", None),
    ("no number here", None),
    ("72", "72"),
    ("The answer is 5.", "5"),
    ("The answer is -5.", "-5"),
    ("The answer is \u22125.", "-5"),
    ("x=-5", "-5"),
    ("17 + 25 = 42", "42"),
    ("17-25", "25"),
    ("(17)-25", "25"),
    ("10 - 3 is left", "3"),
    ("- 5 apples", "5"),
    ("**-12**", "-12"),
    ("It costs $18.00", "18.00"),
    ("It costs \\$18.00 today", "18.00"),
    ("The balance is -$5", "-5"),
    ("The balance is $-5", "-5"),
    ("The change is -\\$5.", "-5"),
    ("It is 18%", "18"),
    ("1,234.50", "1,234.50"),
    ("one, 1,234,567 in all", "1,234,567"),
    ("1{,}234", "1,234"),
    ("12\u202f345 people", "12345"),
    ("choose 1,2,3", "3"),
    ("1, 2, 3.", "3"),
    ("3.14 or so", "3.14"),
    ("it is .5", ".5"),
    ("a share of 1/2", "1/2"),
    ("a share of 3 / 4.", "3 / 4"),
    ("It takes 2 1/2 hours", "2 1/2"),
    ("It is -2 1/2.", "-2 1/2"),
    ("Step 3. 1/2", "1/2"),
    ("on 1/2/2024", "2024"),
    ("It is \\frac{1}{2}", "\\frac{1}{2}"),
    ("It is \\frac12.", "\\frac12"),
    ("It is 2\\frac{1}{2}", "2\\frac{1}{2}"),
    ("It is -\\frac{1}{2}", "-\\frac{1}{2}"),
    ("1.5e3 metres", "1.5e3"),
    ("5kg", "5"),
    ("H2O has 3 atoms", "3"),
    ("x2", None),
    ("Jan sells 9.\n#### 72", "72"),
    ("#### 72\n", "72"),
    ("#### -1,200", "-1,200"),
    ("#### $18", "$18"),
    ("#### Step 1\nadd them\nThe answer is 72", "72"),
    ("#### 72 apples", "72 apples"),
    ("####", None),
    ("so \\boxed{72}", "72"),
    ("so \\boxed{\\frac{1}{2}} and 7 more", "\\frac{1}{2}"),
    ("\\boxed{1} no, \\boxed{2}", "2"),
    ("\\boxed{\\boxed{5}}", "5"),
    ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
    ("\\boxed{{1}+{2}}", "{1}+{2}"),
    ("\\fbox{3}", "3"),
    ("cut off \\boxed{72", "72"),
    ("a stray { and \\boxed{4}", "4"),
    ("\\boxed{} is 9", "9"),
    ("<answer>72</answer>", "72"),
    ("70 at first, <answer>72</answer>", "72"),
    ("<answer>72</answer> and 70", "72"),
    ("<answer>70</answer> no, <answer> 72 </answer>", "72"),
    ("<ANSWER>\n72\n</ANSWER>", "72"),
    ("<answer>\\boxed{72}</answer>", "72"),
    ("\\boxed{70} <answer>72</answer>", "72"),
    ("#### 70\n\\boxed{72}", "72"),
    ("<answer>72 apples</answer>", "72 apples"),
    ("<answer></answer> 5", "5"),
    ("the end</answer> 5", "5"),
    ("70 <answer>72", "72"),
]

SAID = [
    ("Paris", "Paris"),
    ("The answer is Paris.", "Paris"),
    ("Answer: yes", "yes"),
    ("The final answer is: **Rome**. It is old.", "Rome"),
    ('Answer: "New York".', "New York"),
    ("The answer is no? No: the answer is yes.", "yes"),
    ("The answer is no\nThe answer is yes", "yes"),
    ("The answer is 3.5 apples. Good.", "3.5 apples"),
    ("answer:\n", "answer:"),
    ("  \n", None),
]

NUMBERS = [
    ("72", 72),
    ("72.", 72),
    ("72.00", 72),
    ("072", 72),
    ("+72", 72),
    ("-72", -72),
    ("\u221272", -72),
    ("1,234.50", Fraction(2469, 2)),
    ("1{,}234", 1234),
    ("$18.00", 18),
    ("\\$18", 18),
    ("-$18", -18),
    ("18%", 18),
    ("18\\%", 18),
    ("\\text{72 apples}", 72),
    ("72\\text{ cm}", 72),
    ("45^\\circ", 45),
    ("45°", 45),
    ("$72$", 72),
    ("\\(72\\)", 72),
    ("1/2", Fraction(1, 2)),
    ("-1/2", Fraction(-1, 2)),
    ("2 1/2", Fraction(5, 2)),
    ("-2 1/2", Fraction(-5, 2)),
    ("0.5", Fraction(1, 2)),
    ("\\frac{1}{2}", Fraction(1, 2)),
    ("\\dfrac12", Fraction(1, 2)),
    ("-\\frac{1}{2}", Fraction(-1, 2)),
    ("\\frac{-1}{2}", Fraction(-1, 2)),
    ("2\\frac{1}{2}", Fraction(5, 2)),
    ("1.5e3", 1500),
    ("72 apples", 72),
    ("x = 5", 5),
    ("The answer is 5", 5),
    ("5kg", 5),
    ("", None),
    ("apples", None),
    ("5x", None),
    ("x5", None),
    ("5 pi", None),
    ("2 dozen", None),
    ("minus 5", None),
    ("sqrt(5)", None),
    ("\\sqrt{5}", None),
    ("2^3", None),
    ("2 + 3", None),
    ("2x = 10", None),
    ("1/0", None),
    ("1,23", None),
    ("1 2", None),
    ("1e9999", None),
    ("9" * 500, None),
]


@pytest.mark.parametrize(("text", "said"), SAID)
def test_answers_in_words(text: str, said: str | None) -> None:
    assert said_answer(text) == said


@pytest.mark.parametrize(("text", "answer"), ANSWERS)
def test_answer(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


@pytest.mark.parametrize(("text", "value"), NUMBERS)
def test_number(text: str, value: Fraction | int | None) -> None:
    assert to_number(text) == value


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=3))
def test_every_number_survives_its_spellings(value: object) -> None:
    exact = Fraction(str(value))
    for text in (f"{value}", f"{value:,}", f"so it is {value:,}.", f"\\boxed{{{value}}}", f"<answer>{value}</answer>"):
        answer = extract_answer(text)
        assert answer is not None
        assert to_number(answer) == exact


@given(st.text(alphabet="\\boxed{}#<answer>/ 12.,-$%frac", max_size=60))
def test_any_text_is_read_without_an_exception(text: str) -> None:
    answer = extract_answer(text)
    assert answer is None or (answer != "" and (to_number(answer) is None or isinstance(to_number(answer), Fraction)))


PIECES = ["\\boxed{", "\\boxed ", "<answer>", "#### 1\n", "-", "1", "1,", "1,111,", "1/", "1 ", "{", "\\frac{1}", " "]


@pytest.mark.parametrize("piece", PIECES)
def test_time_is_not_quadratic_in_repetitions(piece: str) -> None:
    text = piece * (40_000 // len(piece))
    started = time.process_time()
    extract_answer(text)
    to_number(text[:400])
    assert time.process_time() - started < 2.0
