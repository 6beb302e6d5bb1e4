"""The protocol of every encoder of satellite image time series."""

from abc import ABC, abstractmethod
from typing import Any, Literal, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from ..errors import SITSError

__all__ = ['Depth', 'PlaneFeatures', 'SITSEncoder', 'count_cells', 'gap_to_cells', 'mean_seen']


def count_cells(side: int, stride: int) -> int:
    """Number of cells that cover a side, the last of them in part where it does not divide.

    Args:
        side: Pixels along the side.
        stride: Pixels along the side of a cell.
    """
    # Not -(-side // stride): integers of ONNX are divided towards zero.
    return (side + stride - 1) // stride


def gap_to_cells(side: int, stride: int) -> int:
    """Pixels that a side lacks to be of whole cells; arguments as of :func:`count_cells`."""
    return count_cells(side, stride) * stride - side


#: Where dense features are taken: before spatial context (*early*), after it (*late*), or
#: both joined along the channels, early first (*joined*).
type Depth = Literal['early', 'late', 'joined']


class PlaneFeatures(NamedTuple):
    """What an encoder says about the planes or the image of a view.

    N and S count the paths and the tokens of a path, or, of an image, the rows of cells and
    the cells of a row.

    Attributes:
        embed: ``(B, D)``, one vector per view.
        early: ``(B, N, S, D_early)``, one vector per token, before spatial context.
        late: ``(B, N, S, D)``, one vector per token, after spatial context.
        seen: ``(B, N, S)`` bool, False for tokens without a clear pixel at any date.
    """

    embed: Tensor
    early: Tensor
    late: Tensor
    seen: Tensor


class SITSEncoder(nn.Module, ABC):
    """A model that turns an image time series into features.

    Every encoder keeps four promises, which one test holds all of them to: padding frames,
    the content of padding and of unclear pixels (NaN included), the other series of the
    batch, and the order of the frames change no output. Clear pixels must be finite.

    Subclasses implement :meth:`features` and :meth:`frame_features`, and list what rebuilds
    them in :attr:`config`.

    Args:
        in_channels: Number of bands C.
        embed_dim: Number of late feature channels D.
        early_dim: Number of early feature channels, *embed_dim* by default.
        stride: Pixels per cell of a feature map, along either axis.
    """

    #: Plain values that rebuild the encoder as keyword arguments, ``in_channels`` included.
    config: dict[str, Any]

    #: Bands of a Sentinel-1 series that all methods take as ``s1`` (see
    #: :class:`~.factorised.SeriesInputs`), or 0 where they do not.
    s1_channels: int = 0

    def __init__(
        self,
        *,
        in_channels: int,
        embed_dim: int,
        early_dim: int | None = None,
        stride: int = 1,
    ) -> None:
        super().__init__()
        early_dim = embed_dim if early_dim is None else early_dim
        for name, value in (
            ('in_channels', in_channels),
            ('embed_dim', embed_dim),
            ('early_dim', early_dim),
            ('stride', stride),
        ):
            if value < 1:
                raise SITSError(f'expected {name} of at least 1, got {value}')
        self.in_channels = in_channels
        self.embed_dim = embed_dim
        self.early_dim = early_dim
        self.stride = stride
        self.config = {}

    @abstractmethod
    def features(
        self,
        image: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None = None,
        *,
        depth: Depth = 'late',
    ) -> Tensor:
        """Dense features, pooled over time.

        Args:
            image: ``(B, T, C, H, W)`` float.
            acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.
            valid: ``(B, T)`` bool, False in padding frames.
            mask_clear: ``(B, T, H, W)`` bool, True where a pixel was seen; all by default.
            depth: See :data:`Depth`.

        Returns:
            ``(B, D', H / stride, W / stride)``, D' as :meth:`feature_dim` gives it.
        """

    @abstractmethod
    def frame_features(
        self,
        image: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None = None,
    ) -> Tensor:
        """Dense features of each frame, in the context of the series.

        Args:
            image: ``(B, T, C, H, W)`` float.
            acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.
            valid: ``(B, T)`` bool, False in padding frames.
            mask_clear: ``(B, T, H, W)`` bool, True where a pixel was seen; all by default.

        Returns:
            ``(B, T, D, H / stride, W / stride)``, zeros in padding frames.
        """

    def embed(
        self,
        image: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None = None,
    ) -> Tensor:
        """One vector per series: its late features, pooled as :meth:`pool_cells` does.

        Args:
            image: ``(B, T, C, H, W)`` float.
            acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.
            valid: ``(B, T)`` bool, False in padding frames.
            mask_clear: ``(B, T, H, W)`` bool, True where a pixel was seen; all by default.

        Returns:
            ``(B, D)``.
        """
        clear = self.check_series(image, acquisition_times, valid, mask_clear)
        late = self.features(image, acquisition_times, valid, mask_clear)
        return self.pool_cells(rearrange(late, 'b d h w -> b h w d'), self._seen_cells(clear))

    def forward(
        self,
        image: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None = None,
    ) -> Tensor:
        """The same as :meth:`embed`: ``(B, T, C, H, W)`` to ``(B, D)``."""
        return self.embed(image, acquisition_times, valid, mask_clear)

    def encode_planes(
        self,
        planes: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None = None,
        *,
        token_mask: Tensor | None = None,
    ) -> PlaneFeatures:
        """Features of the planes of a view.

        By default the N planes of length L are taken for an image of height N and width L,
        so that any encoder can be trained on planes; hidden tokens are hidden as pixels.

        Args:
            planes: ``(B, N, C, T, L)`` float, N planes of length L.
            acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.
            valid: ``(B, T)`` bool, False in padding frames.
            mask_clear: ``(B, N, T, L)`` bool, True where a pixel was seen; all by default.
            token_mask: ``(B, N', S)`` bool, True where a token is hidden, one per cell that
                this method returns; none by default.

        Returns:
            Features with one token per ``stride`` pixels of a path and, by default, one row
            of them per ``stride`` paths.
        """
        image = rearrange(planes, 'b n c t l -> b t c n l')
        clear = None if mask_clear is None else rearrange(mask_clear, 'b n t l -> b t n l')
        return self.encode_image(image, acquisition_times, valid, clear, token_mask=token_mask)

    def encode_image(
        self,
        image: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None = None,
        *,
        token_mask: Tensor | None = None,
    ) -> PlaneFeatures:
        """Features of the cells of an image, and its embedding, in one pass.

        By default hidden cells are hidden as pixels: they count as unclear at all dates.

        Args:
            image: ``(B, T, C, H, W)`` float.
            acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.
            valid: ``(B, T)`` bool, False in padding frames.
            mask_clear: ``(B, T, H, W)`` bool, True where a pixel was seen; all by default.
            token_mask: ``(B, N, S)`` bool, True where a cell is hidden; none by default.

        Returns:
            Features with one token per cell: ``N = ceil(H / stride)`` rows of
            ``S = ceil(W / stride)``. ``embed`` is what :meth:`embed` gives of the same image
            where no cell is hidden.

        Raises:
            SITSError: If a tensor has another shape than expected.
        """
        clear = self.check_series(image, acquisition_times, valid, mask_clear)
        if token_mask is not None:
            self._check_token_mask(token_mask, image)
            h, w = image.shape[-2:]
            hidden = token_mask.repeat_interleave(self.stride, 1)[:, :h]
            hidden = hidden.repeat_interleave(self.stride, 2)[..., :w]
            clear = clear & ~hidden[:, None]
        joined = self.features(image, acquisition_times, valid, clear, depth='joined')
        joined = rearrange(joined, 'b d n s -> b n s d')
        early, late = joined.split([self.feature_dim('early'), self.feature_dim('late')], -1)
        seen = self._seen_cells(clear)
        return PlaneFeatures(self.pool_cells(late, seen), early, late, seen)

    def pool_cells(self, late: Tensor, seen: Tensor) -> Tensor:
        """Pool the late features of the cells of an image: their mean, by default.

        Args:
            late: ``(B, N, S, D)``.
            seen: ``(B, N, S)`` bool, False for cells without a clear pixel at any date.

        Returns:
            ``(B, D)``.
        """
        return late.mean((1, 2))

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layers from input to output, as timm's ``param_groups_layer_decay`` asks for them.

        By default each submodule is a layer, in the order in which they were made.

        Args:
            coarse: Accepted for timm, which passes it.

        Returns:
            Regular expressions of parameter names, by layer.
        """
        return {name: rf'^{name}\.' for name, _ in self.named_children()}

    @property
    def plane_cell(self) -> tuple[int, int]:
        """Paths and pixels of a path that a token of :meth:`encode_planes` stands for."""
        return self.stride, self.stride

    def feature_dim(self, depth: Depth = 'late') -> int:
        """Number of channels that :meth:`features` gives at *depth*.

        Raises:
            SITSError: If *depth* is not one of early, late, joined.
        """
        dims = {
            'early': self.early_dim,
            'late': self.embed_dim,
            'joined': self.early_dim + self.embed_dim,
        }
        if depth not in dims:
            raise SITSError(f'expected depth to be one of {sorted(dims)}, got {depth!r}')
        return dims[depth]

    def check_series(
        self,
        image: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor | None = None,
        *,
        channels: Literal['in_channels', 's1_channels'] = 'in_channels',
    ) -> Tensor:
        """Check the shapes of a batch of series and give the pixels that count.

        Args:
            image: ``(B, T, C, H, W)``.
            acquisition_times: ``(B, T)`` int64.
            valid: ``(B, T)`` bool.
            mask_clear: ``(B, T, H, W)`` bool or None.
            channels: Attribute that holds the number of bands to expect.

        Returns:
            ``(B, T, H, W)`` bool: clear pixels of valid frames.

        Raises:
            SITSError: If a tensor has another shape or dtype than the batch contract asks.
        """
        number = getattr(self, channels)
        if image.ndim != 5 or image.shape[2] != number or 0 in image.shape:
            raise SITSError(
                f'expected image (B, T, C, H, W) with C={number} and no empty axis, got '
                f'{tuple(image.shape)}: build the encoder with the {channels} of the data'
            )
        b, t, _, h, w = image.shape
        if acquisition_times.shape != (b, t) or acquisition_times.is_floating_point():
            raise SITSError(
                f'expected acquisition_times {(b, t)} int64 (seconds since 1970), got '
                f'{tuple(acquisition_times.shape)} {acquisition_times.dtype}'
            )
        if valid.shape != (b, t) or valid.dtype != torch.bool:
            raise SITSError(f'expected valid {(b, t)} bool, got {tuple(valid.shape)} {valid.dtype}')
        clear = valid[:, :, None, None].expand(b, t, h, w)
        if mask_clear is None:
            return clear
        if mask_clear.shape != (b, t, h, w) or mask_clear.dtype != torch.bool:
            raise SITSError(
                f'expected mask_clear {(b, t, h, w)} bool, got '
                f'{tuple(mask_clear.shape)} {mask_clear.dtype}'
            )
        return clear & mask_clear

    def _check_token_mask(self, token_mask: Tensor, image: Tensor) -> None:
        """Raise SITSError unless *token_mask* has one entry per cell of *image*."""
        cells = (len(image), *(count_cells(side, self.stride) for side in image.shape[-2:]))
        if token_mask.shape != cells or token_mask.dtype != torch.bool:
            raise SITSError(
                f'expected token_mask {cells} bool, one per cell of {self.stride} x {self.stride} '
                f'pixels, got {tuple(token_mask.shape)} {token_mask.dtype}'
            )

    def _seen_cells(self, clear: Tensor) -> Tensor:
        """Cells ``(B, N, S)`` of which any pixel was clear at any date, of ``(B, T, H, W)``."""
        seen = clear.any(1).float()[:, None]
        return max_pool2d(seen, self.stride, ceil_mode=True)[:, 0] > 0


def mean_seen(tokens: Tensor, seen: Tensor) -> Tensor:
    """Mean of tokens ``(B, N, S, D)`` where seen ``(B, N, S)``, of all where none was."""
    tokens, seen = tokens.flatten(1, 2), seen.flatten(1)
    weights = (seen | ~seen.any(-1, keepdim=True)).to(tokens.dtype)
    weights = weights / weights.sum(-1, keepdim=True)
    return (weights[:, None] @ tokens)[:, 0]
