"""Array shapes in signatures are checked in every test, at no cost outside them."""

from pathlib import Path

from jaxtyping import install_import_hook

SOURCE = Path(__file__).parent.parent / "src"


def _checkable(path: Path) -> bool:
    """Not packages, whose hook would cover everything below, and not kernels, which numba must see bare."""
    text = path.read_text()
    return path.name != "__init__.py" and not any(mark in text for mark in ("import numba", "from numba", "jit import"))


install_import_hook(
    [
        ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for path in sorted((SOURCE / "elinvar").rglob("*.py"))
        if _checkable(path)
    ],
    "shapecheck.checked",
).__enter__()
