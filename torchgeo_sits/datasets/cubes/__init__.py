"""Zarr cubes: how a series lies in them, how they are read, and how they are written."""
