"""Pixel grids: the one type for the pixels of a window, a file's block, a cube or a map."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from pyproj import CRS as ProjCRS
from pyproj import Transformer
from pyproj.exceptions import ProjError
from rasterio.crs import CRS
from rasterio.transform import Affine, from_origin
from torchgeo.datasets import GeoDataset

from .errors import SITSError

__all__ = ['TOLERANCE', 'Grid', 'crs_name', 'grid_of', 'pixel_size']

#: Share of a pixel by which two grids may differ and still count as the same one.
TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Grid:
    """A north-up grid of pixels in a coordinate reference system.

    Attributes:
        left: West edge, in units of *crs*.
        top: North edge, in units of *crs*.
        xres: Width of a pixel, in units of *crs*.
        yres: Height of a pixel, in units of *crs*.
        width: Number of columns.
        height: Number of rows.
        crs: Coordinate reference system.

    Examples:
        >>> from rasterio.crs import CRS
        >>> from torchgeo_sits.grid import Grid
        >>> grid = Grid(600_000, 5_000_000, 10, 10, 64, 32, CRS.from_epsg(32631))
        >>> grid.bounds
        (600000, 4999680, 600640, 5000000)
        >>> part = grid.crop(row=4, column=8, height=16, width=16)
        >>> part.snapped(grid.transform)[1:]  # column and row
        (8, 4)
        >>> Grid.of(slice(600_003, 600_163, 10), slice(4_999_840, 5_000_000, 10), grid.crs).width
        16
    """

    left: float
    top: float
    xres: float
    yres: float
    width: int
    height: int
    crs: CRS

    @classmethod
    def of(cls, x: slice, y: slice, crs: CRS) -> 'Grid':
        """Lay a grid over a window, as TorchGeo writes windows.

        Args:
            x: West and east edge, and the width of a pixel as its step.
            y: South and north edge, and the height of a pixel as its step.
            crs: Coordinate reference system.

        Returns:
            The grid from the north-west corner on, its size rounded to whole pixels.

        Raises:
            SITSError: If the window is smaller than half a pixel.
        """
        width, height = round((x.stop - x.start) / x.step), round((y.stop - y.start) / y.step)
        if width < 1 or height < 1:
            raise SITSError(f'the window x={x}, y={y} is less than a pixel of {x.step} x {y.step}')
        return cls(x.start, y.stop, x.step, y.step, width, height, crs)

    @property
    def transform(self) -> Affine:
        """Affine transformation of (column, row) to coordinates."""
        return from_origin(self.left, self.top, self.xres, self.yres)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north edge, in units of the CRS."""
        return (
            self.left,
            self.top - self.height * self.yres,
            self.left + self.width * self.xres,
            self.top,
        )

    @property
    def location(self) -> tuple[float, float]:
        """Latitude and longitude of the centre in degrees, NaN where the CRS knows none there."""
        west, south, east, north = self.bounds
        try:
            x, y = _to_degrees(self.crs.to_wkt()).transform((west + east) / 2, (south + north) / 2)
        except ProjError:
            return math.nan, math.nan
        return (y, x) if math.isfinite(x) and math.isfinite(y) else (math.nan, math.nan)

    def offset_in(self, transform: Affine) -> tuple[float, float] | None:
        """Find the column and row of this grid's corner in a raster of the same pixel size.

        Args:
            transform: Affine transformation of the raster, in the CRS of this grid.

        Returns:
            The column and row, not rounded; None where pixel sizes or axes differ by more
            than :data:`TOLERANCE` of a pixel from one end of this grid to the other.
        """
        drift = max(
            abs(transform.a / self.xres - 1) * self.width,
            abs(transform.e / -self.yres - 1) * self.height,
            abs(transform.b / self.xres) * self.height,
            abs(transform.d / self.yres) * self.width,
        )
        if drift > TOLERANCE:
            return None
        return (self.left - transform.c) / transform.a, (self.top - transform.f) / transform.e

    def snapped(self, transform: Affine) -> 'tuple[Grid, int, int] | None':
        """Move this grid onto the pixels of a raster, by half a pixel at most.

        Args:
            transform: Affine transformation of the raster, in the CRS of this grid.

        Returns:
            The grid, this one where it lies on the pixels already, with the column and the row
            of its corner in the raster. Half a pixel is rounded towards the same side for every
            raster of a grid. None where :meth:`offset_in` is None.
        """
        offset = self.offset_in(transform)
        if offset is None:
            return None
        column, row = (math.floor(value + 0.5) for value in offset)
        right, down = offset[0] - column, offset[1] - row
        if max(abs(right), abs(down)) <= TOLERANCE:
            return self, column, row
        left, top = self.left - right * self.xres, self.top + down * self.yres
        return replace(self, left=left, top=top), column, row

    def crop(self, row: int, column: int, height: int, width: int) -> 'Grid':
        """Cut a smaller grid out, or one that lies partly outside.

        Args:
            row: First row.
            column: First column.
            height: Number of rows.
            width: Number of columns.

        Returns:
            The grid of these pixels.
        """
        left, top = self.left + column * self.xres, self.top - row * self.yres
        return replace(self, left=left, top=top, width=width, height=height)


@lru_cache(16)
def _to_degrees(wkt: str) -> Transformer:
    """Make what turns coordinates into longitude and latitude."""
    return Transformer.from_crs(ProjCRS.from_wkt(wkt), 'EPSG:4326', always_xy=True)


def pixel_size(res: float | tuple[float, float]) -> tuple[float, float]:
    """Check the size of a pixel, and spell it as width and height.

    Args:
        res: Both, or one number for both, in units of the CRS.

    Returns:
        Width and height.

    Raises:
        SITSError: If they are not positive.

    Examples:
        >>> from torchgeo_sits.grid import pixel_size
        >>> pixel_size(10), pixel_size((10, 20))
        ((10.0, 10.0), (10.0, 20.0))
    """
    xres, yres = (res, res) if isinstance(res, int | float) else res
    if xres <= 0 or yres <= 0:
        raise SITSError(f'res must be positive, got {res}')
    return float(xres), float(yres)


def grid_of(dataset: GeoDataset) -> Grid:
    """Lay a grid over all pixels of a data set.

    Args:
        dataset: The data set; its pixels begin at the upper left corner of its extent.

    Returns:
        The grid.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_synthetic_series
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(f'{folder.name}/s', size=(32, 32), num_dates=4, days=60)
        >>> from torchgeo_sits.grid import grid_of
        >>> grid = grid_of(RasterTimeSeries(files.images))
        >>> grid.left, grid.top, grid.width, grid.height
        (500000.0, 5640000.0, 32, 32)
    """
    west, south, east, north = (float(v) for v in dataset.index.total_bounds)
    xres, yres = pixel_size(dataset.res)
    width, height = (max(1, round(n)) for n in ((east - west) / xres, (north - south) / yres))
    return Grid(west, north, xres, yres, width, height, dataset.index.crs)


def crs_name(crs: CRS | ProjCRS) -> str:
    """Name a coordinate reference system in a few words, for messages.

    Args:
        crs: The system.

    Returns:
        Its code where it has one, else its name, never its WKT.

    Examples:
        >>> from rasterio.crs import CRS
        >>> from torchgeo_sits.grid import crs_name
        >>> crs_name(CRS.from_epsg(32631))
        'EPSG:32631'
        >>> crs_name(CRS.from_proj4('+proj=laea +lat_0=52 +lon_0=10 +ellps=GRS80 +units=m'))
        'Lambert Azimuthal Equal Area'
    """
    text: str = crs.to_string()
    if text.startswith(('EPSG:', 'ESRI:', 'OGC:')):
        return text
    system = ProjCRS.from_user_input(crs.to_wkt())
    if system.name not in ('unknown', 'unnamed'):
        return system.name
    operation = system.coordinate_operation
    return system.type_name if operation is None else operation.method_name
