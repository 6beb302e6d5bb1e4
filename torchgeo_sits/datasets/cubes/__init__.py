"""Zarr cubes: their layout, how they are read, and how they are written."""

from .store import CubeStore, channels_of, find_cubes, require_expected, require_same_grid
from .writing import Progress, verify_cube, write_cube

__all__ = [
    'CubeStore',
    'Progress',
    'channels_of',
    'find_cubes',
    'require_expected',
    'require_same_grid',
    'verify_cube',
    'write_cube',
]
