"""Embeddings of a large area, read by tiles, on one scale."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from ..datasets.formats import open_raster, require_own_pixels
from ..errors import SITSError
from ..grid import TOLERANCE, Grid, crs_name
from ..mapping.rasters import BLOCK
from ..mapping.windows import raster_blocks
from .pyramid import TILE, Pyramid, Tile

__all__ = ['EmbeddedArea']

#: Largest side of the overview that scales, colours and suggestions rest on.
_OVERVIEW: Final = 256
#: Bytes of tiles that are kept.
_CACHE: Final = 512 << 20
#: Largest standardised value: float16 ends at 65,504.
_LARGEST: Final = 1e4


class EmbeddedArea:
    """Embeddings of each pixel of an area, standardised, from a raster of any size.

    Each feature has mean 0 and standard deviation 1 over an overview of the area, which probes and
    similarities need: features of networks lie far from 0, and some vary a hundred times as much
    as others. They are handed out in half precision, wherever they are used, so that a map of a
    view and that of the whole area agree.

    Args:
        path: Raster with a band for each feature, as ``torchgeo-sits embed`` writes it.
        images: Grid of the images, on whose pixels the raster must lie; None asks nothing.

    Attributes:
        path: The raster.
        grid: Its pixels.
        pyramid: Its tiles.
        mean: Mean of each feature before it was standardised, ``(D, 1, 1)`` float32.
        std: Standard deviation of each, ``(D, 1, 1)`` float32; 1 where it is 0.

    Raises:
        SITSError: If the raster holds no embedding, has no coordinate reference system, or lies on
            other pixels than the images.
        OSError: If it cannot be read.

    Examples:
        >>> import numpy as np, rasterio, tempfile
        >>> from torchgeo_sits.exploring import EmbeddedArea
        >>> values = np.random.default_rng(0).normal(5, 2, (3, 20, 30)).astype('float32')
        >>> where = {'crs': 'EPSG:32631', 'transform': rasterio.Affine(10, 0, 0, 0, -10, 200)}
        >>> size = {'count': 3, 'height': 20, 'width': 30, 'dtype': 'float32'}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with rasterio.open(f'{folder}/embedding.tif', 'w', **size, **where) as file:
        ...         file.write(values)
        ...     area = EmbeddedArea(f'{folder}/embedding.tif')
        >>> area.features, area.grid.width, area.overview.shape
        (3, 30, (3, 20, 30))
        >>> abs(float(area.overview.astype('float32').mean())) < 0.01
        True
    """

    def __init__(self, path: str | os.PathLike[str], images: Grid | None = None) -> None:
        self.path = Path(path)
        require_own_pixels(str(path))
        if not self.path.exists():
            raise FileNotFoundError(
                f"there are no embeddings '{path}': write them with torchgeo-sits embed, or give "
                '--weights X.ckpt'
            )
        try:
            self._file = open_raster(str(path), num_threads='all_cpus')
        except RasterioError as error:
            raise OSError(f"'{path}' does not open as a raster ({error})") from error
        self._check()
        file = self._file
        self.grid = Grid(
            file.transform.c, file.transform.f, file.transform.a, -file.transform.e,
            file.width, file.height, file.crs,
        )  # fmt: skip
        if images is not None:
            self._check_place(images)
        self.pyramid = Pyramid(file.height, file.width)
        self._scales, self._offsets = (
            np.array(v, np.float32)[:, None, None] for v in (file.scales, file.offsets)
        )
        self._lock = threading.Lock()
        self._tiles: OrderedDict[Any, NDArray[np.float16]] = OrderedDict()
        tile = self.pyramid.overview(_OVERVIEW)
        raw = self._read_raw(tile.window, tile.shape)
        seen = raw[:, np.isfinite(raw).all(0)].astype(np.float64)
        if not seen.size:
            raise SITSError(
                f"'{path}' holds no data: check the images and cloud masks that it was made from"
            )
        std = seen.std(1)
        self.mean = seen.mean(1).astype(np.float32)[:, None, None]
        self.std = np.where(std > 0, std, 1).astype(np.float32)[:, None, None]
        #: Standardised features ``(D, h, w)`` of the whole area, of 256 x 256 pixels at most.
        self.overview = self._standardise(raw)

    @property
    def features(self) -> int:
        """Number of features D."""
        return int(self._file.count)

    @cached_property
    def colours(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Three axes ``(3, D)`` of largest variance, and their 2nd and 98th percentile ``(2, 3)``.

        They are the first principal components over the overview.
        """
        seen = self.overview[:, np.isfinite(self.overview).all(0)].astype(np.float32)
        _, _, axes = np.linalg.svd((seen @ seen.T).astype(np.float64))
        axes = axes[:3].astype(np.float32)
        # The sign of an axis is arbitrary: the same on each machine and in each version.
        axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]
        axes = np.concatenate([axes, np.zeros((3 - len(axes), axes.shape[1]), np.float32)])
        return axes, np.percentile(axes @ seen, (2, 98), axis=1).astype(np.float32)

    def tile(self, level: int, row: int, column: int) -> NDArray[np.float16]:
        """Read a tile, or take it from those that are kept.

        Args:
            level: See :meth:`Pyramid.tile`.
            row: See there.
            column: See there.

        Returns:
            Standardised features ``(D, h, w)``, NaN where nothing was observed. From level 1 on
            they are those of single pixels, or means where the raster has overviews.
        """
        place = self.pyramid.tile(level, row, column)
        key = level, row, column
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
                return self._tiles[key]
        found = self._read(place)
        with self._lock:
            self._tiles[key] = found
            kept = sum(tile.nbytes for tile in self._tiles.values())
            while kept > _CACHE and len(self._tiles) > 1:
                kept -= self._tiles.popitem(last=False)[1].nbytes
        return found

    def at(self, row: int, column: int) -> NDArray[np.float16]:
        """Read the standardised features ``(D,)`` of a pixel, NaN where it was not observed."""
        tile = self.tile(0, row // TILE, column // TILE)  # whose other pixels are asked for next
        return tile[:, row % TILE, column % TILE]

    def read(self, window: Window, shape: tuple[int, int]) -> NDArray[np.float16]:
        """Read standardised features ``(D, h, w)`` of a window, in a picture of that shape."""
        return self._standardise(self._read_raw(window, shape))

    def blocks(self) -> Iterator[tuple[Window, NDArray[np.float16]]]:
        """Read all pixels block by block: windows, and standardised features ``(D, h, w)``."""
        for rows, columns in raster_blocks(self.grid.height, self.grid.width, BLOCK):
            window = Window.from_slices(rows, columns)
            yield window, self.read(window, (int(window.height), int(window.width)))

    def close(self) -> None:
        """Close the raster."""
        self._file.close()

    def _read(self, tile: Tile) -> NDArray[np.float16]:
        return self.read(tile.window, tile.shape)

    def _read_raw(self, window: Window, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Read features as they are ``(D, h, w)``, NaN where any is no data."""
        file = self._file
        try:
            with self._lock:
                stored = file.read(window=window, out_shape=(file.count, *shape))
        except RasterioError as error:
            raise OSError(
                f"'{self.path}' cannot be read ({error}): it may be truncated, or be written at "
                'this moment'
            ) from error
        values = stored.astype(np.float32)
        if file.nodata is not None and np.isfinite(file.nodata):
            values[:, (stored == file.nodata).any(0)] = np.nan
        values[:, ~np.isfinite(values).all(0)] = np.nan
        if (self._scales != 1).any() or self._offsets.any():
            values = values * self._scales + self._offsets
        return values

    def _standardise(self, raw: NDArray[np.float32]) -> NDArray[np.float16]:
        values = (raw - self.mean) / self.std
        return np.clip(values, -_LARGEST, _LARGEST, out=values).astype(np.float16)

    def _check(self) -> None:
        """Refuse a raster that holds no embedding, or lies nowhere.

        Raises:
            SITSError: If it is one.
        """
        file = self._file
        kinds = {np.dtype(dtype).kind for dtype in file.dtypes}
        if file.count < 2 or not kinds <= set('fui'):
            raise SITSError(
                f"'{self.path}' holds {file.count} band(s) of {', '.join(sorted(set(file.dtypes)))}"
                ', and no embedding, which has a band for each feature: write one with '
                'torchgeo-sits embed'
            )
        if file.crs is None:
            raise SITSError(
                f"'{self.path}' has no coordinate reference system: write it again with the one of "
                'the images (gdal_translate -a_srs EPSG:CODE), or with torchgeo-sits embed'
            )
        turn = file.transform
        if turn.b or turn.d or turn.a <= 0 or turn.e >= 0:
            raise SITSError(
                f"the pixels of '{self.path}' are turned or mirrored: warp it to north-up pixels "
                '(gdalwarp)'
            )

    def _check_place(self, images: Grid) -> None:
        """Refuse a raster whose pixels are not those of the images, or outside of them.

        Raises:
            SITSError: If it is one.
        """
        own, what = self.grid, f"the embeddings '{self.path}'"
        again = 'write them from these images with torchgeo-sits embed'
        if own.crs != images.crs:
            raise SITSError(
                f'{what} are in {crs_name(own.crs)}, the images in {crs_name(images.crs)}: {again}'
            )
        offset = own.offset_in(images.transform)
        if offset is None or max(abs(v - round(v)) for v in offset) > TOLERANCE:
            raise SITSError(
                f'{what} have pixels of {own.xres:g} x {own.yres:g} from {own.left:g}, {own.top:g} '
                f'on, the images of {images.xres:g} x {images.yres:g} from {images.left:g}, '
                f'{images.top:g} on: {again}'
            )
        column, row = map(round, offset)
        inside = column >= 0 and column + own.width <= images.width
        if not (inside and row >= 0 and row + own.height <= images.height):
            raise SITSError(
                f'{what} reach beyond the images ({own.bounds} and {images.bounds}): {again}'
            )
