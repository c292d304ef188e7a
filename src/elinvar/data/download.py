"""Fetch an archive: from several addresses, resumed where an earlier attempt stopped, held against its checksum."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.client import HTTPException
from io import BufferedRandom
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from .. import __version__, files
from ..check import InputError
from .archive import MIRRORS, Archive

CHUNK = 1 << 20
TIMEOUT = 30.0

Progress = Callable[[int, int | None], object]
"""Called with the bytes that are there and, where the server says so, the bytes that there will be."""


def _size(file: BufferedRandom) -> int:
    return os.fstat(file.fileno()).st_size


def _md5(file: BufferedRandom) -> str:
    file.seek(0)
    return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _write(file: BufferedRandom, data: bytes) -> None:
    try:
        file.write(data)
    except OSError as error:  # not the server's fault: asking the next one would not help
        raise InputError(f"cannot write {file.name}: {error.strerror}; free space or choose another folder") from error


def _append(address: str, file: BufferedRandom, progress: Progress | None) -> None:
    """Add to `file` what it lacks of `address`; starts anew if the server cannot begin in the middle."""
    have = _size(file)
    headers = {"User-Agent": f"elinvar/{__version__}"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        reply = urlopen(Request(address, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if have and error.code == 416:  # nothing follows what is there; the checksum will judge it
            return
        raise
    with reply:
        if reply.status == 206:
            if not reply.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                raise OSError("sent another part than was asked for")
        elif have:
            file.truncate(0)
            have = 0
        length = reply.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        while data := reply.read(CHUNK):
            _write(file, data)
            have += len(data)
            if progress is not None:
                progress(have, total)
        file.flush()
    if total is not None and have < total:
        raise OSError(f"connection ended after {have} of {total} bytes")


def _complete(address: str, file: BufferedRandom, md5: str, progress: Progress | None) -> None:
    """Make `file` the whole of `address`. A wrong sum after a resumed transfer is put down to the older part."""
    resumed = True
    while resumed:
        resumed = _size(file) > 0
        _append(address, file, progress)
        found = _md5(file)
        if found == md5:
            return
        file.truncate(0)
    raise OSError(f"MD5 is {found}, expected {md5}")


def fetch(archives: Sequence[Archive], folder: Path, *, progress: Progress | None = None) -> Path:
    """Put the first of `archives` that can be had into `folder`, and return its path.

    Each is collected in a neighbour that ends in .part, which a later call continues, and gets its name once its
    checksum is right. One process at a time works on it; others wait and then find it done. Raises one `InputError`
    with what every address said.
    """
    said = []
    files.make_directory(folder)
    for archive in archives:
        target, part = folder / archive.name, folder / f"{archive.name}.part"
        try:
            file = part.open("ab+")
        except OSError as error:
            raise InputError(f"cannot write {part}: {error.strerror}; choose a folder that can be written") from error
        with file:
            with suppress(OSError):  # some network file systems have no locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if target.exists():
                return target
            for address in archive.candidates():
                try:
                    _complete(address, file, archive.md5, progress)
                except InputError:
                    raise
                except (OSError, HTTPException, ValueError) as error:
                    said.append(f"{address}: {' '.join(str(error).split()) or type(error).__name__}")
                else:
                    part.replace(target)
                    return target
    raise InputError(
        f"cannot download {archives[0].name}: {'; '.join(said)}. Run again to resume, "
        f"name other folders on the web in {MIRRORS}, or put the archive into {folder} yourself"
    )
