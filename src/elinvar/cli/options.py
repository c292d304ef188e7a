"""What verbs share: a parser that fails in one line, common options, and where output goes."""

import sys
from collections.abc import Iterable
from typing import Any, NoReturn

import torch
from jsonargparse import ArgumentParser
from rich.console import Console

from ..check import InputError
from ..data import DATASETS, DataSet
from ..data import load as read
from ..data.matching import SUBSET_OPTION
from ..files import to_json
from ..rng import Seeds, Source
from ..shift import FrostTextures, load_frost


class Parser(ArgumentParser):
    """Bad options raise `InputError`, so that every error of the program looks alike."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Turn argparse's usage dump into one line."""
        text = " ".join(str(ex or message).split())
        raise InputError(f"{self.prog.split()[-1]}: {text} (see {self.prog} --help)") from ex


def parser(verb: str, description: str, example: str) -> Parser:
    """The parser of a verb, whose help ends with an example."""
    made = Parser(prog=f"elinvar {verb}", description=description, epilog=f"example: {example}", allow_abbrev=False)
    made.add_argument("--json", action="store_true", help="print the result as JSON, for machines")
    return made


def data_forms(*, sized: bool = False) -> str:
    """How a data set is named, of every kind there is; `sized`: of those that are read at a size."""
    *forms, last = (reader.form for reader in DATASETS.values() if reader.sized or not sized)
    return f"{', '.join(forms)} or {last}"


def add_size(made: Parser) -> None:
    """The option that says how large images are."""
    made.add_argument("--size", type=int, default=None, help=f"side of the images, for {data_forms(sized=True)}")


def add_verify(made: Parser) -> None:
    """The option that doubts what is remembered about files."""
    made.add_argument(
        "--verify", action="store_true",
        help="hash every file of the data anew; default: files of the same size and times as before are not read again",
    )  # fmt: skip


def add_subset(made: Parser) -> None:
    """The option that allows data with some of a model's classes."""
    made.add_argument(
        SUBSET_OPTION, action="store_true",
        help="judge on data that hold some classes of the model alone, by those of its outputs; reports say how many",
    )  # fmt: skip


def add_device(made: Parser) -> None:
    """The options that say where to compute."""
    made.add_argument("--device", type=str, default=None, help="cpu, cuda, cuda:1; default: a GPU if there is one")


def device(name: str | None) -> torch.device:
    """The device called `name`; raises `InputError` if it is not there."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(name)
        torch.zeros(1, device=chosen).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"--device {name}: {str(error).splitlines()[0]}; use cpu, or a GPU that is there") from error
    return chosen


def add_frost(made: Parser) -> None:
    """The option that says where the photographs of frost are."""
    made.add_argument(
        "--frost-dir", type=str, default=None,
        help="folder with the benchmark's photographs frost1 to frost5; default: grown pictures of frost",
    )  # fmt: skip


def frost(directory: str | None) -> FrostTextures | None:
    """The photographs below `directory`; None for the grown pictures."""
    return None if directory is None else load_frost(directory)


def words(text: str) -> list[str]:
    """The items of a list with commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def numbers(option: str, text: str) -> tuple[float, ...]:
    """`0.5,0.5,0.5`; raises `InputError` for what is no list of numbers."""
    try:
        return tuple(float(word) for word in words(text))
    except ValueError as error:
        raise InputError(f"{option}: got {text!r}, expected numbers with commas, as in 0.5,0.5,0.5") from error


def seeds(base: int, others: list[str]) -> Seeds:
    """`--seed 1 --seed-of shuffle=2`; raises `InputError` for what is not SOURCE=NUMBER, and for a source twice."""
    overrides: dict[str, int] = {}
    for item in others:
        source, _, number = item.partition("=")
        try:
            known, seed = Source(source), int(number)
        except ValueError as error:
            names = ", ".join(Source)
            raise InputError(f"--seed-of {item}: expected SOURCE=NUMBER, with a source of {names}") from error
        if known in overrides:
            raise InputError(f"--seed-of {item}: {known.value} has the seed {overrides[known]} already; give it one")
        overrides[known] = seed
    return Seeds(base, overrides)


def progress_console() -> Console:
    """Where progress goes: the error stream, so that results can be piped."""
    return Console(stderr=True, highlight=False)


def output_console() -> Console:
    """Where results go."""
    return Console(highlight=False)


def say(console: Console, text: str) -> None:
    """A line as it is: paths may hold what rich takes for markup, and are not broken."""
    console.print(text, markup=False, soft_wrap=True)


def load(spec: str, *, size: int | None = None, download: bool = False, verify: bool = False) -> DataSet:
    """The data set `spec`; its notes are told."""
    data = read(spec, size=size, download=download, verify=verify)
    tell(data.notes)
    return data


def tell(notes: Iterable[str]) -> None:
    """A line of the program for each note, on the error stream."""
    for note in notes:
        sys.stderr.write(f"elinvar: note: {note}\n")


def write_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(to_json(value, indent=1) + "\n")
