"""The tiles that a page shows of a large raster: its pixels at every level of detail."""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

from rasterio.windows import Window

from ..errors import SITSError

__all__ = ['TILE', 'Pyramid', 'Tile']

#: Side of a tile in pixels of the picture.
TILE: Final = 256


class Tile(NamedTuple):
    """Part of a raster, and the size of the picture of it.

    Attributes:
        window: The pixels of the raster.
        shape: Rows and columns of the picture.
        scale: Pixels of the raster along each side of one of the picture.

    Examples:
        >>> from torchgeo_sits.exploring import Pyramid
        >>> Pyramid(1000, 600).tile(1, 1, 0).shape
        (244, 256)
    """

    window: Window
    shape: tuple[int, int]
    scale: int


@dataclass(frozen=True)
class Pyramid:
    """Tiles over a raster: at level n a pixel of a picture is ``2 ** n`` pixels of the raster.

    Attributes:
        height: Rows of the raster.
        width: Columns of the raster.

    Examples:
        >>> from torchgeo_sits.exploring import Pyramid
        >>> Pyramid(10_000, 10_000).levels, Pyramid(64, 64).levels
        (7, 1)
    """

    height: int
    width: int

    @property
    def levels(self) -> int:
        """Number of levels; the last shows all of the raster in one tile."""
        return 1 + max(0, math.ceil(math.log2(max(self.height, self.width) / TILE)))

    def tile(self, level: int, row: int, column: int) -> Tile:
        """Find a tile.

        Args:
            level: Level of detail; 0 are the pixels themselves.
            row: Number of the tile from the north.
            column: Number of the tile from the west.

        Returns:
            The tile, cut off at the edges of the raster.

        Raises:
            SITSError: If there is no such tile.
        """
        scale = 1 << max(0, min(level, self.levels))
        side = TILE * scale
        top, left = row * side, column * side
        if not (0 <= level < self.levels and 0 <= top < self.height and 0 <= left < self.width):
            raise SITSError(
                f'there is no tile {row}, {column} of level {level} of {self.height} x '
                f'{self.width} pixels'
            )
        height, width = min(side, self.height - top), min(side, self.width - left)
        shape = math.ceil(height / scale), math.ceil(width / scale)
        return Tile(Window(left, top, width, height), shape, scale)

    def overview(self, most: int) -> Tile:
        """Cover the raster by one picture of so many rows or columns at most.

        Args:
            most: Rows or columns.

        Returns:
            The whole raster as a tile.
        """
        scale = max(1, math.ceil(max(self.height, self.width) / most))
        shape = math.ceil(self.height / scale), math.ceil(self.width / scale)
        return Tile(Window(0, 0, self.width, self.height), shape, scale)
