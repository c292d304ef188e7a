"""The page: whole, valid, self-contained, the same each time, and safe to open whatever the names in it."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from elinvar.check import InputError
from elinvar.report import RunResult, SampleSheet, headline, sample_grid, write_report

Make = Callable[..., RunResult]
SECTIONS = ["verdict", "headline", "charts", "samples", "training-section", "how"]
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """What is on a page, checking on the way that every element is closed where it must be."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> closes itself only inside of svg"
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def sheet() -> SampleSheet:
    images = torch.arange(3 * 8 * 8, dtype=torch.uint8).reshape(1, 3, 8, 8)
    return sample_grid(images, {"fog": images.expand(5, 1, 3, 8, 8)})


@pytest.fixture(scope="module")
def page(pair: list[RunResult], tmp_path_factory: pytest.TempPathFactory) -> Page:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(path, pair, samples=sheet(), title="A title")
    return Page(path)


def test_sections_stand_in_order(page: Page) -> None:
    assert page.source.startswith("<!DOCTYPE html>")
    assert [attributes["id"] for attributes in page.all("section")] == SECTIONS
    assert [a["id"] for a in page.all("figure")] == ["corruptions", "severity", "reliability", "severities", "training"]
    assert "".join(page.text).strip().startswith("A title")
    assert page.all("html") == [{"lang": "en"}]


def test_everything_is_inside(page: Page) -> None:
    assert not re.search(r"https?:|@import|@font-face|//\w+\.\w", page.source)
    assert not {"script", "link", "iframe", "object", "embed", "form"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        assert not any(key.startswith("on") for key in attributes)
        for key in ("src", "href", "xlink:href"):
            assert attributes.get(key, "#").startswith(("#", "data:image/png;base64,"))
    policy = next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'")


def test_it_can_be_read_by_everybody(page: Page) -> None:
    assert all(image["alt"] for image in page.all("img"))
    charts = [attributes for attributes in page.all("svg") if attributes.get("role") == "img"]
    assert len(charts) == 5
    assert all(len(chart["aria-label"]) > 30 for chart in charts)
    assert {header["scope"] for header in page.all("th")} == {"row", "col"}
    assert len(page.all("caption")) == len(page.all("table")) == 2
    identities = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(identities)) == len(identities)
    for _, attributes in page.elements:
        assert attributes.get("aria-labelledby", identities[0]) in identities
    assert [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)][:3] == [1, 2, 2]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")


def test_it_says_what_was_found_and_how(page: Page, pair: list[RunResult]) -> None:
    for text in (text for texts in headline(pair).texts() for text in texts):
        assert text in page.words
    assert "standard minus augmix" in page.words
    for fact in (
        "elinvar train augmix --data cifar10:data --seed 2 --out runs/augmix-2", "augmix: seeds 0, 1, 2", "9f2c" * 16,
        "Example CPU @ 2.0 GHz", "torch 2.13.0", "0123456789abcdef0123456789abcdef01234567", "batch_size: 128",
        "generated from this test set; frost textures are drawn", "10,000 test images",
    ):  # fmt: skip
        assert fact in page.words
    assert len(page.all("details")) == 3  # the commands and two recipes


def test_same_runs_same_bytes(page: Page, pair: list[RunResult], tmp_path: Path) -> None:
    write_report(tmp_path / "again.html", pair, samples=sheet(), title="A title")
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page.source
    assert len(page.source) < 1_500_000


EVIL = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}&lt;"


def test_names_cannot_become_markup(make: Make, page: Page, tmp_path: Path) -> None:
    runs = [make(EVIL, 0, corruptions=(EVIL, "fog"), parts=(EVIL,)), make("augmix", 0, corruptions=(EVIL, "fog"))]
    runs = [
        replace(
            run,
            manifest={"command": EVIL, "data": {EVIL: [EVIL] * 100}, "hardware": EVIL},
            recipe_yaml=f"</pre>{EVIL}",
            evaluation=replace(run.evaluation, data=EVIL, about={"classes": [EVIL]}),
        )
        for run in runs
    ]
    images = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    samples = sample_grid(images, {EVIL: images[None]})
    write_report(tmp_path / "evil.html", runs, samples=samples, title=EVIL)
    evil = Page(tmp_path / "evil.html")
    assert {tag for tag, _ in evil.elements} == {tag for tag, _ in page.elements}
    assert not any(key.startswith("on") for _, attributes in evil.elements for key in attributes)
    assert {image["src"][:10] for image in evil.all("img")} == {"data:image"}
    assert "{{ 7 * 7 }}" in evil.words
    assert EVIL in evil.words


def test_a_thin_run_makes_a_page(make: Make, tmp_path: Path) -> None:
    run = replace(make("a", None, corruptions=()), metrics=[], manifest={}, recipe_yaml="")
    write_report(tmp_path / "thin.html", [run])
    page = Page(tmp_path / "thin.html")
    assert [attributes["id"] for attributes in page.all("section")] == [name for name in SECTIONS if name != "samples"]
    assert [attributes["id"] for attributes in page.all("figure")] == ["reliability"]
    assert "No training log was given" in page.words
    assert "(n=1)" in page.words
    assert "seed unknown" in page.words


def test_a_hundred_classes_and_many_recipes_make_a_page(make: Make, tmp_path: Path) -> None:
    runs = [make(f"recipe {number}", seed, classes=100) for number in range(6) for seed in range(2)]
    write_report(tmp_path / "wide.html", runs)
    page = Page(tmp_path / "wide.html")
    assert "(100 in all)" in page.words
    assert "class 99" not in page.words
    assert len(page.source) < 1_500_000


def test_what_differs_between_runs_is_told_apart(make: Make, tmp_path: Path) -> None:
    runs = [make("a", seed) for seed in range(3)]
    written = f"{runs[2].recipe_yaml}# by another version\n"
    runs[2] = replace(runs[2], manifest={**runs[2].manifest, "commit": "changed+"}, recipe_yaml=written)
    write_report(tmp_path / "mixed.html", runs)
    words = Page(tmp_path / "mixed.html").words
    assert "changed+ a (seed 2)" in words
    assert "67 a (seeds 0, 1)" in words
    assert "Recipe: a (seed 2)" in words


def test_a_refused_report_leaves_the_old_one(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("before")
    with pytest.raises(InputError, match="given twice"):
        write_report(path, [make("a", 0), make("a", 0)])
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
