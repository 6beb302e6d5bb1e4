"""The protocol of every encoder of satellite image time series."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any, Literal, NamedTuple
from warnings import warn

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from ..errors import SITSError
from ..keys import LOCATION, Series

__all__ = [
    'Depth',
    'PlaneFeatures',
    'SITSEncoder',
    'TimeSpan',
    'count_cells',
    'gap_to_cells',
    'image_as_planes',
    'mean_seen',
    'planes_as_image',
    'series_within',
    'transpose_image',
]

#: Where dense features are taken: before spatial context (*early*), after it (*late*), or
#: both joined along the channels, early first (*joined*).
type Depth = Literal['early', 'late', 'joined']

#: Seconds since 1970-01-01 UTC: the first one, and the first one after the last.
type TimeSpan = tuple[int, int]


class PlaneFeatures(NamedTuple):
    """Features of the planes of a view, or of the cells of an image.

    N and S count the paths and the tokens of a path, or, of an image, the rows of cells and
    the cells of a row.

    Attributes:
        embed: ``(B, D)``, one vector per view.
        early: ``(B, N, S, D_early)``, one vector per token, before spatial context.
        late: ``(B, N, S, D)``, one vector per token, after spatial context.
        seen: ``(B, N, S)`` bool, False for tokens without a clear pixel at any date.

    Examples:
        >>> import torch
        >>> late = torch.rand(2, 3, 4, 8)
        >>> seen = torch.ones(2, 3, 4, dtype=torch.bool)
        >>> found = PlaneFeatures(late.mean((1, 2)), early=late, late=late, seen=seen)
        >>> found.embed.shape, found.seen.sum().item()
        (torch.Size([2, 8]), 24)
    """

    embed: Tensor
    early: Tensor
    late: Tensor
    seen: Tensor


def _take_tensors[F: Callable[..., Tensor]](method: F) -> F:
    """Let a method take the tensors of a series one by one, as it did before 0.2, with a warning.

    To be removed with its three uses below.
    """

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Tensor:
        given = {k: kwargs.pop(k) for k in Series._fields if k in kwargs}
        if given or isinstance(args[0], Tensor):
            name = f'{type(self).__name__}.{method.__name__}'
            warn(
                f'{name}(image, acquisition_times, valid, mask_clear) is deprecated: pass '
                'torchgeo_sits.models.Series(image, acquisition_times, valid, mask_clear)',
                FutureWarning,
                skip_file_prefixes=(__file__, torch.__path__[0]),
            )
            args = (Series(*args, **given),)
        return method(self, *args, **kwargs)

    return call  # type: ignore[return-value]


class SITSEncoder(nn.Module, ABC):
    """A model that turns an image time series into features.

    Every encoder keeps four promises: padding frames, the content of padding and of unclear
    pixels (NaN included), the other series of the batch, and the order of the frames change no
    output. Clear pixels must be finite. :func:`~.promises.check_encoder` holds an encoder to
    them.

    An encoder of one's own derives from this class, implements :meth:`forward_features` and
    :meth:`forward_frames`, and lists what rebuilds it in :attr:`config`. Both are given series
    whose shapes were checked, and whose ``clear`` pixels are those of valid frames.
    :meth:`forward_image`, :meth:`forward_planes`, :meth:`forward_rolling` and :meth:`pool_cells`
    may be replaced too.

    Args:
        in_channels: Number of bands C.
        embed_dim: Number of late feature channels D.
        early_dim: Number of early feature channels, *embed_dim* by default.
        stride: Pixels per cell of a feature map, along either axis.

    Raises:
        SITSError: If a number is below 1.

    Examples:
        >>> import torch
        >>> class MeanOfClear(SITSEncoder):
        ...     def __init__(self, in_channels=10):
        ...         super().__init__(in_channels=in_channels, embed_dim=in_channels)
        ...         self.config = {'in_channels': in_channels}
        ...
        ...     def forward_features(self, series, depth):
        ...         clear = series.clear[:, :, None]
        ...         total = torch.where(clear, series.image, 0).sum(1)
        ...         late = total / clear.sum(1).clamp(min=1)
        ...         return torch.cat([late, late], 1) if depth == 'joined' else late
        ...
        ...     def forward_frames(self, series):
        ...         return torch.where(series.clear[:, :, None], series.image, 0)
        >>> image, times = torch.rand(2, 5, 4, 8, 8), torch.arange(5).expand(2, 5)
        >>> series = Series(image, times, torch.ones(2, 5, dtype=torch.bool))
        >>> MeanOfClear(4)(series).shape
        torch.Size([2, 4])
    """

    #: Plain values that rebuild the encoder as keyword arguments, ``in_channels`` included.
    config: dict[str, Any]

    #: Bands of the Sentinel-1 series that a :class:`~torchgeo_sits.keys.Series` may bring
    #: along, or 0 where the encoder takes none.
    s1_channels: int = 0

    #: Whether the encoder takes the place of each series, ``location``.
    takes_location: bool = False

    #: Whether the features of a pixel follow from its own values alone, in training too: those of
    #: pixels that nobody asks for need not be computed then.
    independent_pixels: bool = False

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

    # What callers use.

    @_take_tensors
    def features(self, series: Series, *, depth: Depth = 'late') -> Tensor:
        """Compute dense features, pooled over time.

        Args:
            series: B series.
            depth: See :data:`Depth`.

        Returns:
            ``(B, D', ceil(H / stride), ceil(W / stride))``, D' as :meth:`feature_dim` gives it.

        Raises:
            SITSError: If a tensor has another shape or dtype than expected, or *depth* is none.
        """
        self.feature_dim(depth)
        return self.forward_features(self.check_series(series), depth)

    def frame_features(self, series: Series) -> Tensor:
        """Compute dense features of each frame, in the context of the series.

        Args:
            series: B series of T frames.

        Returns:
            ``(B, T, D, ceil(H / stride), ceil(W / stride))``, zeros in padding frames.

        Raises:
            SITSError: If a tensor has another shape or dtype than expected.
        """
        frames = self.forward_frames(self.check_series(series))
        # where, not a product: what a subclass gives of a padding frame may be NaN.
        return torch.where(series.valid[:, :, None, None, None], frames, 0)

    def rolling_features(
        self, series: Series, spans: Sequence[TimeSpan], *, depth: Depth = 'late'
    ) -> Iterator[Tensor]:
        """Compute the dense features of the dates of each of several spans of time, alone.

        What comes is what :meth:`features` gives of the series cut to the span. Series are
        encoded as the features are taken: those of one span are in memory at a time.

        Args:
            series: B series.
            spans: Spans of time, in any order; they may overlap. Of one without a date the
                features are those of a series without a frame.
            depth: See :data:`Depth`.

        Yields:
            ``(B, D', ceil(H / stride), ceil(W / stride))`` for each span.

        Raises:
            SITSError: If a tensor has another shape or dtype than expected, or a span ends before
                it begins.

        Examples:
            >>> import torch
            >>> from torchgeo_sits.models import Series, planar_vit_tiny
            >>> image, times = torch.rand(1, 5, 4, 8, 8), 86_400 * torch.arange(5)[None]
            >>> series = Series(image, times, valid=torch.ones(1, 5, dtype=torch.bool))
            >>> spans = [(0, 2 * 86_400), (0, 5 * 86_400)]
            >>> encoder = planar_vit_tiny(4).eval()
            >>> with torch.no_grad():
            ...     [found.shape for found in encoder.rolling_features(series, spans)]
            [torch.Size([1, 128, 8, 8]), torch.Size([1, 128, 8, 8])]
        """
        self.feature_dim(depth)
        for start, stop in spans:
            if start >= stop:
                raise SITSError(f'expected spans that end after they begin, got {(start, stop)}')
        return self.forward_rolling(self.check_series(series), spans, depth)

    @_take_tensors
    def embed(self, series: Series) -> Tensor:
        """Compute one vector per series: its late features, pooled as :meth:`pool_cells` does.

        Args:
            series: B series.

        Returns:
            ``(B, D)``.

        Raises:
            SITSError: If a tensor has another shape or dtype than expected.
        """
        series = self.check_series(series)
        late = rearrange(self.forward_features(series, 'late'), 'b d h w -> b h w d')
        return self.pool_cells(late, self.seen_cells(series))

    @_take_tensors
    def forward(self, series: Series) -> Tensor:
        """Compute one vector ``(B, D)`` per series, as :meth:`embed` does."""
        return self.embed(series)

    def encode_image(self, series: Series, *, token_mask: Tensor | None = None) -> PlaneFeatures:
        """Compute the features of the cells of an image, and its embedding, in one pass.

        Args:
            series: B series.
            token_mask: ``(B, N, S)`` bool, True where a cell is hidden; none by default.

        Returns:
            Features with one token per cell: ``N = ceil(H / stride)`` rows of
            ``S = ceil(W / stride)``. ``embed`` is what :meth:`embed` gives of the same image
            where no cell is hidden.

        Raises:
            SITSError: If a tensor has another shape or dtype than expected.
        """
        series = self.check_series(series)
        if token_mask is not None:
            self._check_token_mask(token_mask, series, (self.stride, self.stride))
        return self.forward_image(series, token_mask)

    def encode_planes(self, planes: Series, *, token_mask: Tensor | None = None) -> PlaneFeatures:
        """Compute the features of the planes of a view.

        Args:
            planes: Planes of B series: image ``(B, N, C, T, L)``, N planes of length L, and
                mask_clear ``(B, N, T, L)``.
            token_mask: ``(B, N', S)`` bool, True where a token is hidden, one per token that
                this method returns; none by default.

        Returns:
            Features with one token per :attr:`plane_cell`.

        Raises:
            SITSError: If a tensor has another shape or dtype than expected.
        """
        image = self.check_series(planes_as_image(planes))
        if token_mask is not None:
            self._check_token_mask(token_mask, image, self.plane_cell)
        return self.forward_planes(image_as_planes(image), token_mask)

    # What encoders implement, or may replace.

    @abstractmethod
    def forward_features(self, series: Series, depth: Depth) -> Tensor:
        """Compute what :meth:`features` returns.

        Args:
            series: Checked series, see :meth:`check_series`.
            depth: One of early, late, joined.

        Returns:
            ``(B, D', ceil(H / stride), ceil(W / stride))``, D' as :meth:`feature_dim` gives it.
        """

    @abstractmethod
    def forward_frames(self, series: Series) -> Tensor:
        """Compute what :meth:`frame_features` returns.

        Args:
            series: Checked series, see :meth:`check_series`.

        Returns:
            ``(B, T, D, ceil(H / stride), ceil(W / stride))``, anything in padding frames.
        """

    def forward_rolling(
        self, series: Series, spans: Sequence[TimeSpan], depth: Depth
    ) -> Iterator[Tensor]:
        """Compute what :meth:`rolling_features` gives.

        By default each span is encoded on its own, at the cost of its dates; one with the frames
        of the span before it is not encoded again.

        Args:
            series: Checked series, see :meth:`check_series`.
            spans: Spans of time, in any order.
            depth: One of early, late, joined.

        Yields:
            Features of each span.
        """
        frames: Any = None
        found: Tensor | None = None
        for span in spans:
            frames_before, frames = frames, _frames_within(series, span)
            if found is None or not _same_frames(frames_before, frames):
                found = self.forward_features(series_within(series, span), depth)
            yield found

    def forward_image(self, series: Series, token_mask: Tensor | None) -> PlaneFeatures:
        """Compute what :meth:`encode_image` returns.

        By default hidden cells are hidden as pixels: they count as unclear at all dates.

        Args:
            series: Checked series, see :meth:`check_series`.
            token_mask: ``(B, N, S)`` bool, True where a cell is hidden, or None.
        """
        if token_mask is not None:
            h, w = series.image.shape[-2:]
            hidden = token_mask.repeat_interleave(self.stride, 1)[:, :h]
            hidden = hidden.repeat_interleave(self.stride, 2)[..., :w]
            series = _hide(series, hidden)
        joined = rearrange(self.forward_features(series, 'joined'), 'b d n s -> b n s d')
        if joined.shape[-1] != self.feature_dim('joined'):
            raise SITSError(
                f'expected {self.feature_dim("joined")} channels (early_dim and embed_dim) of '
                f"forward_features for depth='joined', got {joined.shape[-1]}"
            )
        early, late = joined.split([self.early_dim, self.embed_dim], -1)
        seen = self.seen_cells(series)
        return PlaneFeatures(self.pool_cells(late, seen), early, late, seen)

    def forward_planes(self, planes: Series, token_mask: Tensor | None) -> PlaneFeatures:
        """Compute what :meth:`encode_planes` returns.

        By default the N planes of length L are taken for an image of height N and width L,
        so that any encoder can be trained on planes; hidden tokens are hidden as pixels.

        Args:
            planes: Checked planes, see :meth:`check_series`.
            token_mask: ``(B, N', S)`` bool, True where a token is hidden, or None.
        """
        return self.forward_image(planes_as_image(planes), token_mask)

    def pool_cells(self, late: Tensor, seen: Tensor) -> Tensor:
        """Pool the late features of the cells of an image: their mean, by default.

        Args:
            late: ``(B, N, S, D)``.
            seen: ``(B, N, S)`` bool, False for cells without a clear pixel at any date.

        Returns:
            ``(B, D)``.
        """
        return late.mean((1, 2))

    @property
    def plane_cell(self) -> tuple[int, int]:
        """Paths and pixels of a path that a token of :meth:`encode_planes` stands for."""
        return self.stride, self.stride

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """List the layers from input to output, as timm's ``param_groups_layer_decay`` asks.

        By default each submodule is a layer, in the order in which they were made.

        Args:
            coarse: Accepted for timm, which passes it.

        Returns:
            Regular expressions of parameter names, by layer.
        """
        return {name: rf'^{name}\.' for name, _ in self.named_children()}

    # What helps both.

    def series_of(self, batch: dict[str, Any]) -> Series:
        """Take the series out of a batch, with all that this encoder takes of it.

        Args:
            batch: A batch, see :mod:`torchgeo_sits.keys`.

        Returns:
            The series; with the Sentinel-1 series of the batch, if any, where the encoder has
            :attr:`s1_channels`, and the places where it :attr:`takes_location`.

        Examples:
            >>> import torch
            >>> from torchgeo_sits.models import factorised_tiny, planar_vit_tiny
            >>> batch = {'image': torch.rand(1, 3, 4, 8, 8), 'image_s1': torch.rand(1, 2, 2, 8, 8)}
            >>> for end, frames in (('', 3), ('_s1', 2)):
            ...     batch[f'acquisition_times{end}'] = torch.arange(frames)[None]
            ...     batch[f'valid{end}'] = torch.ones(1, frames, dtype=torch.bool)
            >>> planar_vit_tiny(4).series_of(batch).s1 is None
            True
            >>> factorised_tiny(4, s1_channels=2).series_of(batch).s1.image.shape
            torch.Size([1, 2, 2, 8, 8])
        """
        series = Series.from_batch(batch, s1=bool(self.s1_channels))
        return series._replace(location=batch.get(LOCATION)) if self.takes_location else series

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

    def check_series(self, series: Series) -> Series:
        """Check the shapes and dtypes of series, and find the pixels that count.

        Args:
            series: B series.

        Returns:
            The same series, where ``mask_clear`` ``(B, T, H, W)`` is there, and True for clear
            pixels of valid frames only; likewise of ``s1`` if there is one.

        Raises:
            SITSError: If a tensor has another shape or dtype than the batch contract asks, or
                the encoder takes no ``s1`` or ``location``.
        """
        checked = series._replace(mask_clear=_check(series, self.in_channels, 'in_channels'))
        if series.location is not None:
            self._check_location(series.location, len(series.image))
        if series.s1 is None:
            return checked
        if not self.s1_channels:
            raise SITSError(
                'got s1, but the encoder was built without s1_channels: leave s1 out of the series'
            )
        try:
            clear = _check(series.s1, self.s1_channels, 's1_channels')
        except SITSError as error:
            raise SITSError(f's1: {error}') from error
        image, shape = series.image, series.s1.image.shape
        if (shape[0], shape[-2:]) != (image.shape[0], image.shape[-2:]):
            raise SITSError(
                f'expected s1 of the samples and on the grid of the optical image, '
                f'{tuple(image.shape)}, got {tuple(shape)}'
            )
        return checked._replace(s1=series.s1._replace(mask_clear=clear))

    def _check_location(self, location: Tensor, batch: int) -> None:
        """Raise SITSError unless the encoder takes places, and these are *batch* of them."""
        if not self.takes_location:
            raise SITSError(
                f'got location, but {type(self).__name__} takes none: leave it out of the series'
            )
        if location.shape != (batch, 2) or not location.is_floating_point():
            raise SITSError(
                f'expected location {(batch, 2)} float, latitude and longitude in degrees, got '
                f'{tuple(location.shape)} {location.dtype}'
            )
        beyond = location.abs() > location.new_tensor([90.0, 360.0])  # of NaN it is not
        if not torch.compiler.is_exporting() and beyond.any():
            place = location[beyond.any(-1)][0].tolist()
            raise SITSError(f'expected location as latitude and longitude in degrees, got {place}')

    def seen_cells(self, series: Series) -> Tensor:
        """Cells ``(B, N, S)`` of which any pixel was clear at any date, to either sensor.

        Args:
            series: Checked series, see :meth:`check_series`.
        """
        clear = series.clear.any(1).float()[:, None]
        seen = max_pool2d(clear, self.stride, ceil_mode=True)[:, 0] > 0
        return seen if series.s1 is None else seen | self.seen_cells(series.s1)

    def _check_token_mask(self, token_mask: Tensor, series: Series, cell: tuple[int, int]) -> None:
        """Raise SITSError unless *token_mask* has one entry per cell of the image of *series*."""
        sides = zip(series.image.shape[-2:], cell, strict=True)
        cells = (len(series.image), *(count_cells(*side) for side in sides))
        if token_mask.shape != cells or token_mask.dtype != torch.bool:
            raise SITSError(
                f'expected token_mask {cells} bool, one per cell of {cell[0]} x {cell[1]} '
                f'pixels, got {tuple(token_mask.shape)} {token_mask.dtype}'
            )


def _check(series: Series, channels: int, name: str) -> Tensor:
    """Check one series of so many *channels*: clear pixels of valid frames ``(B, T, H, W)``."""
    image, times, valid, mask_clear = series[:4]
    if image.ndim != 5 or image.shape[2] != channels or 0 in image.shape:
        raise SITSError(
            f'expected image (B, T, C, H, W) with C={channels} and no empty axis, got '
            f'{tuple(image.shape)}: build the encoder with the {name} of the data'
        )
    b, t, _, h, w = image.shape
    if times.shape != (b, t) or times.is_floating_point():
        raise SITSError(
            f'expected acquisition_times {(b, t)} int64 (seconds since 1970), got '
            f'{tuple(times.shape)} {times.dtype}'
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


def _hide(series: Series, hidden: Tensor) -> Series:
    """Take pixels ``(B, H, W)`` for unclear at all dates of both sensors."""
    return series._replace(
        mask_clear=series.clear & ~hidden[:, None],
        s1=None if series.s1 is None else _hide(series.s1, hidden),
    )


def _frames_within(series: Series, span: TimeSpan) -> list[Tensor]:
    """Valid frames ``(B, T)`` of each sensor that are of a span of time."""
    start, stop = span
    times = series.acquisition_times
    found = [series.valid & (times >= start) & (times < stop)]
    return found if series.s1 is None else found + _frames_within(series.s1, span)


def _same_frames(before: list[Tensor] | None, after: list[Tensor]) -> bool:
    """Whether two spans hold the same frames of all series."""
    return before is not None and all(map(torch.equal, before, after))


def series_within(series: Series, span: TimeSpan) -> Series:
    """Cut series to a span of time: frames of no series go, others are no longer valid.

    Args:
        series: B series.
        span: The span; where no series has a frame in it, one is left that is not valid.

    Returns:
        The series of the same places with as many frames as any of them has in the span, and
        those of Sentinel-1 likewise.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.models.encoder import series_within
        >>> times = torch.tensor([[10, 20, 30], [20, 30, 40]])
        >>> valid = torch.ones(2, 3, dtype=torch.bool)
        >>> cut = series_within(Series(torch.zeros(2, 3, 1, 4, 4), times, valid), (10, 30))
        >>> cut.acquisition_times.tolist(), cut.valid.tolist()
        ([[10, 20], [20, 30]], [[True, True], [True, False]])
    """
    valid = _frames_within(series, span)[0]
    kept = valid.any(0).nonzero()[:, 0]
    kept = kept if len(kept) else kept.new_zeros(1)
    clear, s1 = series.mask_clear, series.s1
    return series._replace(
        image=series.image[:, kept],
        acquisition_times=series.acquisition_times[:, kept],
        valid=valid[:, kept],
        mask_clear=None if clear is None else clear[:, kept] & valid[:, kept, None, None],
        s1=None if s1 is None else series_within(s1, span),
    )


def planes_as_image(planes: Series) -> Series:
    """Take N planes of length L for an image of height N and width L."""
    clear, s1 = planes.mask_clear, planes.s1
    if planes.image.ndim != 5 or (clear is not None and clear.ndim != 4):
        raise SITSError(
            'expected planes (B, N, C, T, L) as image and mask_clear (B, N, T, L), got '
            f'{tuple(planes.image.shape)} and {None if clear is None else tuple(clear.shape)}'
        )
    return planes._replace(
        image=rearrange(planes.image, 'b n c t l -> b t c n l'),
        mask_clear=None if clear is None else rearrange(clear, 'b n t l -> b t n l'),
        s1=None if s1 is None else planes_as_image(s1),
    )


def image_as_planes(series: Series) -> Series:
    """Take the rows of an image for planes."""
    clear, s1 = series.mask_clear, series.s1
    return series._replace(
        image=rearrange(series.image, 'b t c h w -> b h c t w'),
        mask_clear=None if clear is None else rearrange(clear, 'b t h w -> b h t w'),
        s1=None if s1 is None else image_as_planes(s1),
    )


def transpose_image(series: Series) -> Series:
    """Swap rows and columns."""
    clear, s1 = series.mask_clear, series.s1
    return series._replace(
        image=series.image.mT,
        mask_clear=None if clear is None else clear.mT,
        s1=None if s1 is None else transpose_image(s1),
    )


def mean_seen(tokens: Tensor, seen: Tensor) -> Tensor:
    """Mean of tokens ``(B, N, S, D)`` where seen ``(B, N, S)``, of all where none was."""
    tokens, seen = tokens.flatten(1, 2), seen.flatten(1)
    weights = (seen | ~seen.any(-1, keepdim=True)).to(tokens.dtype)
    weights = weights / weights.sum(-1, keepdim=True)
    return (weights[:, None] @ tokens)[:, 0]


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
