"""How recipes look: the same colour and marker for a recipe in every chart and legend of a report."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Style:
    """How one recipe looks in every chart: its colour on light and on dark ground, its marker and its line.

    glyph     the marker as a character, for legends
    variable  the CSS variable that holds the colour
    """

    light: str
    dark: str
    marker: str
    glyph: str
    variable: str
    line: str = "-"


# Of six colours any two stay apart for each kind of colour vision, and each stands out from light or dark ground.
PALETTE = (
    Style("#0072b2", "#5aaeea", "o", "●", "--recipe-0"),
    Style("#d55e00", "#e0672a", "s", "■", "--recipe-1"),
    Style("#009e6a", "#86e8b8", "^", "▲", "--recipe-2"),
    Style("#7b2a63", "#c8507f", "D", "◆", "--recipe-3"),
    Style("#5b5410", "#efe27a", "v", "▼", "--recipe-4"),
    Style("#4431b5", "#7f70f0", "P", "✚", "--recipe-5"),
)


def style(place: int) -> Style:
    """The style of recipe number `place`; colours repeat after six, with dashed and then dotted lines."""
    base = PALETTE[place % len(PALETTE)]
    line, sign = (("-", ""), ("--", "╌"), (":", "┈"))[place // len(PALETTE) % 3]
    return replace(base, line=line, glyph=base.glyph + sign)
