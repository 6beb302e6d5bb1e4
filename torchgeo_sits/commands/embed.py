"""The command ``torchgeo-sits embed``: features of each pixel as a map, of points as a table."""

import os
from collections.abc import Sequence

from lightning.pytorch import Trainer
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
from .pages import PAGES
from .parser import CommandParser

__all__ = ['cut_series', 'embed']

_PAGE = PAGES['embed']
_CHECKPOINT = (
    'checkpoint of any task, hf://ORG/REPO of the Hub, or published weights: presto, galileo_nano, '
    'tessera, olmoearth_v1_nano (or _tiny, _base), NAME:FILE'
)


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
    parser.add_argument(
        '--bounds',
        type=tuple[float, float, float, float],
        default=None,
        help=_PAGE.own['bounds'],
    )
    parser.add_class_arguments(MapWriter, 'map', skip={'vectors', 'values', 'min_area'})
    parser.add_argument('--s1', type=str, default=None, help=_PAGE.own['s1'])
    parser.add_argument('--num_workers', type=int, default=0, help=_PAGE.own['num_workers'])
    # The checkpoint says how to normalise.
    names = parser.add_class_arguments(ImageOptions, skip={'paths', 'mean', 'std'})
    options = parser.parse_args(list(args))
    images = ImageOptions(options.paths, **{name: getattr(options, name) for name in names})
    data = SITSDataModule(images=images, num_workers=options.num_workers)
    if options.s1 is not None:
        s1 = Sentinel1Options(options.s1)
        data = SITSFusionDataModule(images=images, s1=s1, num_workers=options.num_workers)
    cut_series(data.splits.series, year=options.year, bounds=options.bounds)
    writer = parser.instantiate_classes(options).map
    trainer = Trainer(logger=False, callbacks=[RunProgress(), writer])
    trainer.predict(SITSEmbedding(options.checkpoint), datamodule=data)


def _embed_points(args: Sequence[str]) -> None:
    """Write a table of embeddings of points."""
    parser = CommandParser(prog='torchgeo-sits embed', description=_PAGE.text)
    parser.add_argument('checkpoint', help=_CHECKPOINT)
    parser.add_argument('paths', nargs='+', help='tables of points')
    parser.add_class_arguments(TableWriter, 'table')
    names = parser.add_class_arguments(TableOptions, skip={'mean', 'std'})
    options = parser.parse_args(list(args))
    table = TableOptions(**{name: getattr(options, name) for name in names})
    data = PointDataModule(options.paths, table=table, batch_size=1024)
    writer = parser.instantiate_classes(options).table
    trainer = Trainer(logger=False, callbacks=[RunProgress(), writer])
    trainer.predict(SITSEmbedding(options.checkpoint), datamodule=data)


def cut_series(
    series: TimeSeries,
    *,
    year: int | None = None,
    bounds: tuple[float, float, float, float] | None = None,
) -> None:
    """Leave a series the images of a year and a region.

    Args:
        series: The series.
        year: A year; None leaves all.
        bounds: West, south, east and north edge, in the CRS of the series; moved outwards to
            whole pixels. None leaves all.

    Raises:
        SITSError: If no image is left.
    """
    index = series.index
    west, south, east, north = (float(v) for v in index.total_bounds)
    years = sorted(set(index.index.left.year))
    if year is not None:
        index = index[index.index.left.year == year]
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
            f'no image of year={year} in bounds={bounds}: the data is of the years {years}, '
            f'between {west} and {east} from west to east and {south} and {north} from south to '
            'north'
        )
    series.index = index
