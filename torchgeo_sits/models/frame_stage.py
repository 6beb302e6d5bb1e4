"""Frames of one sensor, each encoded on its own: patches, and attention among them."""

import torch
from einops import rearrange
from timm.layers import RotaryEmbeddingCat
from timm.models.eva import EvaBlock
from torch import Tensor, nn
from torch.nn import functional as F

from .cells import gap_to_cells
from .chunks import map_chunks

__all__ = ['FrameStage']


class FrameStage(nn.Module):
    """Transformer over the patches of a frame, for frames that clouds cover in part.

    A patch of ``p x p`` pixels with its clear mask becomes a token by a small MLP. Blocks of
    timm then run over the clear patches of each frame, which no patch without a clear pixel
    takes part in. Position is relative: it turns queries and keys (RoPE on both axes, Heo et
    al., ECCV 2024, https://arxiv.org/abs/2403.13298, with their base of 100), so any size of
    image will do, and moving what is seen by a patch moves its tokens.

    Args:
        in_channels: Number of bands C.
        patch_size: Side p of a patch in pixels.
        dim: Width of the tokens.
        depth: Number of blocks.
        num_heads: Heads of a block; ``dim / num_heads`` is a multiple of 4.
        mlp_ratio: Hidden width of the blocks' MLP over *dim*.
        chunk_size: Tokens held in memory at a time; more are checkpointed in slices.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        patch_size: int,
        dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        chunk_size: int,
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.chunk_size = chunk_size
        self.patches = nn.Sequential(
            nn.Linear(patch_size**2 * (in_channels + 1), dim), nn.GELU(), nn.Linear(dim, dim)
        )
        self.positions = RotaryEmbeddingCat(dim // num_heads, temperature=100.0, in_pixels=False)
        self.blocks = nn.ModuleList(
            EvaBlock(dim, num_heads, mlp_ratio=mlp_ratio, num_prefix_tokens=0) for _ in range(depth)
        )

    def forward(
        self, image: Tensor, clear: Tensor, mask_token: Tensor, hidden: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Encode frames.

        Args:
            image: ``(B, T, C, H, W)``, anything where not clear.
            clear: ``(B, T, H, W)`` bool.
            mask_token: ``(dim,)``, what stands for hidden tokens.
            hidden: ``(B, h, w)`` bool, True for cells whose tokens are hidden, in each frame of
                which anything else was seen; none by default.

        Returns:
            Tokens before the blocks and after them, ``(B, T, P, dim)`` each for the
            ``P = ceil(H / p) * ceil(W / p)`` cells, and ``(B, T, P)`` bool, False where there
            is nothing to see.
        """
        p = self.patch_size
        height, width = image.shape[-2:]
        gaps = (0, gap_to_cells(width, p), 0, gap_to_cells(height, p))
        # where, not a product: NaN times zero is NaN.
        image = F.pad(torch.where(clear[:, :, None], image, 0), gaps)
        clear = F.pad(clear, gaps)
        values = torch.cat([image, clear[:, :, None].to(image.dtype)], 2)
        values = rearrange(values, 'b t c (h p) (w q) -> b t (h w) (p q c)', p=p, q=p)
        known = rearrange(clear, 'b t (h p) (w q) -> b t (h w) (p q)', p=p, q=p).any(-1)
        before = tokens = self.patches(values)
        if hidden is not None:
            cells = hidden.flatten(1)[:, None]
            known = torch.where(cells, (known & ~cells).any(-1, keepdim=True), known)
            tokens = torch.where(cells[..., None], mask_token.to(tokens.dtype), tokens)
        size = [side // p for side in clear.shape[-2:]]
        turns = self.positions.get_embed(size)

        def run(frames: Tensor, seen: Tensor) -> Tensor:
            # Where no patch is clear all take part: a softmax over nothing would be NaN.
            seen = seen | ~seen.any(-1, keepdim=True)
            for block in self.blocks:
                frames = block(frames, rope=turns, attn_mask=seen[:, None, None])
            return frames

        chunk = max(1, self.chunk_size // known.shape[-1])
        after = map_chunks(run, tokens.flatten(0, 1), known.flatten(0, 1), dim=0, chunk=chunk)
        return before, after.view_as(tokens), known
