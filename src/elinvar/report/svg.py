"""A matplotlib figure as SVG that lives inside a page: small, the same bytes each time, in the page's font and colours.

Colours are written as CSS variables with the light colour as default, so that a page can give others in dark mode; text
takes the colour of the page. Ids carry the chart's name, so that charts do not meet in one document.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

from .palette import PALETTE

FONT = 11.0
INK = "#1c1e21"  # becomes the page's text colour
RULE = "#d9dbde"  # becomes the page's line colour


_NUMBER = re.compile(r"-?\d+\.\d+")
_SHAPE_ATTRIBUTES = ("d", "x", "y", "transform", "points", "width", "height")


def _colours() -> dict[str, str]:
    named = {entry.light: f"var({entry.variable}, {entry.light})" for entry in PALETTE}
    return {**named, INK: "currentColor", RULE: f"var(--rule, {RULE})"}


@contextmanager
def plain(name: str) -> Iterator[None]:
    """Inside, matplotlib is as it was shipped, whatever the user's settings, and ids depend on `name` alone."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's font may well have it
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": FONT})
        yield


def figure(width: float, height: float) -> Figure:
    """An empty transparent figure of `width` x `height` CSS pixels."""
    return Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="none")


def render(drawing: Figure, name: str, alt: str) -> str:
    """The figure as an `<svg>` element whose ids start with `name` and whose accessible name is `alt`."""
    buffer = io.StringIO()
    drawing.savefig(buffer, format="svg", facecolor="none", metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    _clean(root, name)
    view = root.get("viewBox", "0 0 1 1")
    root.attrib = {
        "viewBox": view, "width": view.split()[2], "role": "img", "aria-label": alt, "font-size": f"{FONT:g}",
        "stroke-linejoin": "round",
    }  # fmt: skip
    return ElementTree.tostring(root, encoding="unicode")


def _clean(root: ElementTree.Element, name: str) -> None:
    """Drop namespaces, metadata, fonts and unused ids; shorten numbers."""
    for parent in list(root.iter()):
        for child in list(parent):
            kind = child.tag.split("}")[-1]
            if kind in ("metadata", "style") or (kind == "defs" and not len(child)):
                parent.remove(child)
    whole = ElementTree.tostring(root, encoding="unicode")
    colours = _colours()
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', whole))
    for element in root.iter():
        element.tag = element.tag.split("}")[-1]
        element.text, element.tail = (text if text and text.strip() else None for text in (element.text, element.tail))
        kept = dict[str, str]()
        for key, value in element.attrib.items():
            key = key.split("}")[-1]
            if key == "id":
                if value not in used:
                    continue
                value = f"{name}-{value}"
            elif key == "href":
                value = f"#{name}-{value[1:]}"
            elif key == "clip-path":
                value = value.replace("url(#", f"url(#{name}-")
            elif key == "style":
                value = ";".join(part for part in value.split("; ") if not part.startswith("font-family"))
                for colour, variable in colours.items():
                    value = value.replace(colour, variable)
            elif key in _SHAPE_ATTRIBUTES:
                if value.startswith("rotate(-0 "):
                    continue
                value = _NUMBER.sub(lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), value)
                value = " ".join(value.split())
            kept[key] = value
        element.attrib.clear()
        element.attrib.update(kept)
