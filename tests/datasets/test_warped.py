"""Series on another grid than their files, held against GDAL's own warp."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from torchgeo_sits.datasets import RasterTimeSeries


@pytest.mark.parametrize('to', ['EPSG:3857', 'twice'])
def test_warped_stack_equals_a_warped_vrt(stack: Path, to: str) -> None:
    files = sorted(stack.glob('*.tif'))[:12]
    with rasterio.open(files[0]) as file:
        crs = CRS.from_string(to) if to != 'twice' else file.crs
        res = 1.3 * file.res[0] if crs.is_projected == file.crs.is_projected else 400.0
        if to == 'twice':
            res = file.res[0] / 2
        bounds = transform_bounds(file.crs, crs, *file.bounds)
    series = RasterTimeSeries(list(map(str, files)), crs=crs.to_wkt(), res=res)
    left, top = bounds[0] + 5 * res, bounds[3] - 7 * res
    side = 20
    image = series[left : left + side * res, top - side * res : top]
    for i, path in enumerate(files):
        with rasterio.open(path) as file:
            nodata = file.nodata
            options = (
                {'add_alpha': True}
                if nodata is None
                else {'src_nodata': nodata, 'nodata': nodata, 'UNIFIED_SRC_NODATA': 'NO'}
            )
            with WarpedVRT(
                file,
                crs=crs,
                transform=from_origin(left, top, res, res),
                width=side,
                height=side,
                resampling=Resampling.bilinear,
                **options,
            ) as vrt:
                expected = vrt.read(file.indexes)
                seen = np.isfinite(expected).all(axis=0)
                seen &= (
                    vrt.read(vrt.count) > 0
                    if nodata is None
                    else ~(expected == np.array(nodata, expected.dtype)).any(axis=0)
                )
        assert (image['mask_clear'][i].numpy() == seen).all(), path
        assert (image['image'][i].numpy() == np.where(seen, expected, 0).astype('float32')).all()
