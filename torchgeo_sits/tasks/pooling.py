"""One vector of features for a whole series, and the head on it."""

import torch
from torch import Tensor, nn

from ..keys import Series
from ..models import Depth, SITSEncoder

__all__ = ['series_features', 'series_head']


def series_features(encoder: SITSEncoder, series: Series, depth: Depth) -> Tensor:
    """Compute one vector per series.

    Args:
        encoder: The encoder.
        series: B series.
        depth: Features to take: late ones as the encoder pools them, others by their mean over
            what was seen.

    Returns:
        ``(B, D')``, D' as :meth:`~torchgeo_sits.models.SITSEncoder.feature_dim` gives it.
    """
    if depth == 'late':
        embedding: Tensor = encoder(series)
        return embedding
    features = encoder.features(series, depth=depth)
    # The mean of what was seen, as embeddings of late features are; of all where nothing was.
    seen = encoder.seen_cells(encoder.check_series(series)).to(features.dtype)[:, None]
    seen = torch.where(seen.amax((2, 3), keepdim=True) > 0, seen, 1.0)
    return (features * seen).sum((2, 3)) / seen.sum((2, 3))


def series_head(encoder: SITSEncoder, num_outputs: int, *, depth: Depth, hidden: int) -> nn.Module:
    """Build the head on such a vector: linear, or with a hidden layer.

    Args:
        encoder: The encoder.
        num_outputs: Number of scores K.
        depth: Features that the head sees.
        hidden: Width of the hidden layer, 0 for none.

    Returns:
        A module from ``(B, D')`` to ``(B, K)``.
    """
    dim = encoder.feature_dim(depth)
    if not hidden:
        return nn.Linear(dim, num_outputs)
    return nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, num_outputs))
