"""Score a frozen encoder by nearest neighbours, while it is pretrained without labels."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from lightly.utils.benchmarking import knn_predict
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchmetrics.functional.classification import multiclass_f1_score

from ..keys import MASK

__all__ = ['KNNProbe']

Depth = Literal['early', 'late', 'joined']


class KNNProbe(Callback):
    """k-NN probe of the frozen encoder on labelled pixels, before training and each epoch.

    The data module's ``probe_dataloaders()`` gives labelled patches to look up and labelled
    patches to score; a task's ``encoder`` gives the features. Each scored pixel takes the
    vote of its *k* nearest looked-up pixels by cosine, weighted as in Wu et al. (CVPR 2018,
    section 3.4). Logged are ``knn_f1_<depth>``, the macro F1, and at the end of training the
    scores before and after are printed. Without labels the probe is off.

    Tasks of pretraining bring one that scores each quarter of the epochs; a probe among the
    trainer's callbacks goes before it.

    Examples:
        >>> from lightning.pytorch import Trainer
        >>> from torchgeo_sits.callbacks import KNNProbe
        >>> every_second = Trainer(accelerator='cpu', callbacks=[KNNProbe(every_n_epochs=2)])
        >>> never = Trainer(accelerator='cpu', callbacks=[KNNProbe(every_n_epochs=0)])
    """

    def __init__(
        self,
        *,
        k: int = 20,
        temperature: float = 0.07,
        depths: Sequence[Depth] = ('early', 'late'),
        max_pixels: int = 4096,
        every_n_epochs: int = 1,
        ignore_index: int | None = None,
    ) -> None:
        """Initialize a new KNNProbe instance.

        Args:
            k: Number of neighbours that vote.
            temperature: Temperature of the votes' weights.
            depths: Features to score, see
                :meth:`torchgeo_sits.models.SITSEncoder.features`.
            max_pixels: Largest number of pixels to look up, and to score; drawn with a
                fixed seed.
            every_n_epochs: Number of epochs between two scores; 0 never scores, which is how a
                trainer switches off the probe that tasks bring.
            ignore_index: Label of pixels that are not labelled. None takes it from the data
                module, which has it as ``unlabelled``.
        """
        self.k = k
        self.temperature = temperature
        self.depths = tuple(depths)
        self.max_pixels = max_pixels
        self.every_n_epochs = every_n_epochs
        self.ignore_index = ignore_index
        #: Scores by name after each number of epochs, 0 before training.
        self.history: dict[int, dict[str, float]] = {}

    def state_dict(self) -> dict[str, Any]:
        """Scores so far, so that a resumed run knows those before training."""
        return {'history': self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.history = dict(state_dict['history'])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score the untrained encoder; a resumed run has done so."""
        if not self.every_n_epochs or self.history:
            return
        scores = self.score(trainer, pl_module)
        if scores is None:
            rank_zero_info(
                'k-NN probe: off, there are no two labelled classes (`labels.paths`) to tell apart.'
            )
            return
        self.history[trainer.current_epoch] = scores
        if trainer.is_global_zero:
            # Not logged: a bar on the terminal erases what it does not know of.
            print(f'k-NN probe before training: {_in_words(scores)}', flush=True)
        for logger in trainer.loggers:
            logger.log_metrics(scores, step=trainer.global_step)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score the encoder as it is now."""
        if not self.every_n_epochs:
            return
        last = trainer.current_epoch + 1 == trainer.max_epochs
        if (trainer.current_epoch + 1) % self.every_n_epochs and not last:
            return
        scores = self.score(trainer, pl_module)
        if scores is None:
            return
        self.history[trainer.current_epoch + 1] = scores
        pl_module.log_dict(scores, prog_bar=True, rank_zero_only=True)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Say after an interruption too what was reached."""
        if isinstance(exception, KeyboardInterrupt):
            self.on_fit_end(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the scores before training and the last ones."""
        if not trainer.is_global_zero or len(self.history) < 2:
            return
        (start, first), *_, (end, last) = sorted(self.history.items())
        before = 'before training' if start == 0 else f'after {start} epochs'
        print(
            '\nk-NN probe of the frozen features (macro F1):',
            f'{before}: {_in_words(first)}',
            f'after {end} epochs: {_in_words(last)}',
            sep='\n  ',
        )

    def score(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float] | None:
        """Score the encoder.

        Args:
            trainer: The trainer, whose data module has ``probe_dataloaders``.
            pl_module: The task, whose ``encoder`` is scored.

        Returns:
            Macro F1 by name, or None where there are no labels.
        """
        datamodule: Any = getattr(trainer, 'datamodule', None)
        loaders = getattr(datamodule, 'probe_dataloaders', lambda: None)()
        if loaders is None:
            return None
        # The probe must not change the random numbers that the training draws.
        devices = [pl_module.device] if pl_module.device.type == 'cuda' else []
        with torch.random.fork_rng(devices=devices):
            bank, bank_labels = self._features(trainer, pl_module, loaders[0])
            query, labels = self._features(trainer, pl_module, loaders[1])
        if len(bank_labels.unique()) < 2 or not len(labels):
            # One class is always right.
            return None
        # Numbered by those that occur: a code such as 3301010000 asks for as many classes.
        kinds, number = torch.cat([bank_labels, labels]).unique(return_inverse=True)
        num_classes = len(kinds)
        bank_labels, labels = number[: len(bank_labels)], number[len(bank_labels) :]
        scores = {}
        for depth in self.depths:
            votes = self._vote(query[depth], bank[depth], bank_labels, num_classes)
            scores[f'knn_f1_{depth}'] = multiclass_f1_score(
                votes, labels, num_classes=num_classes, average='macro'
            ).item()
        return scores

    def classify(
        self, trainer: Trainer, pl_module: LightningModule, batch: dict[str, Any]
    ) -> Tensor | None:
        """Vote on every pixel of a batch, by its late features.

        Args:
            trainer: The trainer, whose data module has ``probe_dataloaders``.
            pl_module: The task, whose ``encoder`` gives the features.
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`, on the task's device.

        Returns:
            Classes ``(B, h, w)`` of the cells of the feature maps, or None where there are no two
            labelled classes.
        """
        datamodule: Any = getattr(trainer, 'datamodule', None)
        loaders = getattr(datamodule, 'probe_dataloaders', lambda: None)()
        if loaders is None:
            return None
        devices = [pl_module.device] if pl_module.device.type == 'cuda' else []
        with torch.random.fork_rng(devices=devices):
            bank, labels = self._features(trainer, pl_module, loaders[0])
        if len(labels.unique()) < 2:
            return None
        encoder: Any = pl_module.encoder
        was_training = encoder.training
        encoder.eval()
        with torch.no_grad():
            found = encoder.features(encoder.series_of(batch), depth='late').movedim(1, -1)
        encoder.train(was_training)
        query = F.normalize(found.flatten(0, 2).float(), dim=1)
        kinds, number = labels.unique(return_inverse=True)  # by those that occur, as above
        votes = self._vote(query, bank['late'], number, len(kinds))
        return kinds[votes].view(found.shape[:3])

    def _vote(self, query: Tensor, bank: Tensor, labels: Tensor, num_classes: int) -> Tensor:
        """Classes ``(P,)`` of features ``(P, D)`` by the labels of those looked up ``(N, D)``."""
        votes = [
            knn_predict(
                chunk,
                bank.T,
                labels,
                num_classes=num_classes,
                knn_k=min(self.k, len(labels)),
                knn_t=self.temperature,
            )[:, 0]
            for chunk in query.split(1024)
        ]
        return torch.cat(votes)

    @torch.no_grad()
    def _features(
        self, trainer: Trainer, pl_module: LightningModule, loader: DataLoader[Any]
    ) -> tuple[dict[Depth, Tensor], Tensor]:
        """Features ``(P, D)`` of each depth, L2-normalised, and labels ``(P,)``."""
        encoder: Any = pl_module.encoder
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        ignored = self.ignore_index
        if ignored is None:
            ignored = getattr(datamodule, 'unlabelled', 0)
        was_training = encoder.training
        encoder.eval()
        # A bounded number per batch: a large map of labels must not fill the memory.
        most = -(-4 * self.max_pixels // max(1, len(loader)))
        generator = torch.Generator().manual_seed(0)
        pixels, labels = [], []
        for batch in loader:
            # Not the strategy's batch_to_device: that would augment for training.
            batch = datamodule.aug(datamodule.transfer_batch_to_device(batch, pl_module.device, 0))
            mask = _thin(batch[MASK], encoder.stride)
            keep = _draw((mask != ignored).flatten().nonzero()[:, 0], most, generator)
            if not len(keep):
                continue
            joined = encoder.features(encoder.series_of(batch), depth='joined')
            labels.append(mask.flatten()[keep])
            pixels.append(joined.movedim(1, -1).flatten(0, 2)[keep].float())
        encoder.train(was_training)
        if not labels:
            return {}, torch.empty(0)
        keep = _draw(torch.arange(sum(map(len, labels))), self.max_pixels, generator)
        joined = torch.cat(pixels)[keep.to(pixels[0].device)]
        early = encoder.feature_dim('early')
        parts = {'early': joined[:, :early], 'late': joined[:, early:], 'joined': joined}
        features = {depth: F.normalize(parts[depth], dim=1) for depth in self.depths}
        return features, torch.cat(labels)[keep.to(labels[0].device)]


def _draw(index: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """At most *most* entries of *index*, at random."""
    order = torch.randperm(len(index), generator=generator)[:most]
    return index[order.to(index.device)]


def _thin(mask: Tensor, stride: int) -> Tensor:
    """Labels at the centres of the cells of a feature map of *stride*."""
    return mask[:, stride // 2 :: stride, stride // 2 :: stride]


def _in_words(scores: dict[str, float]) -> str:
    """Scores in one line."""
    return ', '.join(f'{name} {value:.3f}' for name, value in scores.items())
