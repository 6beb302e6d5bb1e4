"""An encoder that takes the values of images as they are read."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import SITSError
from ..keys import Series
from .encoder import Depth, PlaneFeatures, SITSEncoder

__all__ = ['RawValueEncoder']


class RawValueEncoder(SITSEncoder):
    """An encoder with the normalisation of its training data in front of it.

    It takes series in the unit of the training data, as they are read from files, subtracts the
    mean of each band and divides by its standard deviation. So it does with a Sentinel-1 series
    beside them, where it has statistics of that, and leaves it as it comes where not.

    Attributes:
        encoder: The encoder itself, which takes normalised values.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.models import RawValueEncoder, Series, build_encoder
        >>> encoder = build_encoder('tempcnn', 2, num_dates=4, hidden_dim=4, embed_dim=8).eval()
        >>> raw = RawValueEncoder(encoder, mean=[1000.0, 3000.0], std=[500.0, 800.0]).eval()
        >>> reflectance = 5000 * torch.rand(1, 3, 2, 6, 6)
        >>> seen = torch.ones(1, 3, dtype=torch.bool)
        >>> series = Series(reflectance, torch.arange(3)[None] * 864_000, seen)
        >>> normalised = (reflectance - raw.mean) / raw.std
        >>> torch.equal(raw(series), encoder(series._replace(image=normalised)))
        True
    """

    mean: Tensor
    std: Tensor
    mean_s1: Tensor
    std_s1: Tensor

    def __init__(
        self,
        encoder: SITSEncoder,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        mean_s1: Sequence[float] = (),
        std_s1: Sequence[float] = (),
    ) -> None:
        """Initialise a new RawValueEncoder instance.

        Args:
            encoder: The encoder of normalised values.
            mean: Mean of each band, ``(C,)``, in the unit of the images.
            std: Standard deviation of each band, ``(C,)``.
            mean_s1: Mean of each band of Sentinel-1, ``(C1,)``, where it is to be normalised.
            std_s1: Standard deviation of each of these, ``(C1,)``.

        Raises:
            SITSError: If *mean* or *std* are not one per band, or those of Sentinel-1.
        """
        super().__init__(
            in_channels=encoder.in_channels,
            embed_dim=encoder.embed_dim,
            early_dim=encoder.early_dim,
            stride=encoder.stride,
        )
        if not len(mean) == len(std) == encoder.in_channels:
            raise SITSError(
                f'expected a mean and a deviation for each of {encoder.in_channels} bands, got '
                f'{len(mean)} and {len(std)}'
            )
        if len(mean_s1) != len(std_s1) or len(mean_s1) not in (0, encoder.s1_channels):
            raise SITSError(
                f'expected a mean and a deviation for each of {encoder.s1_channels} bands of '
                f'Sentinel-1, got {len(mean_s1)} and {len(std_s1)}'
            )
        self.encoder = encoder
        self.config = encoder.config
        self.s1_channels = encoder.s1_channels
        # Not among the weights: these stay those of the encoder.
        # Of Sentinel-1 that is not normalised: a mean of 0 and a deviation of 1.
        left = range(encoder.s1_channels if not len(mean_s1) else 0)
        mean_s1, std_s1 = [*mean_s1, *(0.0 for _ in left)], [*std_s1, *(1.0 for _ in left)]
        given = {'mean': mean, 'std': std, 'mean_s1': mean_s1, 'std_s1': std_s1}
        for name, values in given.items():
            buffer = torch.as_tensor(values, dtype=torch.float32)[:, None, None]
            self.register_buffer(name, buffer, persistent=False)

    def forward_features(self, series: Series, depth: Depth) -> Tensor:
        """Compute the encoder's features of the normalised series."""
        return self.encoder.forward_features(self._normalised(series), depth)

    def forward_frames(self, series: Series) -> Tensor:
        """Compute the encoder's features of each frame of the normalised series."""
        return self.encoder.forward_frames(self._normalised(series))

    def forward_image(self, series: Series, token_mask: Tensor | None) -> PlaneFeatures:
        """Compute the encoder's features of the cells of the normalised series."""
        return self.encoder.forward_image(self._normalised(series), token_mask)

    def forward_planes(self, planes: Series, token_mask: Tensor | None) -> PlaneFeatures:
        """Compute the encoder's features of the normalised planes."""
        return self.encoder.forward_planes(self._normalised(planes), token_mask)

    def pool_cells(self, late: Tensor, seen: Tensor) -> Tensor:
        """Pool late features as the encoder does."""
        return self.encoder.pool_cells(late, seen)

    @property
    def plane_cell(self) -> tuple[int, int]:
        """Paths and pixels of a path that a token of the encoder stands for."""
        return self.encoder.plane_cell

    def _normalised(self, series: Series) -> Series:
        """Normalise the images; of images and of planes the bands are the third axis."""
        s1 = series.s1
        if s1 is not None:
            s1 = s1._replace(image=(s1.image - self.mean_s1) / self.std_s1)
        return series._replace(image=(series.image - self.mean) / self.std, s1=s1)
