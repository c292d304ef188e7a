"""The README tells the truth: its code runs, its commands exist, its files are there."""

import re
from pathlib import Path

import pytest

from elinvar.augment import OPS, POLICIES
from elinvar.cli.main import VERBS
from elinvar.mixing import METHODS
from elinvar.recipes import RECIPES
from libraries import load

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("normalization", "augmentation", "branches", "robustness", "shift")),
]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_code_runs(page: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    load("torchvision.transforms.v2")  # which some pages import
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


def test_the_page_of_augmentation_has_them_all() -> None:
    text = PAGES[2].read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in (*OPS, *POLICIES, *METHODS))
    assert all((PAGES[2].parent / link).exists() for link in re.findall(r"\]\(([^)#:]+)\)", text))
    assert set(re.findall(r"^elinvar (\w+)", text, re.MULTILINE)) <= set(VERBS)
    assert sum(path.stat().st_size for path in (ROOT / "docs" / "pictures").iterdir()) < 600_000
