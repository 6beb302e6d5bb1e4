"""The batch contract: the keys of a sample and of a batch, and what each one holds.

=====================  ================================  ========  ==============================
key                    sample -> batch                   dtype     meaning
=====================  ================================  ========  ==============================
``image``              ``(T,C,H,W)`` -> ``(B,T,C,H,W)``  float32   frames in chronological order
``acquisition_times``  ``(T,)`` -> ``(B,T)``             int64     seconds since 1970-01-01 UTC,
                                                                   0 in padding
``valid``              ``(T,)`` -> ``(B,T)``             bool      False in padding frames
``length``             ``()`` -> ``(B,)``                int64     number of real frames
``mask_clear``         ``(T,H,W)`` -> ``(B,T,H,W)``      bool      observed, no nodata or cloud
``mask``               ``(H,W)`` or ``(T,H,W)``          int64     classes; float32 where labels
                                                                   are values, NaN where none is
``label``              ``()`` -> ``(B,)``                int64     label of a whole series, float32
                                                                   where it is a value
``bounds``             ``(9,)`` -> ``(B,9)``             float64   xmin, xmax, xres, ymin, ymax,
                                                                   yres, tmin, tmax, tres
``transform``          ``(9,)`` -> ``(B,9)``             float64   affine, row by row
``location``           ``(2,)`` -> ``(B,2)``             float32   latitude and longitude of the
                                                                   centre in degrees
=====================  ================================  ========  ==============================

A Sentinel-1 series of the same place may lie beside the optical one, on its grid and with
dates of its own: ``image_s1``, ``acquisition_times_s1``, ``valid_s1`` and ``mask_clear_s1``
mean for it what the keys without ``_s1`` mean for the other, and are padded to a length of
their own. A sample without Sentinel-1 has no valid frame there.

Of measured values ``mask`` and ``label`` are float32, NaN where nothing was measured.

Validity is explicit and never guessed from pixel values. Only spatial tensors carry names
that begin with ``image`` or ``mask``: Kornia takes every such key for an image to transform.
"""

from typing import Any, Final, NamedTuple, Self

from torch import Tensor

from .errors import SITSError

__all__ = [
    'ACQUISITION_TIMES',
    'ACQUISITION_TIMES_S1',
    'BOUNDS',
    'FRAME_KEYS',
    'IMAGE',
    'IMAGE_S1',
    'LABEL',
    'LENGTH',
    'LOCATION',
    'MASK',
    'MASK_CLEAR',
    'MASK_CLEAR_S1',
    'S1_KEYS',
    'TRANSFORM',
    'VALID',
    'VALID_S1',
    'Series',
]

IMAGE: Final = 'image'
ACQUISITION_TIMES: Final = 'acquisition_times'
VALID: Final = 'valid'
LENGTH: Final = 'length'
MASK_CLEAR: Final = 'mask_clear'
MASK: Final = 'mask'
LABEL: Final = 'label'
BOUNDS: Final = 'bounds'
TRANSFORM: Final = 'transform'
LOCATION: Final = 'location'

IMAGE_S1: Final = 'image_s1'
ACQUISITION_TIMES_S1: Final = 'acquisition_times_s1'
VALID_S1: Final = 'valid_s1'
MASK_CLEAR_S1: Final = 'mask_clear_s1'

#: Keys of a Sentinel-1 series, by those of the optical series.
S1_KEYS: Final = {
    IMAGE: IMAGE_S1,
    ACQUISITION_TIMES: ACQUISITION_TIMES_S1,
    VALID: VALID_S1,
    MASK_CLEAR: MASK_CLEAR_S1,
}

#: Keys whose tensors have one entry per frame in their first (batch: second) axis. A
#: :data:`MASK` has one only when it is three-dimensional in a sample.
FRAME_KEYS: Final = (IMAGE, ACQUISITION_TIMES, VALID, MASK_CLEAR)


class Series(NamedTuple):
    """A batch of image time series, as every encoder takes it.

    The shapes are those of images. Planes of B series are a series too: N paths of L pixels each
    stand for H x W, with ``image`` ``(B, N, C, T, L)`` and ``mask_clear`` ``(B, N, T, L)``.

    Attributes:
        image: ``(B, T, C, H, W)`` float.
        acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC, in any order.
        valid: ``(B, T)`` bool, False in padding frames.
        mask_clear: ``(B, T, H, W)`` bool, True where a pixel was seen; None: all were.
        s1: Sentinel-1 series of the same B places on the same grid, or planes along the same
            paths, with bands and dates of its own; all of its frames are invalid for a place
            that has none. None: there is no such series.
        location: ``(B, 2)`` float, latitude and longitude of each place in degrees, NaN where it
            is unknown. None: no place is known.

    Examples:
        >>> import torch
        >>> times = 1_600_000_000 + 86_400 * torch.arange(3)[None]
        >>> series = Series(torch.zeros(1, 3, 4, 8, 8), times, torch.ones(1, 3, dtype=torch.bool))
        >>> series.image.shape, series.mask_clear, series.s1, series.location
        (torch.Size([1, 3, 4, 8, 8]), None, None, None)
    """

    image: Tensor
    acquisition_times: Tensor
    valid: Tensor
    mask_clear: Tensor | None = None
    s1: 'Series | None' = None
    location: Tensor | None = None

    @property
    def clear(self) -> Tensor:
        """``mask_clear`` of a series that an encoder has checked, and that is never None there."""
        if self.mask_clear is None:
            raise SITSError('mask_clear is None: SITSEncoder.check_series fills it in')
        return self.mask_clear

    @classmethod
    def from_batch(cls, batch: dict[str, Any], *, s1: bool = False) -> Self:
        """Take the series out of a batch.

        Args:
            batch: A batch with the keys of this module; ``mask_clear`` may be absent.
            s1: Whether to take the Sentinel-1 series as well, where the batch has one. Only
                encoders with ``s1_channels`` accept it.

        Examples:
            >>> import torch
            >>> batch = {
            ...     'image': torch.zeros(2, 3, 4, 8, 8),
            ...     'acquisition_times': torch.zeros(2, 3, dtype=torch.int64),
            ...     'valid': torch.ones(2, 3, dtype=torch.bool),
            ...     'mask': torch.zeros(2, 8, 8, dtype=torch.int64),
            ... }
            >>> Series.from_batch(batch).valid.shape
            torch.Size([2, 3])
        """
        beside = None
        if s1 and IMAGE_S1 in batch:
            beside = cls.from_batch({key: batch.get(key_s1) for key, key_s1 in S1_KEYS.items()})
        return cls(
            batch[IMAGE], batch[ACQUISITION_TIMES], batch[VALID], batch.get(MASK_CLEAR), beside
        )
