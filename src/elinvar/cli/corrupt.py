"""`elinvar corrupt`: write a corrupted copy of a test set, in the layout of CIFAR-10-C or of ImageNet-C."""

from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from .. import shift
from ..check import InputError, unknown
from ..data import write_corrupted
from .options import (
    add_frost,
    add_size,
    add_verify,
    data_forms,
    frost,
    load,
    numbers,
    parser,
    progress_console,
    say,
    words,
    write_json,
)
from .progress import bar

SUBSETS = {"benchmark": tuple(shift.CORRUPTIONS), "extra": tuple(shift.EXTRA)}


def chosen(text: str) -> list[str]:
    """Corruptions by name or by subset, each once, in the order of the table."""
    known = [*shift.CORRUPTIONS, *shift.EXTRA]
    wanted: set[str] = set()
    for word in words(text):
        if word not in known and word not in SUBSETS:
            raise unknown("corruption", word, [*known, *SUBSETS])
        wanted.update(SUBSETS.get(word, (word,)))
    return [name for name in known if name in wanted]


def _levels(text: str) -> list[int]:
    found = numbers("--severities", text)
    if not found or not all(value in shift.LEVELS for value in found):
        raise InputError(f"--severities: got {text!r}, expected some of 1,2,3,4,5")
    return sorted({int(value) for value in found})


class PiecesBar:
    """Shows how many arrays, or folders of classes, are written."""

    def __init__(self, progress: Progress, title: str) -> None:
        self.progress, self.task = progress, progress.add_task(title, total=None, note="")

    def begin(self, pieces: int) -> None:
        self.progress.update(self.task, total=pieces)

    def done(self, name: str) -> None:
        self.progress.update(self.task, advance=1, note=name)


def run(arguments: Sequence[str]) -> int:
    """The verb."""
    made = parser(
        "corrupt",
        "Write corrupted copies of the test images of SRC into DST, in the layout of the published sets: NAME.npy and "
        "labels.npy (CIFAR-10-C) or NAME/SEVERITY/CLASS/*.JPEG (ImageNet-C). The same command again continues an "
        "interrupted one and leaves finished files alone. The same seed gives the same bytes; seed 0 gives the pixels "
        "that 'elinvar evaluate' generates (folders: before JPEG).",
        "elinvar corrupt cifar10:DIR CIFAR-10-C-mine --corruptions benchmark,extra",
    )
    made.add_argument("src", type=str, help=data_forms())
    made.add_argument("dst", type=str, help="a new folder, or one that this command has begun")
    made.add_argument(
        "--corruptions", type=str, default="benchmark",
        help="names, benchmark (the 15 of the mean) or extra (the 4 for validation), with commas",
    )  # fmt: skip
    made.add_argument("--severities", type=str, default="1,2,3,4,5", help="1 (mild) to 5 (strong)")
    made.add_argument("--split", type=str, default="test", help="test, or train")
    made.add_argument("--layout", type=str, default=None, help="npy or folder; default: npy up to 64 pixels")
    add_size(made)
    add_verify(made)
    made.add_argument("--seed", type=int, default=0, help="of all random draws")
    add_frost(made)
    options = made.parse_args(list(arguments))

    names, severities, textures = chosen(options.corruptions), _levels(options.severities), frost(options.frost_dir)
    if options.split not in ("test", "train"):
        raise unknown("split", options.split, ("test", "train"))
    console, target = progress_console(), Path(options.dst)
    data = load(options.src, size=options.size, verify=options.verify)
    with bar(console) as progress:
        watch = PiecesBar(progress, target.name)
        manifest = write_corrupted(
            data.test if options.split == "test" else data.train, target, classes=data.classes, names=names,
            severities=severities, seed=options.seed, frost=textures, layout=options.layout, begin=watch.begin,
            done=watch.done,
        )  # fmt: skip
    if options.json:
        write_json({"path": str(target), "corruptions": names, **manifest})
    else:
        say(console, f"{target}: {len(names)} corruptions x {len(severities)} severities, {manifest['layout']} layout")
        say(console, f"next: elinvar evaluate RUN --corrupted {target}")
    return 0
