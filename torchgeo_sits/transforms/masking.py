"""Masks over the space-time positions of planes, for masked reconstruction."""

import math
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor, nn

from ..errors import SITSError
from ..keys import MASK_CLEAR
from .planar import PATHS, SIZE
from .random import integers, uniform

__all__ = ['MaskKind', 'RandomPlaneMask']

#: What is hidden together; 'mixed' draws one of the others for each sample.
MaskKind = Literal['date', 'pixel', 'block', 'mixed']
#: The kinds that 'mixed' draws from.
_KINDS: Final = ('date', 'pixel', 'block')


class RandomPlaneMask(nn.Module):
    """Draw the positions of a planar view that a model must reconstruct.

    The kinds are the time-only, space-only and block-wise sampling that Feichtenhofer et al.
    [2]_ compare for videos, on planes:

    ==========  ================================================================================
    kind        what is hidden together
    ==========  ================================================================================
    ``date``    a date of a sample, in all of its paths
    ``pixel``   a pixel of the grid, at all dates
    ``block``   consecutive dates of consecutive pixels of a path
    ==========  ================================================================================

    Whatever is hidden is hidden as a pixel of the grid on a date: where several paths meet in
    it, or one comes back to it, all of these positions are hidden, as the value could be
    copied from one left open. A block therefore takes along single positions of other paths.

    Each group of positions gets a random turn, and groups are hidden by turn up to the
    *ratio* of the clear positions of a sample. Groups are never divided, so the share is off
    by up to half of the last group hidden: half a date for ``date``. Every sample with two
    groups or more keeps one, and has one hidden. Positions that are not clear are never
    hidden, since nothing is known to reconstruct there.

    Parameters are drawn in :meth:`generate_parameters`, and the last ones stay in
    ``_params``: ``mask(view, mask._params)`` gives the same positions again.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import RandomPlanarView, RandomPlaneMask
        >>> times = torch.arange(24).view(2, 12)
        >>> batch = {'image': torch.rand(2, 12, 3, 32, 32), 'acquisition_times': times}
        >>> view = RandomPlanarView(num_paths=4, length=16, dates=(12, 12))(batch)
        >>> hidden = RandomPlaneMask(kind='date', ratio=0.5)(view)
        >>> hidden.shape, hidden.any(3).sum(2)[:, 0].tolist()  # 6 of 12 dates
        (torch.Size([2, 4, 12, 16]), [6, 6])

    References:
        .. [1] K. He et al., "Masked autoencoders are scalable vision learners", CVPR 2022,
           section 3 (75 % of a photograph hidden).
        .. [2] C. Feichtenhofer et al., "Masked autoencoders as spatiotemporal learners",
           NeurIPS 2022, section 3 and figure 3 (90 % of a video hidden).
    """

    def __init__(
        self,
        *,
        kind: MaskKind = 'mixed',
        ratio: float = 0.5,
        block: tuple[int, int] = (4, 8),
    ) -> None:
        """Initialise a new RandomPlaneMask instance.

        Args:
            kind: What is hidden together; 'mixed' draws a kind for each sample.
            ratio: Share of the clear positions to hide, in (0, 1). A view that shows half of
                the dates of a series with half of them hidden leaves a quarter of it, as
                much as [1]_ leaves of a photograph.
            block: Dates and pixels of a block, each at most half of the plane's; blocks at the
                edges of a plane are smaller.

        Raises:
            SITSError: If an option is out of range.
        """
        super().__init__()
        if kind not in get_args(MaskKind):
            raise SITSError(f'expected kind to be one of {get_args(MaskKind)}, got {kind!r}')
        if not 0 < ratio < 1:
            raise SITSError(f'expected a ratio of hidden positions in (0, 1), got {ratio}')
        if len(block) != 2 or not all(isinstance(side, int) and side >= 1 for side in block):
            raise SITSError(
                f'expected block=(dates, pixels), two whole numbers of at least 1, got {block}'
            )
        self.kind = kind
        self.ratio = ratio
        self.block = block
        self._params: dict[str, Tensor] = {}

    def generate_parameters(
        self, view: Mapping[str, Any], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Draw the turn in which each position would be hidden.

        Args:
            view: ``mask_clear`` ``(B, N, T, L)``, ``paths`` ``(B, N, L)`` and ``size``, as
                :class:`~torchgeo_sits.transforms.RandomPlanarView` gives them.
            generator: Source of randomness; torch's default without one.

        Returns:
            ``turn`` ``(B, N, T, L)`` float32 in [0, 1), equal where positions are hidden
            together.

        Raises:
            SITSError: If the view lacks a key.
        """
        if missing := {MASK_CLEAR, PATHS, SIZE} - view.keys():
            raise SITSError(
                f'expected a view of RandomPlanarView, got one without {sorted(missing)}: '
                f'{sorted(view)}'
            )
        draw = {'date': self._dates, 'pixel': self._pixels, 'block': self._blocks}
        if self.kind != 'mixed':
            return {'turn': draw[self.kind](view, generator)}
        clear = view[MASK_CLEAR]
        shape = (len(clear), 1, 1, 1)
        drawn = integers(len(_KINDS), shape, generator=generator, device=clear.device)
        turn = torch.zeros(clear.shape, device=clear.device)
        for i, kind in enumerate(_KINDS):
            turn = torch.where(drawn == i, draw[kind](view, generator), turn)
        return {'turn': turn}

    def apply_transform(self, view: Mapping[str, Any], params: Mapping[str, Tensor]) -> Tensor:
        """Hide by turn, up to the ratio.

        Args:
            view: ``mask_clear`` ``(B, N, T, L)``.
            params: From :meth:`generate_parameters`.

        Returns:
            ``(B, N, T, L)`` bool, True where hidden.
        """
        clear = view[MASK_CLEAR].flatten(1)
        turn = params['turn'].flatten(1).masked_fill(~clear, math.inf)
        number = clear.sum(1, keepdim=True)
        wanted = self.ratio * number
        last = turn.sort(1).values.gather(1, (wanted.round().long() - 1).clamp(min=0))
        # The group in which the ratio is reached stays out where that is closer to it.
        without, within = turn < last, clear & (turn <= last)
        fewer, more = (hidden.sum(1, keepdim=True) for hidden in (without, within))
        whole = (fewer == 0) | (more - wanted <= wanted - fewer) & (more < number)
        hidden = torch.where(whole, within, without)
        # A sample that is one single group keeps it.
        hidden = hidden & (hidden.sum(1, keepdim=True) < number)
        return hidden.view_as(view[MASK_CLEAR])

    def forward(
        self,
        view: Mapping[str, Any],
        params: Mapping[str, Tensor] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw the positions to hide, or those that *params* describe again.

        Args:
            view: A view of :class:`~torchgeo_sits.transforms.RandomPlanarView`, on any device.
            params: Parameters to replay; drawn by default.
            generator: Source of randomness; torch's default without one.

        Returns:
            ``(B, N, T, L)`` bool, True where hidden: ``mask_clear & ~hidden`` is what a model
            may see, and the loss is over ``hidden``.
        """
        if params is None:
            params = self.generate_parameters(view, generator=generator)
        self._params = dict(params)
        return self.apply_transform(view, params)

    def _dates(self, view: Mapping[str, Any], generator: torch.Generator | None) -> Tensor:
        clear = view[MASK_CLEAR]
        shape = (len(clear), 1, clear.shape[2], 1)
        return uniform(shape, generator=generator, device=clear.device).expand(clear.shape)

    def _pixels(self, view: Mapping[str, Any], generator: torch.Generator | None) -> Tensor:
        clear, paths = view[MASK_CLEAR], view[PATHS]
        grid = uniform(
            (len(paths), math.prod(view[SIZE])), generator=generator, device=clear.device
        )
        turn = grid.gather(1, paths.flatten(1)).view_as(paths)
        return turn[:, :, None].expand(clear.shape)

    def _blocks(self, view: Mapping[str, Any], generator: torch.Generator | None) -> Tensor:
        clear, paths = view[MASK_CLEAR], view[PATHS]
        batch, n, *plane = clear.shape
        device = clear.device
        # Tiles of each plane, from a random offset on. Two at least along an axis of two.
        tile, tiles = [], []
        for length, side in zip(plane, self.block, strict=True):
            side = min(side, max(1, length // 2))
            offset = integers(side, (batch, n, 1), generator=generator, device=device)
            tile.append((torch.arange(length, device=device) + offset) // side)
            tiles.append((length + side - 2) // side + 1)
        turn = uniform((batch, n, tiles[0] * tiles[1]), generator=generator, device=device)
        place = tile[0][..., None] * tiles[1] + tile[1][:, :, None]
        turn = turn.gather(2, place.flatten(2)).view(clear.shape)

        # A pixel on a date is hidden with the first of the blocks that it lies in.
        visits = turn.transpose(1, 2).flatten(2)
        index = paths.flatten(1)[:, None].expand_as(visits)
        grid = visits.new_ones(batch, plane[0], math.prod(view[SIZE]))
        grid = grid.scatter_reduce(2, index, visits, 'amin')
        return grid.gather(2, index).unflatten(2, (n, plane[1])).transpose(1, 2)
