"""Means with confidence intervals, by a bootstrap that keeps pairs together."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000


class Interval(NamedTuple):
    """A mean with its 95 % confidence interval."""

    mean: float
    low: float
    high: float


def bootstrap(sites: Sequence[NDArray[np.float64]]) -> Interval:
    """Mean over sites, and its interval over initialisations and draws of fields.

    Both axes of a site's table are drawn anew with replacement, as in the two-way bootstrap of
    crossed designs; sites with as many rows share the draw of rows, since a row is one
    pretraining. Given differences of two contenders that shared seeds and fields, it is paired.

    Args:
        sites: For each site a table ``(seeds, draws)``.
    """
    rng = np.random.default_rng(0)
    mean = float(np.mean([table.mean() for table in sites]))
    means = np.zeros(RESAMPLES)
    draws = rng.random((RESAMPLES, max(len(table) for table in sites)))
    for table in sites:
        rows = (draws[:, : len(table)] * len(table)).astype(np.int64)
        columns = rng.integers(0, table.shape[1], (RESAMPLES, table.shape[1]))
        picked = table[rows[:, :, None], columns[:, None, :]]
        means += picked.mean((1, 2)) / len(sites)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(mean, float(low), float(high))
