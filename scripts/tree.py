"""Prints the README's tree: a line per file of the package, taken from the file itself.

Usage: python scripts/tree.py            prints it
       python scripts/tree.py README.md  puts it between the file's `<!-- tree -->` marks
"""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MARK = "<!-- tree -->"
FOLDERS = {
    "recipes": "`config.yaml` is the root; "
    "the groups are `recipe/ data/ curriculum/ reward/ algorithm/ model/ rollout/ trainer/`",
    "tests": "a folder per part; `end_to_end/` runs the pretrained model",
}


def purpose(file: Path) -> str:
    """Returns the first paragraph of a module's docstring, on one line."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def tree() -> str:
    """Returns the tree as Markdown."""
    lines = [f"- `{name}/`: {text}" for name, text in FOLDERS.items()]
    lines += [f"- `scripts/{file.name}`: {purpose(file)}" for file in sorted((ROOT / "scripts").glob("*.py"))]
    for folder in sorted(p for p in (ROOT / "rlft").rglob("*") if p.is_dir() and (p / "__init__.py").exists()):
        lines.append(f"- `{folder.relative_to(ROOT)}/`: {purpose(folder / '__init__.py')}")
        files = [file for file in sorted(folder.glob("*.py")) if file.name != "__init__.py"]
        lines += [f"  - `{file.name}`: {purpose(file)}" for file in files]
    lines += [f"- `rlft/{file.name}`: {purpose(file)}" for file in sorted((ROOT / "rlft").glob("*.py"))]
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Prints the tree, or puts it into a file."""
    if not arguments:
        print(tree())
        return
    file = Path(arguments[0])
    before, _, after = file.read_text(encoding="utf-8").split(MARK)
    file.write_text(f"{before}{MARK}\n\n{tree()}\n\n{MARK}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
