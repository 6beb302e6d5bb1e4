"""Frames of a series: the files of an acquisition in one image, with its clouds."""

import warnings
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling

from .catalogue import Product
from .clouds import CloudMasks
from .grid import Grid
from .reading import RasterReader
from .scenes import list_examples

__all__ = ['FrameReader']


class FrameReader:
    """Reads acquisitions, several at once, each to one frame.

    Args:
        bands: Names of the channels, in their order.
        reader: Reads the files.
        clouds: Masks of clouds, if there are any.
        calibrate: Turns the values ``(C, H, W)`` of a product, given with the path of its first
            file, into those of a sample, in place.
        unreadable: What to do about a file that breaks off: fail, or leave its pixels
            unobserved and say so once.
    """

    def __init__(
        self,
        bands: Sequence[str],
        reader: RasterReader,
        *,
        clouds: CloudMasks | None,
        calibrate: Callable[[NDArray[np.float32], str], None],
        unreadable: Literal['raise', 'skip'],
    ) -> None:
        self.bands = tuple(bands)
        self.reader = reader
        self.clouds = clouds
        self.calibrate = calibrate
        self.unreadable = unreadable
        self._unread: set[str] = set()

    def close(self) -> None:
        """Close all open files; reading again opens what it needs."""
        self.reader.close()
        if self.clouds is not None:
            self.clouds.close()

    def read(
        self, acquisitions: Sequence[Sequence[Product]], grid: Grid
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Read frames.

        Args:
            acquisitions: The products of T acquisitions. Where two of one acquisition cover a
                pixel, the first that observed it counts.
            grid: Pixels wanted.

        Returns:
            ``(T, C, H, W)`` float32, 0 where nothing was observed, and ``(T, H, W)`` bool,
            True where the ground was seen.

        Raises:
            OSError: If a file cannot be read, unless it is to be skipped.
        """
        shape = (len(acquisitions), grid.height, grid.width)
        image = np.zeros((shape[0], len(self.bands), *shape[1:]), np.float32)
        clear = np.zeros(shape, bool)
        self.reader.reserve(sum(len(p.scenes) for a in acquisitions for p in a))
        near = None
        if self.clouds is not None:
            near = self.clouds.within(grid)
            self.clouds.reserve(int(near.sum()))
        broken: list[str] = []

        def frame(i: int) -> None:
            for product in acquisitions[i]:
                try:
                    self._mosaic(image[i], clear[i], product, grid)
                except OSError:
                    if self.unreadable == 'raise':
                        raise
                    broken.append(product.scenes[0].path)
                if clear[i].all():
                    break
            if self.clouds is None or near is None or not clear[i].any():
                return
            time = min(product.name.time for product in acquisitions[i])
            try:
                mask = self.clouds.read(time, grid, near)
            except OSError:
                if self.unreadable == 'raise':
                    raise
                broken.append(f'cloud mask of {time}')
                mask = np.zeros_like(clear[i])
            if mask is not None:
                clear[i] &= mask

        self.reader.map(frame, len(acquisitions))
        new = sorted(set(broken) - self._unread)
        if new:
            self._unread.update(new)
            warnings.warn(
                f'{len(new)} rasters cannot be read and count as unobserved: {list_examples(new)}',
                UserWarning,
                stacklevel=3,
            )
        return image, clear

    def _mosaic(
        self,
        image: NDArray[np.float32],
        observed: NDArray[np.bool_],
        product: Product,
        grid: Grid,
    ) -> None:
        """Fill the pixels of a frame ``(C, H, W)`` that are not *observed* yet, in place."""
        by_file: dict[str, list[int]] = {}
        for channel, band in enumerate(self.bands):
            by_file.setdefault(product.sources[band][0], []).append(channel)
        data = np.empty_like(image)
        seen = ~observed
        for path, channels in by_file.items():
            indexes = [product.sources[self.bands[channel]][1] for channel in channels]
            values, valid = self.reader.read(path, indexes, grid, resampling=Resampling.bilinear)
            data[channels] = values
            seen &= valid
            if not seen.any():
                return
        self.calibrate(data, product.scenes[0].path)
        np.copyto(image, data, where=seen)
        observed |= seen
