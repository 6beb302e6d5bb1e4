"""Time samplers on a hundred thousand footprints against TorchGeo's.

    python -m benchmarks.samplers

A draw is a random place and a window in time there: ``RandomSeriesPatchSampler @
RandomDateCountSampler`` against ``RandomPatchSampler @ RandomTimedeltaSampler`` on the same
index but one, with windows of about as many dates. Contenders run in turn in every round, so that
a slow phase of the machine hits all of them alike. Output goes to results/samplers.json.
"""

import warnings
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame
from numpy.typing import NDArray
from shapely import Polygon
from torchgeo.datasets import GeoDataset
from torchgeo.samplers import RandomPatchSampler, RandomTimedeltaSampler, SpatioTemporalSampler

from torchgeo_sits.samplers import (
    GriddedSeriesPatchSampler,
    RandomDateCountSampler,
    RandomSeriesPatchSampler,
    ShardedSampler,
    SkippingSampler,
)

from . import harness

ROWS = 100_000
BUILDS, ROUNDS, DRAWS = 5, 9, 1000
SIZE = 64
START = pd.Timestamp('2018-01-01')


class Footprints(GeoDataset):
    """An index without files; pixels of 10 m."""

    def __init__(self, days: NDArray[np.int64], shapes: NDArray[np.object_]) -> None:
        times = START + pd.to_timedelta(days, 'D')
        index = pd.IntervalIndex.from_arrays(
            times, times + pd.Timedelta('1d') - pd.Timedelta('1us'), closed='both', name='datetime'
        )
        self.index = GeoDataFrame(
            {'filepath': [''] * len(days)}, index=index, geometry=shapes, crs='EPSG:32631'
        )
        self._res = (10.0, 10.0)

    def __getitem__(self, index):
        raise IndexError


def tiles() -> Footprints:
    """1,600 tiles of 110 km every 100 km, on 62 or 63 dates each."""
    number = np.arange(ROWS)
    x, y = number % 40 * 1e5, number // 40 % 40 * 1e5
    return Footprints(number // 1600 * 5, shapely.box(x, y, x + 11e4, y + 11e4))


def chips() -> Footprints:
    """Scattered chips of 256 pixels off each other's grids, each on a day of its own."""
    rng = np.random.default_rng(0)
    cell = rng.choice(700 * 700, ROWS, replace=False)
    x, y = cell % 700 * 3000 + 400 * rng.random(ROWS), cell // 700 * 3000 + 400 * rng.random(ROWS)
    return Footprints(rng.integers(0, 1000, ROWS), shapely.box(x, y, x + 2560, y + 2560))


def swaths() -> Footprints:
    """Slanted scenes of 20 to 30 km that overlap, 60 of them over a place."""
    rng = np.random.default_rng(0)
    corner, side = rng.uniform(0, 1e6, (ROWS, 2)), rng.uniform(2e4, 3e4, (ROWS, 2))
    across, along = side[:, :1] * [1, 0.2], side[:, 1:] * [-0.2, 1]
    corners = np.stack([corner, corner + across, corner + across + along, corner + along], axis=1)
    return Footprints(rng.integers(0, 1000, ROWS), shapely.polygons(corners))


def ours(data: Footprints, roi: Polygon | None, length: int = DRAWS) -> SkippingSampler:
    """Eight dates of what there are, at random places."""
    places = RandomSeriesPatchSampler(data, size=SIZE, length=length, roi=roi, generator=0)
    return places @ RandomDateCountSampler(data, count=8, generator=0)


def torchgeos(data: Footprints, roi: Polygon | None, delta: str) -> SpatioTemporalSampler:
    """Windows of about as many dates."""
    places = RandomPatchSampler(data, size=SIZE, length=DRAWS, roi=roi, generator=0)
    return places @ RandomTimedeltaSampler(data, delta=pd.Timedelta(delta), generator=0)


def times(
    contenders: dict[str, Callable[[], object]], rounds: int, **options: Any
) -> dict[str, dict[str, float]]:
    """Summarised times of contenders: in seconds, or with *calls* in milliseconds a call."""
    warm_up = int('calls' in options)
    unit = 'ms' if 'calls' in options else 's'
    taken = harness.interleave(contenders, rounds, warm_up=warm_up)
    return {name: harness.spread(values, unit, **options) for name, values in taken.items()}


def measure(
    make: Callable[[], Footprints], delta: str, foreign_rows: int, roi: Polygon | None
) -> dict[str, Any]:
    """Times of construction and draws, and what comes with an epoch."""
    data = make()
    fewer = Footprints.__new__(Footprints)
    fewer.index, fewer._res = data.index[:foreign_rows], data._res
    samplers: dict[str, SpatioTemporalSampler] = {}

    def build(name: str) -> None:
        samplers[name] = ours(data, roi) if name == 'ours' else torchgeos(fewer, roi, delta)

    construction = times(
        {name: lambda name=name: build(name) for name in ('ours', "TorchGeo's")}, BUILDS
    )
    draw = {name: lambda s=sampler: list(s) for name, sampler in samplers.items()}
    long = ours(data, roi, ROWS)
    resumed = long.state_dict() | {'position': ROWS // 2}
    share = ShardedSampler(samplers['ours'], num_replicas=8, rank=0)

    def resume() -> None:
        long.load_state_dict(resumed)
        next(iter(long))

    def count() -> int:
        grid = GriddedSeriesPatchSampler(data, size=256, roi=shapely.box(0, 0, 4e5, 4e5))
        return len(grid @ RandomDateCountSampler(data, count=8, generator=0))

    return {
        'rows_for_torchgeo': foreign_rows,
        'construction': construction,
        'draw': times(draw, ROUNDS, calls=DRAWS),
        'one_window_of_each_eighth': times({'ours': lambda: list(share)}, ROUNDS, calls=DRAWS // 8)[
            'ours'
        ],
        'resume_after_50000': times({'ours': resume}, 3)['ours'],
        'count_of_grid': {'windows': count(), **times({'ours': count}, 3)['ours']},
        'dates_at_a_place': float(
            np.mean(
                [
                    len(samplers['ours'].temporal_sampler.acquisitions(window[:2]))
                    for window in islice(samplers['ours'], 200)
                ]
            )
        ),
    }


def main() -> None:
    """Measure, print a table and write the JSON."""
    harness.parser(__doc__).parse_args()
    packages = ('torchgeo', 'shapely', 'geopandas', 'numpy', 'pandas')
    results = harness.describe(
        *packages, rows=ROWS, patch=SIZE, builds=BUILDS, rounds=ROUNDS, draws_per_round=DRAWS
    )
    warnings.simplefilter('ignore')
    figures = {}
    cases = (
        (tiles, '40D', ROWS, None),
        # TorchGeo's erosion of a footprint in pieces takes time by the square of their number,
        # so that it is given a tenth.
        (chips, '12h', ROWS // 10, None),
        # Its windows fail at the rim of the area, where there are few dates.
        (swaths, '100D', ROWS, shapely.box(1e5, 1e5, 9e5, 9e5)),
    )
    for make, *case in cases:
        figures[make.__name__] = {'what': make.__doc__, **measure(make, *case)}
        for part, unit in (('construction', 's'), ('draw', 'ms')):
            found = figures[make.__name__][part]
            for name, figure in found.items():
                print(
                    f'{make.__name__:8} {part:16} {name:12} {figure[f"median_{unit}"]:9.4f} {unit} '
                    f'[{figure[f"q1_{unit}"]:.4f}, {figure[f"q3_{unit}"]:.4f}]'
                )
    harness.save('samplers', results | {'figures': figures})


if __name__ == '__main__':
    main()
