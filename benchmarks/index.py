"""Time the start of a data set over 10,000 files, the first and later ones, against TorchGeo's.

    python -m benchmarks.index

Two collections are written to a temporary folder: 100 tiles in two UTM zones x 100 dates with
three bands per file, and 1,000 products of ten bands with a file per band. Each file has 16 x 16
pixels, since only headers are read. Each figure is the median over interleaved rounds in one
process: in each round each contender starts once, the first start with an empty cache. Imports
do not count, and files are in the memory of the operating system. Output goes to
results/index.json.
"""

import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from rasterio.transform import from_origin
from torchgeo.datasets import RasterDataset

from torchgeo_sits.datasets import RasterTimeSeries

from . import harness

ROUNDS = 5
BANDS = ('B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B11', 'B12')
DATES = [f'{date:%Y%m%d}' for date in pd.date_range('2018-01-01', periods=100, freq='5D')]


class Files(RasterDataset):
    """TorchGeo's data set of a file per tile and date."""

    filename_regex = r'.*_(?P<date>\d{8})\.tif'


class FilesOfBands(RasterDataset):
    """TorchGeo's data set of a file per band: it opens one file of each product."""

    filename_glob = '*_B02.tif'
    filename_regex = r'.*_(?P<date>\d{8})_(?P<band>B\w{2})\.tif'
    separate_files = True
    all_bands = BANDS


def write(path: Path, tile: int, count: int, zone: int = 31) -> None:
    """Write a GeoTIFF of 16 x 16 pixels."""
    x, y = 500_000 + 160 * (tile % 10), 5_600_000 - 160 * (tile // 10)
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        width=16,
        height=16,
        count=count,
        dtype='uint16',
        crs=f'EPSG:326{zone}',
        transform=from_origin(x, y, 10, 10),
        nodata=0,
    ) as file:
        file.write(np.full((count, 16, 16), tile + 1, 'uint16'))


def generate(folder: Path) -> None:
    """Write the folders ``files``, ``masks`` and ``bands``, of 10,000 files each."""
    for name in ('files', 'masks'):
        (folder / name).mkdir()
    for tile in range(100):
        for date in DATES:
            zone = 31 if tile < 80 else 32
            write(folder / 'files' / f'T{tile:02d}_{date}.tif', tile, 3, zone)
            write(folder / 'masks' / f'T{tile:02d}_{date}_SCL.tif', tile, 1, zone)
            if tile < 10:
                product = folder / 'bands' / f'T{tile:02d}_{date}'
                product.mkdir(parents=True)
                for band in BANDS:
                    write(product / f'T{tile:02d}_{date}_{band}.tif', tile, 1)


def measure(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Time all contenders on each collection; a second start follows the first at once."""
    files, bands = folder / 'files', folder / 'bands'
    masked = {'cloud_paths': folder / 'masks', 'clear_values': (1,)}
    collections: dict[str, dict[str, Callable[[], object]]] = {
        '10,000 files of 3 bands': {
            'TorchGeo RasterDataset': lambda: Files(files, time_series=True),
            'RasterTimeSeries, first start': lambda: RasterTimeSeries(files),
            'RasterTimeSeries, second start': lambda: RasterTimeSeries(files),
        },
        '1,000 products of 10 files': {
            'TorchGeo RasterDataset, one file of ten': lambda: FilesOfBands(
                bands, time_series=True
            ),
            'RasterTimeSeries, first start': lambda: RasterTimeSeries(bands),
            'RasterTimeSeries, second start': lambda: RasterTimeSeries(bands),
        },
        '10,000 files of 3 bands and 10,000 masks': {
            'RasterTimeSeries, first start': lambda: RasterTimeSeries(files, **masked),
            'RasterTimeSeries, second start': lambda: RasterTimeSeries(files, **masked),
        },
    }

    def clear(name: str) -> None:
        if 'first' in name:
            shutil.rmtree(folder / 'cache', ignore_errors=True)

    figures: dict[str, dict[str, dict[str, float]]] = {}
    for title, contenders in collections.items():
        print(title)
        times = harness.interleave(contenders, ROUNDS, warm_up=0, before=clear)
        figures[title] = {name: harness.spread(seconds) for name, seconds in times.items()}
        for name, figure in figures[title].items():
            print(
                f'  {name:42} {figure["median_s"]:7.2f} s  '
                f'[{figure["min_s"]:.2f}, {figure["max_s"]:.2f}]'
            )
    return figures


def main() -> None:
    """Generate, measure, print a table and write the JSON."""
    harness.parser(__doc__).parse_args()
    packages = ('torchgeo', 'rasterio', 'geopandas', 'pyarrow', 'pandas', 'shapely')
    results = harness.describe(*packages, rounds=ROUNDS, gdal=rasterio.__gdal_version__)
    warnings.simplefilter('ignore')  # files in another zone, as they should be
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ['TORCHGEO_SITS_CACHE'] = str(folder / 'cache')
        generate(folder)
        time.sleep(4)  # files that are 3 s old at most are not kept
        figures = measure(folder)
    harness.save('index', results | {'figures': figures})


if __name__ == '__main__':
    main()
