"""The dates that a class of a probe rests on."""

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import SITSError
from ..explaining import PlacePrediction, date_occluder, occlusion
from ..keys import IMAGE
from ..models import SITSEncoder
from ..tasks.embedding import pixel_embeddings
from .features import EmbeddedArea
from .images import SeriesImages
from .probe import LinearProbe

__all__ = ['importance_of_dates']

#: Side of the patch around a pixel: the time of an answer grows with its square.
_PATCH: Final = 8


def importance_of_dates(
    encoder: SITSEncoder,
    area: EmbeddedArea,
    probe: LinearProbe,
    images: SeriesImages,
    place: tuple[int, int],
) -> tuple[NDArray[np.int64], NDArray[np.float32], int]:
    """Measure what the class of a pixel loses without each date.

    Encoder and probe answer as one model for the patch of 8 x 8 pixels around the pixel, which is
    less than ``embed`` shows an encoder: the class may be another one than that of the map.

    Args:
        encoder: Encoder of the embeddings, which takes values as they are read.
        area: The embeddings, for their means and standard deviations.
        probe: The probe.
        images: The series.
        place: Row and column.

    Returns:
        Times ``(U,)`` of the dates that were clear there, seconds since 1970; what the log-odds of
        the class lose without each of them ``(U,)``; and the number of the class.

    Raises:
        SITSError: If the encoder takes a series beside the optical one, which is not read here.
    """
    if encoder.s1_channels:
        raise SITSError('the encoder takes Sentinel-1 beside the images, which is not read here')
    weight, bias = torch.from_numpy(probe.weight), torch.from_numpy(probe.bias)
    mean, std = torch.from_numpy(area.mean), torch.from_numpy(area.std)

    def model(batch: dict[str, Any]) -> Tensor:
        embedding = (pixel_embeddings(encoder, batch)['embedding'] - mean) / std
        return torch.einsum('kd,bdhw->bkhw', weight, embedding) + bias[:, None, None]

    sample, pixel = images.sample(*place, _PATCH)
    batch = {
        key: value[None] if isinstance(value, Tensor) else value for key, value in sample.items()
    }
    assert batch[IMAGE].ndim == 5
    with torch.inference_mode():
        found = PlacePrediction.of(model, batch, pixel)
        dates = date_occluder(found)
        lost = occlusion(dates)
    times = found.times[dates.units].numpy().astype(np.int64)
    return times, lost.numpy().astype(np.float32), int(probe.classes[found.explained])
