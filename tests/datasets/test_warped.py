"""Series on another grid than their files, held against GDAL's own warp of each band alone."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from torchgeo_sits.datasets import RasterTimeSeries


@pytest.mark.parametrize('to', ['EPSG:3857', 'double'])
def test_warped_stack_equals_a_warped_vrt(stack: Path, to: str) -> None:
    files = sorted(stack.glob('*.tif'))[:4]
    with rasterio.open(files[0]) as file:
        crs = CRS.from_string(to) if to == 'EPSG:3857' else file.crs
        res = 1.3 * file.res[0] if crs.is_projected == file.crs.is_projected else 400.0
        if crs == file.crs:
            res = 2 * file.res[0]
        bounds = transform_bounds(file.crs, crs, *file.bounds)
    series = RasterTimeSeries(list(map(str, files)), crs=crs.to_wkt(), res=res)
    left, top = bounds[0] + 5 * res, bounds[3] - 7 * res
    side = 20
    image = series[left : left + side * res, top - side * res : top]
    grid = {'crs': crs, 'transform': from_origin(left, top, res, res), 'width': side}
    for i, path in enumerate(files):
        with rasterio.open(path) as file:
            profile, bands, nodata = file.profile, file.read(), file.nodata
        expected, seen = [], np.ones((side, side), bool)
        for band in bands:
            with MemoryFile() as memory:
                with memory.open(**{**profile, 'count': 1}) as alone:
                    alone.write(band, 1)
                with (
                    memory.open() as alone,
                    WarpedVRT(
                        alone,
                        **grid,
                        height=side,
                        resampling=Resampling.bilinear,
                        UNIFIED_SRC_NODATA='NO',
                        add_alpha=nodata is None,
                    ) as vrt,
                ):
                    expected.append(vrt.read(1))
                    seen &= (vrt.read(2) if nodata is None else vrt.read_masks(1)) > 0
                    seen &= np.isfinite(expected[-1])
        assert (image['mask_clear'][i].numpy() == seen).all(), path
        assert (image['image'][i].numpy() == np.where(seen, expected, 0).astype('float32')).all()
