"""Time samples of 24 and 61 dates from GeoTIFFs and cubes against TorchGeo and raw reads.

    python -m benchmarks.loading [--quick] [--folder DIR]

Ten bands of 16 bits in blocks of 256 x 256, deflate with predictor 2, as multi-band files and as a
file per band, and the same as a Zarr cube. In every round each contender reads one sample, so
that a slow phase of the machine hits all of them alike; all read the same random places. What
GDAL keeps of decoded blocks is held to 64 MB for all of them, so that no place is read from
memory: collections are larger than the 1 GB that this scene takes. Output goes to
results/loading.json.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

os.environ['GDAL_CACHEMAX'] = '64'

import numpy as np
import rasterio
import torch
from rasterio.transform import from_origin
from rasterio.windows import Window
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset

from torchgeo_sits.collate import pad_time
from torchgeo_sits.datasets import RasterTimeSeries, ZarrTimeSeries
from torchgeo_sits.samplers import BlockPatchSampler

from . import harness

BANDS = ('B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B11', 'B12')
SIDE = 1024
LEFT, TOP = 600_000, 5_000_000
ROUNDS, WARM_UP = 5, 3  # the warm-up opens all files
Place = tuple[slice, slice]


class MultiBand(RasterDataset):
    """TorchGeo's data set of these files, as a user writes it."""

    filename_glob = '*.tif'
    filename_regex = r'S2_(?P<date>\d{8})'


class PerBand(RasterDataset):
    """The same with a file per band."""

    filename_glob = '*_B02.tif'
    filename_regex = r'S2_(?P<date>\d{8})_(?P<band>B\w+)'
    separate_files = True
    all_bands = BANDS


def generate(folder: Path, dates: int) -> None:
    """Write the scene in all layouts, unless that was done before."""
    if (folder / 'done').exists():
        return
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((len(BANDS), SIDE, SIDE), np.float32)
    ground = [gaussian_filter(layer, 8) * 8000 + 2000 for layer in noise]
    multi, single = folder / 'multi', folder / 'single'
    for path in (multi, single):
        path.mkdir(parents=True, exist_ok=True)
    profile = {
        'driver': 'GTiff',
        'height': SIDE,
        'width': SIDE,
        'dtype': 'uint16',
        'crs': 'EPSG:32631',
        'transform': from_origin(LEFT, TOP, 10, 10),
        'nodata': 0,
        'tiled': True,
        'blockxsize': 256,
        'blockysize': 256,
        'compress': 'deflate',
        'predictor': 2,
    }
    raw = np.lib.format.open_memmap(
        folder / 'raw.npy', 'w+', np.uint16, (SIDE // 64, SIDE // 64, dates, len(BANDS), 64, 64)
    )
    for t in range(dates):
        day = date(2020, 1, 1) + timedelta(days=6 * t)
        season = [1 + 0.3 * np.sin(t / 10 + i) for i in range(len(BANDS))]
        image = np.stack(
            [
                np.clip(g * s + generator.standard_normal(g.shape, np.float32) * 30, 1, 10_000)
                for g, s in zip(ground, season, strict=True)
            ]
        ).astype(np.uint16)
        with rasterio.open(multi / f'S2_{day:%Y%m%d}.tif', 'w', count=10, **profile) as file:
            file.write(image)
        for band, layer in zip(BANDS, image, strict=True):
            name = single / f'S2_{day:%Y%m%d}_{band}.tif'
            with rasterio.open(name, 'w', count=1, **profile) as file:
                file.write(layer, 1)
        blocks = image.reshape(len(BANDS), SIDE // 64, 64, SIDE // 64, 64)
        raw[:, :, t] = blocks.transpose(1, 3, 0, 2, 4)
    raw.flush()
    command = Path(sys.executable).with_name('torchgeo-sits')
    subprocess.run([command, 'cube', str(multi), str(folder / 'cube.zarr')], check=True)
    (folder / 'done').touch()


def window(row: int, column: int, side: int) -> Place:
    """The window at a row and column."""
    left, top = LEFT + 10 * column, TOP - 10 * row
    return slice(left, left + 10 * side), slice(top - 10 * side, top)


def random_places(side: int, seed: int) -> Iterator[tuple[int, int]]:
    """Rows and columns at any pixel."""
    generator = np.random.default_rng(seed)
    while True:
        row, column = generator.integers(0, SIDE - side + 1, 2).tolist()
        yield row, column


def aligned_places(side: int, seed: int) -> Iterator[tuple[int, int]]:
    """Rows and columns at multiples of the side."""
    generator = np.random.default_rng(seed)
    while True:
        row, column = (generator.integers(0, SIDE // side, 2) * side).tolist()
        yield row, column


def raw_rasterio(files: list[Path], dtype: str) -> Callable[[int, int, int], object]:
    """Windows of open handles on two threads, and nothing else."""
    handles = [rasterio.open(path, sharing=False) for path in files]
    pool = ThreadPoolExecutor(2)

    def read(row: int, column: int, side: int) -> object:
        part = Window(column, row, side, side)

        def share(first: int) -> list[Any]:
            return [handle.read(window=part) for handle in handles[first::2]]

        return [done.result() for done in [pool.submit(share, first) for first in range(2)]]

    return read


def raw_blocks(files: list[Path], side: int) -> Iterator[object]:
    """Patches side by side from one aligned block on all dates, read once, block after block."""
    handles = [rasterio.open(path, sharing=False) for path in files]
    pool = ThreadPoolExecutor(2)
    for row, column in aligned_places(256, 5):

        def share(first: int, at: tuple[int, int] = (row, column)) -> list[Any]:
            part = Window(at[1], at[0], 256, 256)
            return [handle.read(window=part) for handle in handles[first::2]]

        done = [task.result() for task in [pool.submit(share, first) for first in range(2)]]
        for y in range(0, 256, side):
            for x in range(0, 256, side):
                yield [
                    frame[:, y : y + side, x : x + side].copy() for half in done for frame in half
                ]


def contenders(folder: Path, dates: int, side: int) -> dict[str, Callable[[], object]]:
    """Everything that reads one sample, by name."""
    multi = sorted((folder / 'multi').glob('*.tif'))
    single = sorted((folder / 'single').glob('*.tif'))
    until = slice(None, None, None)
    theirs = MultiBand(folder / 'multi', time_series=True)
    theirs_single = PerBand(folder / 'single', time_series=True)
    ours = RasterTimeSeries(folder / 'multi')
    ours_single = RasterTimeSeries(folder / 'single')
    in_blocks = RasterTimeSeries(folder / 'multi')
    cube = ZarrTimeSeries(folder / 'cube.zarr')
    draws = BlockPatchSampler(in_blocks, size=side, length=10**6, generator=0).iter_endless(0)
    blocks = raw_blocks(multi, side)
    files, files_single = raw_rasterio(multi, 'uint16'), raw_rasterio(single, 'uint16')
    memory = np.load(folder / 'raw.npy', mmap_mode='r')
    store = tensorstore_cube(folder / 'cube.zarr')

    def of(data: Any, places: Iterator[tuple[int, int]]) -> Callable[[], object]:
        return lambda: data[(*window(*next(places), side), until)]

    def mapped(row: int, column: int) -> object:
        rows, columns = (
            slice(row // 64, (row + side) // 64),
            slice(column // 64, (column + side) // 64),
        )
        return np.array(memory[rows, columns], np.float32)

    def stored(places: Iterator[tuple[int, int]]) -> Callable[[], object]:
        def read() -> object:
            row, column = next(places)
            return store[:, :, row : row + side, column : column + side].read().result()

        return read

    at = [random_places(side, seed=0) for _ in range(8)]
    on = [aligned_places(side, seed=0) for _ in range(3)]
    return {
        'TorchGeo RasterDataset, multi-band': of(theirs, at[0]),
        'raw rasterio, multi-band': lambda: files(*next(at[1]), side),
        'RasterTimeSeries, multi-band': of(ours, at[2]),
        'TorchGeo RasterDataset, file per band': of(theirs_single, at[3]),
        'raw rasterio, file per band': lambda: files_single(*next(at[4]), side),
        'RasterTimeSeries, file per band': of(ours_single, at[5]),
        'raw rasterio, aligned block, all its patches': lambda: next(blocks),
        'RasterTimeSeries, BlockPatchSampler': lambda: in_blocks[next(draws)],
        'raw tensorstore, random': stored(at[6]),
        'ZarrTimeSeries, random': of(cube, at[7]),
        'raw tensorstore, aligned': stored(on[0]),
        'ZarrTimeSeries, aligned': of(cube, on[1]),
        'memmap of aligned patches': lambda: mapped(*next(on[2])),
    }


def tensorstore_cube(path: Path) -> Any:
    """The image of a cube as tensorstore reads it, on two threads."""
    import tensorstore

    context = tensorstore.Context(
        {'data_copy_concurrency': {'limit': 2}, 'file_io_concurrency': {'limit': 2}}
    )
    spec = {'driver': 'zarr3', 'kvstore': {'driver': 'file', 'path': str(path / 'image')}}
    return tensorstore.open(spec, context=context, read=True).result()


def sample_times(contenders: dict[str, Callable[[], object]]) -> dict[str, Any]:
    """Read with all contenders in turn; milliseconds a sample."""
    # Samples that share a read count together: those of a few draws, or blocks.
    numbers = {name: 64 if 'block' in name.lower() else 1 for name in contenders}
    marks: dict[str, list[float]] = {name: [] for name in contenders}

    def several(name: str) -> None:
        for _ in range(numbers[name]):
            start = time.perf_counter()
            contenders[name]()
            marks[name].append((time.perf_counter() - start) * 1e3)

    times = harness.interleave(
        {name: lambda name=name: several(name) for name in contenders}, ROUNDS, warm_up=WARM_UP
    )
    figures = {}
    for name, seconds in times.items():
        p50, p95 = np.percentile(marks[name][WARM_UP * numbers[name] :], [50, 95])
        own = harness.spread(seconds, 'ms', calls=numbers[name])
        figures[name] = own | {'p50_ms': float(p50), 'p95_ms': float(p95)}
    return figures


def epoch(folder: Path, name: str, side: int, workers: int, samples: int) -> dict[str, float]:
    """Samples a second and memory of a loader; for a process of its own."""
    torch.set_num_threads(2)
    places = [
        window(*p, side) for p, _ in zip(random_places(side, 9), range(samples), strict=False)
    ]
    options: dict[str, Any] = {'batch_size': 4, 'num_workers': workers}
    sampler: Any = places
    data: Any
    if name.startswith('TorchGeo'):
        data = (MultiBand if 'multi' in name else PerBand)(
            folder / ('multi' if 'multi' in name else 'single'), time_series=True
        )
    elif 'Zarr' in name:
        data = ZarrTimeSeries(folder / 'cube.zarr')
    else:
        data = RasterTimeSeries(folder / ('single' if 'file per' in name else 'multi'))
    if 'Block' in name:
        sampler = BlockPatchSampler(data, size=side, length=samples, generator=0, **options)
    collate = None if name.startswith('TorchGeo') else pad_time
    with harness.PeakMemory() as memory:
        loader = DataLoader(data, sampler=sampler, collate_fn=collate, **options)
        start = time.perf_counter()
        count = sum(len(batch['image']) for batch in loader)
        seconds = time.perf_counter() - start
    assert count == samples
    return {'samples_per_s': count / seconds, 'peak_MB': (memory.peak - memory.start) / 1e6}


def loaders(folder: Path, side: int, workers: int) -> dict[str, Any]:
    """Whole loaders, each in a process of its own, once."""
    names = {
        'TorchGeo RasterDataset, multi-band': 24,
        'RasterTimeSeries, multi-band': 24,
        'TorchGeo RasterDataset, file per band': 12,
        'RasterTimeSeries, file per band': 12,
        'RasterTimeSeries, BlockPatchSampler': 256,
        'ZarrTimeSeries, random': 128,
    }
    return {
        name: harness.in_new_process(epoch, folder, name, side, workers, samples)
        for name, samples in names.items()
    }


def print_table(title: str, figures: dict[str, dict[str, float]]) -> None:
    """Print figures, a line for each contender."""
    print(title)
    for name, found in figures.items():
        print(f'  {name:46}', *(f'{key} {value:.1f}' for key, value in found.items()), flush=True)


def main() -> None:
    """Measure, print and write the results."""
    parser = harness.parser(__doc__)
    parser.add_argument('--quick', action='store_true', help='one size, and nothing is written')
    parser.add_argument('--folder', type=Path, help='where to write the scene, and keep it')
    options = parser.parse_args()
    torch.set_num_threads(2)
    results = harness.describe(
        'torchgeo', 'rasterio', rounds=ROUNDS, warm_up=WARM_UP, gdal=rasterio.__gdal_version__
    )
    samples: dict[str, Any] = {}
    epochs: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        root = options.folder or Path(temporary)
        for dates in (61,) if options.quick else (61, 24):
            folder = root / f'{dates}_dates'
            generate(folder, dates)
            for side in (64,) if options.quick else (64, 128):
                size = f'{dates} dates, patches of {side}'
                samples[size] = sample_times(contenders(folder, dates, side))
                print_table(size, samples[size])
            for side, workers in [(64, 0), (64, 2)] if dates == 61 else []:
                size = f'{dates} dates, patches of {side}, {workers} workers'
                epochs[size] = loaders(folder, side, workers)
                print_table(size, epochs[size])
    if not options.quick:
        harness.save('loading', results | {'figures': {'samples': samples, 'loaders': epochs}})


if __name__ == '__main__':
    main()
