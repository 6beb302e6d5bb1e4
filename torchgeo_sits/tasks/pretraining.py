"""Base of the tasks of self-supervised pretraining: views, losses, schedules, seeds.

A method from outside is a subclass of :class:`SITSPretraining`, or, shorter, of
:class:`~torchgeo_sits.tasks.SITSSiamese` (two views, one encoder, a head and a criterion) or
:class:`~torchgeo_sits.tasks.SITSDistillation` (a student and its moving average).
"""

import shlex
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from inspect import signature
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import yaml
from lightly.utils.scheduler import cosine_schedule
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from ..callbacks import (
    CheckpointReport,
    CommandLine,
    EmbeddingHealth,
    KNNProbe,
    LearnedPicture,
    ViewsPicture,
)
from ..errors import SITSError
from ..keys import IMAGE
from ..mapping import MapOutput
from ..models import (
    PlaneFeatures,
    SITSEncoder,
)
from ..transforms import (
    PixelMultiView,
    PlanarMultiView,
    RandomCloudGaps,
    RandomDateJitter,
    RandomFieldVariation,
    RandomGainOffset,
    ResamplingMultiView,
    SensorMultiView,
    SensorPixelMultiView,
    SeriesSequential,
)
from .base import SITSTask
from .comparison import LEVELS, Level, draw_objects, level_pairs
from .embedding import embedding_map, pixel_embeddings
from .reconstruction import MaskedReconstruction
from .sentinel1 import meet_s1
from .view_batches import check_cells

__all__ = ['SITSPretraining', 'ViewLosses', 'zero_loss']


class ViewLosses(NamedTuple):
    """Losses of a method on the views of a batch, and vectors that show its health.

    Attributes:
        losses: Terms of the loss by name; the hyperparameter ``<name>_weight`` weighs each.
        health: Vectors that :class:`~torchgeo_sits.callbacks.EmbeddingHealth` watches:
            ``embedding`` ``(B, D)``, and ``projection`` ``(B, D')`` or ``assignment`` ``(B, K)``
            where there are any.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import ViewLosses
        >>> losses = {'image': torch.tensor(0.7)}
        >>> ViewLosses(losses, {'embedding': torch.zeros(4, 16)}).losses['image']
        tensor(0.7000)
    """

    losses: dict[str, Tensor]
    health: dict[str, Tensor]


def zero_loss(*tensors: Tensor) -> Tensor:
    """Give a loss of 0 with gradients of 0, for a term that a batch has nothing for.

    Args:
        *tensors: All that the term would have given gradients to, of any shapes.
    """
    return torch.stack([tensor.sum() for tensor in tensors]).sum() * 0.0


class SITSPretraining(SITSTask):
    """Base of the tasks that pretrain an encoder on views of series, without labels.

    A step draws views of a batch, lets the method compare them, and adds up the losses by their
    weights; those of a level (image, object, pixel) whose weight is 0 cost nothing. Any method
    can be joined with the reconstruction of what is hidden (:class:`SITSMAE`).

    A subclass writes two methods:

    - :meth:`build_heads` builds all that stands on the encoder, which is ``self.backbone``;
    - :meth:`compare_views` encodes the views (:func:`~torchgeo_sits.tasks.encode_view`,
      :meth:`match_views`) and returns their losses.

    It may also set :attr:`default_views` and :attr:`reference_lr`, refuse views in
    :meth:`check_views`, build losses in ``configure_losses``, train more modules
    (:meth:`trained_modules`), and name another encoder that downstream tasks use
    (``encoder_name``). Arguments of its own come before ``**kwargs``, which go to this class.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import SITSPretraining, ViewLosses, encode_view
        >>> class Spread(SITSPretraining):
        ...     default_views = {'global_views': 1, 'local_views': 0}
        ...     def build_heads(self, dim):
        ...         self.projection_head = torch.nn.Linear(dim, 2)
        ...     def compare_views(self, views, batch):
        ...         embedding = encode_view(self.backbone, views[0]).embed
        ...         loss = -self.projection_head(embedding).std()
        ...         return ViewLosses({'image': loss}, {'embedding': embedding.detach()})
        >>> task = Spread(model='tempcnn', in_channels=3, views_kwargs={'length': 8})
        >>> task.method, task.compared_levels
        ('spread', ['image'])
    """

    monitor = 'train_loss'

    encoder_name = 'backbone'
    #: The encoder that is trained.
    backbone: SITSEncoder
    projection_head: nn.Module
    #: Module that draws the views of a batch, see :class:`~torchgeo_sits.transforms.MultiView`.
    views: Any

    #: Arguments of the views that suit the method, below those that are asked for.
    default_views: ClassVar[dict[str, Any]] = {}
    #: Learning rate that suits a batch of 16.
    reference_lr: ClassVar[float] = 5e-4

    def __init__(
        self,
        model: str | None = None,
        in_channels: int | None = None,
        weights: str | None = None,
        model_kwargs: dict[str, Any] | None = None,
        views: str | type[nn.Module] = 'planar',
        views_kwargs: dict[str, Any] | None = None,
        jitter_days: float = 3.0,
        gain: float = 0.1,
        offset: float = 0.1,
        cloud_rate: float = 0.1,
        season_days: float = 0.0,
        vigour: float = 0.0,
        soil: float = 0.0,
        image_weight: float = 1.0,
        object_weight: float = 0.0,
        pixel_weight: float = 0.0,
        pixels: int = 64,
        object_size: int = 8,
        reconstruction_weight: float = 0.0,
        mask_kind: Literal['date', 'pixel', 'block', 'mixed'] = 'mixed',
        mask_ratio: float = 0.5,
        lr: float | None = None,
        min_lr: float = 1e-6,
        warmup_share: float = 0.1,
        weight_decay: float = 0.04,
        end_weight_decay: float = 0.4,
        clip_grad: float = 3.0,
    ) -> None:
        """Initialize a new task.

        Args:
            model: Name of an encoder of this project, see
                :data:`torchgeo_sits.models.ENCODERS`. None takes that of *weights*, without which
                it is planar_vit_tiny.
            in_channels: Number of bands. None takes it from the data module.
            weights: Checkpoint of a task of this project whose encoder to start from, or
                ``hf://ORG/REPO`` of the Hub, or published weights: ``NAME``, or ``NAME:FILE``, see
                :data:`torchgeo_sits.models.PUBLISHED`.
            model_kwargs: Further arguments of the encoder.
            views: ``'planar'`` for :class:`~torchgeo_sits.transforms.PlanarMultiView`,
                ``'resampling'`` for
                :class:`~torchgeo_sits.transforms.ResamplingMultiView`, which draws dates
                but no planes, ``'pixels'`` for
                :class:`~torchgeo_sits.transforms.PixelMultiView`, which makes a sample of each of
                some pixels, ``'sensors'`` for
                :class:`~torchgeo_sits.transforms.SensorMultiView`, which shows Sentinel-2 in one
                view and Sentinel-1 in the other, ``'sensor_pixels'`` for
                :class:`~torchgeo_sits.transforms.SensorPixelMultiView`, which does so with single
                pixels, or the dotted path of a class of views, or the
                class, as :class:`~torchgeo_sits.transforms.MultiView` describes it.
            views_kwargs: Arguments of the views.
            jitter_days: Largest shift of a date in a view, in days.
            gain: Largest relative change of a band at a date in a view.
            offset: Largest shift of a band at a date in a view, in standard deviations.
            cloud_rate: Share of the dates that simulated clouds cover in part.
            season_days: Largest shift of all dates of a view together, in days; with *vigour* and
                *soil* what :class:`~torchgeo_sits.transforms.RandomFieldVariation` changes.
            vigour: Largest relative change of what varies over time in a view.
            soil: Largest constant added to a view, in standard deviations.
            image_weight: Weight of the comparison of whole views.
            object_weight: Weight of the comparison of objects, which are superpixels.
            pixel_weight: Weight of the comparison of pixels that both views see.
            pixels: Largest number of pixels of a sample that a step compares.
            object_size: Side of a superpixel, in pixels.
            reconstruction_weight: Weight of the reconstruction of hidden values.
            mask_kind: What is hidden for it: dates, pixels, blocks of both, or for each sample
                one of these.
            mask_ratio: Share of the clear values that is hidden.
            lr: Largest learning rate. None takes the method's own for a batch of 16, times
                the root of the batch size over 16, four times that at most.
            min_lr: Learning rate at the last step.
            warmup_share: Share of the steps over which the learning rate rises.
            weight_decay: Weight decay at the first step.
            end_weight_decay: Weight decay at the last step; a cosine lies between.
            clip_grad: Largest norm of the gradient, unless the trainer clips; 0 never clips.

        Raises:
            SITSError: If an argument is out of its range, or does not go with another.
        """
        self.weights = weights
        # Not as hyperparameters: of those the command line keeps what was asked for, and not
        # what a method fixes.
        self._base_weights = {
            'image': image_weight,
            'object': object_weight,
            'pixel': pixel_weight,
            'reconstruction': reconstruction_weight,
        }
        if lr is not None and lr <= 0:
            raise SITSError(f'lr must be above 0, got {lr}')
        if not 0 <= warmup_share <= 1:
            raise SITSError(f'warmup_share must be in [0, 1], got {warmup_share}')
        if pixels < 1 or object_size < 1:
            raise SITSError(
                f'expected pixels and object_size of at least 1, got {pixels} and {object_size}'
            )
        super().__init__()
        if not isinstance(views, str):  # checkpoints hold plain values
            self.save_hyperparameters({'views': f'{views.__module__}.{views.__qualname__}'})
        self._check_weights()
        # Clouds lie over the place, before its views are drawn; the rest differs per view.
        self.clouds = RandomCloudGaps(cloud_rate)
        augment = SeriesSequential(RandomDateJitter(jitter_days), RandomGainOffset(gain, offset))
        variation = RandomFieldVariation(season_days, vigour, soil)
        if season_days or vigour or soil:
            augment = SeriesSequential(augment, variation)
        self.views = _build_views(views, augment, self.default_views, views_kwargs)
        self.check_views(self.views.global_views, self.views.local_views)
        self._check_levels()
        self.configure_sensors(None)

    # -- hooks of a method -----------------------------------------------------------------

    @abstractmethod
    def build_heads(self, dim: int) -> None:
        """Build all that stands on the encoder.

        Args:
            dim: Number of features of an embedding.
        """

    @abstractmethod
    def compare_views(self, views: list[dict[str, Any]], batch: dict[str, Any]) -> ViewLosses:
        """Encode the views and compare them.

        Args:
            views: The views, the global ones first.
            batch: The batch that they show.

        Returns:
            The losses, named as their weights: a loss ``image`` has the weight ``image_weight``.
        """

    def check_views(self, global_views: int, local_views: int) -> None:
        """Raise SITSError unless the method can do with the views.

        Args:
            global_views: Number of global views.
            local_views: Number of local views.
        """

    def trained_modules(self) -> Iterable[nn.Module]:
        """List the modules that the optimiser trains."""
        names = ('backbone', 'projection_head', 'prediction_head', 'reconstruction')
        return (getattr(self, name) for name in names if hasattr(self, name))

    # -- tools of a method -----------------------------------------------------------------

    @property
    def encoder(self) -> SITSEncoder:
        """Encoder that downstream tasks use."""
        encoder: SITSEncoder = getattr(self, self.encoder_name)
        return encoder

    @property
    def compared_levels(self) -> list[Level]:
        """Levels whose comparison has a weight, among image, object and pixel."""
        return [level for level in LEVELS if self.loss_weights[level]]

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weight of each term of the loss, by its name."""
        asked = {k: v for k, v in self.hparams.items() if k.endswith('_weight')}
        return {k.removesuffix('_weight'): v for k, v in asked.items()} | self._base_weights

    def full_precision(self) -> AbstractContextManager[None]:
        """Leave autocast, for distances and variances, whatever the trainer's precision."""
        return torch.autocast(self.device.type, enabled=False)

    def match_views(
        self,
        ours: PlaneFeatures,
        theirs: PlaneFeatures,
        view: dict[str, Any],
        other: dict[str, Any],
        batch: dict[str, Any],
        *,
        levels: Sequence[Level] | None = None,
    ) -> dict[Level, tuple[Tensor, Tensor]]:
        """Match two views, level by level.

        Args:
            ours: Features of one view, or of several joined.
            theirs: Features of the other view of the same samples.
            view: The view.
            other: The other view.
            batch: The batch that they show.
            levels: The levels, all that have a weight by default.

        Returns:
            For each level two tensors ``(P, D)``, of all processes together.
        """
        levels = self.compared_levels if levels is None else levels
        if set(levels) - {'image'}:
            check_cells(self.backbone, view)
        objects = None
        if 'object' in levels:
            objects = draw_objects(batch, self.hparams['object_size'])
            views = len(ours.embed) // len(objects.ids)
            objects = objects._replace(ids=objects.ids.repeat(views, 1, 1))
        number = self.hparams['pixels']
        return {
            level: level_pairs(level, ours, theirs, view, other, objects=objects, pixels=number)
            for level in levels
        }

    # -- models ----------------------------------------------------------------------------

    def configure_models(self) -> None:
        """Build the encoder and all that stands on it, if its bands are known already.

        Raises:
            SITSError: If *weights* are those of another model.
        """
        encoder = self.make_encoder()
        if encoder is None:
            return
        self.backbone = encoder
        if hasattr(self.backbone, 'mask_token') and not self.loss_weights.get('ibot'):
            # No token is masked: DDP stops at parameters that never get a gradient.
            self.backbone.mask_token.requires_grad_(False)
        if self.loss_weights['reconstruction']:
            self.reconstruction = MaskedReconstruction(
                self.backbone.embed_dim,
                self.backbone.in_channels,
                kind=self.hparams['mask_kind'],
                ratio=self.hparams['mask_ratio'],
            )
        self.build_heads(self.backbone.embed_dim)

    def configure_model(self) -> None:
        """Build the models for the bands of the data module.

        Raises:
            SITSError: If nothing tells the number of bands, or it is not that of the data.
        """
        # No trainer where a checkpoint is loaded by hand.
        datamodule: Any = getattr(self._trainer, 'datamodule', None)
        self.meet_data(datamodule)
        if not hasattr(self, 'backbone'):
            self.configure_models()
            # Its card was not known when the data was met.
            self.meet_data(datamodule)
        self.configure_sensors(datamodule)

    def configure_sensors(self, datamodule: Any) -> None:
        """Hold the encoder, once it is built, against the sensors of the views and of the data.

        Args:
            datamodule: The data module, None where nothing is known of the data.

        Raises:
            SITSError: If views need Sentinel-1, and the encoder takes none.
        """
        if not hasattr(self, 'backbone'):
            return
        if self.views_need_s1:
            raise SITSError(
                f'views={self.hparams["views"]!r} need an encoder that takes Sentinel-1, and '
                f'{self.hparams["model"]} was built without: choose factorised_tiny, and data with '
                'Sentinel-1 (SITSFusionDataModule), or a method that trains an encoder for each '
                'sensor (SITSVICReg, SITSSimCLR, SITSBarlowTwins), or other views'
            )
        meet_s1(self.backbone, datamodule)

    @property
    def views_need_s1(self) -> bool:
        """Whether views show Sentinel-1 to an encoder that takes none."""
        return getattr(self.views, 'needs_s1', False) and not self.backbone.s1_channels

    def _check_weights(self) -> None:
        """Raise SITSError unless the terms of the loss have weights that make one."""
        weights = {f'{name}_weight': value for name, value in self.loss_weights.items()}
        wrong = {name: value for name, value in weights.items() if not value >= 0}
        if wrong or not any(weights.values()):
            raise SITSError(
                f'expected weights of at least 0, one of them above, got {wrong or weights}'
            )

    def _check_levels(self) -> None:
        """Raise SITSError where views of single pixels are to be compared by what they have not."""
        wrong = [f'{level}_weight' for level in self.compared_levels if level != 'image']
        if wrong and getattr(self.views, 'single_pixels', False):
            raise SITSError(
                f'views={self.hparams["views"]!r} are of one pixel each, which are compared as '
                f'whole views: expected {" and ".join(wrong)} of 0; set them so, and image_weight '
                'above 0'
            )

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Embed series with the encoder that downstream tasks use.

        Args:
            *args: A :class:`~torchgeo_sits.keys.Series`, as of
                :meth:`torchgeo_sits.models.SITSEncoder.forward`.
            **kwargs: The same, by name.

        Returns:
            Embeddings ``(B, D)``.
        """
        return self.encoder(*args, **kwargs)

    # -- a step ----------------------------------------------------------------------------

    def make_views(self, batch: dict[str, Any]) -> list[dict[str, Any]]:
        """Draw the views of a batch, as a training step does.

        Args:
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`.

        Returns:
            The views, the global ones first.
        """
        with torch.no_grad():
            return self.views(self.clouds(batch))

    def training_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """Compute the loss.

        Args:
            batch: Batch as :mod:`torchgeo_sits.keys` says.
            batch_idx: Index of the batch.
            dataloader_idx: Index of the data loader.

        Returns:
            ``loss``, and the vectors of :class:`ViewLosses` that show the run's health.
        """
        views = self.make_views(batch)
        losses, health = self.compare_views(views, batch)
        if self.loss_weights['reconstruction']:
            losses['reconstruction'], embedding = self.reconstruction(self.backbone, views[0])
            health.setdefault('embedding', embedding.detach())
        weights = self.loss_weights
        loss = torch.stack([weights[k] * v for k, v in losses.items()]).sum()
        size = len(batch[IMAGE])
        self.log('train_loss', loss, prog_bar=True, batch_size=size)
        if len(losses) > 1:
            self.log_dict({f'{k}_loss': v for k, v in losses.items()}, batch_size=size)
        return {'loss': loss, **health}

    def predict_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """Embed each pixel, see :func:`~.embedding.pixel_embeddings`."""
        return pixel_embeddings(self.encoder, batch)

    def map_outputs(self) -> list[MapOutput]:
        """List the map of the features, a band for each."""
        return embedding_map()

    # -- the run ---------------------------------------------------------------------------

    @property
    def learning_rate(self) -> float:
        """Largest learning rate: the one asked for, or one for the batch size in use.

        Adam's learning rate follows the root of the batch size (Malladi et al., NeurIPS 2022,
        https://arxiv.org/abs/2205.10287).
        """
        if self.hparams['lr'] is not None:
            return float(self.hparams['lr'])
        return self.reference_lr * min(4.0, (_effective_batch_size(self.trainer) / 16) ** 0.5)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, with a linear rise and a cosine fall of the learning rate per step."""
        groups = []
        for module in self.trained_modules():
            # Any decay above 0 does to tell the groups apart; the schedule sets its value.
            for group in param_groups_weight_decay(module, weight_decay=1.0):
                groups.append({**group, 'decays': group['weight_decay'] > 0, 'weight_decay': 0.0})
        optimizer = AdamW(groups, lr=self.learning_rate)
        return self.scheduled(optimizer)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Step with this step's weight decay."""
        step, steps = self.global_step, self.total_steps
        start, end = self.hparams['weight_decay'], self.hparams['end_weight_decay']
        for group in optimizer.param_groups:
            if group['decays']:
                # A plain number: older lightly gives NumPy's, which checkpoints may not hold.
                group['weight_decay'] = float(cosine_schedule(step, steps, start, end))
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def setup(self, stage: str) -> None:
        """Check that the run can be what it is asked to be.

        Raises:
            SITSError: If the strategy shards the model.
        """
        super().setup(stage)
        _refuse_sharding(self.trainer)

    def own_callbacks(self) -> list[Callback]:
        """A watch over the embeddings, pictures, the report, and a k-NN probe.

        The probe scores the encoder at each quarter of the epochs, where the data module has
        patches to probe it on; a trainer's own ``KNNProbe`` goes before it.
        """
        probes: list[Callback] = []
        # No trainer where the task is asked by hand.
        trainer: Any = self._trainer
        if hasattr(getattr(trainer, 'datamodule', None), 'probe_dataloaders'):
            epochs = trainer.max_epochs or 1
            probes = [KNNProbe(every_n_epochs=max(1, round(epochs / 4)))]
        pictures = [ViewsPicture(), LearnedPicture()]
        return [*probes, EmbeddingHealth(), *pictures, CheckpointReport()]

    def own_checkpoint(self) -> ModelCheckpoint:
        """Keep the last epoch: the loss of pretraining does not say which one is best."""
        return ModelCheckpoint(filename=f'{self.method}-{{epoch:02d}}', every_n_epochs=1)

    def next_steps(self, path: str) -> str:
        """Say what a checkpoint of this task is good for, at the end of a run."""
        line, labelled = self.command_line, dict(self.command_line.data)
        advice, kind = 'Fine-tune it with labels:', line.kind
        if kind == 'SITSFusionDataModule' and not self.encoder.s1_channels:
            # Sentinel-1 was there to learn from.
            kind = 'SITSDataModule'
            radar = [name for name in labelled if name == 'data' or name.startswith('data.s1')]
            labelled = {name: value for name, value in labelled.items() if name not in radar}
        trainer: Any = self._trainer
        datamodule = getattr(trainer, 'datamodule', None)
        config = f'conf/{getattr(datamodule, "task_config", None) or "segmentation"}.yaml'
        if getattr(datamodule, 'label_kind', None) == 'none':
            line, labelled = CommandLine(), {'data.paths': 'DIR', 'data.labels.paths': 'FIELDS'}
            advice = 'Fine-tune it on data of your own, with labels:'
        elif kind == 'PointDataModule':
            config = 'conf/classification.yaml'
            if 'data.labels.column' not in labelled:
                labelled['data.labels.column'] = 'COLUMN'
                advice = 'Fine-tune it with labels, COLUMN of the table:'
        elif kind == 'SITSDataModule':
            if 'data.labels.paths' not in labelled:
                labelled |= {'data.labels.paths': 'FIELDS', 'data.labels.column': 'COLUMN'}
                advice = (
                    'Fine-tune it with labels: FIELDS are polygons or points (.gpkg) with the '
                    'class in COLUMN;\nof label rasters leave --data.labels.column out:'
                )
            if labelled.get('data.labels.target') != 'field':
                labelled['data.labels.supervised'] = 'true'
        fine_tune = line.follow('fit', '--config', config, '--model.weights', path, data=labelled)
        more = [self._embed_command(path)]
        if self.command_line.typed:
            epochs = str(2 * (self.trainer.max_epochs or 1))
            again = self.command_line.again(
                'fit', **{'ckpt_path': path, 'trainer.max_epochs': epochs}
            )
            more.append(f'Train on from here, to twice the epochs:\n  {again}')
        return '\n'.join(
            [
                advice,
                f'  {fine_tune}',
                *filter(None, more),
                'Use the encoder in Python:',
                '  from torchgeo_sits.models import load_encoder',
                f'  encoder, card = load_encoder({path!r})',
            ]
        )

    def _embed_command(self, path: str) -> str:
        """How to embed the data of this run, where it lies in files."""
        data = self.command_line.data
        trainer: Any = self._trainer
        images = getattr(getattr(trainer, 'datamodule', None), 'images', None)
        paths = (
            data.get('data.paths') or data.get('data.images.paths') or getattr(images, 'paths', '')
        )
        found: Any = yaml.safe_load(paths) if str(paths)[:1] == '[' else paths
        words = [path, *([found] if isinstance(found, str) else map(str, found))]
        for name, value in data.items():
            group, _, option = name.removeprefix('data.').partition('.')
            if group in ('images', 'table') and option not in ('paths', 'mean', 'std', ''):
                words += [f'--{option}', value]
        if not found:
            return ''
        return f'Map its features:\n  torchgeo-sits embed {shlex.join(words)}'


_VIEWS: dict[str, type[nn.Module]] = {
    'planar': PlanarMultiView,
    'pixels': PixelMultiView,
    'resampling': ResamplingMultiView,
    'sensors': SensorMultiView,
    'sensor_pixels': SensorPixelMultiView,
}


def _find_views(views: str | type[nn.Module]) -> type[nn.Module]:
    """Give the class of views of a name, of a dotted path, or the class itself.

    Raises:
        SITSError: If there is no such class.
    """
    found: Any = _VIEWS.get(views, views) if isinstance(views, str) else views
    reason = ''
    if isinstance(found, str):
        module, _, name = found.rpartition('.')
        try:
            found = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            reason = f' ({error})' if module else ''
    # Checked before it is called: the path may come from a checkpoint of somebody else.
    if not isinstance(found, type) or not issubclass(found, nn.Module):
        raise SITSError(
            f'expected views to be one of {", ".join(map(repr, _VIEWS))}, or the dotted '
            f'path of a class of views, a subclass of torch.nn.Module, got {views!r}{reason}'
        )
    return found


def _build_views(
    views: str | type[nn.Module],
    augment: nn.Module,
    default: Mapping[str, Any],
    asked: Mapping[str, Any] | None,
) -> nn.Module:
    """Build the views that a task draws.

    Args:
        views: Which ones, see :class:`SITSPretraining`.
        augment: Augmentation of each view.
        default: Arguments that suit the task; a class from outside may not have all of them.
        asked: Arguments that were asked for, above these.

    Raises:
        SITSError: If there are no such views, or an argument does not fit them.
    """
    kind = _find_views(views)
    parameters = signature(kind).parameters
    names = [name for name in parameters if name != 'augment']
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        default = {name: value for name, value in default.items() if name in names}
    try:
        built = kind(augment=augment, **{**default, **(asked or {})})
    except TypeError as error:
        raise SITSError(
            f'views_kwargs={asked} do not fit {kind.__name__}: {error}. It takes {names}'
        ) from error
    missing = [name for name in ('global_views', 'local_views') if not hasattr(built, name)]
    if missing:
        raise SITSError(
            f'expected views with {missing}, the numbers of their global and local views, got '
            f'{kind.__name__}: see torchgeo_sits.transforms.MultiView'
        )
    return built


def _effective_batch_size(trainer: Trainer) -> int:
    """Samples per optimiser step, of all processes and batches; 16 a batch where unknown."""
    datamodule: Any = getattr(trainer, 'datamodule', None)
    own = getattr(datamodule, 'batch_size', None)
    if own is None:
        own = getattr(trainer.train_dataloader, 'batch_size', None)
    return (own or 16) * trainer.world_size * trainer.accumulate_grad_batches


def _refuse_sharding(trainer: Trainer) -> None:
    """Raise SITSError where the strategy of a run shards the model."""
    if isinstance(trainer.strategy, FSDPStrategy | ModelParallelStrategy):
        raise SITSError(
            f'{type(trainer.strategy).__name__} shards the weights, of which teachers, health '
            "and checkpoints here need the whole: use strategy='ddp'. The encoders are small "
            'enough for one device'
        )
