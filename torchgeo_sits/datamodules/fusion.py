"""Data module for Sentinel-1 beside any folder of dated rasters."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torchgeo.datasets import IntersectionDataset

from ..datasets import RasterTimeSeries, Sentinel1Beside, TimeSeries
from ..errors import SITSError
from ..transforms import NormalizeS1, s1_of
from .patches import random_patches
from .splits import Parts
from .statistics import band_statistics, choose, given_statistics
from .timeseries import SITSDataModule

__all__ = ['SITSFusionDataModule']


class SITSFusionDataModule(SITSDataModule):
    """Patches of optical series with the Sentinel-1 series of their places.

    All of :class:`SITSDataModule`, whose samples get ``image_s1`` with dates and masks of its
    own (:class:`~torchgeo_sits.datasets.Sentinel1Beside`), normalised by statistics of its own
    over clear pixels of the training split. These travel in the data module's state, so that a
    resumed run normalises as it did; for other data give them as *s1_mean* and *s1_std*.

    Encoders that take it are told so by ``model_kwargs={'s1_channels': 2}``, others see the
    optical series alone. So does, for now, what is not pretraining: tasks with labels, the
    k-NN probe and the watch over embeddings.
    """

    def __init__(
        self,
        *args: Any,
        s1_paths: str | list[str] = 'data/s1',
        s1_bands: list[str] | None = None,
        s1_nodata: float | None = None,
        s1_mean: list[float] | None = None,
        s1_std: list[float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Initialize a new SITSFusionDataModule instance.

        Args:
            *args: Arguments of :class:`SITSDataModule`.
            s1_paths: One or more folders of dated Sentinel-1 rasters of all bands, or files,
                such as backscatter in decibels. They are warped to the grid of the images.
            s1_bands: Names of their bands to read. Defaults to all.
            s1_nodata: Value of pixels without data. Defaults to what the files say.
            s1_mean: Mean of each band. Computed if None.
            s1_std: Standard deviation of each band. Computed if None.
            **kwargs: Arguments of :class:`SITSDataModule`.

        Raises:
            SITSError: If an argument is out of its range.
        """
        super().__init__(*args, **kwargs)
        if (s1_mean is None) != (s1_std is None):
            raise SITSError('Give both s1_mean and s1_std, or neither')
        self.s1_paths = s1_paths
        self.s1_bands = s1_bands
        self.s1_nodata = s1_nodata
        self._given_s1 = None if s1_mean is None or s1_std is None else (s1_mean, s1_std)
        self._statistics_s1: tuple[Tensor, Tensor] | None = None

    @property
    def statistics_s1(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each Sentinel-1 band ``(C1,)``, found once.

        Raises:
            SITSError: If given statistics do not fit the bands, or there is no clear pixel.
        """
        if self._statistics_s1 is None:
            if self._given_s1 is None:
                self._statistics_s1 = self._measure_s1()
            else:
                self._statistics_s1 = given_statistics(*self._given_s1, self._beside.series.bands)
        return self._statistics_s1

    def state_dict(self) -> dict[str, Any]:
        """Bands and statistics of both series."""
        mean, std = self.statistics_s1
        bands = list(self._beside.series.bands)
        own = {'s1_bands': bands, 's1_mean': mean.tolist(), 's1_std': std.tolist()}
        return super().state_dict() | own

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the statistics of a checkpoint; one without Sentinel-1 leaves them as they are.

        Raises:
            SITSError: If the checkpoint was trained on other bands.
        """
        if 's1_bands' in state_dict:
            if state_dict['s1_bands'] != (bands := list(self._beside.series.bands)):
                raise SITSError(
                    'The checkpoint was trained on the Sentinel-1 bands '
                    f'{state_dict["s1_bands"]}, the data has {bands}: choose `s1_bands` to match'
                )
            self._statistics_s1 = (
                torch.tensor(state_dict['s1_mean']),
                torch.tensor(state_dict['s1_std']),
            )
        super().load_state_dict(state_dict)

    @property
    def _beside(self) -> Sentinel1Beside:
        """What adds Sentinel-1 to the samples."""
        beside = self.parts.series.transforms
        assert isinstance(beside, Sentinel1Beside)  # _open saw to it
        return beside

    def _open(self) -> Parts:
        """Open series and labels, split both, and have all parts read Sentinel-1 too."""
        parts = super()._open()
        beside = Sentinel1Beside(
            RasterTimeSeries(
                self.s1_paths,
                crs=parts.series.crs,
                res=parts.series.res,
                bands=self.s1_bands,
                nodata=self.s1_nodata,
            )
        )
        for part in parts:
            series = part.datasets[0] if isinstance(part, IntersectionDataset) else part
            if isinstance(series, TimeSeries):
                series.transforms = beside
        return parts

    def _measure_s1(self) -> tuple[Tensor, Tensor]:
        """Statistics over patches of the training split, at most 32 of them."""
        train = self.parts.train
        patches = list(self._gridded_patches(train)) or list(
            random_patches(self.parts, train, blocks=None, **self._drawn | {'length': 32})
        )
        samples = (train[window] for window in choose(patches, 32, self.seed))
        return band_statistics(series for sample in samples if (series := s1_of(sample)))

    def _set_transforms(self) -> None:
        """Normalise both series of every batch; flip and turn those of training."""
        super()._set_transforms()
        normalize = NormalizeS1(*self.statistics_s1)
        # Flips in between or before do not matter: they copy pixels, and mask what is outside.
        self.aug = nn.Sequential(cast(nn.Module, self.aug), normalize)
        self.train_aug = nn.Sequential(cast(nn.Module, self.train_aug), normalize)
