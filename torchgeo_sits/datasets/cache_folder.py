"""The folder in which what was read once is kept between runs."""

import os
from pathlib import Path

import platformdirs

__all__ = ['cache_folder']


def cache_folder() -> Path:
    """The folder that the environment variable ``TORCHGEO_SITS_CACHE`` names, else the user's.

    Returns:
        The folder, which need not exist.

    Examples:
        >>> from torchgeo_sits.datasets.cache_folder import cache_folder
        >>> cache_folder().is_absolute()
        True
    """
    chosen = os.environ.get('TORCHGEO_SITS_CACHE')
    return Path(chosen) if chosen else platformdirs.user_cache_path('torchgeo_sits', False)
