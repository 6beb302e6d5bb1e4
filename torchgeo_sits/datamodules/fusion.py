"""Data module for Sentinel-1 beside any folder of dated rasters."""

import warnings
from typing import Any

from torch import Tensor
from torchgeo.datasets import IntersectionDataset

from ..datasets import RasterTimeSeries, Sentinel1Beside, TimeSeries
from ..renamed import SITS_OPTIONS, take_old_names
from ..transforms import s1_of
from .base import band_statistics
from .options import ImageOptions, LabelOptions, PatchOptions, Sentinel1Options, SplitOptions
from .sentinel1 import Sentinel1DataModule
from .sits import SITSDataModule
from .splits import Splits

__all__ = ['SITSFusionDataModule']


class SITSFusionDataModule(Sentinel1DataModule, SITSDataModule):
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
        self._given_s1 = s1.statistics

    @property
    def bands_s1(self) -> list[str]:
        """Names of the bands of Sentinel-1, in the order of its channels."""
        return list(self._beside.series.bands)

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
