"""`elinvar cite`: BibTeX for what a recipe uses."""

import sys
from collections.abc import Sequence

from ..citations import SOURCES, behind, cite
from .options import parser, write_json
from .train import chosen


def run(arguments: Sequence[str]) -> int:
    """The verb."""
    made = parser("cite", "BibTeX for every work behind a recipe, computed from its parts.", "elinvar cite augmix")
    made.add_argument("recipe", type=str, help="a name from 'elinvar list', or a recipe.yaml")
    options = made.parse_args(list(arguments))
    recipe = chosen(options.recipe, [], trust=False)
    if options.json:
        write_json({key: SOURCES[key].title for key in behind(recipe)})
    else:
        sys.stdout.write(cite(recipe) + "\n")
    return 0
