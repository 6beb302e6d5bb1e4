"""Headers of many files: kept ones where files are unchanged, others read at once."""

import sys
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import batched

from rasterio import Env
from rasterio.errors import RasterioError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from .header_cache import HeaderCache
from .headers import Header, read_header

__all__ = ['read_headers']

#: Fewer files are read sooner than a cache pays, and leave no trace.
_WORTH_KEEPING = 256
#: Files that one thread reads before it says so.
_BATCH = 16
#: Seconds after which a person who waits is told how far it is.
_PATIENCE = 1.0


def read_headers(files: Sequence[str]) -> list[Header | RasterioError]:
    """Read the headers of rasters.

    Args:
        files: The rasters.

    Returns:
        The header of each, or the error that opening it raised.

    Raises:
        ValueError: If a raster has no CRS.
    """
    if len(files) < _WORTH_KEEPING:
        return _read(files)
    cache = HeaderCache(files)
    found: dict[str, Header | RasterioError] = {**cache.load()}
    new = [path for path in files if path not in found]
    if new:
        start = time.monotonic()
        found.update(zip(new, _read(new), strict=True))
        _keep(cache, {path: found[path] for path in new}, time.monotonic() - start)
    return [found[path] for path in files]


def _keep(cache: HeaderCache, found: dict[str, Header | RasterioError], seconds: float) -> None:
    """Keep what was read; say so where it cannot be kept and took long."""
    headers = {path: header for path, header in found.items() if isinstance(header, Header)}
    try:
        cache.keep(headers)
    except Exception as error:  # a full disk, a home that is read only: only slower next time
        if seconds > 10 * _PATIENCE:
            warnings.warn(
                f'the headers of {len(headers)} rasters, read in {seconds:.0f} s, cannot be kept '
                f"in '{cache.place}' ({error}) and are read again each time: set the environment "
                'variable TORCHGEO_SITS_CACHE to a folder that can be written',
                UserWarning,
                stacklevel=5,
            )


def _read(files: Sequence[str]) -> list[Header | RasterioError]:
    """Read the headers of rasters on several threads, with a bar where it takes long."""
    remote = any('://' in path or path.startswith('/vsi') for path in files)
    start = time.monotonic()
    results: list[Header | RasterioError] = []
    shared: dict[Header, Header] = {}
    bar: Progress | None = None
    # Opening waits for a server, or a disk: from a warm disk more threads gain nothing, since
    # GDAL and Python each do it one by one.
    pool = ThreadPoolExecutor(32 if remote else 8, thread_name_prefix='header')
    try:
        for batch in pool.map(_read_batch, batched(files, _BATCH)):
            results += [shared.setdefault(h, h) if isinstance(h, Header) else h for h in batch]
            if bar is None and time.monotonic() - start > _PATIENCE and sys.stderr.isatty():
                bar = _bar(len(files))
            if bar is not None:
                bar.update(bar.task_ids[0], completed=len(results))
    finally:
        if bar is not None:
            bar.stop()
        pool.shutdown(cancel_futures=True)  # what is left need not be read after a failure
    return results


def _bar(total: int) -> Progress:
    """A bar on the terminal, such as ``reading headers ━━━━ 3,412/10,000 0:00:02``."""
    bar = Progress(
        TextColumn('{task.description}'),
        BarColumn(),
        TextColumn('{task.completed:,.0f}/{task.total:,.0f}'),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    bar.add_task('reading headers', total=total)
    bar.start()
    return bar


def _read_batch(files: Sequence[str]) -> list[Header | RasterioError]:
    """Read a few headers in one thread."""
    local = not any('://' in path or path.startswith('/vsi') for path in files)
    results: list[Header | RasterioError] = []
    # By default GDAL lists the whole folder for each file that it opens. It finds companions
    # without, by asking for each, which is slower only on servers.
    with Env(**({'GDAL_DISABLE_READDIR_ON_OPEN': 'TRUE'} if local else {})):
        for path in files:
            try:
                results.append(read_header(path))
            except RasterioError as error:
                results.append(error)
    return results
