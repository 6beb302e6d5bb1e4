"""Memory of arrays that are done with, given back to the system."""

import ctypes
import platform
from typing import Final

__all__ = ['release_freed_arrays']

#: ``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD`` of glibc's malloc.h.
_THRESHOLDS: Final = (-1, -3)
_BYTES: Final = 1 << 20


def release_freed_arrays() -> None:
    """Let arrays of a megabyte and more go back to the system when they are freed.

    By default glibc raises the size from which they do with that of the arrays that were
    freed. Windows then lie on its heap, in which they leave gaps: a process that reads them grew
    by 7 MB a window. Where there is no glibc nothing is done.
    """
    if platform.libc_ver()[0] == 'glibc':
        for threshold in _THRESHOLDS:
            ctypes.CDLL(None).mallopt(threshold, _BYTES)
