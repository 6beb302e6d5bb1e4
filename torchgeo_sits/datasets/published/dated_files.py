"""Family of the dated files: a raster for each date, or for each date and resolution."""

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterWindow

from ...errors import SITSError
from ..formats import open_raster, require_own_pixels
from .base import PublishedTimeSeries, StoredSeries, Window
from .side_files import told

__all__ = ['MOST_CLOUD', 'DatedFiles', 'Frame', 'raster_grid', 'raster_size', 'read_raster']

#: Highest probability of cloud, in per cent, of a pixel that is clear, where authors set no limit.
MOST_CLOUD: Final = 50


class Frame(NamedTuple):
    """The files of a date.

    Attributes:
        time: Seconds since 1970-01-01 UTC.
        paths: Rasters whose bands follow each other; those of other sizes than the first cover
            the same ground.
    """

    time: int
    paths: tuple[Path, ...]


class DatedFiles(PublishedTimeSeries):
    """Base class of data sets with a raster for each date of a place.

    A subclass lists the files of a place in :meth:`list_frames`, and says the rest as every
    :class:`~.base.PublishedTimeSeries`. Pixels that all bands of a file declare to be no data
    are not clear, nor are those that :meth:`mark_clear` leaves out.
    """

    @abstractmethod
    def list_frames(self, key: Any) -> Sequence[Frame]:
        """Dates and files of a sample, in any order.

        Args:
            key: One of :attr:`samples`.

        Raises:
            SITSError: If there is none, or a name holds no date.
        """

    def files(self, key: Any) -> Sequence[Path]:
        """Files of a sample: those of its frames."""
        return [path for frame in self.list_frames(key) for path in frame.paths]

    def size(self, key: Any) -> tuple[int, int]:
        """Height and width of the first raster of the first date."""
        return raster_size(self.list_frames(key)[0].paths[0])

    def read_series(self, key: Any, window: Window) -> StoredSeries:
        """Read a window of each file."""
        return self.read_frames(key, self.list_frames(key), window, self.band_names)

    def read_frames(
        self, key: Any, frames: Sequence[Frame], window: Window, bands: Sequence[str]
    ) -> StoredSeries:
        """Read a window of the files of some dates.

        Args:
            key: One of :attr:`samples`.
            frames: The dates and files, one at least.
            window: Rows and columns.
            bands: Names of the bands, the first of those that the files have.

        Raises:
            SITSError: If a file is not as published.
        """
        values, clear = [], []
        whole: tuple[int, int] | None = None
        for frame in frames:
            first, *others = frame.paths
            pixels, seen, size = _read(first, window)
            if size != (whole := whole or size):
                raise SITSError(
                    f"'{first}' has the size {size}, expected {whole} as '{frames[0].paths[0]}' "
                    'has: fetch both again'
                )
            found = [(pixels, seen)]
            found += [read_raster(path, window, pixels.shape[-2:], whole) for path in others]
            pixels = np.concatenate([array for array, _ in found])
            if len(pixels) < len(bands):
                raise SITSError(
                    f"'{frame.paths[0]}' has {len(pixels)} bands, expected {len(bands)}, "
                    f'{list(bands)}: fetch it again'
                )
            values.append(pixels[: len(bands)])
            seen = np.logical_and.reduce([mask for _, mask in found])
            marked = self.mark_clear(frame, pixels, window)
            clear.append(seen if marked is None else seen & marked)
        times = np.array([frame.time for frame in frames], np.int64)
        return StoredSeries(np.stack(values), times, np.stack(clear))

    def mark_clear(
        self, frame: Frame, pixels: NDArray[Any], window: Window
    ) -> NDArray[np.bool_] | None:
        """Tell which pixels of a date are free of clouds; None where nothing is marked.

        Args:
            frame: The date and its files.
            pixels: ``(C, H, W)``, all bands of the files, those behind ``band_names`` too.
            window: Rows and columns.
        """
        return None


def raster_size(path: Path) -> tuple[int, int]:
    """Height and width of a raster.

    Args:
        path: The file.

    Raises:
        SITSError: If it cannot be read.
    """
    with _opened(path) as source:
        return source.height, source.width


def raster_grid(path: Path) -> tuple[CRS | None, Affine]:
    """Reference system of a raster, None where it has none, and the transform of its pixels.

    Args:
        path: The file.

    Raises:
        SITSError: If it cannot be read.
    """
    with _opened(path) as source:
        return source.crs, source.transform


def read_raster(
    path: Path,
    window: Window,
    shape: tuple[int, int] | None = None,
    whole: tuple[int, int] | None = None,
    resampling: Resampling = Resampling.nearest,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read a window of a raster.

    Args:
        path: The file.
        window: Rows and columns, of a raster of the size *whole*.
        shape: Height and width to bring the window to, None keeps it.
        whole: Size of the raster that *window* is of, whose ground this one covers. None is
            the size of this one.
        resampling: How pixels are brought to *shape*.

    Returns:
        ``(C, H, W)``, and ``(H, W)`` bool, False where no band holds data by what the file
        declares.

    Raises:
        SITSError: If the file cannot be read.
    """
    pixels, seen, _ = _read(path, window, shape, whole, resampling)
    return pixels, seen


def _read(
    path: Path,
    window: Window,
    shape: tuple[int, int] | None = None,
    whole: tuple[int, int] | None = None,
    resampling: Resampling = Resampling.nearest,
) -> tuple[NDArray[Any], NDArray[np.bool_], tuple[int, int]]:
    """Read a window of a raster as :func:`read_raster` does, and its height and width."""
    with _opened(path) as source:
        height, width = whole or (source.height, source.width)
        if not _cover_alike((source.height, source.width), (height, width)):
            raise SITSError(
                f"'{path}' has the size {(source.height, source.width)}, which is that of no "
                f'raster over the same ground as one of {(height, width)}: fetch it again'
            )
        rows, columns = (
            range(size)[part] for size, part in zip((height, width), window, strict=True)
        )
        tall, wide = source.height / height, source.width / width
        part = RasterWindow(
            columns.start * wide, rows.start * tall, len(columns) * wide, len(rows) * tall
        )
        size = shape or (len(rows), len(columns))
        options: dict[str, Any] = {'window': part, 'out_shape': (source.count, *size)}
        options['resampling'] = resampling
        try:
            pixels = source.read(**options)
        except RasterioError as error:
            raise SITSError(f"'{path}' cannot be read ({told(error)}): fetch it again") from error
        if pixels.dtype.kind not in 'biuf':
            raise SITSError(
                f"'{path}' holds pixels of the type {pixels.dtype}, expected numbers: fetch it "
                'again'
            )
        missing = np.ones(size, bool)
        for band, nodata in zip(pixels, source.nodatavals, strict=True):
            missing &= False if nodata is None else (band == nodata) | np.isnan(band + nodata)
        return pixels, ~missing, (source.height, source.width)


def _cover_alike(own: tuple[int, int], whole: tuple[int, int]) -> bool:
    """Tell whether two rasters can cover one ground: pixels of one are whole ones of the other."""
    small, large = sorted([own, whole])
    times = round(large[0] / small[0])
    spare = [abs(there - times * here) for here, there in zip(small, large, strict=True)]
    return max(spare) < times if times > 1 else max(spare) == 0


def _opened(path: Path) -> DatasetReader:
    """Open a raster; one without georeference is none the worse."""
    require_own_pixels(str(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', NotGeoreferencedWarning)
            return open_raster(str(path))
    except RasterioIOError as error:
        if not path.exists():
            raise FileNotFoundError(2, 'No such file or directory', str(path)) from error
        raise SITSError(
            f"'{path}' is no raster that can be read ({told(error)}): fetch it again"
        ) from error
