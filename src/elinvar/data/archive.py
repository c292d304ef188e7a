"""Official archives: where they can be had, what they must hash to, and taking just the known files out of them."""

import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import files
from ..check import InputError

MIRRORS = "ELINVAR_MIRRORS"


@dataclass(frozen=True)
class Archive:
    """A .tar.gz: its file name, the MD5 of its bytes, and the addresses of public copies, tried in this order."""

    name: str
    md5: str
    addresses: tuple[str, ...]

    def candidates(self) -> tuple[str, ...]:
        """All addresses: first `name` below each folder in the environment's ELINVAR_MIRRORS (separated by blanks)."""
        own = tuple(f"{folder.rstrip('/')}/{self.name}" for folder in os.environ.get(MIRRORS, "").split())
        return own + self.addresses


def unpack(path: Path, folder: str, wanted: Sequence[str]) -> Path:
    """Take the files `wanted` of the archive's `folder` out into that folder beside the archive, all or none.

    Nothing else in the archive is looked at: other names, links, devices and paths that lead elsewhere have no effect.
    Raises `InputError` for a damaged archive, one that lacks a file, and a place that cannot be written.
    """
    target = path.parent / folder
    missing = {f"{folder}/{name}": name for name in wanted}
    try:
        with files.new_directory(target) as temporary:
            try:
                with tarfile.open(path, "r:gz") as archive:
                    for member in archive:
                        name = member.name.removeprefix("./")
                        source = archive.extractfile(member) if member.isreg() and name in missing else None
                        if source is not None:
                            with source, (temporary / missing.pop(name)).open("wb") as file:
                                shutil.copyfileobj(source, file, 1 << 20)
            except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise InputError(f"{path}: damaged archive ({error}); remove it and get it again") from error
            if missing:
                raise InputError(f"{path}: lacks {', '.join(missing)}; remove it and get the official archive")
    except InputError:
        if not target.is_dir():  # else another process was faster, and its files serve
            raise
    return target
