"""What data modules with Sentinel-1 beside the images share: its statistics and its state."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import SITSError
from ..transforms import NormalizeS1
from .base import SeriesDataModule, given_statistics, gives_way

__all__ = ['Sentinel1DataModule']


class Sentinel1DataModule(SeriesDataModule):
    """Base class of data modules whose samples may have a Sentinel-1 series beside them.

    A subclass names the bands, none where there is no such series, and measures its statistics.
    These travel in the data module's state, so that a resumed run normalises as it did.

    Examples:
        >>> from torchgeo_sits.datamodules import SITSFusionDataModule
        >>> from torchgeo_sits.datamodules.sentinel1 import Sentinel1DataModule
        >>> issubclass(SITSFusionDataModule, Sentinel1DataModule)
        True
    """

    #: Mean and standard deviation as the user gave them.
    _given_s1: tuple[Sequence[float], Sequence[float]] | None = None
    _statistics_s1: tuple[Tensor, Tensor] | None = None

    @abstractmethod
    def _measure_s1(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each band of Sentinel-1 over the training split."""

    @property
    def card_s1(self) -> dict[str, Any]:
        """Bands and normalisation of Sentinel-1, in plain values, for the checkpoint."""
        if not self.bands_s1:
            return {}
        mean, std = self.statistics_s1
        return {'bands_s1': self.bands_s1, 'mean_s1': mean.tolist(), 'std_s1': std.tolist()}

    @property
    def statistics_s1(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each Sentinel-1 band ``(C1,)``, found once.

        Raises:
            SITSError: If given statistics do not fit the bands, or there is no clear pixel.
        """
        if not self.bands_s1:
            return torch.zeros(0), torch.zeros(0)
        if self._statistics_s1 is None:
            if self._given_s1 is None:
                self._statistics_s1 = self._measure_s1()
            else:
                self._statistics_s1 = given_statistics(*self._given_s1, self.bands_s1)
        return self._statistics_s1

    def normalise_s1_as(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Normalise Sentinel-1 as a checkpoint did, as :meth:`normalise_as` does the images.

        Args:
            mean: Mean of each band of Sentinel-1 of the checkpoint.
            std: Standard deviation of each.

        Raises:
            SITSError: If there are more or fewer values than bands.
        """
        wanted = given_statistics(mean, std, self.bands_s1)
        given = self._given_s1 is not None
        if gives_way(self.statistics_s1, wanted, self.bands_s1, given=given, scale='backscatter'):
            self._statistics_s1 = wanted
            self._set_transforms()

    def state_dict(self) -> dict[str, Any]:
        """Bands and statistics of both series."""
        own = {f's1_{name.removesuffix("_s1")}': value for name, value in self.card_s1.items()}
        return super().state_dict() | own

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the statistics of a checkpoint; one without Sentinel-1 leaves them as they are.

        Raises:
            SITSError: If the checkpoint was trained on other bands.
        """
        if 's1_bands' in state_dict:
            if state_dict['s1_bands'] != (bands := self.bands_s1):
                raise SITSError(
                    'The checkpoint was trained on the Sentinel-1 bands '
                    f'{state_dict["s1_bands"]}, the data has {bands}: choose `s1.bands` to match'
                )
            self._statistics_s1 = (
                torch.tensor(state_dict['s1_mean']),
                torch.tensor(state_dict['s1_std']),
            )
        super().load_state_dict(state_dict)

    def _set_transforms(self) -> None:
        """Normalise both series of every batch; flip and turn those of training."""
        super()._set_transforms()
        if not self.bands_s1:
            return
        normalize = NormalizeS1(*self.statistics_s1)
        # Flips in between or before do not matter: they copy pixels, and mask what is outside.
        self.aug = nn.Sequential(cast(nn.Module, self.aug), normalize)
        self.train_aug = nn.Sequential(cast(nn.Module, self.train_aug), normalize)
