"""The command line: one verb, one file. A verb is imported only when it is called."""

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch

from .. import __version__
from ..check import InputError, InputWarning, unknown


@dataclass(frozen=True)
class Verb:
    """A subcommand: its module in this package has `run(arguments) -> int`."""

    module: str
    summary: str


VERBS = {
    "demo": Verb("demo", "train two recipes on the embedded data, judge them under shift, show a report"),
    "list": Verb("listing", "what there is: recipes, models, data, augmentations, mixing methods, corruptions"),
    "show": Verb("show", "a picture of any augmentation, mixing method or corruption"),
    "train": Verb("train", "train a recipe; the same command again continues an interrupted run"),
    "evaluate": Verb("evaluate", "judge runs, weights or any model, clean, under shift and under attack; a report"),
    "corrupt": Verb("corrupt", "write a corrupted copy of a test set, in the layout of the published ones"),
    "tune": Verb("tune", "better statistics for a trained run, without training"),
    "reproduce": Verb("reproduce", "small experiments that show one effect of a paper each, and whether it showed"),
    "cite": Verb("cite", "BibTeX for everything that a recipe uses"),
}


def usage() -> str:
    """The help of the program as a whole."""
    lines = [
        "usage: elinvar VERB [options]",
        "",
        "Train image classifiers that stay put: under data shift, under attack, when trained again.",
        "",
        *(f"  {name:<10}{verb.summary}" for name, verb in VERBS.items()),
        "",
        "  elinvar VERB --help     options of a verb, with an example",
        "  elinvar --version",
        "",
        "Start with: elinvar demo",
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code: 0 done, 2 bad input (one line says why), 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        sys.stdout.write(usage())
        return 0
    if given[0] == "--version":
        sys.stdout.write(f"elinvar {__version__}\n")
        return 0
    name = given[0]
    try:
        if name not in VERBS:
            raise unknown("verb", name, VERBS)
        with _warnings_in_one_line():
            module = import_module(f".{VERBS[name].module}", __package__)
            code = int(module.run(given[1:]))
        sys.stdout.flush()  # so that a reader who went away is noticed here
        return code
    except InputError as error:
        return _complain(str(error), 2)
    except KeyboardInterrupt:
        return _complain("interrupted; the same command continues where this one stopped", 130)
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, MemoryError, torch.OutOfMemoryError) as error:
        return _complain(f"{type(error).__name__}: {' '.join(str(error).split())}", 2)


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Each warning of ours once, as a line of the program; warnings of others as Python shows them."""
    said = set[str]()
    with warnings.catch_warnings():
        warnings.simplefilter("always", InputWarning)
        plain = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, InputWarning):
                plain(message, category, *where, **more)
            elif str(message) not in said:
                said.add(str(message))
                sys.stderr.write(f"elinvar: warning: {message}\n")

        warnings.showwarning = show
        yield


def _complain(text: str, code: int) -> int:
    sys.stderr.write(f"elinvar: {text}\n")
    return code
