"""Data module for Sentinel-1 beside any folder of dated rasters."""

import warnings
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchgeo.datasets import IntersectionDataset

from ..datasets import RasterTimeSeries, Sentinel1Beside, TimeSeries
from ..errors import SITSError
from ..renamed import SITS_OPTIONS, take_old_names
from ..transforms import NormalizeS1, s1_of
from .base import band_statistics, given_statistics, gives_way
from .options import ImageOptions, LabelOptions, PatchOptions, Sentinel1Options, SplitOptions
from .sits import SITSDataModule
from .splits import Splits

__all__ = ['SITSFusionDataModule']


class SITSFusionDataModule(SITSDataModule):
    """Patches of optical series with the Sentinel-1 series of their places.

    All of :class:`SITSDataModule`, whose samples get ``image_s1`` with dates and masks of its
    own (:class:`~torchgeo_sits.datasets.Sentinel1Beside`), normalised by statistics of its own
    over clear pixels of the training split. These travel in the data module's state, so that a
    resumed run normalises as it did; for other data give them as ``s1.mean`` and ``s1.std``.

    Encoders that can take it (factorised_tiny) do so in all tasks, unless they are told not to
    by ``model_kwargs={'s1_channels': 0}``; others see the optical series alone. That says where
    and when samples lie, and may lack any frame of a sample, or all; so may Sentinel-1.

    Examples:
        >>> from torchgeo_sits.datamodules import Sentinel1Options, SITSFusionDataModule
        >>> data = SITSFusionDataModule('s2', s1=Sentinel1Options('s1', bands=['VV', 'VH']))
        >>> data.images.paths, data.s1.paths
        ('s2', 's1')
    """

    @take_old_names(
        SITS_OPTIONS, images=ImageOptions, labels=LabelOptions, split=SplitOptions,
        patches=PatchOptions, s1=Sentinel1Options,
    )  # fmt: skip
    def __init__(
        self, *args: Any, s1: Sentinel1Options = Sentinel1Options(), **kwargs: Any
    ) -> None:
        """Initialize a new SITSFusionDataModule instance.

        Args:
            *args: Arguments of :class:`SITSDataModule`.
            s1: Sentinel-1 images to read beside the others.
            **kwargs: Arguments of :class:`SITSDataModule`.

        Raises:
            SITSError: If an option is out of its range or does not go with another.
        """
        super().__init__(*args, **kwargs)
        self.s1 = s1
        self._statistics_s1: tuple[Tensor, Tensor] | None = None

    @property
    def bands_s1(self) -> list[str]:
        """Names of the bands of Sentinel-1, in the order of its channels."""
        return list(self._beside.series.bands)

    @property
    def card_s1(self) -> dict[str, Any]:
        """Bands and normalisation of Sentinel-1, in plain values, for the checkpoint."""
        mean, std = self.statistics_s1
        return {'bands_s1': self.bands_s1, 'mean_s1': mean.tolist(), 'std_s1': std.tolist()}

    @property
    def statistics_s1(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each Sentinel-1 band ``(C1,)``, found once.

        Raises:
            SITSError: If given statistics do not fit the bands, or there is no clear pixel.
        """
        if self._statistics_s1 is None:
            if self.s1.statistics is None:
                self._statistics_s1 = self._measure_s1()
            else:
                self._statistics_s1 = given_statistics(*self.s1.statistics, self.bands_s1)
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
        given = self.s1.statistics is not None
        if gives_way(self.statistics_s1, wanted, self.bands_s1, given=given, scale='backscatter'):
            self._statistics_s1 = wanted
            self._set_transforms()

    def state_dict(self) -> dict[str, Any]:
        """Bands and statistics of both series."""
        mean, std = self.statistics_s1
        own = {'s1_bands': self.bands_s1, 's1_mean': mean.tolist(), 's1_std': std.tolist()}
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

    @property
    def _beside(self) -> Sentinel1Beside:
        """Transform that adds Sentinel-1 to the samples."""
        beside = self.splits.series.transforms
        assert isinstance(beside, Sentinel1Beside)  # _open saw to it
        return beside

    def _open(self) -> Splits:
        """Open series and labels, split both, and have all splits read Sentinel-1 too."""
        splits = super()._open()
        beside = Sentinel1Beside(
            RasterTimeSeries(
                self.s1.paths,
                crs=splits.series.crs,
                res=splits.series.res,
                bands=self.s1.bands,
                nodata=self.s1.nodata,
            )
        )
        spans = zip(splits.series.bounds, beside.series.bounds, strict=True)
        if not all(own.start <= other.stop and other.start <= own.stop for own, other in spans):
            warnings.warn(
                f'the Sentinel-1 images of s1.paths={self.s1.paths!r} are of another place or '
                f'time than those of {self.images.paths!r}, so that no sample has any: give those '
                'of the same',
                UserWarning,
                stacklevel=2,
            )
        for dataset in splits:
            series = dataset.datasets[0] if isinstance(dataset, IntersectionDataset) else dataset
            if isinstance(series, TimeSeries):
                series.transforms = beside
        return splits

    def _measure_s1(self) -> tuple[Tensor, Tensor]:
        """Statistics over patches of the training split."""
        return band_statistics(
            series for sample in self._measured_samples() if (series := s1_of(sample))
        )

    def _set_transforms(self) -> None:
        """Normalise both series of every batch; flip and turn those of training."""
        super()._set_transforms()
        normalize = NormalizeS1(*self.statistics_s1)
        # Flips in between or before do not matter: they copy pixels, and mask what is outside.
        self.aug = nn.Sequential(cast(nn.Module, self.aug), normalize)
        self.train_aug = nn.Sequential(cast(nn.Module, self.train_aug), normalize)
