"""Base of all tasks: the bands of the data, schedules, clipping, callbacks, and the card."""

import inspect
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np
from lightly.utils.scheduler import cosine_warmup_schedule
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torchgeo.tasks import BaseTask

from ..callbacks import CommandLine, is_default_checkpoint
from ..errors import SITSError
from ..models import (
    CARD_KEY,
    PUBLISHED,
    CardDetails,
    EncoderCard,
    SITSEncoder,
    build_encoder,
    encoder_card,
    load_bare_encoder,
    statistics_in_units,
    takes_argument,
)
from ..weight_names import find_published
from .sentinel1 import adopt_s1, s1_arguments, s1_entries
from .step_seed import StepSeed

__all__ = [
    'SITSTask',
    'adopt_data',
    'class_names',
    'encoder_hparams',
    'rise_and_fall',
]


def class_names(task: Any) -> list[str]:
    """Names of the classes, from 0, as the task or its checkpoint knows them.

    Args:
        task: A task with the hyperparameter ``labels`` and a number ``num_classes``.

    Returns:
        The names; ``class i`` where there are none.
    """
    names, number = task.hparams['labels'], task.num_classes
    if names is None or len(names) != number:
        return [f'class {i}' for i in range(number)]
    return [str(name) for name in names]


def adopt_data(card: EncoderCard, datamodule: Any, path: str | Path) -> None:
    """Hold the bands of the data against those of a checkpoint, and normalise as it did.

    Args:
        card: The checkpoint's card.
        datamodule: The data module, or None: nothing is known of the data then.
        path: Path of the checkpoint, for messages.

    Raises:
        SITSError: If the data has other bands: more or fewer, or the same in another order; or
            other bands of Sentinel-1.
    """
    bands, wanted = getattr(datamodule, 'bands', None), card['bands']
    if bands is None:
        return
    if len(bands) != card['in_channels'] or (bands != wanted and not set(bands).isdisjoint(wanted)):
        known = f' {wanted}' if wanted else ''
        choice = (
            f'--data.{_group(datamodule)}bands "{wanted}"'
            if wanted and set(wanted) <= set(bands)
            else 'data of the same bands, or a checkpoint of these'
        )
        raise SITSError(
            f'{path}: the checkpoint was trained on {card["in_channels"]} bands{known}, the data '
            f'has {len(bands)}: {bands}. Use {choice}'
        )
    if wanted and bands != wanted:
        warnings.warn(
            f'{path} was trained on the bands {wanted}, the data has {bands}: its weights are '
            'used in this order',
            UserWarning,
            stacklevel=2,
        )
    if find_published(path) is not None:
        card = _in_units_of(datamodule, card, path)
    adopt_s1(card, datamodule, path)
    if card['mean'] and hasattr(datamodule, 'normalise_as'):
        datamodule.normalise_as(card['mean'], card['std'])


def _in_units_of(datamodule: Any, card: EncoderCard, path: str | Path) -> EncoderCard:
    """Express the statistics of published weights in the units of the data."""
    units: dict[str, Any] = dict(card)
    for end in ('', '_s1'):
        bands, found = units.get(f'bands{end}'), getattr(datamodule, f'statistics{end}', None)
        if not bands or found is None or not len(found[0]):
            continue
        *values, told = statistics_in_units(
            bands, found[0].tolist(), units[f'mean{end}'], units[f'std{end}']
        )
        units |= {f'mean{end}': values[0], f'std{end}': values[1]}
        if told:
            rank_zero_info(f'{path}: the data is taken for {told}, by its mean')
    return cast(EncoderCard, units)


def _origin_of(card: EncoderCard) -> CardDetails:
    """What a card says of where the weights come from, which those that start from them keep."""
    return {name: card[name] for name in ('licence', 'source') if name in card}  # type: ignore[return-value]


def _group(datamodule: Any) -> str:
    """Group of the options of a data module that has the one of the bands, with a dot."""
    return next((f'{name}.' for name in ('images', 'table') if hasattr(datamodule, name)), '')


def encoder_hparams(
    card: EncoderCard, given: Mapping[str, Any], path: str | Path
) -> dict[str, Any]:
    """Hyperparameters that say what the encoder of a checkpoint is.

    Args:
        card: The checkpoint's card.
        given: Hyperparameters of the task, of which ``model``, ``in_channels`` and
            ``model_kwargs`` may contradict it.
        path: Path of the checkpoint, for messages.

    Returns:
        ``model``, ``in_channels`` and ``model_kwargs``.

    Raises:
        SITSError: If one was given that is not the checkpoint's.
    """
    found = {
        'model': card['model'],
        'in_channels': card['in_channels'],
        'model_kwargs': card['model_kwargs'],
    }
    for name, value in found.items():
        asked = given[name]
        # Arguments that were not given may be what they are.
        own = {key: value.get(key) for key in asked} if isinstance(value, dict) and asked else value
        if asked and asked != own:
            raise SITSError(
                f'{path}: the checkpoint holds {card["model"]} with {name}={own!r}, but '
                f'{name}={asked!r} was asked for: leave {name} out'
            )
    return found


def rise_and_fall(*, steps: int, warmup_share: float, last: float) -> Callable[[int], float]:
    """A linear rise of the learning rate, then a cosine fall.

    Not lightly's scheduler: it keeps the number of steps in its state, and a run that is
    resumed for more of them would stay at the last learning rate.

    Args:
        steps: Optimiser steps of the whole run.
        warmup_share: Share of the steps over which the learning rate rises.
        last: Learning rate at the last step over the largest.

    Returns:
        The learning rate over the largest, by the number of steps taken, for
        :class:`~torch.optim.lr_scheduler.LambdaLR`.
    """
    warmup = round(warmup_share * steps)

    def share(step: int) -> float:
        step = min(step, steps)
        return float(cosine_warmup_schedule(step, steps, 1.0, last, warmup, 0.0))

    return share


class SITSTask(BaseTask):
    """TorchGeo's base of tasks, with what goes around an encoder of time series.

    Subclasses take, among their own, the hyperparameters that are read here: ``model``,
    ``in_channels``, ``lr``, ``min_lr``, ``warmup_share``, ``clip_grad``.
    """

    #: Checkpoint to start from; not a hyperparameter, a checkpoint stands for itself.
    weights: str | None
    #: Its card, until the data is known.
    _card: EncoderCard | None = None
    #: Licence and source of the weights that the task started from.
    _origin: CardDetails = {}
    #: What the checkpoint that the task started from says of Sentinel-1.
    _s1: CardDetails = {}
    #: Largest learning rate of each group of parameters.
    _largest: list[float]
    #: Name of the submodule whose weights are those of the encoder to be used.
    encoder_name: str
    #: Licence of the weights, for the card of the checkpoints; no hyperparameter, it can be set
    #: at any time before one is written.
    licence: str | None = None
    #: What the run was started with on the command line, for the commands that it prints.
    command_line: CommandLine = CommandLine()

    def __init__(self) -> None:
        self._seed = StepSeed()
        super().__init__()

    def setup(self, stage: str) -> None:
        """Keep Lightning from warning of a hook that a data module could have as well."""
        warnings.filterwarnings('ignore', message='You have overridden `on_before_batch_transfer`')
        super().setup(stage)

    def on_fit_start(self) -> None:
        """Choose the seed of the run, unless a resumed one brought it."""
        self._seed.start()
        # A checkpoint holds the first process's, and resumes all of them.
        self._seed.run = self.trainer.strategy.broadcast(self._seed.run)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Seed this step, so that a resumed run draws what an uninterrupted one would.

        Here and not at the start of the step: the data module has augmented the batch by then.
        """
        if self.trainer.training:
            index = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
            self._seed.step(self.global_rank, self.current_epoch, index)
        return batch

    def save_hyperparameters(self, *args: Any, **kwargs: Any) -> None:
        """Save the arguments of the constructor, arrays of NumPy and tensors among them as lists.

        A checkpoint with an array saves, but nothing reads it back without running code.

        Args:
            *args: As of Lightning's method.
            **kwargs: As of Lightning's method.
        """
        frame = inspect.currentframe()
        assert frame is not None  # CPython has frames
        # Lightning looks at the caller's, through all that are constructors.
        super().save_hyperparameters(*args, **{'frame': frame.f_back, **kwargs})
        self.hparams.update({name: _plain(value) for name, value in self.hparams.items()})

    @property
    def method(self) -> str:
        """Name of runs and checkpoints of the task, such as ``dino`` of ``SITSDINO``."""
        return type(self).__name__.removeprefix('SITS').lower()

    @abstractmethod
    def own_callbacks(self) -> list[Callback]:
        """Callbacks that a run has unless its trainer brings one of the same class."""

    @abstractmethod
    def own_checkpoint(self) -> ModelCheckpoint:
        """Checkpoint callback that a run has unless its trainer brings one."""

    def meet_data(self, datamodule: Any) -> None:
        """Take the number of bands from the data, and normalise it as *weights* do.

        Args:
            datamodule: The data module, or None where nothing is known of the data.

        Raises:
            SITSError: If nothing tells the number of bands, or it is not that of the data, or
                *weights* are of other bands.
        """
        if self._card is not None:
            adopt_data(self._card, datamodule, str(self.weights))
            card, self._card = self._card, None
            self._s1 = s1_entries(card)
            self._origin = _origin_of(card)
        found = getattr(datamodule, 'in_channels', None)
        if self.hparams['in_channels'] is None:
            self.hparams['in_channels'] = found
        wanted = self.hparams['in_channels']
        if wanted is None:
            raise SITSError(
                'The number of bands is unknown: give `in_channels`, or a data module that '
                'has it (SITSDataModule).'
            )
        if found not in (None, wanted):
            raise SITSError(
                f'the model takes in_channels={wanted}, but the data has {found} bands: '
                f'{getattr(datamodule, "bands", "")}. Choose `bands` to match, or leave '
                'in_channels out'
            )

    def make_encoder(self) -> SITSEncoder | None:
        """Build the encoder, of the weights where there are any, and note what it is.

        Returns:
            The encoder in training mode, None as long as its bands are unknown.

        Raises:
            SITSError: If *weights* are those of another model.
        """
        published = find_published(self.weights)
        if published is not None:
            arguments = self._encoder_arguments(PUBLISHED[published[0]].encoder)
            if 'bands' not in arguments:
                return None
        elif self.weights is not None:
            arguments = {}
        elif self.hparams['in_channels'] is not None:
            name = self.hparams['model'] = self.hparams['model'] or 'planar_vit_tiny'
            arguments = self._encoder_arguments(name)
            return build_encoder(name, self.hparams['in_channels'], **arguments)
        else:
            return None
        assert self.weights is not None
        encoder, self._card = load_bare_encoder(self.weights, **arguments)
        self.hparams.update(encoder_hparams(self._card, self.hparams, self.weights))
        # Loaded to be used; Lightning leaves the mode of modules as it finds it.
        return encoder.train()

    def _encoder_arguments(self, model: str) -> dict[str, Any]:
        """Give the arguments of a new encoder, of which the data may say what its bands are.

        Only where training begins: what goes on, or predicts, has the encoder of its checkpoint.

        Args:
            model: Name of the encoder, or its dotted path.
        """
        kwargs = dict(self.hparams['model_kwargs'] or {})
        trainer: Any = self._trainer
        if not getattr(trainer, 'training', False) or trainer.ckpt_path:
            return kwargs
        datamodule = getattr(trainer, 'datamodule', None)
        kwargs = s1_arguments(model, kwargs, datamodule)
        bands = getattr(datamodule, 'bands', None)
        if bands and 'bands' not in kwargs and takes_argument(model, 'bands'):
            kwargs['bands'] = list(bands)
        if kwargs:
            self.hparams['model_kwargs'] = kwargs
        return dict(kwargs)

    @property
    def total_steps(self) -> int:
        """Number of optimiser steps of the whole run.

        Raises:
            SITSError: If the run has no end: the schedules need one.
        """
        steps = self.trainer.estimated_stepping_batches
        if steps == float('inf'):
            raise SITSError('The schedules need an end: set trainer.max_epochs or max_steps')
        return int(steps)

    @property
    def learning_rate(self) -> float:
        """Largest learning rate."""
        return float(self.hparams['lr'])

    def scheduled(self, optimizer: Optimizer) -> OptimizerLRScheduler:
        """An optimiser whose learning rate rises linearly and falls in a cosine, per step.

        Args:
            optimizer: The optimiser, at its largest learning rates.

        Returns:
            For Lightning. The schedule is set by :meth:`on_train_start`: asked here for the
            number of steps, Lightning loads the data before the state of a resumed run, and
            its epoch starts anew (Lightning #20550).
        """
        self._largest = [group['lr'] for group in optimizer.param_groups]
        scheduler = LambdaLR(optimizer, lambda step: 1.0)
        return {
            'optimizer': optimizer,
            'lr_scheduler': {'scheduler': scheduler, 'interval': 'step'},
        }

    def on_train_start(self) -> None:
        """Set the schedule of this run; a resumed one brings the learning rates of the old."""
        scheduler: Any = self.lr_schedulers()
        share = rise_and_fall(
            steps=self.total_steps,
            warmup_share=self.hparams['warmup_share'],
            last=self.hparams['min_lr'] / self.learning_rate,
        )
        scheduler.lr_lambdas = [share] * len(self._largest)
        scheduler.base_lrs = self._largest
        for group, largest in zip(scheduler.optimizer.param_groups, self._largest, strict=True):
            group['lr'] = largest * share(scheduler.last_epoch)

    def on_before_backward(self, loss: Tensor) -> None:
        """Stop all processes at a loss that is not finite, before it reaches the weights.

        Args:
            loss: The loss of a batch.

        Raises:
            SITSError: If it is not finite, in any process.
        """
        finite = bool(loss.detach().isfinite().all())
        if self.trainer.world_size > 1:  # one that stopped alone would leave the others waiting
            finite = self.trainer.strategy.reduce_boolean_decision(finite)
        if not finite:
            self._stop(f'the loss of training is {loss.detach().mean().item():g}')

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Stop at gradients that are not finite, before they reach the weights.

        Args:
            optimizer: The optimiser.

        Raises:
            SITSError: If they are not, and no scaler of 16-bit training leaves the step out.
        """
        if getattr(self.trainer.precision_plugin, 'scaler', None) is not None:
            return
        weights = (weight for group in optimizer.param_groups for weight in group['params'])
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        if not get_total_norm(gradients).isfinite():  # the same in all processes by now
            self._stop('the gradient of the loss is not finite')

    def _stop(self, reason: str) -> NoReturn:
        """End the run, and name the last checkpoint."""
        callback: Any = self.trainer.checkpoint_callback
        names = ('last_model_path', 'best_model_path')
        path = next((found for name in names if (found := getattr(callback, name, ''))), None)
        kept = f'The last checkpoint is {path}' if path else 'No checkpoint was written before'
        raise SITSError(
            f'{reason} at step {self.trainer.global_step} (epoch {self.trainer.current_epoch}). '
            'Lower model.lr, keep gradient clipping on, and look for values of the images, labels, '
            f'mean and std that are too large or too small. {kept}'
        )

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as the trainer says, or to ``clip_grad`` where it says nothing."""
        if gradient_clip_val is None and self.hparams['clip_grad']:
            gradient_clip_val, gradient_clip_algorithm = self.hparams['clip_grad'], 'norm'
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def configure_callbacks(self) -> list[Callback]:
        """Callbacks of the task, but for those that the trainer has its own of.

        A checkpoint callback of the task takes the place of the one that Lightning adds where
        none was asked for; a trainer with ``enable_checkpointing=False`` gets none.
        """
        precision = str(getattr(self.trainer, 'precision', '32-true'))
        if precision.endswith('-true') and precision != '32-true':
            raise SITSError(
                f'trainer.precision={precision} turns dates and weights to another type, in which '
                'encoders do not compute: choose bf16-mixed, 16-mixed or 32-true'
            )
        given = getattr(self.trainer, 'callbacks', [])
        kinds = {type(callback) for callback in given}
        own = [callback for callback in self.own_callbacks() if type(callback) not in kinds]
        for callback in filter(is_default_checkpoint, list(given)):
            # Removed, or Lightning tells users that one they never asked for is overridden.
            given.remove(callback)
            own.append(self.own_checkpoint())
        return own

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what another task needs to use the encoder, and what it was trained on.

        Weights of modules that were compiled keep the names that they had before.
        """
        self._seed.save(checkpoint)
        state = checkpoint['state_dict']
        checkpoint['state_dict'] = {key.replace(_COMPILED, ''): v for key, v in state.items()}
        datamodule: Any = getattr(self.trainer, 'datamodule', None)
        card = datamodule.card if hasattr(datamodule, 'card') else {}
        encoder: SITSEncoder = getattr(self, self.encoder_name)
        details = CardDetails(task=type(self).__name__, **getattr(datamodule, 'training_data', {}))
        if encoder.s1_channels:
            details |= getattr(datamodule, 'card_s1', None) or self._s1
        if self.hparams.get('labels') is not None:
            details['class_names'] = class_names(self)
        for name in ('codes', 'colors'):
            if self.hparams.get(name) is not None:
                details[f'class_{name}'] = self.hparams[name]  # type: ignore[literal-required]
        details |= self._origin
        if self.licence is not None:
            details['licence'] = self.licence
        checkpoint[CARD_KEY] = encoder_card(
            self.hparams['model'], encoder, prefix=self.encoder_name, **card, **details
        )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the seed of the run, and weights by the names that compiled modules have for them.

        Raises:
            SITSError: If a run that goes on has other weights, or the data has other bands.
        """
        self._seed.load(checkpoint)
        if CARD_KEY in checkpoint:
            card = checkpoint[CARD_KEY]
            self._s1 = s1_entries(card)
            self._origin = _origin_of(card)
        # A data module of another kind than trained it does not find its state in there.
        datamodule: Any = getattr(self._trainer, 'datamodule', None)
        kind = type(datamodule).__qualname__
        if datamodule is not None and CARD_KEY in checkpoint and kind not in checkpoint:
            adopt_data(checkpoint[CARD_KEY], datamodule, self.trainer.ckpt_path or 'checkpoint')
        weights = self.state_dict()
        own = {key.replace(_COMPILED, ''): key for key in weights}
        state = {
            own.get(key.replace(_COMPILED, ''), key): value
            for key, value in checkpoint['state_dict'].items()
        }
        checkpoint['state_dict'] = state
        odd = [
            key for key in weights.keys() & state.keys() if weights[key].shape != state[key].shape
        ]
        odd += weights.keys() ^ state.keys()
        if odd and self.strict_loading and self._trainer is not None:
            shown = ', '.join(sorted(odd)[:3])
            raise SITSError(
                f'{len(odd)} weights of the checkpoint are not those of this task, such as '
                f'{shown}: leave out options that change the model or the loss, and give data of '
                'the same bands and classes; or start from its encoder (--model.weights, not '
                '--ckpt_path)'
            )


#: Part of the names of weights that torch.compile adds.
_COMPILED = '_orig_mod.'


def _plain(value: Any) -> Any:
    """Turn arrays, tensors and numbers of NumPy into lists and numbers of Python."""
    if isinstance(value, Tensor | np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):  # not of named tuples or other kinds of one's own
        return type(value)(_plain(item) for item in value)
    return value
