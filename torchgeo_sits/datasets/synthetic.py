"""A small synthetic satellite image time series, written as real GeoTIFF files."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin

from ..errors import SITSError
from ..whole_files import whole_file
from .simulation import BANDS, CLASSES, EVENTS, MEASURED, MILD, Scene, draw_scene

__all__ = ['VERSION', 'SyntheticSeries', 'write_synthetic_series']

#: Written into META.json: a folder of another version is not reused.
VERSION = 2
_CRS = 'EPSG:32631'
_ORIGIN = (500_000.0, 5_640_000.0)
_RES = 10.0
_REVISIT = 5


@dataclass(frozen=True)
class SyntheticSeries:
    """Paths of the files of a synthetic series.

    Args:
        root: Folder of the series; ``META.json`` in it holds arguments, classes and events.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import SyntheticSeries, write_synthetic_series
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(f'{folder.name}/s', size=(32, 32), num_dates=4, days=60)
        >>> again = SyntheticSeries(files.root)
        >>> again.meta['dates']
        ['2020-09-11', '2020-09-16', '2020-09-26', '2020-10-01']
        >>> again.meta['classes']['1']
        'winter wheat'
    """

    root: Path

    @property
    def images(self) -> Path:
        """Folder of ``synthetic_S2_YYYYMMDD.tif``: ten bands, reflectance x 10000, 0 nodata."""
        return self.root / 'images'

    @property
    def clouds(self) -> Path:
        """Folder of ``synthetic_SCL_YYYYMMDD.tif``: Sentinel-2 scene classification."""
        return self.root / 'clouds'

    @property
    def classes(self) -> Path:
        """Raster of classes: 0 unlabelled, then the index in :data:`CLASSES` plus 1."""
        return self.root / 'labels' / 'synthetic_class.tif'

    @property
    def parcels(self) -> Path:
        """Raster of parcel numbers, 0 on roads, hedges and margins."""
        return self.root / 'labels' / 'synthetic_parcel.tif'

    @property
    def change(self) -> Path:
        """Raster of change events: 0 none, then the index in :data:`EVENTS` plus 1; no nodata."""
        return self.root / 'labels' / 'synthetic_change.tif'

    @property
    def change_date(self) -> Path:
        """Raster of the days of events since 1970-01-01, 0 where nothing changes; no nodata."""
        return self.root / 'labels' / 'synthetic_change_date.tif'

    @property
    def meta(self) -> dict[str, Any]:
        """Content of ``META.json``."""
        content: dict[str, Any] = json.loads((self.root / 'META.json').read_text())
        return content


def write_synthetic_series(
    root: str | Path,
    *,
    size: tuple[int, int] = (160, 160),
    num_dates: int = 40,
    start: str = '2020-09-01',
    days: int = 487,
    parcel_pixels: int = 110,
    changed: float = 0.08,
    difficulty: float = 1.0,
    realistic: bool = False,
    seed: int = 0,
) -> SyntheticSeries:
    """Write a seeded series of Sentinel-2-like images of farmland with its labels.

    Parcels of twelve crop and land-cover classes grow along double-logistic curves; each parcel
    has its own calendar, vigour, soil and crop rotation. Ten bands are mixed from the spectra of
    soils, leaves, straw, water and roofs, and seen through the optics, haze, noise, clouds,
    shadows and swath borders of each date. Forest is cleared, land burns and houses are built on
    known days. The classes describe the harvest of the calendar year in the middle of the
    series, before any event.

    The folder is written beside *root* and moved there when complete, so that a run that is
    killed leaves nothing half done. A folder with the same arguments is used again as it is.

    Args:
        root: Folder of the series, to be made.
        size: Height and width in pixels of 10 m.
        num_dates: Number of acquisitions, drawn without repeat from a five-day cycle.
        start: First day, ``YYYY-MM-DD``.
        days: Span in days.
        parcel_pixels: Mean area of a parcel in pixels.
        changed: Share of the parcels in which an event happens.
        difficulty: Factor on the spread within classes and on the noise; at 0 the parcels of a
            class differ only in rotation, stubble, catch crops and mowing.
        realistic: See the land through haze, missed clouds, shifts between dates and uneven
            fields as they were measured in real stacks, in place of mild ones: a benchmark, not
            a first look.
        seed: Same seed and arguments, same pixels.

    Returns:
        The paths of the series.

    Raises:
        SITSError: If an argument is out of its range.
        FileExistsError: If *root* holds anything but a series of the same arguments.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.datasets import write_synthetic_series
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(f'{folder.name}/s', size=(32, 32), num_dates=4, days=60)
        >>> sorted(path.name for path in files.images.iterdir())[0]
        'synthetic_S2_20200911.tif'
    """
    arguments = {
        'size': list(size),
        'num_dates': num_dates,
        'start': start,
        'days': days,
        'parcel_pixels': parcel_pixels,
        'changed': changed,
        'difficulty': difficulty,
        # Named where it is asked for, so that folders from before it are used again.
        **({'realistic': True} if realistic else {}),
        'seed': seed,
    }
    _check(size, num_dates, start, days, parcel_pixels, changed, difficulty)
    series = SyntheticSeries(Path(root))
    if _reusable(series, arguments):
        return series
    series.root.parent.mkdir(parents=True, exist_ok=True)
    try:
        with whole_file(series.root) as draft:
            draft.mkdir()
            _simulate(SyntheticSeries(draft), arguments)
    except OSError:
        # Another process was faster: its set is as good if the arguments agree.
        if not _reusable(series, arguments):
            raise
    return series


def _check(
    size: tuple[int, int],
    num_dates: int,
    start: str,
    days: int,
    parcel_pixels: int,
    changed: float,
    difficulty: float,
) -> None:
    """Raise SITSError where an argument is out of its range."""
    most = (days - 1) // _REVISIT + 1
    if min(size) < 16:
        raise SITSError(f'size must be at least (16, 16) pixels, got {size}')
    if not 1 <= num_dates <= most:
        raise SITSError(
            f'num_dates must lie between 1 and {most}, the revisits every {_REVISIT} days within '
            f'{days} days, got {num_dates}: ask for fewer dates or more days'
        )
    if not re.fullmatch(r'\d{4}-\d{2}-\d{2}', start) or not '1970' < start < '2140':
        raise SITSError(f"start must be a day 'YYYY-MM-DD' from 1970 to 2139, got {start!r}")
    if not 25 <= parcel_pixels <= size[0] * size[1] / 4:
        raise SITSError(
            f'parcel_pixels must lie between 25 and a quarter of the image, got {parcel_pixels}'
        )
    if not 0 <= changed <= 0.5:
        raise SITSError(f'changed must lie between 0 and 0.5, got {changed}')
    if difficulty < 0:
        raise SITSError(f'difficulty must not be negative, got {difficulty}')


def _reusable(series: SyntheticSeries, arguments: dict[str, Any]) -> bool:
    """Tell whether *series* is there with these arguments; FileExistsError where others are."""
    if not series.root.exists() or (series.root.is_dir() and not any(series.root.iterdir())):
        return False
    advice = f"give another folder, or delete '{series.root}'"
    try:
        meta = series.meta
    except (OSError, ValueError):
        raise FileExistsError(
            f"'{series.root}' exists and holds no synthetic series: {advice}"
        ) from None
    found = meta.get('arguments', {}) | {'version': meta.get('version')}
    wanted = arguments | {'version': VERSION}
    differing = {
        key: (found.get(key), wanted.get(key))
        for key in found | wanted
        if found.get(key) != wanted.get(key)
    }
    if differing:
        changes = ', '.join(f'{key}={old!r}, not {new!r}' for key, (old, new) in differing.items())
        raise FileExistsError(
            f"'{series.root}' holds a synthetic series with other arguments ({changes}): {advice}"
        )
    return True


def _simulate(series: SyntheticSeries, arguments: dict[str, Any]) -> None:
    """Draw the scene and write all files and META.json below ``series.root``."""
    land_rng, date_rng, frame_rng = np.random.default_rng(arguments['seed']).spawn(3)
    first = int(np.datetime64(arguments['start'], 'D').astype(int))
    revisits = np.arange(first, first + arguments['days'], _REVISIT)
    days = np.sort(date_rng.choice(revisits, arguments['num_dates'], replace=False))
    scene = draw_scene(
        tuple(arguments['size']),
        days=days,
        parcel_pixels=arguments['parcel_pixels'],
        changed=arguments['changed'],
        difficulty=arguments['difficulty'],
        rng=land_rng,
        conditions=MEASURED if arguments.get('realistic') else MILD,
    )
    code, day = scene.change_maps()
    _write(series.classes, scene.class_map()[None], ('class',))
    _write(series.parcels, scene.landscape.parcel.astype(np.uint32)[None], ('parcel',))
    # That nothing changes is known of each pixel, so that 0 is a value there.
    _write(series.change, code[None], ('event',), nodata=None)
    _write(series.change_date, day[None], ('days since 1970-01-01',), nodata=None)
    stamps = [str(np.datetime64(int(d), 'D')) for d in days]
    for stamp, (image, scl) in zip(stamps, scene.frames(frame_rng), strict=True):
        name = stamp.replace('-', '')
        _write(series.images / f'synthetic_S2_{name}.tif', image, BANDS)
        _write(series.clouds / f'synthetic_SCL_{name}.tif', scl[None], ('SCL',))
    meta = {
        'version': VERSION,
        'arguments': arguments,
        'bands': list(BANDS),
        'scale': 'reflectance x 10000, 0 = nodata',
        'dates': stamps,
        'classes': dict(enumerate(('unlabelled', *CLASSES))),
        'changes': dict(enumerate(('none', *EVENTS))),
        'events': _describe(scene),
    }
    (series.root / 'META.json').write_text(json.dumps(meta, indent=1))


def _describe(scene: Scene) -> list[dict[str, Any]]:
    """Describe the events in words and ISO dates."""
    return [
        {
            'event': EVENTS[event.kind],
            'date': str(np.datetime64(event.day, 'D')),
            'parcel': event.parcel,
            'class': CLASSES[scene.kind[event.unit]],
            'pixels': int((scene.unit == event.unit).sum()),
        }
        for event in scene.events
    ]


def _write(
    path: Path, data: NDArray[Any], descriptions: tuple[str, ...], *, nodata: int | None = 0
) -> None:
    """Write ``(C, H, W)`` as a tiled, compressed GeoTIFF."""
    path.parent.mkdir(exist_ok=True)
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        count=data.shape[0],
        height=data.shape[1],
        width=data.shape[2],
        dtype=data.dtype,
        crs=_CRS,
        transform=from_origin(*_ORIGIN, _RES, _RES),
        nodata=nodata,
        tiled=True,
        blockxsize=64,
        blockysize=64,
        compress='deflate',
        predictor=2,
    ) as file:
        file.write(data)
        file.descriptions = descriptions
