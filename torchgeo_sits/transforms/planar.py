"""Planes: a gather along paths out of the cube, and the scatter that folds them back.

A plane keeps time on one axis and an ordered path of pixels on the other (after Deep-STaR,
Chelali et al., CVIU 2021)::

      a path on the grid         the plane along it
      +---+---+---+---+                 a  b  c  d  e   path ->
      | a | b |   |   |          May   [.][.][.][.][.]
      +---+---+---+---+          June  [.][.][.][.][.]  each [.] has all bands
      |   | c | d |   |          July  [.][.][.][.][.]
      +---+---+---+---+          Aug   [.][.][.][.][.]
      |   |   | e |   |                 v
      +---+---+---+---+                time

The path is the index map of the plane, so that whatever lies on the same grid (images, clear
masks, labels, attention) goes through the same index, there and back.
"""

from typing import Final, Literal

import torch
from torch import Tensor

from ..errors import SITSError

__all__ = [
    'PATHS',
    'PLANES',
    'PLANES_S1',
    'SIZE',
    'from_planes',
    'masks_to_planes',
    'to_planes',
]

#: Key of the planes of a view, ``(B, N, C, T, L)``.
PLANES: Final = 'planes'
#: Key of the Sentinel-1 planes of a view, ``(B, N, C1, T1', L)``.
PLANES_S1: Final = 'planes_s1'
#: Key of the paths the planes lie along, ``(B, N, L)`` int64.
PATHS: Final = 'paths'
#: Key of the size of the grid the paths run through, ``(H, W)``, two plain integers.
SIZE: Final = 'size'


def to_planes(image: Tensor, paths: Tensor) -> Tensor:
    """Cut planes out of a cube.

    Args:
        image: ``(B, T, C, H, W)``, any dtype.
        paths: Flat indices ``row * W + column``, ``(N, L)`` for all samples or ``(B, N, L)``
            for each its own, int64.

    Returns:
        Planes ``(B, N, C, T, L)``: a view, with its axes permuted, of one contiguous
        ``(B, T, C, N, L)`` tensor, since pixels lie next to each other in memory frame by
        frame and band by band. ``planes.permute(0, 3, 2, 1, 4)`` is that tensor.

    Raises:
        SITSError: If the shapes do not fit.
        RuntimeError: If an index points outside the grid.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import columns, to_planes
        >>> image = torch.rand(2, 5, 3, 8, 6)
        >>> planes = to_planes(image, columns(8, 6))  # one plane for each of the 6 columns
        >>> planes.shape
        torch.Size([2, 6, 3, 5, 8])
        >>> torch.equal(planes[0, 4, :, :, 7], image[0, :, :, 7, 4].T)  # row 7 of column 4
        True
    """
    if image.ndim != 5:
        raise SITSError(f'expected an image (B, T, C, H, W), got shape {tuple(image.shape)}')
    return _gather(image, paths).permute(0, 3, 2, 1, 4)


def from_planes(
    planes: Tensor,
    paths: Tensor,
    size: tuple[int, int],
    *,
    reduce: Literal['mean', 'sum'] = 'mean',
) -> Tensor:
    """Fold planes back onto the cube.

    With ``reduce='mean'`` a pixel gets the mean of all its visits; for paths that visit a
    pixel once this is the exact inverse of :func:`to_planes` there, bit for bit. With
    ``reduce='sum'`` the total over the planes and over the cube is the same, which is what
    attention or attributions need that sum to one.

    Args:
        planes: ``(B, N, C, T, L)`` floating point.
        paths: The paths they were cut along, ``(N, L)`` or ``(B, N, L)`` int64.
        size: ``(H, W)`` of the grid.
        reduce: What a pixel gets that is visited more than once.

    Returns:
        ``(B, T, C, H, W)``, zero where no path leads.

    Raises:
        SITSError: If the shapes do not fit, or the planes are no floating point numbers.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import from_planes, hilbert, to_planes
        >>> image, paths = torch.rand(2, 5, 3, 8, 6), hilbert(8, 6)
        >>> torch.equal(from_planes(to_planes(image, paths), paths, (8, 6)), image)
        True

        Scores without a band axis fold back with one of size 1:

        >>> attention = torch.rand(2, 1, 5, 48)
        >>> from_planes(attention[:, :, None], paths, (8, 6), reduce='sum')[:, :, 0].shape
        torch.Size([2, 5, 8, 6])
    """
    if planes.ndim != 5:
        raise SITSError(f'expected planes (B, N, C, T, L), got shape {tuple(planes.shape)}')
    return _scatter(planes.permute(0, 3, 2, 1, 4), paths, size, reduce)


def masks_to_planes(mask: Tensor, paths: Tensor) -> Tensor:
    """Cut tensors without a band axis: clear masks, labels, scores.

    Args:
        mask: ``(B, T, H, W)`` or ``(B, H, W)``, any dtype.
        paths: ``(N, L)`` or ``(B, N, L)`` int64.

    Returns:
        ``(B, N, T, L)`` or ``(B, N, L)``.

    Raises:
        SITSError: If the shapes do not fit.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import masks_to_planes, rows
        >>> masks_to_planes(torch.ones(2, 5, 8, 6, dtype=torch.bool), rows(8, 6)).shape
        torch.Size([2, 8, 5, 6])
    """
    if mask.ndim == 3:
        return _gather(mask, paths)
    if mask.ndim == 4:
        return _gather(mask, paths).transpose(1, 2)
    raise SITSError(f'expected a mask (B, T, H, W) or (B, H, W), got {tuple(mask.shape)}')


def _gather(grid: Tensor, paths: Tensor) -> Tensor:
    """Gather ``(B, ..., H, W)`` into contiguous ``(B, ..., N, L)``."""
    _check_paths(paths, len(grid))
    # In three dimensions, and never index_select: that runs on one thread on a CPU.
    flat = grid.reshape(len(grid), -1, grid.shape[-2] * grid.shape[-1])
    index = paths.reshape(1 if paths.ndim == 2 else len(grid), 1, -1)
    taken = flat.gather(-1, index.expand(*flat.shape[:-1], -1))
    return taken.view(*grid.shape[:-2], *paths.shape[-2:])


def _scatter(
    planes: Tensor, paths: Tensor, size: tuple[int, int], reduce: Literal['mean', 'sum']
) -> Tensor:
    """Scatter ``(B, ..., N, L)`` to ``(B, ..., H, W)``."""
    if reduce not in ('mean', 'sum'):
        raise SITSError(f"expected reduce='mean' or 'sum', got {reduce!r}")
    if not planes.is_floating_point():
        raise SITSError(f'expected floating point planes to add up, got {planes.dtype}')
    _check_paths(paths, len(planes))
    if planes.shape[-2:] != paths.shape[-2:]:
        raise SITSError(
            f'planes and paths differ in N or L: {tuple(planes.shape[-2:])} and '
            f'{tuple(paths.shape[-2:])}'
        )
    index = paths.flatten(-2).view(-1, *(1,) * (planes.ndim - 3), paths.shape[-2:].numel())
    values = planes.flatten(-2)
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()  # many visits would not add up in half precision
    # Sums start from -0.0, the one number that changes no other, not even the sign of a zero.
    total = values.new_full((*values.shape[:-1], size[0] * size[1]), -0.0)
    total = total.scatter_add(-1, index.expand_as(values), values)
    count = _count_visits(paths, size).view(-1, *(1,) * (planes.ndim - 3), total.shape[-1])
    if reduce == 'mean':
        total = total / count.clamp(min=1)
    return total.masked_fill(count == 0, 0.0).to(planes.dtype).unflatten(-1, size)


def _count_visits(paths: Tensor, size: tuple[int, int]) -> Tensor:
    """Visits of paths to each pixel, ``(B, H * W)``, with ``B = 1`` for paths of all samples."""
    index = paths.reshape(1 if paths.ndim == 2 else len(paths), -1)
    count = index.new_zeros(len(index), size[0] * size[1])
    return count.scatter_add(1, index, torch.ones_like(index))


def _check_paths(paths: Tensor, batch: int) -> None:
    """Raise SITSError unless paths are int64 indices for *batch* samples."""
    if paths.dtype != torch.int64 or paths.ndim not in (2, 3):
        raise SITSError(
            f'expected paths (N, L) or (B, N, L) int64, got {tuple(paths.shape)} {paths.dtype}'
        )
    if paths.ndim == 3 and len(paths) != batch:
        raise SITSError(f'expected paths for {batch} samples, got {tuple(paths.shape)}')
