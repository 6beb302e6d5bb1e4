"""The command ``torchgeo-sits embed``: features of each pixel as a map, of points as a table."""

import os
from collections.abc import Sequence
from datetime import date
from typing import Any, Literal

import numpy as np
from lightning.pytorch import Callback, Trainer
from shapely import box

from ..callbacks import MapWriter, RunProgress, TableWriter
from ..datamodules import (
    ImageOptions,
    PointDataModule,
    Sentinel1Options,
    SITSDataModule,
    SITSFusionDataModule,
    TableOptions,
)
from ..datasets import TimeSeries
from ..datasets.points.files import is_table
from ..errors import SITSError
from ..tasks import SITSEmbedding
from ..time_steps import DaySpan, parse_day, rolling_spans
from .pages import PAGES
from .parser import CommandParser

__all__ = ['cut_series', 'embed']

_PAGE = PAGES['embed']
_CHECKPOINT = (
    'checkpoint of any task, hf://ORG/REPO of the Hub, or published weights: sits_s2_tiny, presto, '
    'galileo_nano, tessera, olmoearth_v1_nano (or _tiny, _base), NAME:FILE'
)
#: Options of folders of images that tables of points do not have.
_OF_IMAGES = ('start', 'stop', 'every', 'over', 'at', 'polygons')
#: Side of a window of several steps in pixels: the features of all are in memory at a time.
_STEPS_WINDOW = 128


def embed(args: Sequence[str]) -> None:
    """Write a map of embeddings, or of points a table.

    Args:
        args: The checkpoint, the folders, and options; see ``torchgeo-sits embed --help``.

    Raises:
        SITSError: If the checkpoint is of other bands, or there is no image of that year there.
        OSError: If a file cannot be read or written.
    """
    named = [arg.startswith('--') and '=' not in arg for arg in ['', *args]]
    words = [arg for arg, value in zip(args, named, strict=False) if not value and arg[:2] != '--']
    if any(map(is_table, words[1:])):
        _embed_points(args)
        return
    # As for `predict`: windows share a border with the next ones only.
    os.environ.setdefault('GDAL_CACHEMAX', '256')
    parser = CommandParser(prog='torchgeo-sits embed', description=_PAGE.text)
    parser.add_argument('checkpoint', help=_CHECKPOINT)
    parser.add_argument('paths', nargs='+', help='folders of dated rasters, or files')
    parser.add_argument('--year', type=int, default=None, help=_PAGE.own['year'])
    for name in _OF_IMAGES:
        parser.add_argument(f'--{name}', type=str, default=None, help=_PAGE.own[name])
    parser.add_argument(
        '--bounds',
        type=tuple[float, float, float, float],
        default=None,
        help=_PAGE.own['bounds'],
    )
    parser.add_class_arguments(MapWriter, 'map', skip={'vectors', 'values', 'min_area'})
    parser.add_argument('--s1', type=str, default=None, help=_PAGE.own['s1'])
    parser.add_argument('--num_workers', type=int, default=0, help=_PAGE.own['num_workers'])
    _add_encoder_options(parser)
    # The checkpoint says how to normalise.
    names = parser.add_class_arguments(ImageOptions, skip={'paths', 'mean', 'std'})
    options = parser.parse_args(list(args))
    _place_options(options, typed={arg.partition('=')[0] for arg in args})
    days = _days_of(options)
    images = ImageOptions(options.paths, **{name: getattr(options, name) for name in names})
    data = SITSDataModule(images=images, num_workers=options.num_workers)
    if options.s1 is not None:
        s1 = Sentinel1Options(options.s1)
        data = SITSFusionDataModule(images=images, s1=s1, num_workers=options.num_workers)
    series = data.splits.series
    cut_series(series, days=days, bounds=options.bounds)
    spans = _spans_of(series, options, days)
    writer = parser.instantiate_classes(options).map
    _predict(options, writer, data, spans)


def _add_encoder_options(parser: CommandParser) -> None:
    """Add what chooses the features, and how they are computed."""
    depths = Literal['early', 'late', 'joined']
    parser.add_argument('--depth', type=depths, default='late', help=_PAGE.own['depth'])
    parser.add_argument('--blocks', type=int, default=None, help=_PAGE.own['blocks'])
    precisions = Literal['32-true', 'bf16-mixed']
    parser.add_argument(
        '--precision', type=precisions, default='32-true', help=_PAGE.own['precision']
    )


def _predict(options: Any, writer: Callback, data: Any, spans: Sequence[DaySpan] = ()) -> None:
    """Embed all of the data."""
    task = SITSEmbedding(
        options.checkpoint, spans=spans, depth=options.depth, blocks=options.blocks
    )
    callbacks = [RunProgress(), writer]
    trainer = Trainer(logger=False, callbacks=callbacks, precision=options.precision)
    trainer.predict(task, datamodule=data)


def _place_options(options: Any, typed: set[str]) -> None:
    """Hand ``--at`` and ``--polygons`` on to the writer of maps, and choose windows for steps.

    Raises:
        SITSError: If places are named twice.
    """
    named = [options.at, options.polygons, options.map.polygons]
    if sum(place is not None for place in named) > 1:
        raise SITSError('--at, --polygons and --map.polygons name places: give one of them')
    if (places := options.at or options.polygons) is not None:
        options.map.polygons, options.map.within = places, True
    if options.every is not None and '--map.window' not in typed:
        options.map.window = _STEPS_WINDOW


def _days_of(options: Any) -> DaySpan | None:
    """Days that ``--year``, or ``--start`` and ``--stop``, ask for.

    Raises:
        SITSError: If they contradict each other, or ``--over`` is without ``--every``.
    """
    if options.over is not None and options.every is None:
        raise SITSError('--over is for --every: add the length of a step, such as --every 14d')
    if options.year is None and options.start is None and options.stop is None:
        return None
    if options.year is not None:
        if options.start is not None or options.stop is not None:
            raise SITSError('--year and --start or --stop both choose dates: give one of them')
        return DaySpan(date(options.year, 1, 1), date(options.year, 12, 31))
    first = date.min if options.start is None else parse_day(options.start)
    last = date.max if options.stop is None else parse_day(options.stop)
    if first > last:
        raise SITSError(f'--start {first} is after --stop {last}: the stop is the last day')
    return DaySpan(first, last)


def _spans_of(series: TimeSeries, options: Any, days: DaySpan | None) -> list[DaySpan]:
    """Steps of ``--every`` of which there is an image; none without it."""
    if options.every is None:
        return []
    instants = series.instants(series.index)
    dates = np.unique(instants.date)
    first, last = days or DaySpan(date.min, date.max)
    first = dates[0] if first == date.min else first
    whole = DaySpan(first, dates[-1] if last == date.max else last)
    found = rolling_spans(whole, options.every, options.over)
    # What ends after the last image but one step is the same again, or of fewer images.
    known = [
        s
        for s, before in zip(found, [None, *found], strict=False)
        if before is None or before.last < dates[-1]
    ]
    return [s for s in known if ((dates >= s.first) & (dates <= s.last)).any()]


def _embed_points(args: Sequence[str]) -> None:
    """Write a table of embeddings of points.

    Raises:
        SITSError: If steps or places are asked for.
    """
    typed = {arg.partition('=')[0] for arg in args}
    if other := [f'--{name}' for name in _OF_IMAGES if f'--{name}' in typed]:
        raise SITSError(
            f'{other[0]} is for folders of images, and a table of points is given: leave it out, '
            'and rows of other dates out of the table'
        )
    parser = CommandParser(prog='torchgeo-sits embed', description=_PAGE.text)
    parser.add_argument('checkpoint', help=_CHECKPOINT)
    parser.add_argument('paths', nargs='+', help='tables of points')
    parser.add_class_arguments(TableWriter, 'table')
    _add_encoder_options(parser)
    names = parser.add_class_arguments(TableOptions, skip={'mean', 'std'})
    options = parser.parse_args(list(args))
    table = TableOptions(**{name: getattr(options, name) for name in names})
    data = PointDataModule(options.paths, table=table, batch_size=1024)
    writer = parser.instantiate_classes(options).table
    _predict(options, writer, data)


def cut_series(
    series: TimeSeries,
    *,
    days: DaySpan | None = None,
    bounds: tuple[float, float, float, float] | None = None,
) -> None:
    """Leave a series the images of some days and a region.

    Args:
        series: The series.
        days: First and last day; None leaves all.
        bounds: West, south, east and north edge, in the CRS of the series; moved outwards to
            whole pixels. None leaves all.

    Raises:
        SITSError: If no image is left.
    """
    index = series.index
    west, south, east, north = (float(v) for v in index.total_bounds)
    instants = series.instants(index)
    if days is not None:
        index = index[(instants.date >= days.first) & (instants.date <= days.last)]
    if bounds is not None:
        xres, yres = series.res
        left, bottom, right, top = bounds
        region = box(
            west + (left - west) // xres * xres,
            north + (bottom - north) // yres * yres,
            west - (west - right) // xres * xres,
            north - (north - top) // yres * yres,
        )
        index = index.assign(geometry=index.geometry.intersection(region))
        index = index[index.geometry.area > 0]
    if not len(index):
        raise SITSError(
            f'no image {_said(days)} in bounds={bounds}: the data is from '
            f'{instants.min().date()} to {instants.max().date()}, between {west} and {east} from '
            f'west to east and {south} and {north} from south to north'
        )
    series.index = index


def _said(days: DaySpan | None) -> str:
    """Days as they are said."""
    if days is None:
        return 'of any day'
    ends = ('from', days.first, date.min), ('to', days.last, date.max)
    return ' '.join(f'{word} {day}' for word, day, none in ends if day != none)
