"""A file imports only what stands above it; `import elinvar` needs nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "elinvar"

# Top to bottom. A module may import what stands above it and its own package.
ORDER = (
    "check", "files", "rng", "kernelcache", "jit", "splitmix", "parallel", "forms",
    "views", "routing", "outputs", "precision", "norm", "context", "augment", "mixing",
    "objectives", "attacks", "shift", "metrics", "models", "data", "optimization", "recipe", "config", "citations",
    "infer", "train", "variability", "recipes", "experiments", "catalog", "doctor", "report", "cli",
)  # fmt: skip


def units() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if path.name != "__main__.py")


def unit_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """First-level units of elinvar that a file imports, at its top or inside functions."""
    package = ("elinvar", *path.relative_to(SOURCE).parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            full = (*base, *(node.module.split(".") if node.module else ()))
            names = [full] if len(full) > 1 else [(*full, alias.name) for alias in node.names]
            found |= {name[1] for name in names if name[0] == "elinvar"}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("elinvar.")}
    return found


@pytest.mark.parametrize("path", units(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_upwards(path: Path) -> None:
    own = unit_of(path)
    if own == "__init__":
        return
    assert own in ORDER, f"{own} has no place in the layout"
    for other in imported(path) - {own, "__version__"}:
        assert other in ORDER, f"{path} imports {other}, which has no place in the layout"
        assert ORDER.index(other) < ORDER.index(own), f"{path} imports {other}, which stands below it"


def test_importing_the_library_is_light() -> None:
    heavy = ("numba", "scipy", "sklearn", "matplotlib", "jinja2", "torchvision", "timm", "PIL")
    code = "from elinvar import augment, norm, objectives, shift; import sys; "
    code += f"print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_are_small() -> None:
    long = {str(path.relative_to(SOURCE)): n for path in units() if (n := len(path.read_text().splitlines())) > 320}
    assert not long, f"split these files or argue for them here: {long}"
