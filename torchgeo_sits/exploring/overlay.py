"""Any raster on top of a page's map, with its legend."""

import os
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import color_sequences, colormaps
from matplotlib.colors import to_rgba
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT

from ..datasets.formats import open_raster, require_own_pixels
from ..errors import SITSError
from ..grid import Grid
from .pyramid import Pyramid

__all__ = ['Overlay']


class Overlay:
    """Raster on the pixels of a map, whatever its own, as colours.

    Classes have the colours and names that the file holds (maps of this package do), one band of
    values goes from dark to light between its 2nd and 98th percentile, the first three of several
    bands are red, green and blue.

    Args:
        path: The raster.
        grid: Pixels of the map.

    Attributes:
        name: Name of the file.
        legend: Names and colours ``#rrggbb`` of the classes; of values, the two ends.

    Raises:
        SITSError: If it has no coordinate reference system, or does not lie on the map.
        OSError: If it cannot be read.

    Examples:
        >>> import numpy as np, rasterio, tempfile
        >>> from torchgeo_sits.exploring import Overlay
        >>> from torchgeo_sits.grid import Grid
        >>> where = {'crs': 'EPSG:32631', 'transform': rasterio.Affine(10, 0, 0, 0, -10, 80)}
        >>> grid = Grid(0, 80, 10, 10, 8, 8, rasterio.CRS.from_epsg(32631))
        >>> size = {'count': 1, 'height': 8, 'width': 8, 'dtype': 'uint8'}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with rasterio.open(f'{folder}/class.tif', 'w', **size, **where) as file:
        ...         file.update_tags(CLASS_1='maize')
        ...         file.write_colormap(1, {1: (255, 169, 14, 255)})
        ...         file.write(np.ones((1, 8, 8), np.uint8))
        ...     overlay = Overlay(f'{folder}/class.tif', grid)
        ...     overlay.legend, overlay.tile(0, 0, 0)[0, 0].tolist()
        ([('maize', '#ffa90e')], [255, 169, 14, 255])
    """

    def __init__(self, path: str | os.PathLike[str], grid: Grid) -> None:
        self.name = Path(path).name
        require_own_pixels(str(path))
        if not Path(path).exists():
            raise FileNotFoundError(f"there is no map '{path}'")
        try:
            source = open_raster(str(path))
        except RasterioError as error:
            raise OSError(f"'{path}' does not open as a raster ({error})") from error
        if source.crs is None:
            raise SITSError(
                f"'{path}' has no coordinate reference system, so that it lies nowhere: write it "
                'again with one (gdal_translate -a_srs EPSG:CODE)'
            )
        self._names = {
            int(key[6:]): value
            for key, value in source.tags().items()
            if re.fullmatch(r'CLASS_-?\d+', key)
        }
        self._raster = WarpedVRT(
            source, crs=grid.crs, transform=grid.transform, width=grid.width, height=grid.height,
            resampling=Resampling.nearest, add_alpha=False,
            nodata=source.nodata,
        )  # fmt: skip
        self._lock = threading.Lock()
        self.pyramid = Pyramid(grid.height, grid.width)
        self._colours = self._class_colours(source)
        whole = self.pyramid.overview(256)
        values, seen = self._read(whole.window, whole.shape)
        if not seen.any():
            raise SITSError(f"'{path}' has no data where the map is: give one of this place")
        self._low, self._high = np.percentile(values[:, seen], (2, 98), axis=1)
        self.legend = self._legend()

    def tile(self, level: int, row: int, column: int) -> NDArray[np.uint8]:
        """Draw a tile ``(h, w, 4)``, transparent where there is no data."""
        place = self.pyramid.tile(level, row, column)
        values, seen = self._read(place.window, place.shape)
        if self._colours:
            picture = np.zeros((*place.shape, 4), np.uint8)
            for value, colour in self._colours.items():
                picture[values[0] == value] = colour
            return picture
        span = np.maximum(self._high - self._low, 1e-9)[:, None, None]
        shown = np.clip((np.nan_to_num(values) - self._low[:, None, None]) / span, 0, 1)
        if len(shown) == 1:
            picture = (255 * colormaps['viridis'](shown[0])).astype(np.uint8)
        else:
            picture = np.full((*place.shape, 4), 255, np.uint8)
            picture[..., :3] = 255 * np.moveaxis(shown, 0, -1)
        picture[~seen, 3] = 0
        return picture

    def _read(
        self, window: Any, shape: tuple[int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read one or three bands ``(1 or 3, h, w)``, and what of them is data ``(h, w)``."""
        bands = [1, 2, 3] if self._raster.count >= 3 else [1]
        with self._lock:
            values = self._raster.read(bands, window=window, out_shape=(len(bands), *shape))
        seen = np.isfinite(values).all(0)
        if self._raster.nodata is not None and np.isfinite(self._raster.nodata):
            seen &= (values != self._raster.nodata).all(0)
        return values.astype(np.float32), seen

    def _class_colours(self, source: Any) -> dict[int, tuple[int, ...]]:
        """Colours of values, where the file has any or names its classes."""
        colours: dict[int, tuple[int, ...]] = {}
        try:
            colours = source.colormap(1)
        except ValueError:  # it has none
            palette = [*color_sequences['petroff10'], *color_sequences['tab20b']]
            for i, value in enumerate(sorted(self._names)):
                parts = to_rgba(palette[i % len(palette)])
                colours[value] = tuple(round(255 * part) for part in parts)
        wanted = self._names or {value for value, colour in colours.items() if colour[3]}
        return {v: c for v, c in colours.items() if v in wanted and v != source.nodata}

    def _legend(self) -> list[tuple[str, str]]:
        if self._names:
            return [
                (name, '#{:02x}{:02x}{:02x}'.format(*self._colours[value][:3]))
                for value, name in sorted(self._names.items())
                if value in self._colours
            ]
        if self._colours or self._raster.count >= 3:
            return []
        ends = (self._low[0], '#440154'), (self._high[0], '#fde725')
        return [(f'{value:.4g}', colour) for value, colour in ends]
