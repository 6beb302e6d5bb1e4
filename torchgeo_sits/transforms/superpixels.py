"""Superpixels of image time series: objects to compare views by, without labels.

Written here because Kornia and lightly have none, and scikit-image, which has, is no
dependency, runs on the CPU image by image, and knows no clouds.
"""

import math
from typing import Any, Final

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from ..errors import SITSError
from ..keys import IMAGE
from .batches import observed

__all__ = ['count_superpixels', 'superpixels']

#: Squared distance of two pixels that share no clear date: what it is on average between two
#: unrelated pixels whose values have variance one.
_UNKNOWN: Final = 2.0


def count_superpixels(height: int, width: int, *, size: int = 8) -> int:
    """Count the ids ``0, ..., K - 1`` that :func:`superpixels` of an image may have.

    Args:
        height: Rows of the image.
        width: Columns of the image.
        size: Side of the cells of the grid in pixels.

    Returns:
        Their number K.

    Examples:
        >>> from torchgeo_sits.transforms import count_superpixels
        >>> count_superpixels(32, 40, size=8)
        20
    """
    return math.ceil(height / size) * math.ceil(width / size)


@torch.no_grad()
def superpixels(
    batch: dict[str, Any], *, size: int = 8, iterations: int = 5, compactness: float = 0.5
) -> Tensor:
    """Group pixels whose series are alike and that lie near each other.

    This is SLIC [1]_ with series in position of colours: k-means from a grid of centres, by

    ``D^2 = d^2 + compactness^2 * (distance / size)^2``

    where ``d^2`` is the mean squared difference over bands and those dates that are clear both
    at the pixel and, for any of its members, at the centre. Bands are divided by their
    standard deviation over the image, dates held apart. A cloud thus takes dates from the
    comparison and moves no border, which means over several dates would not do: they differ
    between two pixels of a parcel of which one was clear later.

    A pixel chooses between the centres that started in its own cell of the grid and in the
    eight around it. That replaces the search window around each centre (as in [2]_), and the
    step of [1]_ that makes superpixels connected is left out: members lie within three cells
    of each other, and pooling needs no more.

    Args:
        batch: ``image`` ``(B, T, C, H, W)``, and ``valid`` and ``mask_clear`` if any.
        size: Side of the cells of the grid in pixels, S. Parcels narrower than that do not
            always get a superpixel.
        iterations: Times that all pixels choose a centre.
        compactness: Distance in space that weighs as much as one standard deviation in all
            bands, as the share ``size / distance``; higher values give squarer superpixels.

    Returns:
        ``(B, H, W)`` int64, ids that are each sample's own, less than
        :func:`count_superpixels`: that of the cell where the centre started. Some may have
        no pixel.

    Raises:
        SITSError: If the image is not 5-D or a number out of range.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import superpixels
        >>> image = torch.rand(1, 6, 2, 16, 16) * 0.01
        >>> image[..., 8:] += torch.arange(6)[:, None, None, None]  # two parcels
        >>> ids = superpixels({'image': image}, size=8)
        >>> set(ids[..., :8].unique().tolist()) & set(ids[..., 8:].unique().tolist())
        set()

    References:
        .. [1] R. Achanta et al., "SLIC superpixels compared to state-of-the-art superpixel
           methods", IEEE TPAMI 34(11), 2012, section 3, eq. 3.
        .. [2] C. Y. Ren, V. A. Prisacariu and I. D. Reid, "gSLICr: SLIC superpixels at over
           250 Hz", 2015, https://arxiv.org/abs/1509.04232.
    """
    image = batch[IMAGE]
    if image.ndim != 5:
        raise SITSError(f'expected an image (B, T, C, H, W), got shape {tuple(image.shape)}')
    if size < 1 or iterations < 1 or compactness <= 0:
        raise SITSError(
            'expected size and iterations of at least 1 and a compactness above 0, got '
            f'size={size}, iterations={iterations}, compactness={compactness}'
        )
    valid, clear = observed(batch)
    with torch.autocast(image.device.type, enabled=False):
        values, seen = _standardized(image.float(), clear & valid[..., None, None])
        grid = _CellGrid(values, seen, size=size, compactness=compactness)
        choice = grid.choose(*grid.start(_gradient(values, seen)))
        for _ in range(iterations - 1):
            choice = grid.choose(*grid.update(choice))
        return grid.ids(choice)[:, : image.shape[-2], : image.shape[-1]]


def _standardized(image: Tensor, clear: Tensor) -> tuple[Tensor, Tensor]:
    """Centre each band on each date and divide it by its deviation; 0 where not clear.

    Args:
        image: ``(B, T, C, H, W)`` float32, anything where not clear, even NaN.
        clear: ``(B, T, H, W)`` bool.

    Returns:
        The values, and the clear mask as float32.
    """
    seen = clear.float()
    hidden = ~clear[:, :, None]
    number = seen.sum((2, 3))[..., None, None, None]
    values = image.masked_fill(hidden, 0.0)
    values = values - values.sum((3, 4), keepdim=True) / number.clamp(min=1)
    values = values.masked_fill_(hidden, 0.0)
    total = number.sum(1, keepdim=True).clamp(min=1)
    deviation = (values.square().sum((1, 3, 4), keepdim=True) / total).sqrt()
    return values / torch.where(deviation > 0, deviation, 1.0), seen


def _gradient(values: Tensor, seen: Tensor) -> Tensor:
    """Mean squared difference ``(B, H, W)`` from the up to four neighbours."""
    total, number = torch.zeros_like(seen[:, 0]), torch.zeros_like(seen[:, 0])
    for axis, pads in ((-1, ((1, 0), (0, 1))), (-2, ((0, 0, 1, 0), (0, 0, 0, 1)))):
        length = values.shape[axis] - 1
        near, far = (seen.narrow(axis, start, length) for start in (0, 1))
        both = near * far
        apart = values.diff(dim=axis).square().mean(2).mul_(both).sum(1)
        apart = _mean(apart, both.sum(1))
        for pad in pads:
            total += F.pad(apart, pad)
            number += F.pad(torch.ones_like(apart), pad)
    return total / number.clamp(min=1)


def _mean(total: Tensor, number: Tensor) -> Tensor:
    """Divide, where there is anything to divide; unknown distances otherwise."""
    return torch.where(number > 0, total / number.clamp(min=1), _UNKNOWN)


class _CellGrid:
    """The pixels of a batch by cells of a grid, P pixels each, and k-means on them.

    All distances are products of matrices within the cells: no pixel is gathered.
    """

    def __init__(self, values: Tensor, seen: Tensor, *, size: int, compactness: float) -> None:
        self.bands = values.shape[2]
        self.size = size
        self.weight = (compactness / size) ** 2
        height, width = values.shape[-2:]
        self.pad = (0, -width % size, 0, -height % size)
        # ``(B, h, w, P, T * C)`` and ``(B, h, w, P, T)``.
        self.values = self._by_cell(values.flatten(1, 2))
        self.seen = self._by_cell(seen)
        self.squares = self.values.unflatten(-1, (-1, self.bands)).square().sum(-1)
        self.real = self._by_cell(torch.ones_like(seen[:, :1]))
        self.rows, self.columns = self.values.shape[1:3]
        position = torch.cartesian_prod(
            *(
                torch.arange(cells * size, device=values.device, dtype=torch.float32)
                for cells in (self.rows, self.columns)
            )
        )
        position = position.T.unflatten(1, (self.rows * size, -1))[None]
        self.position = self._by_cell(position, pad=False)  # (1, h, w, P, 2)
        inside = torch.ones(1, self.rows, self.columns, device=values.device)
        self.inside = self._around(inside)[..., None, :] > 0

    def start(self, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Start from a pixel of low gradient near the middle of each cell, never at a border.

        Pixels that were seldom clear make poor centres: they can be compared on few dates.
        """
        dates = self.seen.amax((1, 2, 3)).sum(-1).clamp(min=1)[:, None, None, None]
        score = self._by_cell(gradient[:, None])[..., 0] - self.seen.sum(-1) / dates
        middle = (self.position - self.position.mean(3, keepdim=True)).square().sum(-1)
        score = (score + self.weight * middle).masked_fill(self.real[..., 0] == 0, math.inf)
        pick = score.argmin(-1)[..., None, None]
        position = self.position.expand(len(pick), *self.position.shape[1:])
        return (
            self.values.take_along_dim(pick, 3)[..., 0, :],
            self.seen.take_along_dim(pick, 3)[..., 0, :],
            position.take_along_dim(pick, 3)[..., 0, :],
        )

    def choose(self, series: Tensor, known: Tensor, position: Tensor) -> Tensor:
        """Choose the nearest of the nine centres around for each pixel.

        Args:
            series: ``(B, h, w, T * C)``, 0 where not known.
            known: ``(B, h, w, T)``, 1 on dates when a member is clear.
            position: ``(B, h, w, 2)``, row and column.

        Returns:
            ``(B, h, w, P)`` int64, 0 to 8.
        """
        squares = series.unflatten(-1, (-1, self.bands)).square().sum(-1)
        near = self._around(known).mT
        apart = self.squares @ near + self.seen @ self._around(squares).mT
        apart = apart.sub_(self.values @ self._around(series).mT, alpha=2).clamp_(min=0)
        apart = _mean(apart, self.bands * (self.seen @ near))
        way = self.position[..., None, :] - self._around(position)[..., None, :, :]
        apart = apart + self.weight * way.square().sum(-1)
        return apart.masked_fill(~self.inside, math.inf).argmin(-1)

    def update(self, choice: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Move the centres to the mean of their members, those without any out of reach."""
        # Not one_hot, which looks at the values, and waits for them.
        places = torch.arange(9, device=choice.device)
        member = (choice[..., None] == places).float().mul_(self.real).mT
        number = self._collect(member @ self.seen)
        series = self._collect(member @ self.values).unflatten(-1, (-1, self.bands))
        series = (series / number.clamp(min=1)[..., None]).flatten(-2)
        count = self._collect(member.sum(-1, keepdim=True))
        position = self._collect(member @ self.position) / count
        return series, (number > 0).float(), position.nan_to_num(nan=math.inf)

    def ids(self, choice: Tensor) -> Tensor:
        """Number of the chosen centre for each pixel, ``(B, h * S, w * S)``."""
        row = torch.arange(self.rows, device=choice.device)[:, None, None] + choice // 3 - 1
        column = torch.arange(self.columns, device=choice.device)[:, None] + choice % 3 - 1
        ids = row * self.columns + column
        return rearrange(ids, 'b h w (y x) -> b (h y) (w x)', y=self.size)

    def _by_cell(self, grid: Tensor, *, pad: bool = True) -> Tensor:
        """``(B, D, H, W)`` to ``(B, h, w, P, D)``."""
        grid = F.pad(grid, self.pad) if pad else grid
        return rearrange(
            grid, 'b d (h y) (w x) -> b h w (y x) d', y=self.size, x=self.size
        ).contiguous()

    def _around(self, cells: Tensor) -> Tensor:
        """Values ``(B, h, w, ...)`` of the nine cells around each, ``(B, h, w, 9, ...)``."""
        padded = F.pad(cells, (*(0, 0) * (cells.ndim - 3), 1, 1, 1, 1))
        slices = [
            padded[:, y : y + self.rows, x : x + self.columns] for y in range(3) for x in range(3)
        ]
        return torch.stack(slices, 3)

    def _collect(self, around: Tensor) -> Tensor:
        """Add up ``(B, h, w, 9, D)`` where it belongs, ``(B, h, w, D)``."""
        batch, *_, depth = around.shape
        total = around.new_zeros(batch, self.rows + 2, self.columns + 2, depth)
        for i in range(9):
            y, x = divmod(i, 3)
            total[:, y : y + self.rows, x : x + self.columns] += around[..., i, :]
        return total[:, 1:-1, 1:-1]
