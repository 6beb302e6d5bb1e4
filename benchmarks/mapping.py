"""Maps from a folder of dated rasters: their parity, speed, memory, and runs that are killed.

    python -m benchmarks.mapping parity [--data DIR]   # windows against one forward over all
    python -m benchmarks.mapping encoders              # the same of each encoder, window by window
    python -m benchmarks.mapping speed                 # against a loop over TorchGeo's sampler
    python -m benchmarks.mapping memory                # 4,096 x 4,096 x 24, and twice that
    python -m benchmarks.mapping kills                 # twenty runs killed at random, and resumed

Encoders have random weights: neither speed nor equality hangs on what they have learned. Each
command puts its figures into results/mapping.json and leaves those of the others.
"""

import hashlib
import json
import math
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

# As the command line does: by default GDAL keeps a twentieth of the memory.
os.environ.setdefault('GDAL_CACHEMAX', '256')

import numpy as np
import rasterio
import torch
from lightning.pytorch import seed_everything
from rasterio.transform import from_origin
from torch import Tensor
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import GriddedPatchSampler

from torchgeo_sits.callbacks import MapWriter
from torchgeo_sits.datamodules import ImageOptions, SITSDataModule
from torchgeo_sits.tasks import SITSSegmentation

from . import harness

LEFT, TOP = 600_000, 5_000_000
CLASSES = 6
SMALL = {'embed_dim': 64, 'depth': 2, 'time_dim': 48}
#: For the large rasters: features before the path layers, so that a raster takes minutes.
LIGHT = {'embed_dim': 16, 'time_dim': 16, 'num_queries': 2, 'seasonal_queries': 2}


def write_scene(folder: Path, height: int, width: int, *, dates: int = 24, bands: int = 10) -> Path:
    """Dated GeoTIFFs of noise on a ground of fields; 256-blocks, deflate with predictor 2."""
    rng = np.random.default_rng(0)
    fields = rng.integers(500, 3000, (bands, math.ceil(height / 16), math.ceil(width / 16)))
    profile = {
        'driver': 'GTiff', 'height': height, 'width': width, 'count': bands, 'dtype': 'uint16',
        'crs': 'EPSG:32631', 'transform': from_origin(LEFT, TOP, 10, 10), 'nodata': 0,
        'tiled': True, 'blockxsize': 256, 'blockysize': 256, 'compress': 'deflate',
        'predictor': 2, 'zlevel': 1, 'num_threads': 2,
    }  # fmt: skip
    folder.mkdir(parents=True)
    for i in range(dates):
        day = date(2021, 1, 1) + timedelta(15 * i)
        noise = rng.integers(0, 200, (256, 256))
        with rasterio.open(folder / f'scene_{day:%Y%m%d}.tif', 'w', **profile) as file:
            for band in range(bands):
                ground = np.kron(fields[band], np.ones((16, 16), np.uint16))[:height, :width]
                level = 1 + 0.3 * math.sin(2 * math.pi * i / 24 + band)
                tiles = np.tile(noise, (math.ceil(height / 256), math.ceil(width / 256)))
                pixels = ground * level + tiles[:height, :width]
                file.write(pixels.astype(np.uint16), band + 1)
    return folder


def make_task(
    model: str, bands: int, options: dict[str, Any], depth: Any = 'joined'
) -> SITSSegmentation:
    """A segmentation with random weights that are the same each time."""
    seed_everything(0, verbose=False)
    task = SITSSegmentation(
        model=model, in_channels=bands, num_classes=CLASSES, model_kwargs=options, depth=depth
    )
    return task.eval()


def data_of(folder: str, **options: Any) -> SITSDataModule:
    """A folder as data, normalised by numbers that are given, not measured."""
    module = SITSDataModule(folder, images=ImageOptions(**options))
    bands = len(module.bands)
    images = ImageOptions(mean=[1500.0] * bands, std=[800.0] * bands, **options)
    return SITSDataModule(folder, images=images)


def predict(
    task: SITSSegmentation, data: SITSDataModule, folder: Path, *, window: int, overlap: int
) -> None:
    """Write the maps."""
    trainer = harness.quiet_trainer(
        callbacks=[MapWriter(str(folder), window=window, overlap=overlap)]
    )
    trainer.predict(task, datamodule=data)


def probabilities(folder: Path) -> np.ndarray:
    """The map of probabilities ``(K, H, W)``."""
    with rasterio.open(folder / 'probabilities.tif') as file:
        return file.read()


# -- parity ---------------------------------------------------------------------------------


def parity(data: Path, scratch: Path) -> dict[str, Any]:
    """Largest difference of blended windows from one forward over the whole raster."""
    be_b = {'cloud_paths': str(data / 'wc_be_b/scl'), 'clear_values': [4, 5]}
    sets: dict[str, tuple[str, dict[str, Any]]] = {
        'synthetic 160': (str(write_scene(scratch / 'scene', 160, 160)), {}),
        'wc_be_b': (str(data / 'wc_be_b/s2'), be_b),
        'tura': (str(data / 'tura/images'), {}),
        'cbers_ba': (str(data / 'cbers_ba/images_0'), {}),
    }
    found: dict[str, Any] = {}
    for name, (folder, options) in sets.items():
        if name != 'synthetic 160' and not data.is_dir():
            continue
        module = data_of(folder, **options)
        series = module.splits.series
        xmin, ymin, xmax, ymax = series.index.total_bounds
        sample = series[xmin:xmax, ymin:ymax]
        batch = {k: v[None] for k, v in sample.items() if isinstance(v, Tensor)}
        module.setup('predict')
        batch = module.aug(batch)
        side = max(batch['image'].shape[-2:])
        for model, kwargs in (('tempcnn', {}), ('ltae', {}), ('planar_vit_tiny', SMALL)):
            task = make_task(model, len(module.bands), kwargs)
            seen = (batch['mask_clear'] & batch['valid'][..., None, None])[0].any(0).numpy()
            # Windows of half the area, and one of all of it.
            for window in (max(32, round(side / 1.6)), side):
                out = scratch / f'{name}-{model}-{window}'
                overlap = min(32, window // 2)
                predict(task, data_of(folder, **options), out, window=window, overlap=overlap)
                got = probabilities(out)
                # After the map: the task has taken from the data which class is none.
                with torch.no_grad():
                    whole = task(batch).softmax(1)[0].numpy()
                assert np.array_equal(np.isfinite(got[0]), seen)
                # Class 0 is what is not labelled, which has no band.
                apart = np.abs(got - whole[1:])[:, seen]
                with rasterio.open(out / 'class.tif') as file:
                    same = file.read(1)[seen] == whole.argmax(0)[seen]
                    lies = [*file.bounds, *file.shape]
                with rasterio.open(series.source_files[0]) as file:
                    assert lies == [*file.bounds, *file.shape], (lies, file.bounds, file.shape)
                found[f'{name}, {model}, windows of {window}'] = {
                    'raster': list(batch['image'].shape),
                    'largest difference': float(apart.max()),
                    'mean difference': float(apart.mean()),
                    'same class': float(same.mean()),
                }
                print(name, model, window, found[f'{name}, {model}, windows of {window}'])
    return found


#: Encoders of the table by name; those of published weights are left out.
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    'planar_vit_tiny': ('planar_vit_tiny', {}),
    'planar_vit_tiny, horizon 8': ('planar_vit_tiny', {'horizon': 8}),
    'planar_vit_tiny, segment 4': ('planar_vit_tiny', {'segment': 4}),
    'planar_vit_v2_tiny': ('planar_vit_v2_tiny', {}),
    **{
        name: (name, {})
        for name in (
            'tempcnn', 'ltae', 'deep_star', 'factorised_tiny', 'tsvit', 'utae', 'unet3d',
            'convlstm',
        )
    },
}  # fmt: skip


def encoders(data: Path, scratch: Path) -> dict[str, Any]:
    """Largest difference of maps of three windows from one pass, of each encoder."""
    folder = str(write_scene(scratch / 'scene', 64, 56, dates=8))
    found: dict[str, Any] = {}
    for name, (model, options) in ENCODERS.items():
        apart = {}
        for window in (24, 32, 48):
            module, task = data_of(folder), make_task(model, 10, options)
            out = scratch / f'{name}-{window}'
            predict(task, module, out, window=window, overlap=window // 3)
            series = module.splits.series
            xmin, ymin, xmax, ymax = series.index.total_bounds
            sample = series[xmin:xmax, ymin:ymax]
            batch = {k: v[None] for k, v in sample.items() if isinstance(v, Tensor)}
            with torch.no_grad():
                whole = task(module.aug(batch)).softmax(1)[0].numpy()
            apart[f'windows of {window}'] = float(np.abs(probabilities(out) - whole[1:]).max())
        found[name] = apart
        print(name, apart, flush=True)
    return found


# -- speed ----------------------------------------------------------------------------------


class Scenes(RasterDataset):
    """TorchGeo's data set of these files, as a user writes it."""

    filename_glob = '*.tif'
    filename_regex = r'scene_(?P<date>\d{8})'


def plain_loop(task: SITSSegmentation, folder: Path, out: Path, *, size: int, overlap: int) -> None:
    """Predict patch by patch and average, as one does with TorchGeo today."""
    dataset = Scenes(str(folder), time_series=True)
    sampler = GriddedPatchSampler(dataset, size=size, stride=size - overlap)
    days = sorted(re.findall(r'scene_(\d{8})', ' '.join(p.name for p in folder.iterdir())))
    times = [int(datetime.strptime(d, '%Y%m%d').replace(tzinfo=UTC).timestamp()) for d in days]
    xmin, ymin, xmax, ymax = dataset.index.total_bounds
    height, width = round((ymax - ymin) / 10), round((xmax - xmin) / 10)
    total = np.zeros((CLASSES, height, width), np.float32)
    count = np.zeros((height, width), np.float32)
    loader = DataLoader(dataset, 4, sampler=sampler, collate_fn=stack_samples)
    places = iter(sampler)
    with torch.no_grad():
        for batch in loader:
            image = (batch['image'].float() - 1500) / 800
            b, t = image.shape[:2]
            series = {
                'image': image,
                'acquisition_times': torch.tensor([times] * b),
                'valid': torch.ones(b, t, dtype=torch.bool),
            }
            for scores in task(series).softmax(1).numpy():
                x, y, *_ = next(places)
                row, column = round((ymax - y.stop) / 10), round((x.start - xmin) / 10)
                rows = slice(row, min(row + size, height))
                columns = slice(column, min(column + size, width))
                part = scores[:, : rows.stop - row, : columns.stop - column]
                total[:, rows, columns] += part
                count[rows, columns] += 1
    profile = {
        'driver': 'GTiff', 'height': height, 'width': width, 'crs': 'EPSG:32631',
        'transform': from_origin(xmin, ymax, 10, 10), 'compress': 'deflate', 'tiled': True,
    }  # fmt: skip
    mean = total / count
    with rasterio.open(out / 'p.tif', 'w', count=CLASSES, dtype='float32', **profile) as file:
        file.write(mean)
    with rasterio.open(out / 'c.tif', 'w', count=1, dtype='uint8', **profile) as file:
        file.write(mean.argmax(0).astype(np.uint8), 1)


def speed(data: Path, scratch: Path) -> dict[str, Any]:
    """Pixels per second of both, turn by turn, in one run."""
    found: dict[str, Any] = {}
    for model, kwargs, side in (('planar_vit_tiny', SMALL, 512), ('ltae', {}, 256)):
        folder = write_scene(scratch / f'scene-{side}', side, side)
        task = make_task(model, 10, kwargs)
        contenders: dict[str, Callable[[Path], None]] = {
            'plain loop, patches of 64': lambda out, task=task, folder=folder: plain_loop(
                task, folder, out, size=64, overlap=32
            ),
        }
        for window in (128, 256):
            contenders[f'windows of {window}'] = (
                lambda out, task=task, folder=folder, window=window: predict(
                    task, data_of(str(folder)), out, window=window, overlap=32
                )
            )
        seconds = harness.interleave(
            {
                name: lambda contender=contender: contender(Path(tempfile.mkdtemp(dir=scratch)))
                for name, contender in contenders.items()
            },
            rounds=3,
            warm_up=0,
        )
        base = seconds['plain loop, patches of 64']
        found[f'{model}, {side} x {side} x 24, 10 bands'] = {
            name: {
                'seconds': [round(v, 2) for v in values],
                'pixels per second': round(side**2 / statistics.median(values)),
                'times the plain loop': round(
                    statistics.median(b / v for b, v in zip(base, values, strict=True)), 2
                ),
            }
            for name, values in seconds.items()
        }
    return found


# -- memory ---------------------------------------------------------------------------------


def _large(folder: str, out: str, options: str, depth: str) -> None:
    task = make_task('planar_vit_tiny', 4, json.loads(options), depth)
    predict(task, data_of(folder), Path(out), window=256, overlap=32)


def start(function: str, *arguments: object) -> subprocess.Popen[bytes]:
    """Run a function of this module in a process of its own."""
    code = f'import sys; from benchmarks.mapping import {function}; {function}(*sys.argv[1:])'
    return subprocess.Popen(
        [sys.executable, '-c', code, *map(str, arguments)],
        cwd=harness.ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def memory(data: Path, scratch: Path) -> dict[str, Any]:
    """Peak memory of a large raster, and of one twice as large."""
    found: dict[str, Any] = {}
    for height, width, options, depth in (
        (1024, 512, {}, 'joined'),
        (4096, 4096, LIGHT, 'early'),
        (8192, 4096, LIGHT, 'early'),
    ):
        folder = write_scene(scratch / f'scene-{height}', height, width, bands=4)
        out = scratch / f'out-{height}'
        begun = time.perf_counter()
        process = start('_large', folder, out, json.dumps(options), depth)
        with harness.PeakMemory(process.pid, interval=0.5) as watched:
            process.wait()
        peak = watched.peak / 1e9
        spent = time.perf_counter() - begun
        assert process.returncode == 0
        found[f'{height} x {width} x 24, 4 bands, {options or "default"}, {depth}'] = {
            'peak GB': round(peak, 3),
            'seconds': round(spent),
            'pixels per second': round(height * width / spent),
            'hours per 10,000 km2 at 10 m': round(1e8 / (height * width / spent) / 3600, 2),
        }
        print(found, flush=True)
        shutil.rmtree(folder)
        shutil.rmtree(out)
    return found


# -- kills ----------------------------------------------------------------------------------


def _one_map(folder: str, out: str) -> None:
    torch.set_num_threads(1)
    predict(
        make_task('planar_vit_tiny', 10, SMALL), data_of(folder), Path(out), window=96, overlap=32
    )


def digests(folder: Path) -> dict[str, str]:
    """Checksums of all files of a map."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def kills(data: Path, scratch: Path) -> dict[str, Any]:
    """Kill runs at random moments, resume each, and compare the files with those of one run."""
    folder = write_scene(scratch / 'scene', 384, 384, dates=12)
    random.seed(0)
    whole = scratch / 'whole'
    process = start('_one_map', folder, whole)
    while not (whole / '.windows').exists():
        time.sleep(0.05)
    begun = time.perf_counter()
    assert process.wait() == 0
    length = time.perf_counter() - begun
    wanted = digests(whole)
    states: list[dict[str, Any]] = []
    while len(states) < 20:
        out = scratch / f'killed-{len(states)}'
        shutil.rmtree(out, ignore_errors=True)
        process = start('_one_map', folder, out)
        while not (out / '.windows').exists():
            time.sleep(0.02)
        # From the first moment of a window to the last of the drawing.
        time.sleep(random.uniform(0, length))
        # A process that is through and leaving is none that a kill could stop.
        is_hit = process.poll() is None and (out / '.windows').exists()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if not is_hit:
            continue
        parts = len(list((out / '.windows').glob('*.npy')))
        drawn = len(list(out.glob('*.tif')))
        assert start('_one_map', folder, out).wait() == 0
        states.append({'windows': parts, 'files': drawn, 'same bytes': digests(out) == wanted})
        print(len(states), states[-1], flush=True)
    return {
        'seconds of a run after its start': round(length, 1),
        'same bytes': sum(s['same bytes'] for s in states),
        'kills': states,
    }


def main() -> None:
    """Run one of the commands and keep its figures."""
    commands = {
        'parity': parity,
        'encoders': encoders,
        'speed': speed,
        'memory': memory,
        'kills': kills,
    }
    parser = harness.parser(__doc__)
    parser.add_argument('command', choices=commands)
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    parser.add_argument('--scratch', type=Path, default=None)
    arguments = parser.parse_args()
    results = harness.describe('torchgeo', 'rasterio')
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        found = commands[arguments.command](arguments.data, Path(scratch))
    whole = harness.load('mapping') | {arguments.command: results | {'figures': found}}
    harness.save('mapping', whole)
    print(json.dumps(found, indent=1))


if __name__ == '__main__':
    main()
