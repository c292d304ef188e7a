"""Corruption errors: the constants, laws of the means, and what is asked of incomplete tables."""

import copy
import json
import pickle

import pytest
import torch

from elinvar.check import InputError
from elinvar.metrics import (
    ALEXNET,
    ALEXNET_CLEAN,
    SUBSETS,
    CorruptionErrors,
    mean_corruption_error,
    relative_mean_corruption_error,
    unnormalized_corruption_error,
)

FULL = {name: list(ALEXNET[name]) for name in SUBSETS["benchmark"]}
# google-research/augmix, imagenet.py, and clovaai/assembled-cnn
MEANS = {
    "gaussian_noise": 0.886428, "shot_noise": 0.894468, "impulse_noise": 0.922640, "defocus_blur": 0.819880,
    "glass_blur": 0.826268, "motion_blur": 0.785948, "zoom_blur": 0.798360, "snow": 0.866816, "frost": 0.826572,
    "fog": 0.819324, "brightness": 0.564592, "contrast": 0.853204, "elastic_transform": 0.646056,
    "pixelate": 0.717840, "jpeg_compression": 0.606500, "speckle_noise": 0.8454, "gaussian_blur": 0.7871,
    "spatter": 0.7175, "saturate": 0.6583,
}  # fmt: skip


def scaled(factor: float) -> dict[str, list[float]]:
    return {name: [factor * error for error in errors] for name, errors in FULL.items()}


def table(value: float) -> dict[str, list[float]]:
    return {name: [value] * 5 for name in SUBSETS["all"]}


def test_the_constants_have_the_published_means() -> None:
    assert set(ALEXNET) == set(MEANS) == set(SUBSETS["all"])
    for name, errors in ALEXNET.items():
        assert sum(errors) / len(errors) == pytest.approx(MEANS[name], abs=1e-12)
        assert len(errors) == (5 if name in SUBSETS["benchmark"] else 1)


def test_alexnet_scores_100_and_everything_scales() -> None:
    assert mean_corruption_error(FULL, normalizers=ALEXNET) == pytest.approx(100)
    assert mean_corruption_error(scaled(0.8), normalizers=ALEXNET) == pytest.approx(80)
    assert relative_mean_corruption_error(FULL, ALEXNET_CLEAN) == pytest.approx(100)


def test_one_who_is_always_wrong() -> None:
    result = mean_corruption_error(table(1.0), normalizers=ALEXNET)
    for name, value in result.per_corruption.items():
        assert value == pytest.approx(100 / MEANS[name])


def test_one_who_does_not_notice_corruptions_has_no_relative_error() -> None:
    assert relative_mean_corruption_error(table(0.3), 0.3) == pytest.approx(0, abs=1e-12)


def test_relative_error_by_hand() -> None:
    errors = {**table(0.3), "fog": [0.3, 0.4, 0.5, 0.6, 0.7]}
    result = relative_mean_corruption_error(errors, 0.3)
    fog = 100 * 0.2 / (0.819324 - 0.435)
    assert result.per_corruption["fog"] == pytest.approx(fog)
    assert result == pytest.approx(fog / 15)


def test_without_normalizers_it_is_the_mean_of_the_means_in_the_unit_of_the_errors() -> None:
    errors = {name: [k / 20 + s / 100 for s in range(5)] for k, name in enumerate(SUBSETS["benchmark"])}
    assert mean_corruption_error(errors) == pytest.approx(7 / 20 + 0.02)
    assert mean_corruption_error({name: [100 * e for e in row] for name, row in errors.items()}) == pytest.approx(37.0)
    assert unnormalized_corruption_error(errors["fog"]) == pytest.approx(9 / 20 + 0.02)


def test_a_mean_as_normalizer_does_as_well_as_five_errors() -> None:
    means = {name: [mean] for name, mean in MEANS.items()}
    assert mean_corruption_error(scaled(0.5), normalizers=means) == pytest.approx(50)


@pytest.mark.parametrize(("subset", "count"), [("benchmark", 15), ("validation", 4), ("all", 19)])
def test_the_result_names_its_subset(subset: str, count: int) -> None:
    errors = {**table(0.5), "saturate": [0.9] * 5}
    result = mean_corruption_error(errors, subset=subset)
    assert result.subset == subset
    assert tuple(result.per_corruption) == SUBSETS[subset]
    assert len(result.per_corruption) == count
    assert f"mean over {count} corruptions ({subset})" in str(result) == f"{result}"
    assert f"{result:.3f}" == f"{float(result):.3f}"
    assert result == pytest.approx(0.5 if subset == "benchmark" else 0.5 + 0.4 / count)


def test_the_result_is_a_number_and_travels() -> None:
    result = mean_corruption_error(FULL, normalizers=ALEXNET)
    assert json.loads(json.dumps({"mCE": result}))["mCE"] == pytest.approx(100)
    for copied in (copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
        assert (copied, copied.subset, copied.per_corruption) == (result, result.subset, result.per_corruption)


def test_names_what_is_missing() -> None:
    errors = {name: row for name, row in FULL.items() if name not in ("fog", "pixelate")}
    with pytest.raises(InputError, match=r"errors: fog, pixelate missing, the mean over 'benchmark' needs 15"):
        mean_corruption_error(errors)
    with pytest.raises(InputError, match="normalizers: fog, pixelate missing"):
        mean_corruption_error(FULL, normalizers=errors)
    with pytest.raises(InputError, match="errors: speckle_noise, gaussian_blur, spatter, saturate missing"):
        mean_corruption_error(FULL, subset="all")


def test_refuses_other_tables() -> None:
    with pytest.raises(InputError, match="unknown corruption 'fogg': did you mean 'fog'"):
        mean_corruption_error({**FULL, "fogg": [0.1] * 5})
    with pytest.raises(InputError, match="unknown subset of corruptions 'bench': did you mean 'benchmark'"):
        mean_corruption_error(FULL, subset="bench")
    with pytest.raises(InputError, match="fog: got 4 errors"):
        mean_corruption_error({**FULL, "fog": [0.1] * 4})
    for bad in (-0.1, 100.1, float("nan")):
        with pytest.raises(InputError, match="fog: got"):
            mean_corruption_error({**FULL, "fog": [bad] + [0.1] * 4})
    with pytest.raises(InputError, match="divide errors in per cent by 100"):
        mean_corruption_error(scaled(100), normalizers=ALEXNET)
    with pytest.raises(InputError, match="divide errors in per cent by 100"):
        mean_corruption_error(FULL, normalizers=scaled(100))
    for bad in (43.5, float("nan")):
        with pytest.raises(InputError, match="clean: got"):
            relative_mean_corruption_error(FULL, bad)
    with pytest.raises(InputError, match=r"errors of 0 for \['fog'\]"):
        mean_corruption_error(FULL, normalizers={**FULL, "fog": [0.0] * 5})
    with pytest.raises(InputError, match="brightness is not worse"):
        relative_mean_corruption_error(FULL, 0.1, normalizer_clean=0.6)


def test_predictions_that_come_in_pieces() -> None:
    draws = torch.Generator().manual_seed(0)
    plain, other = CorruptionErrors(subset="all"), CorruptionErrors(subset="all")
    normalized = CorruptionErrors(normalizers=ALEXNET)
    errors: dict[str, list[float]] = {}
    for name in SUBSETS["all"]:
        errors[name] = []
        for severity in range(1, 6):
            predicted = torch.randint(0, 3, (20,), generator=draws)
            targets = torch.zeros(20, dtype=torch.int64)
            plain.update(predicted[:7], targets[:7], corruption=name, severity=severity)
            other.update(predicted[7:], targets[7:], corruption=name, severity=severity)
            errors[name].append((predicted != 0).float().mean().item())
            assert normalized(predicted, targets, corruption=name, severity=severity) == pytest.approx(errors[name][-1])
    plain.merge(other)
    assert plain.compute().per_corruption == pytest.approx(mean_corruption_error(errors, subset="all").per_corruption)
    assert plain.compute().subset == "all"
    assert normalized.compute() == pytest.approx(mean_corruption_error(errors, normalizers=ALEXNET))
    assert plain.errors()["fog"] == pytest.approx(errors["fog"])


def test_pieces_that_are_missing_are_named() -> None:
    metric = CorruptionErrors()
    with pytest.raises(InputError, match="call update first"):
        metric.compute()
    classes = torch.zeros(2, dtype=torch.int64)
    for severity in (1, 2, 4):
        metric.update(classes, classes, corruption="fog", severity=severity)
    with pytest.raises(InputError, match="no predictions of fog 3, fog 5; all five"):
        metric.compute()
    with pytest.raises(InputError, match="unknown corruption 'fogg'"):
        metric.update(classes, classes, corruption="fogg", severity=1)
    with pytest.raises(InputError, match="severity: got 6"):
        metric.update(classes, classes, corruption="fog", severity=6)
