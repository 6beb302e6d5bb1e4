"""Time samples of 61 dates from NetCDF and Zarr of others against xarray alone.

    python -m benchmarks.cf [--quick] [--folder DIR]

Ten bands of 16 bits as variables of ``time, y, x``, compressed, in chunks that hold some dates of a
square or all dates. In every round each contender reads one window at a random place, so that a
slow phase of the machine hits all of them alike. Places differ between contenders: HDF5 keeps
chunks for all handles of a process together, here 1 MB of them. xarray alone selects the window of
each band, reads it as it is stored, and makes one array of float32 of them; what it decodes by CF
itself stands beside. Ratios are of the time of the processor, which other programs on the machine
change least. Output goes to results/cf.json.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
import torch
import xarray as xr
from scipy.ndimage import gaussian_filter

from torchgeo_sits.datasets import CFTimeSeries

from . import harness

BANDS = ('B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B11', 'B12')
DIMS = ('time', 'y', 'x')
SIDE, DATES, WINDOW = 512, 61, 64
LEFT, TOP = 600_000, 5_000_000
ROUNDS, WARM_UP = 21, 2
CHUNKS = {'all dates': (DATES, 64, 64), 'ten dates': (10, 128, 128)}
Place = tuple[int, int]


def scene() -> xr.Dataset:
    """Bands that differ from place to place and from date to date, with a little noise."""
    generator = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for number, band in enumerate(BANDS):
        noise = generator.standard_normal((SIDE, SIDE), np.float32)
        ground = gaussian_filter(noise, 8) * 8000 + 2000
        season = 1 + 0.3 * np.sin(np.arange(DATES) / 10 + number)
        image = ground * season[:, None, None]
        image += generator.standard_normal(image.shape, np.float32) * 30
        found[band] = DIMS, np.clip(image, 1, 10_000).astype(np.uint16), {'_FillValue': 0}
    coordinates = {
        'time': pd.date_range('2020-01-01', periods=DATES, freq='6D'),
        'y': TOP - 10 * (np.arange(SIDE) + 0.5),
        'x': LEFT + 10 * (np.arange(SIDE) + 0.5),
    }
    return xr.Dataset(found, coordinates, {'crs': 'EPSG:32631'})


def generate(folder: Path) -> dict[str, Path]:
    """Write the scene in all layouts, unless that was done before; paths by what they are."""
    paths = {
        f'{kind}, chunks of {name}': folder / f'{kind}_{shape[0]}{ending}'
        for name, shape in CHUNKS.items()
        for kind, ending in (('NetCDF', '.nc'), ('Zarr 2', '.zarr'), ('Zarr 3', '.zarr'))
    }
    whole = None
    for name, path in paths.items():
        if path.exists():
            continue
        whole = scene() if whole is None else whole
        chunks = CHUNKS[name.partition('chunks of ')[2]]
        if name.startswith('NetCDF'):
            options = {'zlib': True, 'complevel': 1, 'shuffle': True, 'chunksizes': chunks}
            whole.to_netcdf(path, encoding=dict.fromkeys(BANDS, options))
        else:
            encoding = {band: {'chunks': chunks} for band in BANDS}
            whole.to_zarr(path, zarr_format=int(name[5]), encoding=encoding, consolidated=False)
    return paths


def places(seed: int) -> Iterator[Place]:
    """Rows and columns at any pixel."""
    generator = np.random.default_rng(seed)
    while True:
        row, column = generator.integers(0, SIDE - WINDOW + 1, 2).tolist()
        yield row, column


def contenders(path: Path) -> dict[str, Callable[[], object]]:
    """What reads a window, by name."""
    engine = 'zarr' if path.suffix == '.zarr' else 'netcdf4'
    options: dict[str, Any] = {'engine': engine, 'chunks': None, 'cache': False}
    stored = xr.open_dataset(path, mask_and_scale=False, **options)
    decoded = xr.open_dataset(path, **options)
    series = CFTimeSeries(path)
    at = [places(seed) for seed in range(3)]

    def select(dataset: xr.Dataset, place: Place) -> np.ndarray:
        rows, columns = (slice(start, start + WINDOW) for start in place)
        bands = [dataset[band].isel(y=rows, x=columns).to_numpy() for band in BANDS]
        return np.stack(bands, axis=1).astype(np.float32)

    def ours(place: Place) -> torch.Tensor:
        left, top = LEFT + 10 * place[1], TOP - 10 * place[0]
        window = slice(left, left + 10 * WINDOW), slice(top - 10 * WINDOW, top)
        image: torch.Tensor = series[window]['image']
        return image

    place = (100, 37)
    assert np.array_equal(ours(place).numpy(), select(stored, place))
    return {
        'xarray': lambda: select(stored, next(at[0])),
        'xarray, decoded': lambda: select(decoded, next(at[1])),
        'CFTimeSeries': lambda: ours(next(at[2])),
    }


def measure(path: Path) -> dict[str, dict[str, float]]:
    """Milliseconds a sample, those of the processor, and the ratio of these to xarray alone."""
    for file in [path] if path.is_file() else path.rglob('*'):
        if file.is_file():
            file.read_bytes()  # so that the first contender does not read from the disk for all
    spent: dict[str, list[float]] = {}

    def timed(name: str, run: Callable[[], object]) -> None:
        start = time.process_time()
        run()
        spent.setdefault(name, []).append(time.process_time() - start)

    runs = {name: partial(timed, name, run) for name, run in contenders(path).items()}
    times = harness.interleave(runs, ROUNDS, warm_up=WARM_UP)
    cpu = {name: float(np.median(seconds[WARM_UP:])) for name, seconds in spent.items()}
    return {
        name: harness.spread(seconds, 'ms')
        | {'cpu_ms': round(cpu[name] * 1e3, 3), 'ratio': round(cpu[name] / cpu['xarray'], 3)}
        for name, seconds in times.items()
    }


def main() -> None:
    """Measure, print and write the results."""
    parser = harness.parser(__doc__)
    parser.add_argument('--quick', action='store_true', help='nothing is written')
    parser.add_argument('--folder', type=Path, help='where to write the scene, and keep it')
    options = parser.parse_args()
    torch.set_num_threads(1)
    netCDF4.set_chunk_cache(2**20)
    results = harness.describe(
        'xarray', 'zarr', 'netCDF4', dates=DATES, bands=len(BANDS), window=WINDOW, rounds=ROUNDS
    )
    figures = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name, path in generate(options.folder or Path(temporary)).items():
            figures[name] = measure(path)
            for contender, found in figures[name].items():
                print(f'{name:32} {contender:16} {found["median_ms"]:8.1f} ms {found["ratio"]:.2f}')
    if not options.quick:
        harness.save('cf', results | {'figures': figures})


if __name__ == '__main__':
    main()
