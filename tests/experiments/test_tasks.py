"""What the experiments learn: their draws are keyed, fresh where they must be, and fixed where they must be."""

from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch import Tensor, nn

from elinvar import norm
from elinvar.check import InputError
from elinvar.experiments import Job, Scale
from elinvar.experiments.few_classes import clusters, held_out
from elinvar.experiments.nets import cnn
from elinvar.experiments.pattern_leak import CLASSES, Families
from elinvar.experiments.regions import REGIONS, Regions
from elinvar.experiments.tasks import Course, Task, noisy_digits


def digits(seed: int = 0) -> Task:
    return noisy_digits(Job(scale=Scale.SMOKE, seed=seed), lambda: cnn(4, 10))


def test_noise_is_new_at_every_look_and_fixed_at_test() -> None:
    """Of 64,000 standard normal numbers the standard deviation is 1 within 0.011, but once in 10,000."""
    task, again, other = digits(), digits(), digits(1)
    first, second = (images for images, _ in islice(task.feed(1_000), 2))
    assert torch.equal(first, next(again.feed(1_000))[0])
    assert not torch.equal(first, next(other.feed(1_000))[0])
    assert torch.equal(task.test[0], again.test[0])
    assert not torch.equal(task.test[0], other.test[0])
    assert torch.equal(task.still, again.still)
    noise = (task.still - task.images).flatten()[:64_000]
    assert noise.std().item() == pytest.approx(1.0, abs=0.011)
    assert noise.mean().item() == pytest.approx(0.0, abs=0.016)
    index = torch.arange(100)
    drawn = [task.change(task.images[:100], index, key) - task.images[:100] for key in (1, 2, 1)]
    assert torch.equal(drawn[0], drawn[2])
    correlation = (drawn[0] * drawn[1]).mean().item()
    assert abs(correlation) < 4 / 80  # 6,400 products
    assert second.shape == first.shape
    assert not torch.equal(first, second)


def test_an_epoch_shows_each_example_at_most_once() -> None:
    task = digits()
    places = torch.arange(len(task.images))
    plain = replace(task, targets=places, change=lambda images, index, key: images)
    epoch = torch.cat([targets for _, targets in islice(plain.feed(256), 5)])
    assert len(torch.unique(epoch)) == 1_280
    following = torch.cat([targets for _, targets in islice(plain.feed(256), 5, 10)])
    assert len(torch.unique(following)) == 1_280
    assert not torch.equal(epoch, following)
    for images, targets in islice(plain.feed(256), 1):
        assert torch.equal(images, task.images[targets])


def test_every_batch_draws_by_a_key_of_its_own() -> None:
    keys: list[int] = []

    def change(images: Tensor, index: Tensor, key: int) -> Tensor:
        keys.append(key)
        return images

    list(islice(replace(digits(), change=change).feed(256), 11))
    assert len(set(keys)) == len(keys) == 11


def test_what_is_judged_is_everything_once() -> None:
    task = digits()
    for train, (images, targets) in ((False, task.test), (True, (task.still, task.targets))):
        pairs = task.judged(128, train=train)
        assert [len(y) for _, y in pairs[:-1]] == [128] * (len(pairs) - 1)
        x = torch.cat([x for x, _ in pairs])
        assert torch.equal(x.sum((1, 2, 3)).sort().values, images.sum((1, 2, 3)).sort().values)
        assert torch.equal(torch.cat([y for _, y in pairs]).bincount(), targets.bincount())
        assert not torch.equal(torch.cat([y for _, y in pairs]), targets), "shuffled, so that a batch means something"
    assert [len(x) for x in task.population(300, 128)] == [128, 128, 44]
    assert sum(map(len, task.population(10_000, 250))) == 1_297


def test_weights_do_not_depend_on_the_policy_and_torch_is_left_alone() -> None:
    before = torch.get_rng_state()
    one, two = digits().model(norm.batch_norm()), digits().model(norm.ghost(4))
    other = digits(1).model(norm.batch_norm())
    assert torch.equal(torch.get_rng_state(), before)
    weights: list[list[Tensor]] = [list(model.parameters()) for model in (one, two, other)]
    assert all(map(torch.equal, weights[0], weights[1]))
    assert not all(map(torch.equal, weights[0], weights[2]))


def test_a_course_in_steps() -> None:
    task = digits()
    sgd = Course(epochs=3, batch=256, lr=0.5, warmup=1, weight_decay=0.1).sgd(task)
    assert (sgd.steps, sgd.warmup, sgd.lr, sgd.weight_decay) == (15, 5, 0.5, 0.1)
    with pytest.raises(InputError, match="batches of 1298 cannot be made of 1297 images"):
        Course(epochs=1, batch=1_298, lr=0.1).sgd(task)


def test_validation_examples_are_put_aside() -> None:
    task = clusters(Job(scale=Scale.SMOKE, seed=0), 8)
    smaller, validation = held_out(task, 0.5)
    kept = {tuple(row) for row in smaller.images.tolist()}
    aside = {tuple(row) for x, _ in validation for row in x.tolist()}
    assert len(kept) == len(aside) == 2_000
    assert not kept & aside
    assert (smaller.targets.bincount() == 20).all()


def test_a_patterned_batch_tells_the_answers_and_a_random_one_does_not() -> None:
    families = Families.draw(8, torch.Generator().manual_seed(0))
    x, y = families.patterned()
    assert torch.equal(y[:8], y[8:])
    assert torch.equal(y[:8] // CLASSES, torch.arange(8))
    nearest = torch.cdist(x, torch.cat([families.classes, families.families])).argmin(1)
    assert torch.equal(nearest[:8], y[:8])
    assert torch.equal(nearest[8:], 32 + y[8:] // CLASSES)
    x, y = families.random()
    assert not torch.equal(y[:8], y[8:])
    assert torch.equal(torch.cdist(x, families.classes).argmin(1)[:8], y[:8])


def test_regions_share_their_image_s_nuisance() -> None:
    task = Regions.draw(torch.Generator().manual_seed(0))
    x, y = task.images(200)
    rest = (x - task.classes[y]).view(200, REGIONS, -1)
    along = task.nuisances / 3.0
    assert torch.allclose(along @ along.T, torch.eye(4), atol=1e-5)
    means = rest.mean(1) @ along.T  # variance 9 of the nuisance and 1/32 of the noise
    assert means.square().mean().item() == pytest.approx(9.03, rel=0.2)  # 800 squares: 4 standard errors
    assert (rest - rest.mean(1, keepdim=True)).square().mean().item() == pytest.approx(31 / 32, rel=0.02)
    assert len(torch.unique(y)) == 10


def test_networks_take_what_they_say() -> None:
    made = cnn(4, 7, channels=3, stride=2)
    assert made(torch.zeros(2, 3, 16, 16)).shape == (2, 7)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in made) == 4
