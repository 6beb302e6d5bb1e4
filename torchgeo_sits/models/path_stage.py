"""The path stage of PlanarViT: a transformer along each path."""

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

__all__ = ['PathStage']


class PathStage(nn.Module):
    r"""Transformer blocks along paths of any length.

    Position enters as a fixed distance penalty :math:`-m_h |i - j|` on the attention scores
    of head h with :math:`m_h = 2^{-8 h / H}` (ALiBi, Press et al. 2022, section 3,
    https://arxiv.org/abs/2108.12409), symmetric instead of causal: it has no weights, holds
    for any length, and a path read backwards gives the same features.

    Args:
        dim: Width of the tokens.
        depth: Number of blocks.
        num_heads: Heads H of each block; divides *dim*.
        mlp_ratio: Hidden width of the blocks' MLP over *dim*.
        drop_path: Rate of stochastic depth at the last block, growing linearly from 0.
    """

    slopes: Tensor

    def __init__(
        self, *, dim: int, depth: int, num_heads: int, mlp_ratio: float, drop_path: float
    ) -> None:
        super().__init__()
        rates = [drop_path * i / max(1, depth - 1) for i in range(depth)]
        self.blocks = nn.ModuleList(
            Block(dim, num_heads, mlp_ratio, qkv_bias=True, drop_path=rate) for rate in rates
        )
        self.norm = nn.LayerNorm(dim)
        slopes = 2.0 ** (-8 * torch.arange(1, num_heads + 1) / num_heads)
        self.register_buffer('slopes', slopes, persistent=False)

    def forward(self, paths: Tensor) -> Tensor:
        """Tokens in the context of their path: ``(R, S, dim)`` to ``(R, S, dim)``."""
        steps = torch.arange(paths.shape[1], device=paths.device)
        # Four axes: the fused attention kernels take no mask of three.
        bias = -self.slopes[None, :, None, None] * (steps[:, None] - steps).abs()
        bias = bias.to(paths.dtype)
        for block in self.blocks:
            paths = block(paths, attn_mask=bias)
        return self.norm(paths)
