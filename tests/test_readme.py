"""The README tells the truth: its code runs, its commands exist, its files are there."""

import re
from pathlib import Path

import pytest

from elinvar.cli.main import VERBS
from elinvar.recipes import RECIPES

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "docs" / "normalization.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_code_runs(page: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    exec("".join(blocks), {})  # one after the other, as a reader would type them


def test_its_commands_exist() -> None:
    verbs = set(re.findall(r"^elinvar (\w+)", TEXT, re.MULTILINE))
    assert verbs
    assert verbs <= set(VERBS)
    targets = set(re.findall(r"^make (\w+)", TEXT, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets == {"demo", "test"}
    assert all(f"\n{target}:" in makefile for target in targets)


def test_its_links_and_recipes_are_there() -> None:
    assert all((ROOT / link).exists() for link in re.findall(r"\]\(([^)#:]+)\)", TEXT))
    assert all(f"| `{name}` |" in TEXT for name in RECIPES)
