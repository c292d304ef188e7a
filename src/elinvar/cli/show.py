"""`elinvar show`: a picture of what an augmentation, a mix or a corruption does."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ..check import InputError
from ..files import replacing
from ..report import gallery
from ..shift import benchmark
from ..views import Batch
from .options import parser, progress_console, say, write_json
from .pictures import PHOTOS, pictured
from .strips import STRENGTHS, find, overview, strips

ALL = "all"
SIZE = {"corruption": 64}  # photographs are of this size
NOTES = {
    "corruption": "With the constants of {0.corruptions}, made for {0.side} pixels",
    "policy": "The same draws from weak to strong, or several draws where nothing says how strong",
    "mix": "Several draws, and the weight of the image in the label; the rest is its partner's",
    "operation": "From weak to strong",
}
# Overviews: title, which columns of a technique's own picture, and how many techniques stand side by side.
OVERVIEW = {
    "corruption": ("Corruptions", (1, 3, 5), 3),
    "policy": ("Policies", (1, 2, 3, 4, 5), 2),
    "mix": ("Mixing methods", (2, 3, 4, 5), 2),
    "operation": ("Operations", (1, 3, 5), 3),
}
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def _write(picture: Image.Image, out: Path) -> None:
    if out.suffix.lower() not in FORMATS:
        raise InputError(f"--out {out}: expected a file name that ends in {', '.join(FORMATS)}")
    # Colours as fine as brightness: a picture of colour changes must show them.
    options = {"quality": 68, "subsampling": 0} if FORMATS[out.suffix.lower()] == "JPEG" else {}
    with replacing(out) as temporary:
        picture.save(temporary, format=FORMATS[out.suffix.lower()], optimize=True, **options)


def _note(kind: str, batch: Batch) -> str:
    """What is said below a picture."""
    return NOTES[kind].format(benchmark(None, *batch.images.shape[2:]))


def _everything(folder: Path, data: str) -> list[tuple[Path, Image.Image]]:
    made = []
    for kind, (title, columns, across) in OVERVIEW.items():
        batch = pictured(data, 2, 64)
        rows = overview(kind, batch, columns)
        picture = gallery(title, rows, tile=64, note=_note(kind, batch), across=across)
        made.append((folder / f"{title.split()[0].lower()}.jpg", picture))
    return made


def run(arguments: Sequence[str]) -> int:
    """The verb."""
    made = parser(
        "show",
        "Draw what an augmentation policy, an operation, a mixing method or a corruption does to a few images: "
        "from weak to strong, or in several draws.",
        "elinvar show augmix --data cifar10:DIR --out augmix.png",
    )
    made.add_argument(
        "name",
        type=str,
        help="a policy, mix, operation or corruption of 'elinvar list'; KIND:NAME, as operation:contrast, for one of "
        "two; all for an overview of each kind",
    )
    made.add_argument("--data", type=str, default=PHOTOS, help=f"test images of a data set; default: {PHOTOS}")
    made.add_argument("--images", type=int, default=2, help="how many images; default: 2")
    made.add_argument(
        "--out", type=str, default=None, help="a .png, .jpg or .webp; default: NAME.png. For all, a folder"
    )
    options = made.parse_args(list(arguments))
    if options.name == ALL:
        pictures = _everything(Path(options.out or "pictures"), options.data)
    else:
        kind, name = find(options.name)
        batch = pictured(options.data, options.images, SIZE.get(kind, 128))
        rows = strips(f"{kind}:{name}", batch)
        out = Path(options.out or f"{name}.png")
        weak_to_strong = "The same draws from weak to strong" if name in STRENGTHS else ""
        note = weak_to_strong if kind == "policy" else _note(kind, batch)
        pictures = [(out, gallery(name, rows, tile=128, note=note))]
    for out, picture in pictures:
        out.parent.mkdir(parents=True, exist_ok=True)
        _write(picture, out)
    if options.json:
        found = [{"picture": str(out), "size": list(picture.size)} for out, picture in pictures]
        write_json(found if options.name == ALL else found[0])
    else:
        for out, _ in pictures:
            say(progress_console(), f"wrote {out}")
    return 0
