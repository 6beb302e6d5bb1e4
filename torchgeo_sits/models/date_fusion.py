"""The dates of all sensors at one place, fused and pooled."""

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from .chunks import map_chunks

__all__ = ['DateFusion']


class DateFusion(nn.Module):
    r"""Transformer over the dates of a place, whatever sensor they are of, and a pooling.

    The multi-modal temporal fusion of SkySense (Guo et al., CVPR 2024,
    https://arxiv.org/abs/2312.10115, section 3.1): the tokens of all sensors and dates at one
    place, to which their dates are added, attend to each other. Where SkySense reads the
    result off an extra token, K learned queries pool the dates here, as in L-TAE (Garnot &
    Landrieu 2020, https://arxiv.org/abs/2007.00586): with :math:`x_t` the tokens after the
    blocks and their norm, :math:`a_{tk} = \mathrm{softmax}_t(q_k \cdot x_t)`, and query k gives
    the mean :math:`\sum_t a_{tk} x_t^k` of the k-th group of channels. The weights can then be
    read, and pool other values of the same dates too.

    Args:
        dim: Width of the tokens.
        depth: Number of blocks, whose cost is quadratic in the number of dates.
        num_heads: Heads of a block and number K of queries; divides *dim*.
        mlp_ratio: Hidden width of the blocks' MLP over *dim*.
        chunk_size: Tokens held in memory at a time; more are checkpointed in slices.
    """

    def __init__(
        self, *, dim: int, depth: int, num_heads: int, mlp_ratio: float, chunk_size: int
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.chunk_size = chunk_size
        self.blocks = nn.ModuleList(
            Block(dim, num_heads, mlp_ratio, qkv_bias=True) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)
        self.queries = nn.Linear(dim, num_heads, bias=False)
        self.proj = nn.Sequential(nn.Linear(dim, dim), nn.LayerNorm(dim))
        self.nothing_seen = nn.Parameter(torch.zeros(dim))
        nn.init.trunc_normal_(self.nothing_seen, std=0.02)

    def forward(self, tokens: Tensor, known: Tensor) -> Tensor:
        """Tokens of dates in the context of the other dates of their place.

        Args:
            tokens: ``(N, T, dim)`` of N places, dates and sensors added, finite everywhere.
            known: ``(N, T)`` bool, False for dates to leave out.

        Returns:
            ``(N, T, dim)``.
        """

        def run(x: Tensor, seen: Tensor) -> Tensor:
            # Where there is no date all take part: a softmax over nothing would be NaN.
            seen = seen | ~seen.any(-1, keepdim=True)
            for block in self.blocks:
                x = block(x, attn_mask=seen[:, None, None])
            return self.norm(x)

        return map_chunks(
            run, tokens, known, dim=0, chunk=max(1, self.chunk_size // tokens.shape[1])
        )

    def weights(self, x: Tensor, known: Tensor) -> Tensor:
        """Weight of each date under each query.

        Args:
            x: ``(N, T, dim)``, what :meth:`forward` gave.
            known: ``(N, T)`` bool.

        Returns:
            ``(N, T, K)`` float32, sums to 1 over the known dates; all zeros where there is none.
        """
        scores = self.queries(x).float()
        # A finite floor: a row of minus infinity would make softmax NaN.
        scores = scores.masked_fill(~known[..., None], torch.finfo(scores.dtype).min)
        return scores.softmax(1) * known[..., None]

    def pool(self, values: Tensor, weights: Tensor) -> Tensor:
        """Means of each query's channels under its weights, joined: ``(N, dim)``."""
        groups = values.unflatten(-1, (self.num_heads, -1))
        return (groups * weights[..., None].to(values.dtype)).sum(1).flatten(1)

    def late(self, x: Tensor, weights: Tensor, known: Tensor) -> Tensor:
        """Features of places: ``(N, dim)``; one learned token where there is no date."""
        pooled = self.proj(self.pool(x, weights))
        return torch.where(known.any(1, keepdim=True), pooled, self.nothing_seen.to(pooled.dtype))
