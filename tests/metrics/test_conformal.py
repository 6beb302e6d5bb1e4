"""Half widths of intervals, against the formula of Lei et al. 2018 and simulated values."""

import numpy as np
import pytest
import torch

from torchgeo_sits.metrics import conformal_half_width


@pytest.mark.parametrize('n', [9, 10, 29, 57, 1000])
@pytest.mark.parametrize('percent', [50, 70, 80, 90])
def test_rank_is_that_of_the_paper(n, percent):
    errors = torch.rand(n, generator=torch.Generator().manual_seed(n))
    rank = -(-(n + 1) * percent // 100)  # in whole numbers, that nothing is rounded
    expected = np.quantile(errors.numpy(), (rank - 1) / (n - 1), method='nearest')
    assert conformal_half_width(errors, percent / 100) == pytest.approx(expected)


def test_too_few_errors_say_nothing():
    assert conformal_half_width(torch.rand(8), 0.9).isnan()
    assert not conformal_half_width(torch.rand(9), 0.9).isnan()
    known = torch.tensor([1.0, torch.nan, 3.0, torch.nan, 2.0])
    assert conformal_half_width(known, 0.5) == 2.0
    with pytest.raises(ValueError, match='coverage must be above 0'):
        conformal_half_width(known, 1.0)


def test_coverage_of_exchangeable_values_is_what_was_asked_for():
    rng = np.random.default_rng(0)
    rounds, n, coverage = 4000, 39, 0.9
    errors = torch.from_numpy(np.abs(rng.standard_t(2, (rounds, n + 1))))
    inside = [bool(e[-1] <= conformal_half_width(e[:-1], coverage)) for e in errors]
    # Of 39 places the 36th of 40: exactly 0.9, and three deviations of a binomial.
    assert np.mean(inside) == pytest.approx(0.9, abs=3 * (0.09 / rounds) ** 0.5)
