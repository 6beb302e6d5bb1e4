"""NetCDF files and Zarr stores by the CF conventions: what they say of themselves, and reading."""

from .store import CFStore, is_store, list_stores

__all__ = ['CFStore', 'is_store', 'list_stores']
