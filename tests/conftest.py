"""Array shapes in signatures are checked in every test, at no cost outside them."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

SOURCE = Path(__file__).parent.parent / "src"


def _checkable(path: Path) -> bool:
    """Not packages, whose hook would cover everything below, and not kernels, which numba must see bare."""
    text = path.read_text()
    return path.name != "__init__.py" and "import numba" not in text and "jit import" not in text


install_import_hook(
    [
        ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for path in sorted((SOURCE / "elinvar").rglob("*.py"))
        if _checkable(path)
    ],
    "shapecheck.checked",
).__enter__()


@pytest.fixture(scope="session", autouse=True)
def _own_cache() -> Iterator[None]:
    """What is remembered about files goes to a folder of these tests."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ELINVAR_CACHE"] = folder
        yield
