"""Time windows of a cube of 61 dates against tensorstore, which reads the same chunks in C++.

    python -m benchmarks.cubes [--quick] [--folder DIR]

The cube is that of ``benchmarks.loading``: ten bands of 16 bits. In every round all contenders read
the same window, each on two threads. Raw is what tensorstore gives: pixels as they are stored. As
a sample it reads the mask as well, and makes float32 of the pixels, which is what samples hold.
Ratios are of the two times of each round. Output goes to results/cubes.json.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
import torch

from torchgeo_sits.datasets import ZarrTimeSeries

from . import harness
from .loading import aligned_places, generate, random_places, window

DATES = 61
ROUNDS, WARM_UP = 31, 5
Read = Callable[[int, int, int], Any]


def opened(path: Path, name: str) -> Any:
    """An array of the cube, on two threads."""
    context = tensorstore.Context(
        {'data_copy_concurrency': {'limit': 2}, 'file_io_concurrency': {'limit': 2}}
    )
    spec = {'driver': 'zarr3', 'kvstore': {'driver': 'file', 'path': str(path / name)}}
    return tensorstore.open(spec, context=context, read=True).result()


def contenders(path: Path) -> dict[str, Read]:
    """What reads a window, by name."""
    image, mask = opened(path, 'image'), opened(path, 'mask_clear')
    series = ZarrTimeSeries(path)

    def raw(row: int, column: int, side: int) -> Any:
        return image[:, :, row : row + side, column : column + side].read().result()

    def sample(row: int, column: int, side: int) -> Any:
        rows, columns = slice(row, row + side), slice(column, column + side)
        pixels, clear = image[:, :, rows, columns].read(), mask[:, rows, columns].read()
        return pixels.result().astype(np.float32), clear.result()

    def ours(row: int, column: int, side: int) -> Any:
        return series[window(row, column, side)]

    pixels, clear = sample(100, 37, 64)
    found = ours(100, 37, 64)
    assert np.array_equal(found['image'], pixels)
    assert np.array_equal(found['mask_clear'], clear)
    return {'tensorstore, raw': raw, 'tensorstore, as a sample': sample, 'ZarrTimeSeries': ours}


def measure(readers: dict[str, Read], places: Any, side: int, rounds: int) -> dict[str, Any]:
    """Milliseconds a window, and the speed against the two others in the same rounds."""
    taken: dict[str, list[float]] = {name: [] for name in readers}
    spent: dict[str, list[float]] = {name: [] for name in readers}
    names = list(readers)
    for number in range(WARM_UP + rounds):
        place = next(places)
        for turn in range(len(names)):
            name = names[(number + turn) % len(names)]  # the first one reads from colder caches
            start, before = time.perf_counter(), time.process_time()
            _ = readers[name](*place, side)
            if number >= WARM_UP:
                taken[name].append(time.perf_counter() - start)
                spent[name].append(time.process_time() - before)
    figures: dict[str, Any] = {}
    for name, seconds in taken.items():
        figures[name] = harness.spread(seconds, 'ms')
        figures[name]['cpu_ms'] = round(float(np.median(spent[name])) * 1e3, 3)
        for other, theirs in taken.items():
            if name == 'ZarrTimeSeries' != other:
                ratios = np.array(theirs) / np.array(seconds)
                low, median, high = np.quantile(ratios, [0.25, 0.5, 0.75]).round(3).tolist()
                figures[name][f'against {other}'] = {'median': median, 'q1': low, 'q3': high}
    return figures


def main() -> None:
    """Measure, print and write the results."""
    parser = harness.parser(__doc__)
    parser.add_argument('--quick', action='store_true', help='few rounds, and nothing is written')
    parser.add_argument('--folder', type=Path, help='where to write the scene, and keep it')
    options = parser.parse_args()
    torch.set_num_threads(2)
    rounds = 5 if options.quick else ROUNDS
    packages = ('zarr', 'numcodecs', 'tensorstore')
    results = harness.describe(*packages, dates=DATES, rounds=rounds, warm_up=WARM_UP)
    figures = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)) / f'{DATES}_dates'
        generate(folder, DATES)
        readers = contenders(folder / 'cube.zarr')
        for kind, places in (('at random', random_places), ('on chunks', aligned_places)):
            for side in (64, 128):
                found = measure(readers, places(side, 0), side, rounds)
                figures[f'{side} x {side} {kind}'] = found
                print(f'{side} x {side} {kind}', *found.items(), sep='\n    ', flush=True)
    if not options.quick:
        harness.save('cubes', results | {'figures': figures})


if __name__ == '__main__':
    main()
