"""All that a GPU is to tell, in eight minutes on one card: steps, encoders, maps.

    python -m benchmarks.gpu                                        # writes results/gpu.json
    python -m benchmarks.gpu --device cpu --quick --output FILE     # tries this script itself

Steps are those of :mod:`benchmarks.ssl_step`, on its batch, of each method in float32 and in
bfloat16 beside TorchGeo's, and of a segmentation with each encoder. Given are the median, least and
largest step, samples per second, and on a GPU the peak of its memory and the share of a step
outside of kernels. Batches lie on the device; ``loaded`` is the step of one method whose batches
come from a loader, pinned and not. Maps are of a scene of GeoTIFFs, window by window, to the
finished files.

What does not fit into the minutes is listed in ``not_run``. It has not been run on a GPU yet.
"""

import gc
import itertools
import json
import math
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, seed_everything
from torch.utils.data import DataLoader

from torchgeo_sits.callbacks import MapWriter
from torchgeo_sits.tasks import SITSSegmentation

from . import harness, mapping, ssl_step

PRECISIONS = ('32-true', 'bf16-mixed')
ENCODERS = (
    *('planar_vit_tiny', 'planar_vit_v2_tiny', 'planar_vit_small', 'factorised_tiny', 'ltae'),
    *('tempcnn', 'tsvit', 'utae', 'unet3d', 'convlstm', 'deep_star'),
)
CLASSES = 8

type Job = Callable[[], dict[str, Any]]


def run_steps(
    task: LightningModule,
    batches: Any,
    device: str,
    precision: Any,
    steps: int,
    *,
    samples: int = ssl_step.BATCH,
) -> dict[str, Any]:
    """Time the steps of a task.

    Args:
        task: The task.
        batches: Loader, of as many batches as are asked for.
        device: ``cuda`` or ``cpu``.
        precision: As of the trainer.
        steps: Steps that count.
        samples: Samples of a batch.
    """
    on_gpu = device == 'cuda'
    measure = ssl_step.Measure(task)
    trainer = harness.quiet_trainer(
        accelerator='gpu' if on_gpu else 'cpu',
        devices=1,
        precision=precision,
        max_epochs=200,
        max_steps=ssl_step.WARMUP + steps + ssl_step.PROFILED * on_gpu,
        callbacks=[measure],
    )
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    trainer.fit(task, batches)
    marks = measure.marks[ssl_step.WARMUP : ssl_step.WARMUP + steps + 1]
    seconds = [b[0] - a[0] for a, b in itertools.pairwise(marks)]
    middle = statistics.median(seconds)
    found = {
        **harness.spread(seconds, 'ms'),
        'samples_per_s': round(samples / middle, 1),
        'finite': all(math.isfinite(float(loss)) for loss in measure.losses),
    }
    if measure.profiler is not None:
        found['outside_kernels'] = round(1 - ssl_step.kernel_seconds(measure.profiler) / middle, 3)
        found['peak_mib'] = round(torch.cuda.max_memory_allocated() / 2**20)
    return found


def on_device(batch: dict[str, torch.Tensor], device: str, count: int) -> Any:
    """A loader of one batch that lies on the device."""
    moved = {key: value.to(device) for key, value in batch.items()}
    return DataLoader([moved] * count, batch_size=None)


def list_jobs(device: str, *, quick: bool, scratch: Path) -> dict[str, Job]:
    """All measurements by name, those first that matter most."""
    steps = 2 if quick else 10
    samples = 2 if quick else ssl_step.BATCH
    count = ssl_step.WARMUP + steps + ssl_step.PROFILED
    jobs: dict[str, Job] = {}

    def method(name: str, precision: str) -> dict[str, Any]:
        batches = on_device(ssl_step.make_batch(name), device, count)
        return run_steps(ssl_step.build_task('tiny', name), batches, device, precision, steps)

    def encoder(name: str, precision: str) -> dict[str, Any]:
        batch = {k: v[:samples] for k, v in ssl_step.make_batch('SITSSimCLR').items()}
        batch['mask'] = torch.randint(CLASSES, (samples, ssl_step.SIZE, ssl_step.SIZE))
        task = SITSSegmentation(model=name, in_channels=ssl_step.BANDS, num_classes=CLASSES)
        batches = on_device(batch, device, count)
        return run_steps(task, batches, device, precision, steps, samples=samples)

    def loaded(pinned: bool) -> dict[str, Any]:
        samples = [{key: value[0] for key, value in ssl_step.make_batch('SITSSimCLR').items()}] * (
            count * ssl_step.BATCH
        )
        batches: Any = DataLoader(samples, ssl_step.BATCH, num_workers=2, pin_memory=pinned)
        task = ssl_step.build_task('tiny', 'SITSSimCLR')
        return run_steps(task, batches, device, '32-true', steps)

    def one_map(model: str, precision: Any) -> dict[str, Any]:
        side = 128 if quick else 1024
        folder = scratch / 'scene'
        if not folder.exists():
            mapping.write_scene(folder, side, side, dates=6 if quick else 24)
        data, task = mapping.data_of(str(folder)), mapping.make_task(model, 10, {})
        with tempfile.TemporaryDirectory(dir=scratch) as out:
            trainer = harness.quiet_trainer(
                accelerator='gpu' if device == 'cuda' else 'cpu',
                devices=1,
                precision=precision,
                callbacks=[MapWriter(out)],
            )
            begun = time.perf_counter()
            trainer.predict(task, datamodule=data)
            spent = time.perf_counter() - begun
        return {'seconds': round(spent, 2), 'pixels_per_s': round(side**2 / spent)}

    plain = [name for name in {**ssl_step.OURS, **ssl_step.THEIRS} if ',' not in name]
    for precision in PRECISIONS[: 1 if quick else None]:
        for name in plain[:1] + plain[-1:] if quick else plain:
            jobs[f'method {name}, {precision}'] = lambda n=name, p=precision: method(n, p)
        for name in ('planar_vit_tiny', 'ltae'):
            jobs[f'map {name}, {precision}'] = lambda n=name, p=precision: one_map(n, p)
        for name in ENCODERS[:1] if quick else ENCODERS:
            jobs[f'encoder {name}, {precision}'] = lambda n=name, p=precision: encoder(n, p)
    for pinned in (False, True) if device == 'cuda' else (False,):
        jobs[f'loaded, {"pinned" if pinned else "not pinned"}'] = lambda p=pinned: loaded(p)
    return jobs


def main() -> None:
    """Measure, print and write the results."""
    parser = harness.parser(__doc__)
    parser.add_argument('--device', choices=['cuda', 'cpu'], default='cuda')
    parser.add_argument('--quick', action='store_true', help='a few small measurements')
    parser.add_argument('--minutes', type=float, default=7.5, help='none is begun after these')
    parser.add_argument('--output', type=Path, default=None, help='file; results/gpu.json of a GPU')
    args = parser.parse_args()
    if args.device == 'cpu' and args.output is None:
        parser.error('--device cpu needs --output: its figures are not those of a GPU')
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('there is no GPU here: --device cpu --quick tries the script')
    warnings.filterwarnings('ignore')
    begun = time.monotonic()
    results = harness.describe('torchgeo', 'lightning', minutes=args.minutes, quick=args.quick)
    name = torch.cuda.get_device_name() if args.device == 'cuda' else 'cpu'
    results['settings'] |= {
        'device': name,
        'batch': [*ssl_step.make_batch('SITSMAE')['image'].shape],
    }
    figures: dict[str, Any] = {}
    missing: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        jobs = list_jobs(args.device, quick=args.quick, scratch=Path(scratch))
        for job, measure in jobs.items():
            if time.monotonic() - begun > 60 * args.minutes:
                missing.append(job)
                continue
            seed_everything(0, verbose=False)
            try:
                figures[job] = measure()
            except torch.OutOfMemoryError as error:
                figures[job] = {'failed': str(error).splitlines()[0]}
            gc.collect()
            if args.device == 'cuda':
                torch.cuda.empty_cache()
            print(job, figures[job], flush=True)
    whole = results | {'figures': figures, 'not_run': missing}
    if args.output is None:
        harness.save('gpu', whole)
    else:
        args.output.write_text(json.dumps(whole, indent=1) + '\n')


if __name__ == '__main__':
    main()
