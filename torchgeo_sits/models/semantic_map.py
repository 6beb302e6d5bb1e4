"""Semantic maps: where, and when, a linear head finds its classes."""

import torch
from torch import Tensor, nn

from ..errors import SITSError
from ..keys import Series
from .encoder import SITSEncoder

__all__ = ['semantic_map']


def semantic_map(
    encoder: SITSEncoder,
    head: nn.Module,
    series: Series,
    *,
    by_frame: bool = False,
) -> Tensor:
    r"""How much each pixel adds to the scores of a linear head on the embedding.

    Class activation maps (Zhou et al. 2016, https://arxiv.org/abs/1512.04150, eq. 2),

    .. math:: M_k(x, y) = \sum_d w_{kd} f_d(x, y),

    with the features :math:`f` of an encoder whose embedding is their mean over the pixels that
    were seen, as of :class:`~.deep_star.DeepSTaR`, whose features are those of its rows and
    columns folded back, and of :class:`~.planar_vit.PlanarViT`. The mean of the map over these
    pixels, plus the head's bias, then is the score.

    Deep-STaR (Chelali et al. 2021) explains its decisions by a map of post-hoc attention,
    which it calls semantic map; its formula was not at hand, and this one stands in its place.

    Args:
        encoder: The encoder, in evaluation mode.
        head: Linear layer from D features to K scores.
        series: B series.
        by_frame: Whether to give a map of each frame, from its features, in place of one of all.

    Returns:
        ``(B, K, H / stride, W / stride)`` float32, or ``(B, T, K, H / stride, W / stride)`` by
        frame, zeros in padding frames.

    Raises:
        SITSError: If *head* is not a linear layer on the late features of *encoder*.
    """
    if not isinstance(head, nn.Linear) or head.in_features != encoder.embed_dim:
        raise SITSError(
            f'expected a head nn.Linear on the {encoder.embed_dim} late features of the encoder, '
            f'got {head}: for SITSClassification set hidden_dim=0 and depth=late'
        )
    function = encoder.frame_features if by_frame else encoder.features
    features = function(series)
    return torch.einsum('...dhw,kd->...khw', features.float(), head.weight.float())
