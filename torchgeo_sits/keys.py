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
``mask``               ``(H,W)`` or ``(T,H,W)``          int64     labels
``label``              ``()`` -> ``(B,)``                int64     label of a whole series
``bounds``             ``(9,)`` -> ``(B,9)``             float64   xmin, xmax, xres, ymin, ymax,
                                                                   yres, tmin, tmax, tres
``transform``          ``(9,)`` -> ``(B,9)``             float64   affine, row by row
=====================  ================================  ========  ==============================

A Sentinel-1 series of the same place may lie beside the optical one, on its grid and with
dates of its own: ``image_s1``, ``acquisition_times_s1``, ``valid_s1`` and ``mask_clear_s1``
mean for it what the keys without ``_s1`` mean for the other, and are padded to a length of
their own. A sample without Sentinel-1 has no valid frame there.

Validity is explicit and never guessed from pixel values. Only spatial tensors carry names
that begin with ``image`` or ``mask``: Kornia takes every such key for an image to transform.
"""

from typing import Final

__all__ = [
    'ACQUISITION_TIMES',
    'ACQUISITION_TIMES_S1',
    'BOUNDS',
    'FRAME_KEYS',
    'IMAGE',
    'IMAGE_S1',
    'LABEL',
    'LENGTH',
    'MASK',
    'MASK_CLEAR',
    'MASK_CLEAR_S1',
    'S1_KEYS',
    'TRANSFORM',
    'VALID',
    'VALID_S1',
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
