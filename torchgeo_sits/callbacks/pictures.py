"""Pictures of a run, in its log and its folder: views, predictions, and what was learned."""

import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from ..keys import IMAGE
from ..transforms import plot_views, seen_pixels
from .knn import KNNProbe

__all__ = ['LearnedPicture', 'PredictionPicture', 'ViewsPicture', 'run_folder']

#: Pixels of all dates together that what was learned is drawn of: seconds on a CPU.
_MOST_PIXELS = 400_000


def run_folder(trainer: Trainer) -> Path | None:
    """Give the folder of a run's logs on this machine, or None where nothing is logged.

    Unlike ``trainer.log_dir`` it asks no other process.
    """
    logger: Any = trainer.logger
    found = getattr(logger, 'log_dir', None) or getattr(logger, 'save_dir', None)
    return None if found is None or '://' in str(found) else Path(found)


def _keep(trainer: Trainer, name: str, figure: Figure) -> Path | None:
    """Save a figure as a PNG in the folder of a run, if it has one, and close the figure."""
    folder = run_folder(trainer)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f'.{name}.png'
        figure.savefig(draft, dpi=110, bbox_inches='tight')
        draft.replace(folder / f'{name}.png')
    plt.close(figure)
    return folder and folder / f'{name}.png'


class PredictionPicture(Callback):
    """Draw the first samples of each validation and their predictions.

    The data module draws: its ``plot`` gets a sample with ``prediction`` beside ``mask``. Logged
    with every logger whose ``experiment`` has ``add_figure`` (TensorBoard), and kept of the last
    validation as ``prediction-0.png``, ... in the run's folder. Tasks with labels bring one.

    Examples:
        >>> from lightning.pytorch import Trainer
        >>> from torchgeo_sits.callbacks import PredictionPicture
        >>> trainer = Trainer(accelerator='cpu', callbacks=[PredictionPicture(samples=4)])
    """

    def __init__(self, *, samples: int = 2) -> None:
        """Initialize a new PredictionPicture instance.

        Args:
            samples: Number of samples to draw.
        """
        self.samples = samples

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the first batch."""
        experiment: Any = getattr(trainer.logger, 'experiment', None)
        datamodule: Any = getattr(trainer, 'datamodule', None)
        if batch_idx or trainer.sanity_checking or not trainer.is_global_zero:
            return
        if trainer.logger is None or not hasattr(datamodule, 'plot'):
            return
        task: Any = pl_module
        if outputs['scores'].ndim < 4:
            return  # one label for a series is no map to draw
        with torch.no_grad():
            found = task.prediction(outputs['scores'], batch)
            if (order := getattr(task, 'class_order', None)) is not None:
                found = order.to_data(found)
            batch = batch | {'prediction': found}
        for i in range(min(self.samples, len(batch[IMAGE]))):
            sample = {k: v[i].cpu() if isinstance(v, Tensor) else v[i] for k, v in batch.items()}
            figure = datamodule.plot(sample)
            if figure is not None:
                if hasattr(experiment, 'add_figure'):
                    step = trainer.global_step
                    experiment.add_figure(f'prediction/{i}', figure, global_step=step, close=False)
                _keep(trainer, f'prediction-{i}', figure)


class ViewsPicture(Callback):
    """Draw a sample and its views, at the first step of a run.

    Logged with every logger whose ``experiment`` has ``add_figure`` (TensorBoard), and kept as
    ``views.png`` in the run's folder. Tasks of pretraining bring one.

    Examples:
        >>> from torchgeo_sits.callbacks import ViewsPicture
        >>> from torchgeo_sits.tasks import SITSSimCLR
        >>> task = SITSSimCLR(model='tempcnn', in_channels=3)
        >>> any(isinstance(c, ViewsPicture) for c in task.own_callbacks())
        True
    """

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Draw."""
        if trainer.global_step > 0 or batch_idx > 0 or trainer.logger is None:
            return
        experiment: Any = getattr(trainer.logger, 'experiment', None)
        make_views: Any = pl_module.make_views
        if not trainer.is_global_zero:
            return
        # The picture must not change the random numbers that the training draws.
        devices = [pl_module.device] if pl_module.device.type == 'cuda' else []
        with torch.random.fork_rng(devices=devices):
            figure = plot_views(batch, make_views(batch))
        if hasattr(experiment, 'add_figure'):
            experiment.add_figure('views', figure, global_step=0, close=False)
        _keep(trainer, 'views', figure)


class LearnedPicture(Callback):
    """Draw what a pretraining has learned, at its end, as ``learned.png`` in the run's folder.

    Of a window in the middle of the imagery: its clearest frame, the features of each pixel as
    colours (their three principal components), and where there are labels those, beside the class
    that each pixel takes from its neighbours among the features of labelled pixels of training.
    Data modules give the window as ``middle``; of others a sample that the k-NN probe scores is
    drawn. Tasks of pretraining bring one.

    Examples:
        >>> from torchgeo_sits.callbacks import LearnedPicture
        >>> from torchgeo_sits.tasks import SITSMAE
        >>> task = SITSMAE(model='tempcnn', in_channels=3)
        >>> any(isinstance(callback, LearnedPicture) for callback in task.own_callbacks())
        True
    """

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, and say where."""
        datamodule: Any = getattr(trainer, 'datamodule', None)
        if not trainer.is_global_zero or run_folder(trainer) is None or datamodule is None:
            return
        # What is drawn must not change the random numbers that are drawn after the training.
        devices = [pl_module.device] if pl_module.device.type == 'cuda' else []
        try:
            with torch.random.fork_rng(devices=devices), torch.no_grad():
                sample = _learned(trainer, pl_module, datamodule)
            if sample is not None and (figure := datamodule.plot(sample)) is not None:
                print(f'\nWhat was learned, as a picture: {_keep(trainer, "learned", figure)}')
        except Exception as error:  # the training is over and well
            text = f'learned.png was not drawn: {type(error).__name__}: {error}'
            warnings.warn(' '.join(text.split()), UserWarning, stacklevel=2)


def _learned(
    trainer: Trainer, pl_module: LightningModule, datamodule: Any
) -> dict[str, Any] | None:
    """A sample with ``embedding`` as colours, and ``knn`` where there are labels."""
    loaders = getattr(datamodule, 'probe_dataloaders', lambda: None)()
    if hasattr(datamodule, 'middle'):
        batch = datamodule.middle(most=_MOST_PIXELS)
    elif loaders is not None:
        batch = next(iter(loaders[1]))
    else:
        return None
    if batch[IMAGE].shape[-1] == 1:
        return None  # points are no picture
    batch = {k: v[:1] if isinstance(v, Tensor) else v for k, v in batch.items()}
    batch = datamodule.aug(datamodule.transfer_batch_to_device(batch, pl_module.device, 0))
    task: Any = pl_module
    was_training = task.encoder.training
    task.encoder.eval()
    seen = seen_pixels(batch, s1=bool(task.encoder.s1_channels))[0]
    extra = {'embedding': _as_colours(task.predict_step(batch, 0)['embedding'][0], seen)}
    if loaders is not None:
        probe = KNNProbe(depths=('late',))
        votes = probe.classify(trainer, pl_module, batch)
        if votes is not None:
            votes = F.interpolate(votes[:, None].float(), seen.shape)[0, 0].long()
            extra['knn'] = votes.where(seen, getattr(datamodule, 'unlabelled', 0))
    task.encoder.train(was_training)
    sample = {k: v[0] if isinstance(v, Tensor) else v for k, v in batch.items()} | extra
    return {k: v.cpu() if isinstance(v, Tensor) else v for k, v in sample.items()}


def _as_colours(features: Tensor, seen: Tensor) -> Tensor:
    """Three principal components ``(3, H, W)`` of features ``(D, H, W)``, from 0 to 1.

    Pixels that were not *seen* ``(H, W)`` do not count, and are white.
    """
    pixels = features.movedim(0, -1).float()
    known = pixels[seen] if seen.any() else pixels.flatten(0, 1)
    mean = known.mean(0)
    _, axes = torch.linalg.eigh((known - mean).T @ (known - mean))  # from the smallest on
    axes = axes[:, -3:].flip(1)
    # An axis has no sign of its own: its largest part is positive, so that runs look alike.
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    colours = F.pad((pixels - mean) @ axes, (0, 3 - axes.shape[1]))
    low, high = (colours[seen] if seen.any() else colours.flatten(0, 1)).quantile(
        torch.tensor([0.02, 0.98], device=colours.device), dim=0
    )
    colours = ((colours - low) / (high - low).clamp(min=1e-9)).clamp(0, 1)
    return colours.masked_fill(~seen[..., None], 1.0).movedim(-1, 0)
