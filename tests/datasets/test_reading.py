"""Masks that files carry beside or among their bands, copied and warped."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.transform import from_origin

from torchgeo_sits.datasets.files import scan
from torchgeo_sits.datasets.reading import RasterReader
from torchgeo_sits.grid import Grid

UTM31, UTM32 = CRS.from_epsg(32631), CRS.from_epsg(32632)


def masked_file(path: Path, kind: str) -> Path:
    """The upper half is hidden by a mask beside the bands, or by an alpha band."""
    shown = np.full((16, 16), 255, 'uint8')
    shown[:8] = 0
    alpha = kind == 'alpha'
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path,
            'w',
            driver='GTiff',
            count=3,
            height=16,
            width=16,
            dtype='uint8',
            crs=UTM32,
            transform=from_origin(76_000, 5_620_000, 10, 10),
        ) as file,
    ):
        file.write(np.full((3, 16, 16), 30, 'uint8'))
        if alpha:
            file.colorinterp = [
                rasterio.enums.ColorInterp.gray,
                rasterio.enums.ColorInterp.undefined,
                rasterio.enums.ColorInterp.alpha,
            ]
            file.write(shown, 3)
        else:
            file.write_mask(shown)
    return path


@pytest.mark.parametrize('kind', ['mask', 'alpha'])
def test_masks_of_files(tmp_path: Path, kind: str) -> None:
    (scene,) = scan([str(masked_file(tmp_path / 'a_20200101.tif', kind))], unreadable='raise')
    reader = RasterReader()
    copied, observed = reader.read(scene, [1, 2], Grid(76_000, 5_620_000, 10, 10, 16, 16, UTM32))
    assert (copied == 30).all()
    assert observed.sum(axis=1).tolist() == [0] * 8 + [16] * 8
    # 500680, 5602860 is where the corner falls in the zone to the west.
    warped, observed = reader.read(scene, [1, 2], Grid(500_680, 5_602_860, 10, 10, 18, 18, UTM31))
    assert (warped[:, observed] == 30).all()
    assert observed.sum() == pytest.approx(128, abs=10)  # the area of half a file
    assert not observed[:6].any()


def test_offset_in_a_grid() -> None:
    grid = Grid(1000.0, 2000.0, 10.0, 10.0, 64, 64, UTM31)
    assert grid.offset_in(from_origin(900, 2100, 10, 10)) == (10, 10)
    assert grid.offset_in(from_origin(900, 2100, 10.001, 10)) is None  # 0.006 px off at the end
    assert grid.offset_in(from_origin(900, 2100, 20, 20)) is None
    assert grid.bounds == (1000, 1360, 1640, 2000)


def test_program_ends_without_a_word_while_files_are_open(tmp_path):
    # Handles that nobody closes print errors when the interpreter shuts down.
    with rasterio.open(
        tmp_path / 'x_20200101.tif',
        'w',
        driver='GTiff',
        height=4,
        width=4,
        count=1,
        dtype='uint8',
        crs='EPSG:32631',
        transform=rasterio.transform.from_origin(0, 40, 10, 10),
    ) as file:
        file.write(np.ones((1, 4, 4), 'uint8'))
    code = (
        'from torchgeo_sits.datasets import RasterTimeSeries\n'
        f'series = RasterTimeSeries({str(tmp_path)!r})\n'
        'assert series[:, :]["image"].sum() == 16\n'
        # What outlives the modules at the end of the program, as trainers do.
        'import threading; threading.main_thread().kept = series\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ''
