"""What all data modules of series share: normalisation, classes, pictures."""

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kornia.augmentation as K
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torchgeo.datamodules import BaseDataModule
from torchgeo.datasets.utils import Sample

from ..datasets.plotting import plot_labels
from ..errors import SITSError
from ..transforms import Normalize, SeriesGeometry
from .statistics import far_off, given_statistics

__all__ = ['SeriesDataModule']


class SeriesDataModule(BaseDataModule):
    """What tasks and callbacks read of data modules of image time series.

    Stands before TorchGeo's base in a subclass, which says its bands and measures its statistics.

    Attributes:
        unlabelled: Value in the ``mask`` of a batch that is no label.
        class_names: Names by value of the ``mask``, from 0; None where they are not known.
    """

    unlabelled: int = 0
    class_names: list[str] | None = None

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
        """What the data is called and of which dates it is, in plain values, for the checkpoint.

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
        if self._given is not None:
            if not all(map(torch.allclose, self.statistics, wanted)):
                warnings.warn(
                    f'the data is normalised by the mean and std that were given, not by those '
                    f'that the checkpoint was trained with, mean={wanted[0].tolist()} and '
                    f'std={wanted[1].tolist()}: leave mean and std out to use those',
                    UserWarning,
                    stacklevel=2,
                )
            return
        if odd := far_off(self.statistics, wanted, self.bands):
            warnings.warn(
                'the data looks unlike what the checkpoint was trained on, as if it had another '
                f'scale of reflectance: {odd}. It is normalised as the checkpoint all the same; '
                'rescale the data, or give mean and std to normalise by them',
                UserWarning,
                stacklevel=2,
            )
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
