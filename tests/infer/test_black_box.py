"""Black boxes: every model meets the images of all others, each source once, and no model its own."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from elinvar import attacks, data
from elinvar.check import InputError
from elinvar.infer import AttackPlan, Entrant, Evaluation, Observer, Predictor, black_box, record
from elinvar.infer.identity import FEW
from elinvar.recipe import Infer
from elinvar.rng import Seeds, Source, streams
from elinvar.views import unit

from .test_attacked import CPU, SMALL, Counting

PLAN = AttackPlan(images=30)
Named = tuple[str, int | None]
FOUR: tuple[Named, ...] = (("a", 0), ("a", 1), ("b", 0), ("b", 1))


def entrants(folder: Path, names: Sequence[Named] = FOUR, plan: AttackPlan = PLAN) -> list[Entrant]:
    made = []
    for place, (name, seed) in enumerate(names):
        predictor, own = Predictor(Counting(seed=place), Infer(), CPU), folder / f"{name}-{seed}"
        found = record(predictor, SMALL, own, name=name, seed=seed, suites=["clean", "attacks"], attacks=plan)
        made.append(Entrant(predictor, own, found))
    return made


def forget(given: Sequence[Entrant]) -> None:
    for entrant in given:
        model = entrant.predictor.model
        assert isinstance(model, Counting)
        model._gradients = model._looks = 0


def counted(given: Sequence[Entrant]) -> list[tuple[int, int]]:
    """Images with and without a graph, of each model."""
    return [(int(of.predictor.model._gradients), int(of.predictor.model._looks)) for of in given]  # type: ignore[arg-type]


def test_every_model_meets_the_images_of_all_others(tmp_path: Path) -> None:
    given = entrants(tmp_path)
    forget(given)
    found = black_box(given, SMALL, PLAN)
    assert counted(given) == [(30 * 10, FEW + 30 * 3)] * 4, "images are made once for each source"
    places = PLAN.places(SMALL.test, 30)
    batch = next(iter(SMALL.test.batches(places, 30)))
    keys = streams(Seeds(0).key(Source.ATTACK), places)
    for number, (entrant, evaluation) in enumerate(zip(given, found, strict=True)):
        assert Evaluation.read(entrant.folder / "evaluation.json") == evaluation
        assert evaluation.attacks is not None
        assert entrant.evaluation.attacks is not None
        assert evaluation.attacks.results == entrant.evaluation.attacks.results
        rows = {(row.source, row.seed): row for row in evaluation.attacks.black_box}
        assert list(rows) == [name for place, name in enumerate(FOUR) if place != number]
        standing = torch.ones(30, dtype=torch.bool)
        for place, name in enumerate(FOUR):
            source = given[place].predictor.model
            images = attacks.pgd(source, unit(batch.images), batch.targets, keys=keys)
            right = entrant.predictor.model(images).argmax(1) == batch.targets
            standing &= right
            if place != number:
                assert rows[name].accuracy == pytest.approx(100 * right.double().mean().item())
                assert (rows[name].n, rows[name].attack) == (30, "PGD-10")
        assert evaluation.attacks.worst <= entrant.evaluation.attacks.worst
        assert evaluation.attacks.worst <= 100 * standing.double().mean().item()


def test_a_second_call_computes_nothing(tmp_path: Path) -> None:
    first = black_box(entrants(tmp_path), SMALL, PLAN)
    given = entrants(tmp_path)
    assert black_box(given, SMALL, PLAN) == first
    assert counted(given) == [(0, 2 * FEW)] * 4, "a few images are predicted anew by each evaluation"
    assert black_box(given, SMALL, PLAN, fresh=True) == first
    assert counted(given) == [(30 * 10, 3 * FEW + 30 * 3)] * 4


class Stop(Observer):
    """Interrupts after so many sources."""

    def __init__(self, sources: int) -> None:
        self.left = sources

    def done(self, name: str) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_an_interrupted_call_goes_on_with_the_next_source(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        black_box(entrants(tmp_path), SMALL, PLAN, observer=Stop(3))
    rest = entrants(tmp_path)
    assert black_box(rest, SMALL, PLAN) == black_box(entrants(tmp_path / "whole"), SMALL, PLAN)
    assert counted(rest) == [(0, 2 * FEW + 30)] * 3 + [(30 * 10, 2 * FEW)]


def test_what_is_made_again(tmp_path: Path) -> None:
    """A new model costs its own images, shown to all, and a look at those of the others; another eps costs all."""
    black_box(entrants(tmp_path, FOUR[:2]), SMALL, PLAN)
    three = entrants(tmp_path, FOUR[:3])
    forget(three)
    black_box(three, SMALL, PLAN)
    assert counted(three) == [(30 * 10, FEW + 30), (30 * 10, FEW + 30), (30 * 10, FEW + 30 * 2)]
    other = replace(PLAN, eps=4 / 255)
    wider = entrants(tmp_path, FOUR[:2], other)
    forget(wider)
    black_box(wider, SMALL, other)
    assert counted(wider) == [(30 * 10, FEW + 30)] * 2


def test_equal_weights_are_no_black_box(tmp_path: Path) -> None:
    given = [*entrants(tmp_path, [("a", 0)]), *entrants(tmp_path / "again", [("same", None), ("other", None)])]
    found = black_box(given, SMALL, PLAN)
    rows = [[row.source for row in of.attacks.black_box] for of in found if of.attacks is not None]
    assert rows == [["other"], ["other"], ["a", "same"]]


def test_images_of_a_quiet_twin_expose_masked_gradients(tmp_path: Path) -> None:
    plan = AttackPlan(images=60, eps=16 / 255)
    made = []
    for name, scale in (("quiet", 1.0), ("loud", 1e4)):
        model = Counting()
        model.weight.data *= scale
        predictor = Predictor(model, Infer(), CPU)
        labelled = own_labels(predictor)
        found = record(predictor, labelled, tmp_path / name, name=name, suites=["clean", "attacks"], attacks=plan)
        made.append(Entrant(predictor, tmp_path / name, found))
    quiet, loud = (of.attacks for of in black_box(made, labelled, plan))
    assert quiet is not None
    assert loud is not None
    assert any("what was made for quiet fools" in text for text in loud.warnings)
    assert quiet.warnings == []
    assert quiet.black_box[0].accuracy >= quiet.results["PGD-10"].accuracy, "a black box knows less"


def own_labels(predictor: Predictor) -> data.DataSet:
    """Digits with what the model says for targets: it knows them all."""
    images = next(iter(SMALL.test.batches(torch.arange(60), 60))).images
    return replace(SMALL, test=data.ArraySplit(images, predictor(images).argmax(1)))


def test_what_has_no_black_box_is_refused(tmp_path: Path) -> None:
    given = entrants(tmp_path, FOUR[:2])
    with pytest.raises(InputError, match="on other data"):
        black_box(given, data.subset(SMALL, train=10, test=50), PLAN)
    plain = replace(given[1], evaluation=replace(given[1].evaluation, attacks=None))
    with pytest.raises(InputError, match="not judged under attacks"):
        black_box([given[0], plain], SMALL, PLAN)
