"""Moments of one input and how batches are pooled, against numpy in float64 over the whole."""

import numpy as np
import pytest
import torch
from torch import Tensor

from elinvar.check import InputError
from elinvar.norm.population.estimator import Estimator, Sums, Tally
from elinvar.norm.population.measure import moments_of


def values(count: int, *, offset: float = 0.0, seed: int = 0) -> Tensor:
    return torch.randn(count, 5, 3, generator=torch.Generator().manual_seed(seed)) + offset


@pytest.mark.parametrize("shape", [(50_000, 3), (40, 3, 70), (33, 3, 32, 31), (3, 3, 8, 60, 60), (1, 3, 2, 2)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("dtype", "offset"), [(torch.float32, 1e4), (torch.float64, 1e6), (torch.bfloat16, 2.0)])
def test_moments_of_an_input_keep_their_digits_at_any_offset(
    shape: tuple[int, ...], layout: torch.memory_format, dtype: torch.dtype, offset: float
) -> None:
    x = (torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + offset).to(dtype)
    if x.ndim == 4:
        x = x.to(memory_format=layout)
    elif layout is torch.channels_last:
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)  # not dense in its own order
    seen = moments_of(x)
    flat = x.double().transpose(0, 1).flatten(1).numpy()
    assert seen.count == flat.shape[1]
    np.testing.assert_allclose(seen.mean, flat.mean(1), atol=1e-7, rtol=1e-15)
    np.testing.assert_allclose(seen.squares / seen.count, flat.var(1), rtol=3e-6, atol=1e-12)


def pooled(estimator: Estimator, x: Tensor, sizes: list[int]) -> Sums:
    tally = Tally(estimator, "layer")
    for part in torch.split(x, sizes):
        tally.add(moments_of(part))
    return tally.total()


@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("sizes", [[64], [2, 2, 4, 8, 16, 32], [1, 63], [1] * 64, [3] * 21 + [1]])
def test_pooled_moments_do_not_depend_on_how_rows_are_split(sizes: list[int], correction: int) -> None:
    x, rule = values(64, offset=1e4), Estimator("pooled", correction)
    sums = pooled(rule, x, sizes)
    whole = x.double().transpose(0, 1).flatten(1).numpy()
    assert sums.count == whole.shape[1]
    assert sums.batches == len(sizes)
    np.testing.assert_allclose(sums.mean, whole.mean(1), rtol=0, atol=1e-7)
    np.testing.assert_allclose(rule.variance(sums), whole.var(1, ddof=correction), rtol=1e-6)


def test_only_pooled_variances_see_what_differs_between_batches() -> None:
    """Pure batches of two clusters at +-3: s^2 against s^2 + 9."""
    parts = [values(200, offset=3.0 * (-1) ** k, seed=k) for k in range(20)]
    by_kind = {}
    for kind in ("pooled", "batches"):
        rule = Estimator(kind)
        by_kind[kind] = rule.variance(pooled(rule, torch.cat(parts), [200] * 20))
    assert (by_kind["pooled"] - 10.0).abs().max() < 0.3
    assert (by_kind["batches"] - 1.0).abs().max() < 0.1


def test_the_batches_estimator_is_the_mean_of_batches() -> None:
    x, rule = values(60, offset=2.0), Estimator("batches", 1)
    sizes = [2] * 10 + [40]
    sums = pooled(rule, x, sizes)
    parts = [part.transpose(0, 1).flatten(1).double() for part in torch.split(x, sizes)]
    torch.testing.assert_close(sums.mean, sum(p.mean(1) for p in parts) / len(parts), rtol=1e-7, atol=0)
    torch.testing.assert_close(rule.variance(sums), sum(p.var(1) for p in parts) / len(parts), rtol=1e-6, atol=0)


@pytest.mark.parametrize("batch", [2, 10])
def test_the_two_variances_scatter_as_their_formulas_say(batch: int) -> None:
    """Var = sigma^4 / N (kappa - 1 + 2 / (m - 1)), m = B for batches and N for pooled, N = 1000 Gaussians (kappa 3).

    4,000 independent channels: the relative standard error of a variance is 2.3 %; 4 of them are allowed.
    """
    x = torch.randn(1000, 4000, generator=torch.Generator().manual_seed(3))
    for kind, size in (("batches", batch), ("pooled", 1000)):
        rule = Estimator(kind, 1)
        variances = rule.variance(pooled(rule, x, [batch] * (1000 // batch)))
        expected = (2 + 2 / (size - 1)) / 1000
        assert abs(variances.var().item() / expected - 1) < 0.09
        assert abs(variances.mean().item() - 1) < 4 * (expected / 4000) ** 0.5


def test_the_standard_error_is_that_of_independent_batches() -> None:
    """Means of 400 batches, whose offsets scatter by 0.5; 5 channels, within 4 standard errors of 3.5 %."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 8, 5, 3, generator=generator) + 0.5 * torch.randn(400, 1, 5, 1, generator=generator)
    for kind in ("pooled", "batches"):
        rule = Estimator(kind)
        error = rule.standard_error(pooled(rule, x.flatten(0, 1), [8] * 400))
        expected = ((0.25 + 1 / 24) / 400) ** 0.5
        assert (error / expected - 1).abs().max() < 0.15
        assert rule.standard_error(pooled(rule, x[0], [8])).isnan().all()


def test_errors_name_the_layer_and_the_remedy() -> None:
    with pytest.raises(InputError, match="did you mean 'pooled'"):
        Estimator("poled")
    with pytest.raises(InputError, match="correction: got 2"):
        Estimator("pooled", 2)
    for kind in ("pooled", "batches"):
        rule = Estimator(kind, 1)
        with pytest.raises(InputError, match="at least 2 values"):
            rule.variance(pooled(rule, torch.ones(1, 3), [1]))
    for bad in (float("nan"), float("inf")):
        x = values(50)
        x[45, 2, 1] = bad
        with pytest.raises(InputError, match=r"'layer' .* NaN or infinite values, in batch 45"):
            pooled(Estimator(), x, [1] * 50)
