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
    r"""Map the scores of a linear head on the embedding back to the pixels that they come from.

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

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from torchgeo_sits.models import Series, planar_vit_tiny
        >>> encoder, head = planar_vit_tiny(4).eval(), nn.Linear(128, 3)
        >>> image, times = torch.rand(1, 5, 4, 8, 8), 10**6 * torch.arange(5)[None]
        >>> series = Series(image, times, valid=torch.ones(1, 5, dtype=torch.bool))
        >>> scores = semantic_map(encoder, head, series).mean((2, 3)) + head.bias
        >>> torch.allclose(scores, head(encoder(series)), atol=1e-5)
        True
    """
    if not isinstance(head, nn.Linear) or head.in_features != encoder.embed_dim:
        raise SITSError(
            f'expected a head nn.Linear on the {encoder.embed_dim} late features of the encoder, '
            f'got {head}: for SITSClassification set hidden_dim=0 and depth=late'
        )
    function = encoder.frame_features if by_frame else encoder.features
    features = function(series)
    return torch.einsum('...dhw,kd->...khw', features.float(), head.weight.float())
