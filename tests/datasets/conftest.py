"""Fixtures of the tests of data sets."""

from pathlib import Path

import pytest

#: Folders of real imagery with one raster per date.
STACKS = [
    *('cbers_ba/images_0', 'cbers_ba/images_1', 'eolearn_si/images', 'fusets_field/images'),
    *('fusets_meadow/images', 'gfmap_bap/images', 'gfmap_poly2/images', 'gfmap_poly5/images'),
    *('ieda_mt/modis', 'modis_dtwsat_mt/images', 'tura/images', 'wc_be_a/l8', 'wc_be_a/s1'),
    *('wc_be_a/s2', 'wc_be_b/s1', 'wc_be_b/s2'),
]


@pytest.fixture(params=STACKS)
def stack(shared_data: Path, request: pytest.FixtureRequest) -> Path:
    """A folder of real, dated rasters; each of them in turn."""
    return shared_data / str(request.param)
