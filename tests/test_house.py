"""The rules of the house that no linter knows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rlft.recipe.groups import options

ROOT = Path(__file__).parents[1]
MOST_LINES, MOST_METHOD_LINES, MOST_RECIPE_LINES = 320, 150, 25


def test_the_loop_knows_no_method() -> None:
    source = (ROOT / "rlft" / "train" / "loop.py").read_text(encoding="utf-8").casefold()
    names = {*options("algorithm"), "online_rft", "preference", "weightedlikelihood", "policygradient"}
    words = set(re.findall(r"[a-z0-9_]+", source))
    assert {"sft", "rft", "dpo", "ppo", "grpo", "dr_grpo"} <= names
    assert not words & names
    assert "rlft.algorithms" not in source and "isinstance" not in source


def test_imports_go_down_only() -> None:
    lint = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "Contracts: 2 kept, 0 broken." in done.stdout


@pytest.mark.parametrize("folder", ["rlft", "tests", "recipes", "scripts"])
def test_a_file_is_one_idea(folder: str) -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert lengths and not {str(path): length for path, length in lengths.items() if length > MOST_LINES}


def test_a_method_is_read_in_a_minute() -> None:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in (ROOT / "rlft" / "algorithms").rglob("*.py")}
    assert lengths and not {str(path): length for path, length in lengths.items() if length > MOST_METHOD_LINES}


def test_a_recipe_fits_on_a_screen() -> None:
    recipes = options("recipe")
    assert recipes
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in recipes.items()}
    assert not {name: length for name, length in lengths.items() if length >= MOST_RECIPE_LINES}
