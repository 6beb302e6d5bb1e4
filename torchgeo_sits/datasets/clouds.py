"""Masks of clouds that belong to the dates of a series."""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import shapely
from geopandas import GeoDataFrame, GeoSeries
from numpy.typing import NDArray

from ..errors import SITSError
from ..grid import Grid
from .index import FootprintTree
from .reading import RasterReader
from .scenes import Scene, extents, list_examples, to_pyproj

__all__ = ['CloudMasks']


class CloudMasks:
    """Classified rasters, such as Sentinel-2 SCL, matched to acquisitions by date.

    Args:
        scenes: The masks, in order: where two cover a pixel the first one counts.
        times: Acquisitions of the images, UTC.
        images: Index of the images: ``filepath`` and footprints.
        group_by: Whether masks belong to images of the same day or of the same instant; a
            mask with a date alone serves each instant of its day.
        clear_values: Values that mean clear.
        cache: Keep files open between reads.

    Raises:
        SITSError: If no mask has the date of an image, or none lies where one does.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        times: Sequence[pd.Timestamp],
        images: GeoDataFrame,
        *,
        group_by: Literal['day', 'time'],
        clear_values: Sequence[int],
        cache: bool = True,
    ) -> None:
        self.clear_values = tuple(clear_values)
        self._group_by = group_by
        self._reader = RasterReader(cache=cache)
        self._by_time: dict[pd.Timestamp, list[int]] = defaultdict(list)
        for i, scene in enumerate(scenes):
            exact = group_by == 'time' and scene.name.has_clock
            self._by_time[scene.name.time if exact else scene.name.time.normalize()].append(i)
        self._scenes = list(scenes)
        crs = scenes[0].crs
        self._footprints = GeoSeries(shapely.box(*extents(scenes, crs).T), crs=to_pyproj(crs))
        self._crs = crs
        self._tree: FootprintTree | None = None
        acquisitions = sorted(set(times))
        lacking = [time for time in acquisitions if not self._of(time)]
        if len(lacking) == len(acquisitions):
            raise SITSError(
                f"none of {len(scenes)} cloud masks, such as '{scenes[0].path}', has the "
                f'{group_by} of an image, such as {acquisitions[0]}: check the dates in the names '
                'of cloud_paths'
            )
        if lacking:
            warnings.warn(
                f'{len(lacking)} of {len(acquisitions)} acquisitions have no cloud mask and count '
                f'as clear wherever there is data: {list_examples(lacking)}',
                UserWarning,
                stacklevel=3,
            )
        if not _overlap(self._footprints.drop_duplicates().to_crs(images.crs), images.geometry):
            raise SITSError(
                f"none of {len(scenes)} cloud masks, such as '{scenes[0].path}', lies where the "
                f"images do, such as '{images.filepath.iloc[0]}': give the masks of these images "
                'as cloud_paths'
            )

    def __getstate__(self) -> dict[str, object]:
        """A plain state: the dictionary needs no default once it is filled."""
        return {**self.__dict__, '_by_time': dict(self._by_time)}

    def _of(self, time: pd.Timestamp) -> list[int]:
        """Numbers of the masks of an acquisition."""
        day = self._by_time.get(time.normalize(), [])
        if self._group_by == 'day' or time == time.normalize():
            return day
        return self._by_time.get(time, []) or day

    def within(self, grid: Grid) -> set[int]:
        """Numbers of the masks that share an area with a window."""
        if self._tree is None or self._crs != grid.crs:
            self._footprints = self._footprints.to_crs(to_pyproj(grid.crs))
            self._tree = FootprintTree(np.asarray(self._footprints))
            self._crs = grid.crs
        return set(self._tree.meeting(grid).tolist())

    @property
    def files(self) -> list[str]:
        """The masks' files."""
        return [scene.path for scene in self._scenes]

    def reserve(self, files: int) -> None:
        """Keep enough handles open for windows of so many masks."""
        self._reader.reserve(files)

    def close(self) -> None:
        """Close all handles."""
        self._reader.close()

    def read(self, time: pd.Timestamp, grid: Grid, near: set[int]) -> NDArray[np.bool_] | None:
        """Read which pixels were clear at one acquisition.

        Args:
            time: The acquisition.
            grid: Pixels wanted.
            near: What :meth:`within` said of *grid*.

        Returns:
            ``(H, W)`` bool, False where the masks of that date do not reach; None where
            there is no mask of that date here.

        Raises:
            OSError: If a mask cannot be read.
        """
        masks = [i for i in self._of(time) if i in near]
        if not masks:
            return None
        clear = np.zeros((grid.height, grid.width), bool)
        left = np.ones_like(clear)
        for i in masks:
            scene = self._scenes[i]
            values, covered = self._reader.read(scene, scene.indexes[:1], grid)
            clear |= left & covered & np.isin(values[0], self.clear_values)
            left &= ~covered
            if not left.any():
                break
        return clear


def _overlap(masks: GeoSeries, images: GeoSeries) -> bool:
    """Whether any of *masks* shares an area with any of *images*, in the same CRS."""
    tree = shapely.STRtree(images.values)
    for mask in masks:
        near = tree.geometries[tree.query(mask)]
        if (shapely.area(shapely.intersection(near, mask)) > 0).any():
            return True
    return False
