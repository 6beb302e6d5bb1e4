"""From a click to a map: the page of ``explore`` on embeddings of three sizes.

    python -m benchmarks.exploring [--sizes 256 2000 10000] [--rounds 7]

Embeddings of 64 features in a byte each, in blocks of 512 x 512 with overviews and not compressed,
are made of noise around ten classes: values do not change the time, sizes do. Each size
runs in a process of its own, with the threads that it takes. Measured are

- ``label``: a click at a place that was not read before, until the label is on the disk, the probe
  is fitted and scored, as the server answers it;
- ``view``: after it, all tiles of the class map that a window of 1024 x 1024 screen pixels shows of
  the whole area, computed and written as PNG, one after the other;
- ``click_to_map``: both, which is what a user waits for, but for the browser's own drawing;
- ``first_view``: the same tiles when none was read before, once, with the file in the cache of the
  disk or not as the system likes;
- ``whole_map``: the map of all pixels and its certainty as COGs, in the background, once, of sizes
  of which the page draws it unasked;
- memory of the process when all is imported, and at its peak until the views are drawn and until
  the whole map is.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.windows import Window

from torchgeo_sits.datasets import RasterTimeSeries
from torchgeo_sits.exploring import EmbeddedArea, Explorer, SeriesImages, Session
from torchgeo_sits.exploring.explorer import as_png
from torchgeo_sits.exploring.pyramid import TILE
from torchgeo_sits.mapping.rasters import BLOCK

from . import harness

FEATURES, CLASSES, LABELS = 64, 10, 40
#: Largest side of which all pixels are mapped: what the page does unasked.
LARGEST_WHOLE = 2000
#: Side of the window on the screen.
SCREEN = 1024
PLACE = {'crs': 'EPSG:32631', 'transform': rasterio.Affine(10, 0, 600_000, 0, -10, 5_700_000)}


def write_embeddings(path: Path, size: int) -> None:
    """Write quantised embeddings of *size* x *size* pixels: blocks of one class each."""
    generator = np.random.default_rng(0)
    centres = generator.integers(40, 216, (CLASSES, FEATURES, 1, 1))
    noise = generator.normal(0, 12, (FEATURES, BLOCK, BLOCK))
    blocks = np.clip(centres + noise, 1, 255).astype(np.uint8)
    profile: dict[str, Any] = {
        'driver': 'GTiff', 'count': FEATURES, 'dtype': 'uint8', 'width': size, 'height': size,
        'nodata': 0, 'tiled': True, 'blockxsize': BLOCK, 'blockysize': BLOCK,
        'interleave': 'pixel', 'bigtiff': 'yes', **PLACE,
    }  # fmt: skip
    with rasterio.open(path, 'w', num_threads='all_cpus', **profile) as file:
        for i, row in enumerate(range(0, size, BLOCK)):
            for j, column in enumerate(range(0, size, BLOCK)):
                height, width = min(BLOCK, size - row), min(BLOCK, size - column)
                values = blocks[(3 * i + j) % CLASSES, :, :height, :width]
                file.write(values, window=Window(column, row, width, height))
        file.scales, file.offsets = [0.01] * FEATURES, [0.0] * FEATURES
    levels = [2**n for n in range(1, 10) if size >> n >= TILE]
    if levels:
        with (
            rasterio.Env(GDAL_NUM_THREADS='ALL_CPUS'),
            rasterio.open(path, 'r+') as file,
        ):
            file.build_overviews(levels, Resampling.nearest)


def write_images(folder: Path, size: int) -> None:
    """Write a date of images on the same pixels, which nothing is asked of here."""
    folder.mkdir()
    profile: dict[str, Any] = {
        'driver': 'GTiff', 'count': 1, 'dtype': 'uint8', 'width': size, 'height': size,
        'tiled': True, 'sparse_ok': True, **PLACE,
    }  # fmt: skip
    with rasterio.open(folder / 'images_20210601.tif', 'w', **profile):
        pass


def measure(size: int, rounds: int, root: str) -> dict[str, Any]:
    """Measure a size, in a process that does nothing else."""
    folder = Path(root)
    imported = harness.resident_mib()
    start = time.perf_counter()
    area = EmbeddedArea(folder / 'embedding.tif')
    images = SeriesImages(lambda bands: RasterTimeSeries(folder / 'images'), area.grid)
    explorer = Explorer(images, Session(folder / f'session_{size}'), area)
    opened = time.perf_counter() - start
    # The map of all pixels is asked for below.
    explorer._draw_unasked = lambda: None  # type: ignore[method-assign]
    explorer.add_classes([f'class {i}' for i in range(CLASSES)])
    generator = np.random.default_rng(1)

    def label(number: int) -> None:
        row, column = generator.integers(0, size, 2).tolist()
        kind = (3 * (row // BLOCK) + column // BLOCK + number % 2) % CLASSES
        point = {'type': 'Point', 'coordinates': [column, row]}
        explorer.add_label(f'class {kind}', point)

    level = next(n for n in range(images.pyramid.levels) if size >> n <= SCREEN)
    across = -(-size // (TILE << level))

    def view() -> None:
        for row in range(across):
            for column in range(across):
                as_png(explorer.tile('map', level, row, column, {}))

    for number in range(LABELS - rounds):
        label(number)
    first = time.perf_counter()
    view()
    first = time.perf_counter() - first
    times: dict[str, list[float]] = {'label': [], 'view': [], 'click_to_map': []}
    for number in range(rounds):
        begin = time.perf_counter()
        label(number)
        between = time.perf_counter()
        view()
        end = time.perf_counter()
        for name, taken in zip(times, (between - begin, end - between, end - begin), strict=True):
            times[name].append(taken)
    peak = harness.resident_mib()
    figures: dict[str, Any] = {name: harness.spread(taken) for name, taken in times.items()}
    figures |= {'imported_mib': round(imported, 1), 'peak_of_views_mib': round(peak, 1)}
    if size <= LARGEST_WHOLE:
        begin = time.perf_counter()
        explorer.draw_map()
        assert explorer._mapper is not None
        explorer._mapper.join()
        figures['whole_map_s'] = round(time.perf_counter() - begin, 2)
        assert explorer.state()['map']['state'] == 'done', explorer.state()['map']
        figures['peak_with_whole_map_mib'] = round(harness.resident_mib(), 1)
    explorer.close()
    return {
        'pixels': size * size,
        'tiles_of_a_view': across * across,
        'open_s': round(opened, 3),
        'first_view_s': round(first, 3),
        **figures,
    }


def main() -> None:
    """Measure all sizes and write the results."""
    parser = harness.parser(__doc__)
    parser.add_argument('--sizes', type=int, nargs='+', default=[256, 2000, 10_000])
    parser.add_argument('--rounds', type=int, default=7)
    options = parser.parse_args()
    results = harness.describe(
        'numpy', 'rasterio', features=FEATURES, labels=LABELS, screen=SCREEN, rounds=options.rounds
    )
    results['figures'] = {}
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as root:
            write_embeddings(Path(root) / 'embedding.tif', size)
            write_images(Path(root) / 'images', size)
            bytes_of_file = (Path(root) / 'embedding.tif').stat().st_size
            found = harness.in_new_process(measure, size, options.rounds, root)
        found['file_mib'] = round(bytes_of_file / 2**20, 1)
        results['figures'][str(size)] = found
        print(size, found, flush=True)
    harness.save('exploring', results)


if __name__ == '__main__':
    main()
