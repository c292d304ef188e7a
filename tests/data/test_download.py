"""Downloads against a server on this machine that behaves well or badly, by the address that is asked."""

import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from elinvar.check import InputError
from elinvar.data import load
from elinvar.data.archive import MIRRORS, Archive
from elinvar.data.download import fetch

from .conftest import Official

CONTENT = np.random.default_rng(0).bytes(3_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
HALF = len(CONTENT) // 2


class Server(ThreadingHTTPServer):
    """Serves `content` below /good, and less well elsewhere; `asked` holds (path, range) of every request."""

    content = CONTENT

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []

    def url(self, behaviour: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{behaviour}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        behaviour, wanted = self.path.split("/")[1], self.headers.get("Range")
        self.server.asked.append((behaviour, wanted))
        if behaviour == "missing":
            self.send_error(404)
            return
        content = self.server.content if behaviour != "wrong" else self.server.content[::-1]
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and behaviour != "whole" else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            shown = 0 if behaviour == "shifted" else start
            self.send_header("Content-Range", f"bytes {shown}-{len(content) - 1}/{len(content)}")
        if behaviour != "unsized":
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:HALF] if behaviour == "cut" else content[start:])

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv(MIRRORS, raising=False)
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def dead() -> str:
    """An address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/x"


def archive(*addresses: str, md5: str = MD5) -> Archive:
    return Archive("x.tar.gz", md5, addresses)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("behaviour", ["good", "unsized"])
def test_a_download_is_whole_and_reports_its_progress(server: Server, behaviour: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    folder = tmp_path / "new" / "folder"
    path = fetch([archive(server.url(behaviour))], folder, progress=lambda *now: seen.append(now))
    assert path == folder / "x.tar.gz"
    assert path.read_bytes() == CONTENT
    assert names(folder) == {"x.tar.gz"}
    assert [now for now, _ in seen] == sorted({now for now, _ in seen})
    assert seen[-1][0] == len(CONTENT)
    assert {total for _, total in seen} == {len(CONTENT) if behaviour == "good" else None}


def test_failing_mirrors_are_passed_over(server: Server, dead: str, tmp_path: Path) -> None:
    order = ["missing", "wrong", "cut", "good", "whole"]
    path = fetch([archive(dead, "nonsense", *map(server.url, order))], tmp_path)
    assert path.read_bytes() == CONTENT
    assert [behaviour for behaviour, _ in server.asked] == order[:4]
    assert server.asked[-1] == ("good", f"bytes={HALF}-")


def test_the_next_archive_serves_where_the_first_cannot_be_had(server: Server, dead: str, tmp_path: Path) -> None:
    other = replace(archive(server.url("good")), name="y.tar.gz")
    assert fetch([archive(dead), other], tmp_path) == tmp_path / "y.tar.gz"


def test_one_error_says_what_every_mirror_said(server: Server, dead: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        fetch([archive(dead, server.url("missing"), server.url("wrong"))], tmp_path)
    text = str(caught.value)
    assert "\n" not in text
    wrong = hashlib.md5(CONTENT[::-1]).hexdigest()
    for said in (
        f"{dead}: .*refused",
        f"{server.url('missing')}: HTTP Error 404: Not Found",
        f"{server.url('wrong')}: MD5 is {wrong}, expected {MD5}",
        "Run again to resume",
        MIRRORS,
    ):
        assert re.search(said, text), said
    assert not (tmp_path / "x.tar.gz").exists()


def test_an_interrupted_download_is_resumed(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"connection ended after {HALF} of {len(CONTENT)} bytes"):
        fetch([archive(server.url("cut"))], tmp_path)
    assert (tmp_path / "x.tar.gz.part").read_bytes() == CONTENT[:HALF]
    seen: list[int] = []
    path = fetch([archive(server.url("good"))], tmp_path, progress=lambda now, total: seen.append(now))
    assert server.asked == [("cut", None), ("good", f"bytes={HALF}-")]
    assert path.read_bytes() == CONTENT
    assert HALF < seen[0] < seen[-1] == len(CONTENT)
    assert names(tmp_path) == {"x.tar.gz"}


def test_a_server_without_ranges_starts_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz.part").write_bytes(CONTENT[:1000])
    assert fetch([archive(server.url("whole"))], tmp_path).read_bytes() == CONTENT
    assert server.asked == [("whole", "bytes=1000-")]


def test_a_server_that_sends_another_part_is_passed_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz.part").write_bytes(CONTENT[:1000])
    path = fetch([archive(server.url("shifted"), server.url("good"))], tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.asked[-1] == ("good", "bytes=1000-")


@pytest.mark.parametrize("size", [1000, len(CONTENT), len(CONTENT) + 1000])
def test_a_wrong_older_part_is_thrown_away(server: Server, size: int, tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz.part").write_bytes(b"x" * size)
    assert fetch([archive(server.url("good"))], tmp_path).read_bytes() == CONTENT
    assert server.asked == [("good", f"bytes={size}-"), ("good", None)]


def test_a_complete_part_needs_no_more_bytes(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz.part").write_bytes(CONTENT)
    seen: list[int] = []
    path = fetch([archive(server.url("good"))], tmp_path, progress=lambda now, total: seen.append(now))
    assert path.read_bytes() == CONTENT
    assert seen == []


def test_mirrors_from_the_environment_are_asked_first(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MIRRORS, f"{server.url('missing')} {server.url('good')}/")
    fetch([archive(server.url("whole"))], tmp_path)
    assert [behaviour for behaviour, _ in server.asked] == ["missing", "good"]


def test_a_mirror_can_be_a_folder(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "x.tar.gz").write_bytes(CONTENT)
    monkeypatch.setenv(MIRRORS, (tmp_path / "mirror").as_uri())
    assert fetch([archive(server.url("good"))], tmp_path / "here").read_bytes() == CONTENT
    assert server.asked == []


def test_processes_that_want_the_same_share_one_download(server: Server, tmp_path: Path) -> None:
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch([archive(server.url("good"))], tmp_path))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "x.tar.gz"] * 4
    assert len(server.asked) == 1


def test_a_place_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz.part").mkdir()
    with pytest.raises(InputError, match=r"cannot write .*x\.tar\.gz\.part: Is a directory"):
        fetch([archive(server.url("good"))], tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write .*file"):
        fetch([archive(server.url("good"))], tmp_path / "file")
    assert server.asked == []


@pytest.mark.parametrize("place", [0, 1], ids=["binary", "pickled"])
def test_a_set_is_downloaded_once_and_read(
    server: Server, cifar10: Official, place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layouts = list(cifar10.cifar.layouts)
    packed = cifar10.pack(layouts[place], tmp_path / "packed.tar.gz", tmp_path / "scratch").read_bytes()
    server.content = packed
    layouts[place] = replace(
        layouts[place],
        archive=replace(layouts[place].archive, md5=hashlib.md5(packed).hexdigest(), addresses=(server.url("good"),)),
    )
    monkeypatch.setattr("elinvar.data.table.CIFAR10", replace(cifar10.cifar, layouts=tuple(layouts)))
    spec = f"cifar10:{tmp_path / 'where'}"
    with pytest.raises(InputError, match=r"does not exist.*or allow the download"):
        load(spec)
    assert server.asked == []
    data = load(spec, download=True)
    assert data.train.targets.tolist() == cifar10.labels[:100].tolist()
    assert load(spec).fingerprint() == load(spec, download=True).fingerprint() == data.fingerprint()
    assert len(server.asked) == 1
