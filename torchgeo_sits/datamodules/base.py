"""Base class of data modules of series: normalisation, classes, pictures."""

import warnings
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import kornia.augmentation as K
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchgeo.datamodules import BaseDataModule
from torchgeo.datamodules.utils import MisconfigurationException
from torchgeo.datasets.utils import Sample

from ..datasets.frames import LARGEST
from ..datasets.plotting import plot_labels
from ..errors import SITSError
from ..keys import IMAGE, MASK_CLEAR
from ..transforms import Normalize, SeriesGeometry
from .loader import ListedSamples, ResumableLoader

__all__ = ['SeriesDataModule', 'band_statistics', 'choose', 'given_statistics', 'gives_way']

_HOLD_OUT = 'give labels, and a share of them for it (split.val_fraction, split.test_fraction)'


class SeriesDataModule(BaseDataModule):
    """Base class of data modules of image time series.

    Tasks and callbacks read what it has. It stands before TorchGeo's base in a subclass, which
    says its bands and measures its statistics.

    Attributes:
        target: Whether samples have labels of pixels (``mask``) or of one field (``label``).
        unlabelled: Value in the ``mask`` of a batch that is no label.
        task_config: Name of the configuration of the task that fits the labels, of published data,
            which is scored by its test and has no maps; None for data of one's own.

    Examples:
        >>> from torchgeo_sits.datamodules import PASTISDataModule, SeriesDataModule
        >>> data = PASTISDataModule(bands=['B04', 'B08'], mean=[0.0, 0.0], std=[1.0, 1.0])
        >>> isinstance(data, SeriesDataModule), data.card
        (True, {'bands': ['B04', 'B08'], 'mean': [0.0, 0.0], 'std': [1.0, 1.0]})
    """

    target: Literal['pixel', 'field'] = 'pixel'
    unlabelled: int = 0
    task_config: str | None = None

    #: What a subclass sets, or TorchGeo's other base does.
    train_sampler: Any
    collate_fn: Any

    #: Mean and standard deviation as the user gave them.
    _given: tuple[Sequence[float], Sequence[float]] | None = None
    _statistics: tuple[Tensor, Tensor] | None = None

    @property
    @abstractmethod
    def bands(self) -> list[str]:
        """Names of the bands, in the order of the channels."""

    @abstractmethod
    def _measure(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each band ``(C,)`` over the training split."""

    @property
    def bands_s1(self) -> list[str]:
        """Names of the bands of Sentinel-1 beside them; none by default."""
        return []

    @property
    def class_names(self) -> list[str] | None:
        """Names by value of the ``mask``, from 0; None where they are not known."""
        return None

    @property
    def class_codes(self) -> list[int | None] | None:
        """Numbers that the classes have for the user, by value of the ``mask``; None without."""
        return None

    @property
    def class_colors(self) -> list[str | None] | None:
        """Colours of the classes in maps, by value of the ``mask``; None where none is known."""
        return None

    @property
    def num_classes(self) -> int | None:
        """Number of values of the ``mask``, counting 0; None where it is not known."""
        return None if self.class_names is None else len(self.class_names)

    @property
    def in_channels(self) -> int:
        """Number of bands."""
        return len(self.bands)

    @property
    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each band ``(C,)``, found once.

        Raises:
            SITSError: If given statistics do not fit the bands.
        """
        if self._statistics is None:
            if self._given is None:
                self._statistics = self._measure()
            else:
                self._statistics = given_statistics(*self._given, self.bands)
        return self._statistics

    @property
    def card(self) -> dict[str, Any]:
        """Bands and normalisation, in plain values, for the checkpoint."""
        mean, std = self.statistics
        return {'bands': self.bands, 'mean': mean.tolist(), 'std': std.tolist()}

    @property
    def training_data(self) -> dict[str, Any]:
        """Name of the data and its dates, in plain values, for the checkpoint.

        Of paths the last part alone: where files are kept is no business of those who get it.
        """
        found: dict[str, Any] = {'dataset': type(self).__name__}
        kwargs = getattr(self, 'kwargs', {})
        if given := kwargs.get('paths', kwargs.get('root')):
            paths = [given] if isinstance(given, str | Path) else given
            found['paths'] = [Path(path).name for path in paths]
        index = getattr(getattr(self, 'train_dataset', None), 'index', None)
        if index is not None and len(index):
            days = sorted({str(date.date()) for date in index.index.left})
            found['dates'] = {'first': days[0], 'last': days[-1], 'number': len(days)}
        return found

    def train_dataloader(self) -> DataLoader[Any]:
        """Samples for training, each process its share; a resumed run gets the rest of an epoch.

        A last batch that is not full is dropped where there is a full one. A trainer that overfits
        batches gets the same ones in each epoch.

        Returns:
            The loader.
        """
        options: dict[str, Any] = {
            'batch_size': self.batch_size,
            'num_workers': self.num_workers,
            'collate_fn': self.collate_fn,
            'drop_last': len(self.train_sampler) >= self.batch_size,
            'persistent_workers': self.num_workers > 0,
        }
        if self._overfits:
            return DataLoader(ListedSamples(self.train_dataset, self.train_sampler), **options)
        return ResumableLoader(self.train_dataset, sampler=self.train_sampler, **options)

    @property
    def _overfits(self) -> bool:
        """Whether the trainer wants the same batches in each epoch, in order."""
        trainer: Any = self.trainer
        return bool(getattr(trainer, 'overfit_batches', 0))

    def val_dataloader(self) -> Any:
        """Samples for validation; none where training holds nothing out for it.

        Returns:
            The loader, or an empty list.

        Raises:
            SITSError: If a run of validation has nothing.
        """
        try:
            return super().val_dataloader()
        except MisconfigurationException as error:
            if self.trainer is not None and self.trainer.state.fn == 'fit':
                return []
            raise SITSError(f'nothing is held out for validation: {_HOLD_OUT}') from error

    def test_dataloader(self) -> Any:
        """Samples for the test.

        Returns:
            The loader.

        Raises:
            SITSError: If nothing is held out for it.
        """
        try:
            return super().test_dataloader()
        except MisconfigurationException as error:
            raise SITSError(f'nothing is held out for the test: {_HOLD_OUT}') from error

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Move a batch to a device, but for places (``bounds``, ``transform``).

        These are of 64 bits, which not every device has, and nothing computes with them there.

        Args:
            batch: The batch.
            device: The device.
            dataloader_idx: Number of the data loader.

        Returns:
            The batch.
        """
        places = {
            key: value
            for key, value in batch.items()
            if isinstance(value, Tensor) and value.dtype == torch.float64
        }
        rest = {key: value for key, value in batch.items() if key not in places}
        moved: dict[str, Any] = super().transfer_batch_to_device(rest, device, dataloader_idx)
        return {**moved, **places}

    def state_dict(self) -> dict[str, Any]:
        """Bands and statistics, so that a resumed run normalises as it did."""
        return self.card

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the statistics of a checkpoint.

        Raises:
            SITSError: If the checkpoint was trained on other bands.
        """
        if state_dict['bands'] != self.bands:
            raise SITSError(
                f'The checkpoint was trained on the bands {state_dict["bands"]}, the data has '
                f'{self.bands}: choose `bands` to match'
            )
        self._take(torch.tensor(state_dict['mean']), torch.tensor(state_dict['std']))

    def normalise_as(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Normalise as a checkpoint did, whose weights know no other scale.

        Statistics that the user gave are kept, with a warning.

        Args:
            mean: Mean of each band of the checkpoint.
            std: Standard deviation of each band.

        Raises:
            SITSError: If there are more or fewer values than bands.
        """
        wanted = given_statistics(mean, std, self.bands)
        given = self._given is not None
        if gives_way(self.statistics, wanted, self.bands, given=given, scale='reflectance'):
            self._take(*wanted)

    def _take(self, mean: Tensor, std: Tensor) -> None:
        """Normalise by the statistics of a checkpoint."""
        self._statistics = mean, std
        self._set_transforms()

    def plot(self, sample: Sample) -> Figure:
        """Draw the clearest frame of a sample, its labels, and predictions beside them.

        Args:
            sample: A sample, with ``prediction`` like ``mask`` where there is one.

        Returns:
            The figure.
        """
        return plot_labels(
            sample, self.bands, class_names=self.class_names, unlabelled=self.unlabelled
        )

    def _set_transforms(self) -> None:
        """Normalise every batch; flip and turn those of training."""
        self.aug = normalize = Normalize(*self.statistics)
        turns = SeriesGeometry(
            K.RandomHorizontalFlip(p=0.5), K.RandomVerticalFlip(p=0.5), K.RandomRotation90((0, 3))
        )
        self.train_aug = nn.Sequential(normalize, turns)


def band_statistics(samples: Iterable[dict[str, Any]]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per band over clear pixels.

    Sums are kept in float64 relative to the first sample's mean, so that neither many
    pixels nor a mean far from zero costs digits.

    Args:
        samples: Samples with ``image`` ``(T, C, H, W)`` and ``mask_clear`` ``(T, H, W)``.

    Returns:
        Mean and standard deviation, ``(C,)`` float32. A band that never varies gets 1, so
        that dividing by it is harmless.

    Raises:
        SITSError: If there is not one clear pixel, or values are beyond all sensors.
    """
    count = 0
    shift = total = square = torch.zeros(())
    for sample in samples:
        pixels = sample[IMAGE].movedim(1, -1)[sample[MASK_CLEAR]].double()
        if not len(pixels):
            continue
        if not count:
            shift = pixels.mean(dim=0)
        pixels = pixels - shift
        count += len(pixels)
        total = total + pixels.sum(dim=0)
        square = square + pixels.square().sum(dim=0)
    if not count:
        raise SITSError(
            'no clear pixel was found to normalise by: all pixels of the rasters are no data '
            '(nodata, NaN or inf), or none is clear. Check the files, `nodata`, and '
            '`clear_values` where there are `cloud_paths`'
        )
    mean = total / count
    std = (square / count - mean.square()).clamp(min=0).sqrt()
    std = torch.where(std > 1e-6 * (mean + shift).abs().clamp(min=1e-12), std, 1.0)
    mean = mean + shift
    if (odd := (mean.abs() > LARGEST) | (std > LARGEST)).any():
        raise SITSError(
            f'values of the bands number {(odd.nonzero().flatten() + 1).tolist()} are as large as '
            f'{max(mean.abs().max(), std.max()):.1e}: they mean no data, which the files do not '
            'say. Give that value as `nodata`'
        )
    return mean.float(), std.float()


def given_statistics(
    mean: Sequence[float], std: Sequence[float], bands: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation as a user gave them.

    Args:
        mean: One value per band.
        std: One value per band.
        bands: Names of the C bands.

    Returns:
        Mean and standard deviation, ``(C,)`` float32.

    Raises:
        SITSError: If there are more or fewer values than bands, or they do not normalise.
    """
    if len(mean) != len(bands) or len(std) != len(bands):
        raise SITSError(
            f'mean and std have {len(mean)} and {len(std)} values, the series '
            f'has {len(bands)} bands: {list(bands)}'
        )
    if not all(abs(value) <= LARGEST for value in (*mean, *std)) or min(std) < 1 / LARGEST:
        raise SITSError(
            f'mean={list(mean)} and std={list(std)} do not normalise: expected numbers of at most '
            f'{LARGEST:g}, and std above 0'
        )
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32)


def gives_way(
    own: tuple[Tensor, Tensor],
    wanted: tuple[Tensor, Tensor],
    bands: Sequence[str],
    *,
    given: bool,
    scale: str,
) -> bool:
    """Say whether statistics of the data give way to those of a checkpoint.

    Warns where the user's are kept that are others, and where the data looks like other data.

    Args:
        own: Mean and standard deviation of each of the C bands, ``(C,)``.
        wanted: Those of the checkpoint, ``(C,)``.
        bands: Names of the bands.
        given: Whether the user gave the data's own.
        scale: What the bands measure.
    """
    if given:
        if not all(map(torch.allclose, own, wanted)):
            warnings.warn(
                f'the data is normalised by the mean and std that were given, not by those '
                f'that the checkpoint was trained with, mean={wanted[0].tolist()} and '
                f'std={wanted[1].tolist()}: leave mean and std out to use those',
                UserWarning,
                stacklevel=3,
            )
        return False
    if odd := _far_off(own, wanted, bands):
        warnings.warn(
            'the data looks unlike what the checkpoint was trained on, as if it had another '
            f'scale of {scale}: {odd}. It is normalised as the checkpoint all the same; '
            'rescale the data, or give mean and std to normalise by them',
            UserWarning,
            stacklevel=3,
        )
    return True


def choose(items: Sequence[Any], most: int, seed: int) -> list[Any]:
    """Some of *items* at random, *most* of them or all; the same for a seed."""
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(seed))
    return [items[i] for i in order[:most]]


def _far_off(
    own: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], bands: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """Bands whose means lie more than 3 of the smaller standard deviation apart.

    Args:
        own: Mean and standard deviation of each of the C bands, ``(C,)``.
        other: Those to hold them against, ``(C,)``.
        bands: Names of the bands.

    Returns:
        Both means of each such band, by its name.
    """
    (mean, std), (wanted, spread) = own, other
    odd = (mean - wanted).abs() > 3 * torch.minimum(std, spread)
    return {
        name: (round(a, 4), round(b, 4))
        for name, a, b, far in zip(bands, mean.tolist(), wanted.tolist(), odd.tolist(), strict=True)
        if far
    }
