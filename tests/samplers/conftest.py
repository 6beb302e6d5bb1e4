"""A data set of times and places without files, for tests of samplers."""

import pandas as pd
import pytest
from geopandas import GeoDataFrame
from torchgeo.datasets import GeoDataset


class Footprints(GeoDataset):
    """Rows of a day and a geometry each; pixels of 10 m. A sample is its own window."""

    def __init__(self, days, shapes):
        times = pd.DatetimeIndex(days)
        index = pd.IntervalIndex.from_arrays(
            times, times + pd.Timedelta('1d') - pd.Timedelta('1us'), closed='both', name='datetime'
        )
        self.index = GeoDataFrame(
            {'filepath': [''] * len(times)}, index=index, geometry=shapes, crs='EPSG:32631'
        )
        self._res = (10.0, 10.0)

    def __getitem__(self, window):
        x, y, t = window
        return x.start, y.start, t.start.value


@pytest.fixture(scope='session')
def footprints():
    """Makes a data set of days and shapes, ``footprints(days, shapes)``."""
    return Footprints
