"""A step of each pretraining method beside TorchGeo's, on the same batch, in one run.

    python -m benchmarks.ssl_step [--device cuda]

Results go to results/ssl_step.json, of a GPU to results/ssl_step_cuda.json; the GPU's part has not
been run yet.

The batch is 16 x 24 x 10 x 32 x 32, 30 % of the pixels unclear. Our tasks take it as it is; those
of TorchGeo take its frames stacked as channels, with a ViT from timm on patches of 4 x 4 pixels
whose width and depth bring it within 10 % of our encoder's parameters. Theirs have heads as wide
as ours, and in runs of their own the heads they have by default. BYOL, which enlarges every
image to 224 x 224 by default, is held at 32 x 32. DINO is held against MoCo, which is closest to
it, and VICReg against SimCLR.

A step is all that Lightning does from one batch to the next: views, forward, backward,
optimiser, teacher, logged values; the loader repeats one batch in memory. Each method runs in a
process of its own, and the processes take turns in rounds; given are the median, least and
largest of the steps of all rounds, and the peak of the memory above that before the first
step. On the CPU ``step_s`` is the time of the processor, one thread: other work beside counts
less in it than in ``wall_s``. Pixel-dates are those that enter an encoder, the teacher's too;
TorchGeo's MAE encodes the quarter that it keeps.

On a GPU ``outside_kernels`` is the share of a step in which no kernel runs: 1 less the time that
kernels cover, by torch.profiler over further steps, over the median step without a profiler. On
the CPU ``share_of_views`` is that of drawing and augmenting the views.
"""

import itertools
import math
import os
import statistics
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import timm
import torch
from einops import rearrange
from lightning.pytorch import Callback, LightningModule, seed_everything
from timm.models import VisionTransformer, register_model
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader
from torchgeo.tasks import BYOL, MAE, MoCo, SimCLR
from torchgeo.tasks.byol import BYOLModule

from torchgeo_sits.models import SITSEncoder
from torchgeo_sits.tasks import SITSBYOL, SITSDINO, SITSMAE, SITSSimCLR, SITSVICReg

from . import harness

THREADS = 1
ROUNDS = 2
WARMUP = 1
STEPS = 3
PROFILED = 3
BATCH, DATES, BANDS, SIZE = 16, 24, 10, 32
#: Width, depth and heads of TorchGeo's ViT for each size of ours.
VITS = {'tiny': (96, 2, 4), 'small': (192, 4, 6)}

type Task = tuple[type[LightningModule], dict[str, Any]]

#: Prototypes stay frozen in the first epoch only, which is all that is run here.
TRAINED = {'freeze_last_layer': 0}
#: Here and below, those with a remark run in the smallest size only.
OURS: dict[str, Task] = {
    'SITSSimCLR': (SITSSimCLR, {}),
    'SITSVICReg': (SITSVICReg, {}),
    'SITSBYOL': (SITSBYOL, {}),
    'SITSDINO': (SITSDINO, TRAINED),
    'SITSMAE': (SITSMAE, {}),
    'SITSSimCLR, pixels too': (SITSSimCLR, {'pixel_weight': 1.0}),
    'SITSDINO, pixels too': (SITSDINO, TRAINED | {'pixel_weight': 1.0}),
    'SITSSimCLR, whole images': (SITSSimCLR, {'views': 'resampling'}),
}


class SmallBYOL(BYOL):
    """TorchGeo's BYOL at the size of the batch; its own size and heads are no arguments."""

    def __init__(self, model: str, in_channels: int, **heads: Any) -> None:
        self.heads = heads
        super().__init__(model, in_channels=in_channels)

    def configure_models(self) -> None:
        """As TorchGeo does, but for the size and the heads."""
        bands = self.hparams['in_channels']
        backbone = timm.create_model(self.hparams['model'], in_chans=bands, num_classes=0)
        self.model = BYOLModule(backbone, (SIZE, SIZE), in_channels=bands, **self.heads)


#: Learning rates are those that their documentation gives for a batch.
SIMCLR = {'lr': 0.3 * BATCH / 256, 'size': SIZE}
MOCO = {'lr': 0.6 * BATCH / 256, 'size': SIZE}
AUTOENCODER = {'lr': 1.5e-4 * BATCH / 256, 'size': SIZE}
WIDTHS = {'hidden_dim': 512, 'output_dim': 128}
THEIRS: dict[str, Task] = {
    'SimCLR': (SimCLR, SIMCLR | WIDTHS),
    'SimCLR, own heads': (SimCLR, SIMCLR),
    'MoCo': (MoCo, MOCO | WIDTHS),
    'MoCo, own heads': (MoCo, MOCO),
    'BYOL': (SmallBYOL, {'hidden_size': 512, 'projection_size': 128}),
    'BYOL, own heads': (SmallBYOL, {}),
    'MAE': (MAE, AUTOENCODER | {'decoder_dim': 128, 'decoder_num_heads': 4}),
    'MAE, own heads': (MAE, AUTOENCODER),
}
#: What ours are held against.
COUNTERPARTS = {
    'SimCLR': 'SimCLR',
    'VICReg': 'SimCLR',
    'BYOL': 'BYOL',
    'DINO': 'MoCo',
    'MAE': 'MAE',
}


def register_vit(name: str, dim: int, depth: int, heads: int) -> None:
    """Register a ViT with timm: TorchGeo's tasks take nothing but a name."""

    def build(in_chans: int, num_classes: int, **kwargs: Any) -> VisionTransformer:
        return VisionTransformer(
            SIZE, 4, in_chans, num_classes, embed_dim=dim, depth=depth, num_heads=heads
        )

    build.__name__ = name
    register_model(build)


def build_task(size: str, method: str) -> LightningModule:
    """A task of either side."""
    task, kwargs = (OURS | THEIRS)[method]
    if method in OURS:
        return task(model=f'planar_vit_{size}', in_channels=BANDS, **kwargs)
    register_vit('ssl_step_vit', *VITS[size])
    return task(model='ssl_step_vit', in_channels=DATES * BANDS, **kwargs)


def make_batch(method: str) -> dict[str, torch.Tensor]:
    """A normalised batch, of the contract or with its frames stacked as channels."""
    image = torch.randn(BATCH, DATES, BANDS, SIZE, SIZE)
    if method in THEIRS:
        return {'image': rearrange(image, 'b t c h w -> b (t c) h w')}
    times = 1_500_000_000 + torch.arange(DATES) * (365 // DATES) * 86_400
    return {
        'image': image,
        'acquisition_times': times.repeat(BATCH, 1),
        'valid': torch.ones(BATCH, DATES, dtype=torch.bool),
        'mask_clear': torch.rand(BATCH, DATES, SIZE, SIZE) > 0.3,
    }


def clocks() -> tuple[float, float]:
    """Seconds on the wall, and of the processor."""
    return time.perf_counter(), time.process_time()


class Measure(Callback):
    """Count and time the steps of a task, and on a GPU profile a few more."""

    #: Modules that draw or augment views, ours and theirs.
    VIEWS = (
        *('clouds', 'views', 'reconstruction.mask'),
        *('augmentations', 'augmentation1', 'augmentation2', 'model.augment', 'transform'),
    )

    def __init__(self, task: LightningModule) -> None:
        self.pixel_dates = 0
        self.views_s = 0.0
        self.marks: list[tuple[float, float]] = []
        self.losses: list[torch.Tensor] = []
        self.profiler: profile | None = None
        self.encoders = [
            m for m in task.modules() if isinstance(m, SITSEncoder | VisionTransformer)
        ]
        for encoder in self.encoders:
            if isinstance(encoder, SITSEncoder):
                for name in ('encode_planes', 'encode_image'):
                    setattr(encoder, name, self.counted(getattr(encoder, name)))
            else:
                encoder.blocks[0].register_forward_pre_hook(self.count_tokens)
        modules = dict(task.named_modules(remove_duplicate=False))
        for module in {modules[name] for name in self.VIEWS if name in modules}:
            module.register_forward_pre_hook(self.begin_views)
            module.register_forward_hook(self.end_views)

    def counted(self, encode: Callable[..., Any]) -> Callable[..., Any]:
        """Let an encoder count the pixels of its series, (B, N, C, T, L) or (B, T, C, H, W)."""

        def counting(series, *args, **kwargs):
            self.pixel_dates += series.image[:, :, 0].numel()
            return encode(series, *args, **kwargs)

        return counting

    def count_tokens(self, module, args):
        """Count tokens (B, 1 + S, D) of a ViT, each of 4 x 4 pixels at all dates."""
        self.pixel_dates += args[0].shape[0] * (args[0].shape[1] - 1) * 16 * DATES

    def begin_views(self, *args):
        """Start the clock of the views."""
        self.begun = time.process_time()

    def end_views(self, *args):
        """Stop the clock of the views."""
        self.views_s += time.process_time() - self.begun

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        """Note when one step ends and the next begins."""
        on_gpu = pl_module.device.type == 'cuda'
        if on_gpu:
            torch.cuda.synchronize()
        if batch_idx == WARMUP:
            self.views_s = 0.0
        self.marks.append(clocks())
        if on_gpu and batch_idx == WARMUP + STEPS:
            self.profiler = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])
            self.profiler.start()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        """Keep the loss as it is: reading it would wait for the GPU."""
        self.losses.append(outputs['loss'].detach())

    def on_train_end(self, trainer, pl_module):
        """End the last step."""
        if pl_module.device.type == 'cuda':
            torch.cuda.synchronize()
        self.marks.append(clocks())
        if self.profiler is not None:
            self.profiler.stop()


def covered(intervals: list[tuple[float, float]]) -> float:
    """Length of the union of intervals."""
    total, reached = 0.0, -math.inf
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def kernel_seconds(profiler: profile) -> float:
    """Time of a step in which a kernel runs, on whichever stream."""
    kernels = [
        (event.time_range.start, event.time_range.end)
        for event in profiler.events()
        # What the optimiser and the profiler annotate has ranges on the device, too.
        if event.device_type == DeviceType.CUDA
        and not event.is_user_annotation
        and not event.name.startswith(('Memcpy', 'Memset'))
    ]
    return covered(kernels) / 1e6 / PROFILED


def work(size: str, method: str, device: str) -> dict[str, Any]:
    """Train by a method for some steps; in a process of its own."""
    torch.set_num_threads(THREADS)
    warnings.filterwarnings('ignore')
    seed_everything(0, verbose=False)
    task, on_gpu = build_task(size, method), device == 'cuda'
    measure = Measure(task)
    batch = {key: value.to(device) for key, value in make_batch(method).items()}
    steps = WARMUP + STEPS + PROFILED * on_gpu
    trainer = harness.quiet_trainer(
        accelerator='gpu' if on_gpu else 'cpu',
        devices=1,
        max_epochs=200,  # TorchGeo's schedules count epochs, ours steps
        max_steps=steps,
        callbacks=[measure],
    )
    Path('/proc/self/clear_refs').write_text('5')  # what is resident now becomes the peak
    before = harness.resident_mib('VmRSS')
    trainer.fit(task, DataLoader([batch] * steps, batch_size=None))
    peak = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else harness.resident_mib() - before
    pairs = list(itertools.pairwise(measure.marks[WARMUP : WARMUP + STEPS + 1]))
    return {
        'device': torch.cuda.get_device_name() if on_gpu else 'cpu',
        'encoder_parameters': sum(p.numel() for p in measure.encoders[0].parameters()),
        'trained_parameters': sum(p.numel() for p in task.parameters() if p.requires_grad),
        'pixel_dates': measure.pixel_dates // steps,
        'step_s': [b[not on_gpu] - a[not on_gpu] for a, b in pairs],
        'wall_s': [b[0] - a[0] for a, b in pairs],
        'views_s': measure.views_s / STEPS,
        'kernels_s': kernel_seconds(measure.profiler) if measure.profiler else None,
        'peak_mib': peak,
        'losses': [round(float(loss), 4) for loss in measure.losses],
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Summarise the rounds of a method."""
    steps = [s for run in runs for s in run['step_s']]
    middle, first = statistics.median(steps), runs[0]
    entry = {key: first[key] for key in ('encoder_parameters', 'trained_parameters')}
    entry |= {
        'step_s': round(middle, 4),
        'step_min_s': round(min(steps), 4),
        'step_max_s': round(max(steps), 4),
        'wall_s': round(statistics.median(s for run in runs for s in run['wall_s']), 4),
        'samples_per_s': round(BATCH / middle, 1),
        'peak_mib': round(statistics.median(run['peak_mib'] for run in runs)),
        'pixel_dates': first['pixel_dates'],
        's_per_million_pixel_dates': round(middle / first['pixel_dates'] * 1e6, 3),
        'losses': [first['losses'][0], first['losses'][-1]],
        'finite': all(math.isfinite(loss) for run in runs for loss in run['losses']),
    }
    if first['kernels_s'] is None:
        views = statistics.median(run['views_s'] for run in runs)
        return entry | {'share_of_views': round(views / middle, 3)}
    busy = statistics.median(run['kernels_s'] for run in runs)
    return entry | {'outside_kernels': round(1 - busy / middle, 3)}


def ratios(entries: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Ratios of our tasks to their counterparts."""
    keys = ('step_s', 'peak_mib', 'pixel_dates', 's_per_million_pixel_dates')
    table = {}
    for ours, theirs in itertools.product(OURS, THEIRS):
        name = ours.split(',')[0].removeprefix('SITS')
        if {ours, theirs} <= entries.keys() and COUNTERPARTS[name] == theirs.split(',')[0]:
            table[f'{ours} / {theirs}'] = {
                key: round(entries[ours][key] / entries[theirs][key], 2) for key in keys
            }
    return table


def main() -> None:
    """Measure, print and write the results."""
    parser = harness.parser(__doc__)
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    device = parser.parse_args().device
    torch.set_num_threads(THREADS)
    results = harness.describe(
        'torchgeo', batch=[BATCH, DATES, BANDS, SIZE, SIZE], warm_up=WARMUP, steps=STEPS
    )
    figures: dict[str, Any] = {}
    jobs = [
        (size, method)
        for size, method in itertools.product(VITS, OURS | THEIRS)
        if size == 'tiny' or ',' not in method
    ]
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {job: [] for job in jobs}
    name = 'ssl_step' if device == 'cpu' else f'ssl_step_{device}'
    # Each child is a copy of a server that has imported everything already.
    context = get_context('forkserver')
    context.set_forkserver_preload(['torchgeo.tasks', 'torchgeo_sits.tasks'])
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        for done in range(ROUNDS):
            for job in jobs:
                run = pool.submit(work, *job, device).result()
                runs[job].append(run)
                print(*job, summary([run]), flush=True)
            for size in VITS:
                entries = {job[1]: summary(runs[job]) for job in jobs if job[0] == size}
                figures[size] = entries | {'ratios': ratios(entries)}
            results['settings'] |= {'device': run['device'], 'rounds': done + 1}
            results['machine']['load_at_end'] = round(os.getloadavg()[0], 2)
            harness.save(name, results | {'figures': figures})


if __name__ == '__main__':
    main()
