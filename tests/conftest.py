"""Array shapes in signatures are checked in every test, at no cost outside them."""

from pathlib import Path

from jaxtyping import install_import_hook

SOURCE = Path(__file__).parent.parent / "src"


def _checked() -> list[str]:
    """Every module but those that hold compiled kernels: numba must see the bare functions."""
    modules = []
    for path in sorted((SOURCE / "elinvar").rglob("*.py")):
        if path.name != "__init__.py" and "import numba" not in (text := path.read_text()) and "jit import" not in text:
            modules.append(".".join(path.relative_to(SOURCE).with_suffix("").parts))
    return modules


install_import_hook(_checked(), "beartype.beartype").__enter__()
