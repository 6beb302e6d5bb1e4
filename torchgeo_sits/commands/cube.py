"""The command ``torchgeo-sits cube``: convert dated rasters, NetCDF or Zarr to a cube."""

import argparse
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from rich.console import Console
from rich.progress import Progress

from .. import datasets
from ..datasets import TimeSeries, series_class_of, verify_cube, write_cube
from ..datasets.cubes import Progress as OnShard
from ..errors import SITSError
from ..stopping import STOP
from .pages import PAGES
from .parser import CommandParser

__all__ = ['cube']

_PAGE = PAGES['cube']
#: Arguments of a series that say nothing about the cube, or that are given in another way.
_NOT_ASKED = {'paths', 'crs', 'transforms', 'cache', 'min_clear'}


def cube(args: Sequence[str]) -> None:
    """Convert a series to a cube, or go on with it, and compare the two on request.

    Args:
        args: The folders, the cube, and options; see ``torchgeo-sits cube --help``.

    Raises:
        SITSError: If the cube cannot be written under this name, or differs from the source.
        OSError: If a file cannot be read or written.
    """
    # Each block is decoded once: what GDAL would keep of them, a twentieth of the memory, is
    # not asked for again.
    os.environ.setdefault('GDAL_CACHEMAX', '256')
    parser, series_class, names = _parser(args)
    options = parser.parse_args(list(args))
    given = {name: getattr(options, name) for name in names}
    crs = {} if options.crs is None else {'crs': options.crs}
    series = series_class(paths=options.src, **crs, **given)
    path = os.path.normpath(options.dst)
    command = f'torchgeo-sits cube {shlex.join(args)}'
    STOP.advice = f"'{path}' keeps what was written, the same command goes on from there: {command}"
    with _progress(f'writing {path}') as on_shard:
        written = write_cube(series, path, command=command, progress=on_shard)
    done = f"'{path}' is complete"
    done += f': {written} shards written' if written else ', there was nothing left to write'
    print(f'{done}. Open it with ZarrTimeSeries({path!r})')
    if options.verify:
        with _progress(f'comparing {path}') as on_shard:
            shards = verify_cube(series, path, progress=on_shard)
        print(f"All {shards} shards of '{path}' are equal to the source, bit for bit")


def _parser(
    args: Sequence[str],
) -> tuple[CommandParser, type[TimeSeries], list[str]]:
    """The parser for a kind of series, that kind, and its options."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument('--dataset_class')
    name = first.parse_known_args(args)[0].dataset_class
    # Of all words, among which are values of options and the cube, what is there: the source.
    there = [word for word in args if os.path.exists(word)]
    series_class = series_class_of(there[:1]) if name is None else _series_class(name)
    parser = CommandParser(prog='torchgeo-sits cube', description=_PAGE.text)
    parser.add_argument('src', nargs='+', metavar='SRC', help='folders or files of one kind')
    parser.add_argument('dst', metavar='DST', help='the cube: a new name, or one begun before')
    parser.add_argument(
        '--verify',
        action='store_true',
        help=_PAGE.own['verify'],
    )
    parser.add_argument(
        '--dataset_class',
        default=None,
        help=_PAGE.own['dataset_class'],
    )
    parser.add_argument(
        '--crs',
        type=str,
        default=None,
        help=_PAGE.own['crs'],
    )
    names = parser.add_class_arguments(series_class, skip=_NOT_ASKED)
    return parser, series_class, names


def _series_class(name: str) -> type[TimeSeries]:
    """A kind of series by its name here, or by its dotted path."""
    module, _, attribute = name.rpartition('.')
    try:
        found: Any = getattr(import_module(module) if module else datasets, attribute)
    except (ImportError, AttributeError) as error:
        raise SITSError(
            f'--dataset_class {name} is not found ({error}): expected RasterTimeSeries, '
            'Sentinel2TimeSeries, or the dotted path of a class of your own'
        ) from error
    if not (isinstance(found, type) and issubclass(found, TimeSeries)):
        raise SITSError(f'--dataset_class {name} is not a kind of TimeSeries')
    return found


@contextmanager
def _progress(task: str) -> Iterator[OnShard]:
    """A bar on the terminal, and nothing elsewhere."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        number = bar.add_task(task, total=None)

        def on_shard(done: int, shards: int) -> None:
            bar.update(number, completed=done, total=shards)

        yield on_shard
