"""Pretraining of contenders, and the frozen features of what they have learned."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from torchgeo_sits.callbacks import CollapseError
from torchgeo_sits.models import SITSEncoder

from . import ours, published, theirs
from .contenders import Job
from .sites import Site

#: Samples of a step.
BATCH = 8

type Features = Callable[[Site], dict[str, Tensor]]


class Losses(Callback):
    """Keep the loss of each step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, *args: Any) -> None:
        """Keep the loss."""
        loss = outputs['loss'] if isinstance(outputs, dict) else outputs
        self.values.append(float(loss))


def pretrain(
    task: LightningModule, samples: Dataset[dict[str, Tensor]], steps: int, *, by_epoch: bool
) -> dict[str, Any]:
    """Train a task for so many steps.

    Args:
        task: The task.
        samples: Of all steps.
        steps: Number of steps.
        by_epoch: Let each step be an epoch, for schedules that count epochs.
    """
    losses = Losses()
    trainer = Trainer(
        accelerator='cpu',
        max_steps=steps,
        max_epochs=steps if by_epoch else 1,
        limit_train_batches=1 if by_epoch else 1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[losses],
    )
    start = time.perf_counter()
    loader: Any = DataLoader(samples, BATCH)
    if by_epoch:
        loader = Rotation(loader)
    stopped = None
    try:
        trainer.fit(task, loader)
    except CollapseError as error:
        # No run is dropped: what it has learned until then is scored.
        stopped = str(error)
    return {
        'stopped': stopped,
        'steps': len(losses.values),
        'seconds': round(time.perf_counter() - start, 1),
        'first_loss': losses.values[0],
        'last_loss': losses.values[-1],
        'finite': all(map(math.isfinite, losses.values)),
    }


class Rotation:
    """A loader that goes on, in each epoch, where the last one stopped."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.batches = iter(loader)

    def __iter__(self) -> Iterator[Any]:
        return self.batches


def frozen(
    job: Job, sites: list[Site], bands: int
) -> tuple[Features, dict[str, Any], SITSEncoder | None]:
    """Pretrain, where there is anything to train.

    Args:
        job: Who, and how long.
        sites: Where the unlabelled samples lie.
        bands: Number of bands.

    Returns:
        What gives the features ``(D, H, W)`` of a site by depth, facts for the record, and the
        encoder, if it is one of ours that was trained.
    """
    contender = job.contender
    steps = job.steps * contender.longer
    number = steps * BATCH
    parameters = sum(p.numel() for p in ours.encoder(bands, contender.encoder).parameters())
    if contender.group == 'published':
        known = published.build(contender.method, contender.views, sites[0].bands, job.weights)
        features = published.Published(known)
        return features, features.info, None
    if contender.group == 'random':
        return lambda site: {'late': theirs.random_features(site, job.seed)}, {}, None
    seed_everything(job.seed, verbose=False)
    if contender.group == 'untrained':
        encoder = ours.encoder(bands, contender.encoder)
        return lambda site: ours.features(encoder, site), {'parameters': parameters}, None
    if contender.group == 'ours':
        options = contender.options | ({} if job.lr is None else {'lr': job.lr})
        task = ours.build(contender.method, bands, options, contender.encoder)
        s1 = contender.views == 'sensor_pixels'
        data = ours.samples(sites, number, job.seed, s1=s1)
        info = pretrain(task, data, steps, by_epoch=False)
        info['parameters'] = sum(p.numel() for p in task.encoder.parameters())
        return lambda site: ours.features(task.encoder, site), info, task.encoder
    assert contender.group == 'torchgeo'
    frames: Any = contender.views
    assert job.lr is not None
    other, vit = theirs.build(contender.method, frames, bands, parameters, job.lr)
    stacks = theirs.samples(contender.method, frames, sites, number, job.seed)
    info = pretrain(other, stacks, steps, by_epoch=contender.method in theirs.SCHEDULED)
    info['parameters'] = sum(p.numel() for p in vit.parameters())
    return lambda site: theirs.features(vit, frames, site), info, None
