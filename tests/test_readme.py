"""The README's tree is the tree there is, and its commands name recipes and verbs that exist."""

import importlib.util
import re
from pathlib import Path

from rlft.cli.main import VERBS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_tree_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("tree", ROOT / "scripts" / "tree.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert README.split(script.MARK)[1].strip() == script.tree(), "run: python scripts/tree.py README.md"


def test_every_verb_and_recipe_of_the_readme_exists() -> None:
    commands = re.findall(r"^    rlft (\S+)(.*)$", README, re.MULTILINE)
    assert {verb for verb, _ in commands} == set(VERBS)
    recipes = {name for _, words in commands for name in re.findall(r"recipe=(\w+)", words)}
    assert recipes
    assert recipes <= {file.stem for file in (ROOT / "recipes" / "recipe").glob("*.yaml")}


def test_every_shipped_recipe_is_in_the_table_of_methods() -> None:
    methods = README.split("## Methods")[1].split("### Measured")[0]
    for file in (ROOT / "recipes" / "recipe").glob("*.yaml"):
        assert f"`{file.stem}`" in methods, file.stem


def test_the_measured_rows_are_of_recipes_that_there_are() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [\d.]+% / [\d.]+% \| [\d.]+% \|", README, re.MULTILINE)
    there = {file.stem for file in (ROOT / "recipes" / "recipe").glob("*_math.yaml")}
    assert {f"{method}_math" for method in ("sft", "rft", "online_rft", "dpo", "ppo", "grpo")} <= set(rows) <= there


def test_every_method_on_the_embedded_model_is_on_the_page_of_the_shelf() -> None:
    text = (ROOT / "docs" / "shelf.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [\d.]+%(?: / [\d.]+%)? \| [\d.]+%", text, re.MULTILINE)
    there = {file.stem for file in (ROOT / "recipes" / "recipe").glob("*_math*.yaml")}
    assert sorted(rows) == sorted({*there, "grpo_process_steps"})
