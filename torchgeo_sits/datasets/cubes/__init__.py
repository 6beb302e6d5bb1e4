"""Zarr cubes: their layout, how they are read, and how they are written."""

from .store import CubeStore
from .writing import Progress, verify_cube, write_cube

__all__ = ['CubeStore', 'Progress', 'verify_cube', 'write_cube']
