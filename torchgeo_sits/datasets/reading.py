"""Windows of rasters on any grid, with masks that mean what they say."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from ..grid import TOLERANCE, Grid
from .file_stamps import file_signature, is_changed
from .handles import Handle, HandlePool
from .scenes import Scene

__all__ = ['RasterReader']

#: Seconds to wait before a file that could not be read, or changed meanwhile, is read again.
_PAUSES = (0.02, 0.1, 0.4)


class _ChangedError(Exception):
    """A file is not what it was when a read of it began."""


class RasterReader:
    """Reads windows of rasters onto a grid, with a mask of what was observed.

    What a read returns is what one state of the file holds: a file that changes while it is
    read is read again, and one that is no longer the raster that was indexed is refused.

    Args:
        nodata: Value that means no data, in place of what the files say.
        default_nodata: Value that means no data in files that do not say.
        cache: Keep handles open between reads.
    """

    def __init__(
        self,
        *,
        nodata: float | None = None,
        default_nodata: float | None = None,
        cache: bool = True,
    ) -> None:
        self._handles = HandlePool(nodata=nodata, default_nodata=default_nodata, cache=cache)
        #: Decimation of the overviews of each file from which coarser pixels were asked for.
        self._factors: dict[str, list[int]] = {}

    def close(self) -> None:
        """Close all handles; reading again opens what it needs."""
        self._handles.close()

    def reserve(self, files: int) -> None:
        """Keep enough handles open for windows of so many files."""
        self._handles.reserve(files)

    def read(
        self,
        scene: Scene,
        indexes: Sequence[int],
        grid: Grid,
        *,
        resampling: Resampling = Resampling.nearest,
        out: NDArray[Any] | None = None,
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read some bands of one raster onto *grid*.

        Where CRS and pixel size agree the pixels are copied as they are, moved by less than
        half a pixel if the grids are shifted; elsewhere they are warped. Pixels of images that
        are twice as large as the raster's or more come from its overviews, if it has any;
        classes, which are read by the nearest pixel, never do.

        Args:
            scene: Raster to read.
            indexes: Numbers of the bands, from 1.
            grid: Pixels wanted; they may lie outside the raster.
            resampling: Method, used where the raster must be warped only.
            out: Array ``(C, H, W)`` to read into, of a type that holds the raster's.

        Returns:
            Values ``(C, H, W)``, which are *out* if it was given, and ``(H, W)`` bool, True
            where all bands were observed: inside the raster, finite, not nodata, not masked
            out, written at all. Other values are undefined.

        Raises:
            OSError: If the raster cannot be opened or read, or is not the one that was
                indexed; the message names it.
        """
        for pause in (*_PAUSES, None):
            before = file_signature(scene.path)
            try:
                data, observed = self._read_once(scene, indexes, grid, resampling, out)
            except (RasterioError, _ChangedError) as error:
                reason = error.__cause__ or error  # rasterio's own message only points to it
                self._factors.pop(scene.path, None)
                # A local file that nobody writes to stays as broken as it is.
                still = before is not None and file_signature(scene.path) == before
                if pause is None or (still and not isinstance(error, _ChangedError)):
                    raise OSError(
                        f"'{scene.path}' cannot be read ({reason}): it may be truncated, or be "
                        'written at this moment. Fetch or write it again, remove it, or leave its '
                        "pixels unobserved with unreadable='skip'."
                    ) from error
                time.sleep(pause)
            else:
                return data, observed
        raise AssertionError  # the last round returns or raises

    def _read_once(
        self,
        scene: Scene,
        indexes: Sequence[int],
        grid: Grid,
        resampling: Resampling,
        out: NDArray[Any] | None,
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read what one state of the file holds."""
        level = self._overview(scene, grid) if resampling != Resampling.nearest else None
        with self._handles.lend(scene.path, level) as handle:
            if handle.scene is not scene:
                _require_same(scene, handle, level)
                handle.scene = scene
            data, observed = _read(handle, indexes, grid, resampling, out)
            if not handle.settled or is_changed(scene.path, handle.signature):
                raise _ChangedError('it changed while it was read')
        return data, observed

    def _overview(self, scene: Scene, grid: Grid) -> int | None:
        """Number of the coarsest overview that is as fine as *grid*, None for the raster."""
        if scene.crs != grid.crs:
            return None
        most = min(grid.xres / scene.res[0], grid.yres / scene.res[1]) * (1 + TOLERANCE)
        if most < 2:
            return None
        if scene.path not in self._factors:
            with self._handles.lend(scene.path) as handle:
                self._factors[scene.path] = handle.factors
        fine = [i for i, factor in enumerate(self._factors[scene.path]) if factor <= most]
        return fine[-1] if fine else None


def _require_same(scene: Scene, handle: Handle, level: int | None) -> None:
    """Refuse a raster on another grid, or with other bands, than when it was indexed."""
    types = tuple(
        handle.dtypes[index - 1] for index in scene.indexes if index <= len(handle.dtypes)
    )
    left, bottom, right, top = handle.source.bounds
    bounds = (min(left, right), min(bottom, top), max(left, right), max(bottom, top))
    size = (scene.height, scene.width) if level is None else handle.shape
    if (size, scene.bounds, scene.dtypes, scene.crs) == (handle.shape, bounds, types, handle.crs):
        return
    raise OSError(
        f"'{scene.path}' is not the raster that it was when the series was opened: it had "
        f'{scene.height} x {scene.width} pixels of {scene.dtypes} within {scene.bounds}, and has '
        f'{handle.shape[0]} x {handle.shape[1]} of {types} within {bounds}. Open the series again.'
    )


def _read(
    handle: Handle,
    indexes: Sequence[int],
    grid: Grid,
    resampling: Resampling,
    out: NDArray[Any] | None,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Copy or warp, as the grids demand."""
    offset = grid.offset_in(handle.transform) if handle.crs == grid.crs else None
    if offset is None:
        return _warp(handle, indexes, grid, resampling, out)
    # Half a pixel is rounded towards the same side for every file of a grid.
    column, row = (int(np.floor(value + 0.5)) for value in offset)
    return _copy(handle, indexes, grid, column, row, out)


def _copy(
    handle: Handle,
    indexes: Sequence[int],
    grid: Grid,
    column: int,
    row: int,
    out: NDArray[Any] | None,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read pixel by pixel, from *column* and *row* on."""
    source = handle.source
    left, top = max(column, 0), max(row, 0)
    right = min(column + grid.width, handle.shape[1])
    bottom = min(row + grid.height, handle.shape[0])
    shape = (len(indexes), grid.height, grid.width)
    if right <= left or bottom <= top:
        data = np.zeros(shape, handle.dtypes[indexes[0] - 1]) if out is None else out
        return data, np.zeros(shape[1:], bool)
    window = Window(left, top, right - left, bottom - top)
    whole = (bottom - top, right - left) == shape[1:]
    direct = whole and out is not None and out.dtype == handle.dtypes[indexes[0] - 1]
    data = source.read(list(indexes), window=window, out=out if direct else None)
    observed = _observed(data, [handle.nodata[index - 1] for index in indexes])
    if handle.alpha is not None:
        observed &= source.read(handle.alpha, window=window) > 0
    elif handle.masked:
        observed &= source.dataset_mask(window=window) > 0
    elif handle.sparse:
        _leave_out_unwritten(observed, data, handle, indexes, window)
    if whole and (direct or out is None):
        return data, observed
    rows, columns = slice(top - row, bottom - row), slice(left - column, right - column)
    padded = np.zeros(shape, data.dtype) if out is None else out
    padded[:, rows, columns] = data
    inside = np.zeros(shape[1:], bool)
    inside[rows, columns] = observed
    return padded, inside


def _leave_out_unwritten(
    observed: NDArray[np.bool_],
    data: NDArray[Any],
    handle: Handle,
    indexes: Sequence[int],
    window: Window,
) -> None:
    """Take blocks that were never written out of *observed* ``(H, W)``, in place.

    GDAL reads them as zeros. A program that was stopped while it wrote leaves such files
    behind; without a nodata value nothing else tells these zeros from measured ones.
    """
    if data.any(axis=0).all():
        return
    height, width = handle.source.block_shapes[0]
    left, top = int(window.col_off), int(window.row_off)
    right, bottom = left + data.shape[2], top + data.shape[1]
    for y in range(top // height, -(-bottom // height)):
        for x in range(left // width, -(-right // width)):
            name = f'BLOCK_OFFSET_{x}_{y}'
            if any(handle.source.get_tag_item(name, 'TIFF', bidx=i) is None for i in indexes):
                rows = slice(max(y * height - top, 0), (y + 1) * height - top)
                observed[rows, max(x * width - left, 0) : (x + 1) * width - left] = False


def _warp(
    handle: Handle,
    indexes: Sequence[int],
    grid: Grid,
    resampling: Resampling,
    out: NDArray[Any] | None,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read through a warp onto exactly *grid*."""
    nodata = handle.nodata[indexes[0] - 1]
    options: dict[str, Any] = {'src_nodata': nodata, 'nodata': nodata}
    if nodata is None:
        # Only an alpha band tells the border of a warp, and what a mask hides, from pixels.
        options = {'add_alpha': handle.alpha is None}
    with WarpedVRT(
        handle.source,
        crs=grid.crs,
        transform=grid.transform,
        width=grid.width,
        height=grid.height,
        resampling=resampling,
        # Per band: else a pixel that only some bands miss would be blended with nodata.
        UNIFIED_SRC_NODATA='NO',
        **options,
    ) as vrt:
        data = vrt.read(list(indexes))
        observed = _observed(data, [nodata] * len(indexes))
        if nodata is None or handle.alpha is not None:
            # Not vrt.dataset_mask(): it calls all pixels valid, whatever the alpha band says.
            observed &= vrt.read(handle.alpha or vrt.count) > 0
    if out is None:
        return data, observed
    out[:] = data
    return out, observed


def _observed(data: NDArray[Any], nodata: Sequence[float | None]) -> NDArray[np.bool_]:
    """``(H, W)``: no band of *data* ``(C, H, W)`` is its *nodata*, NaN or inf."""
    inexact = np.issubdtype(data.dtype, np.inexact)
    if inexact:  # float32 rounds a nodata of -3.4028234663852886e+38
        nodata = [value if value is None else data.dtype.type(value) for value in nodata]
    if len(set(nodata)) == 1:
        missing = np.zeros(data.shape[1:], bool)
        if nodata[0] is not None:
            missing = (data == nodata[0]).any(axis=0)
    else:
        pairs = [(b, v) for b, v in zip(data, nodata, strict=True) if v is not None]
        missing = np.any([band == value for band, value in pairs], axis=0)
    if inexact:
        missing |= ~np.isfinite(data).all(axis=0)
    return ~missing
