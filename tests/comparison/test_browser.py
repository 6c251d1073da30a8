"""All pages in a real browser: nothing is missing, cut off, reported or asked for."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from explained import explanation
from written import written

from rlft.comparison import compare
from rlft.report import write_report
from rlft.report.explained import page as explained

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
LONG = "w" * 400 + " </script><img src=https://example.org/x.png onerror='alert(1)'>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as engine:
        own = Path(engine.chromium.executable_path)
        found = own if own.is_file() else next(filter(None, map(shutil.which, NAMES)), None)
        if found is None:
            pytest.skip("no Chromium: `playwright install chromium`, or a package of the system (apt install chromium)")
        opened = engine.chromium.launch(executable_path=found, args=list(QUIET))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pages")
    methods = ("grpo", "sft", "a_method_with_a_name_as_long_as_a_line_of_a_phone")
    runs = [
        written(root / f"{method}-{seed}", 6 + 4 * number + seed, method=method, seed=seed, text=LONG)
        for number, method in enumerate(methods)
        for seed in range(3)
    ]
    for path in runs:
        results = {"leaderboard_" + "x" * 60: {"acc_norm,none": 0.5, "acc_norm_stderr,none": 0.01}}
        (path / "harness_trained.json").write_text(json.dumps({"results": results}), encoding="utf-8")
    compare(runs, root / "out", failed=[f"seed=9 (runs/{'x' * 80}): NaN"])
    tokens = root / "explain.html"
    tokens.write_text(explained(explanation(completions=6, tokens=40, methods=4, text=LONG)), encoding="utf-8")
    return {"compare": root / "out" / "compare.html", "report": write_report(runs[0]), "explain": tokens}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["compare", "report", "explain"])
def test_a_page_is_whole_and_quiet(browser: Any, pages: dict[str, Path], name: str, size: str, scheme: str) -> None:
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pages[name].as_uri())
    sections = page.locator("section")
    assert sections.count() == {"compare": 9, "report": 9, "explain": 4}[name]
    assert all(sections.nth(i).bounding_box()["height"] > 60 for i in range(sections.count()))
    assert overflow(page) <= 0
    page.evaluate("document.querySelectorAll('details').forEach(element => { element.open = true; })")
    assert overflow(page) <= 0
    cut = "[...document.querySelectorAll('figure text')].filter(text => text.getBoundingClientRect().left < 0).length"
    assert page.evaluate(cut) == 0
    assert said == [] and asked == [pages[name].as_uri()]
    context.close()


def overflow(page: Any) -> int:
    """Returns by how many pixels a page is wider than its window."""
    return page.evaluate("document.scrollingElement.scrollWidth - innerWidth")


def test_what_can_be_pressed_does_what_it_says(browser: Any, pages: dict[str, Path]) -> None:
    context = browser.new_context(color_scheme="light")
    page = context.new_page()
    page.goto(pages["compare"].as_uri())
    assert page.locator(".by-flops").is_visible() and not page.locator(".by-steps").is_visible()
    page.get_by_text("steps", exact=True).click()
    assert page.locator(".by-steps").is_visible() and not page.locator(".by-flops").is_visible()
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.locator(".theme").click()
    dark = page.evaluate(ground)
    page.locator(".theme").click()
    assert page.evaluate(ground) == light != dark
    page.locator(".command button").first.click()
    page.wait_for_function("['copied', 'selected'].includes(document.querySelector('.command button').textContent)")
    assert page.evaluate("getSelection().toString()").startswith("rlft compare ")
    context.close()


@pytest.mark.parametrize("size", SIZES)
def test_a_token_that_is_pressed_shows_its_numbers(browser: Any, pages: dict[str, Path], size: str) -> None:
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=size == "phone")
    page = context.new_page()
    page.goto(pages["explain"].as_uri())
    readout, tokens = page.locator(".readout"), page.locator(".tokens").first.locator("span")
    assert not readout.is_visible()
    press = tokens.nth(2).tap if size == "phone" else tokens.nth(2).click
    press()
    assert readout.inner_text() == '" a" · GC +0.075 · live(ρ) 1 · Â 1 · w 1'
    box = readout.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["y"] + box["height"] <= height
    tokens.last.click()
    assert readout.inner_text().startswith('"■" · GC +1 · live(ρ) 0')
    assert page.locator(".tokens .read").count() == 1
    context.close()
