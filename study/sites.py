"""Sites: series with labelled fields, held in memory, and composites of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from scipy.ndimage import label
from torch import Tensor

from torchgeo_sits.datasets import RasterTimeSeries, write_synthetic_series
from torchgeo_sits.models.frame_order import fill_gaps

#: Fields with fewer pixels are never tested; those of ieda_mt are what choices are made on.
SMALLEST = 8
YEAR = 365.25 * 86_400
#: Points of a class of Canada, at least, and the value of what is not there.
_FEWEST_POINTS = 15
_NO_DATA = -32_768


class Radar(NamedTuple):
    """A series of Sentinel-1 on the grid of a site.

    Attributes:
        image: ``(T1, 2, H, W)`` float32, VV and VH.
        times: ``(T1,)`` int64, seconds since 1970-01-01 UTC.
        clear: ``(T1, H, W)`` bool.
    """

    image: Tensor
    times: Tensor
    clear: Tensor


@dataclass(frozen=True)
class Site:
    """A series, normalised, with its fields.

    Attributes:
        name: Name of the site.
        image: ``(T, C, H, W)`` float32, of zero mean and unit deviation in each band where clear.
        times: ``(T,)`` int64, seconds since 1970-01-01 UTC.
        clear: ``(T, H, W)`` bool.
        classes: ``(H, W)`` int64, 0 where there is no label.
        fields: ``(H, W)`` int64, number of the labelled field, 0 where there is none.
        bands: Names of the C bands; empty where no contender asks for them.
        scale: Mean and deviation ``(C,)`` that the image was normalised by, where that is known.
        s1: What Sentinel-1 saw, normalised alike, where it is there.
    """

    name: str
    image: Tensor
    times: Tensor
    clear: Tensor
    classes: NDArray[np.int64]
    fields: NDArray[np.int64]
    bands: tuple[str, ...] = ()
    scale: tuple[Tensor, Tensor] | None = None
    s1: 'Radar | None' = None

    def halved(self, seed: int) -> 'Site':
        """The same site with half of its dates, drawn by *seed*."""
        rng = np.random.default_rng(seed)
        kept = torch.from_numpy(np.sort(rng.permutation(len(self.times))[: len(self.times) // 2]))
        return replace(
            self,
            name=f'{self.name}, half the dates',
            image=self.image[kept],
            times=self.times[kept],
            clear=self.clear[kept],
        )


type _Series = tuple[Tensor, Tensor, Tensor]


def _read(paths: Path, clouds: Path | None) -> tuple[_Series, tuple[str, ...]]:
    """Image, dates and clear pixels of a whole folder, and the names of its bands."""
    options: dict[str, Any] = {}
    if clouds is not None:
        options = {'cloud_paths': str(clouds), 'clear_values': [2, 4, 5, 6, 7]}
    series = RasterTimeSeries(str(paths), **options)
    sample = series[series.bounds]
    return (sample['image'], sample['acquisition_times'], sample['mask_clear']), series.bands


def _band(path: Path) -> NDArray[np.int64]:
    with rasterio.open(path) as raster:
        return raster.read(1).astype(np.int64)


def components(classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Fields as what hangs together of one class ``(H, W)``, numbered from 1."""
    fields = np.zeros_like(classes)
    for value in np.unique(classes[classes > 0]):
        parts, _ = label(classes == value)
        fields += np.where(parts > 0, parts + fields.max(), 0)
    return fields


def normalised(sites: Sequence[Site]) -> list[Site]:
    """The sites with the mean and deviation of all their clear pixels together, band by band."""
    values = [site.image.movedim(1, -1)[site.clear] for site in sites]
    pixels = torch.cat(values)
    mean, std = pixels.mean(0), pixels.std(0)
    return [
        replace(
            site,
            image=torch.where(
                site.clear[:, None], (site.image - mean[:, None, None]) / std[:, None, None], 0.0
            ),
            scale=(mean, std),
        )
        for site in sites
    ]


def _radar(paths: Path) -> Radar:
    """Sentinel-1 at 20 m on the grid of 10 m that has the same bounds, each pixel four times."""
    image, times, clear = _read(paths, None)[0]

    def finer(values: Tensor) -> Tensor:
        return values.repeat_interleave(2, -2).repeat_interleave(2, -1)

    return Radar(finer(image), times, finer(clear))


def with_radar(sites: Sequence[Site], radars: Sequence[Radar]) -> list[Site]:
    """The sites with Sentinel-1, of zero mean and unit deviation over all of them together."""
    pixels = torch.cat([radar.image.movedim(1, -1)[radar.clear] for radar in radars])
    mean, std = (values[:, None, None] for values in (pixels.mean(0), pixels.std(0)))
    return [
        replace(
            site,
            s1=radar._replace(
                image=torch.where(radar.clear[:, None], (radar.image - mean) / std, 0.0)
            ),
        )
        for site, radar in zip(sites, radars, strict=True)
    ]


def belgium(data: Path) -> list[Site]:
    """Both Sentinel-2 stacks of Flanders; fields are connected pixels of one crop."""
    sites = []
    names = 'wc_be_a', 'wc_be_b'
    for name in names:
        classes = _band(data / name / 'labels' / f'{name}_CT_aligned_core.tif')
        series, bands = _read(data / name / 's2', data / name / 'scl')
        sites.append(Site(name, *series, classes, components(classes), bands))
    return with_radar(normalised(sites), [_radar(data / name / 's1') for name in names])


def mato_grosso(data: Path) -> list[Site]:
    """The MODIS stack of Mato Grosso, of which only surveyed fields hold data."""
    root = data / 'ieda_mt'
    classes, fields = (_band(root / 'labels' / f'ieda_mt_{k}.tif') for k in ('class', 'field'))
    series, bands = _read(root / 'modis', None)
    return normalised([Site('ieda_mt', *series, classes, fields, bands)])


def canada(data: Path) -> list[Site]:
    """Points of a Canadian crop inventory, as the pixels of a square; those near are no neighbours.

    Composites are of months, whose middle stands for them. Of classes with few points there are
    none.
    """
    with np.load(data / 'pts_can_dev' / 'pts_can_dev.npz', allow_pickle=False) as file:
        values, dates, codes = file['X'], file['dates'], file['code']
        bands = [str(band) for band in file['bands']]
    kinds, counts = np.unique(codes[codes > 0], return_counts=True)
    kept = np.isin(codes, kinds[counts >= _FEWEST_POINTS])
    stamps = [f'{str(day)[:4]}-{str(day)[4:6]}-15' for day in dates]
    times = torch.from_numpy(np.array(stamps, 'datetime64[s]').astype(np.int64))
    side = math.ceil(math.sqrt(kept.sum()))

    def square(points: NDArray[Any]) -> NDArray[Any]:
        """Points on the last axis, as a square that is filled up with zeros."""
        gap = [(0, 0)] * (points.ndim - 1) + [(0, side * side - points.shape[-1])]
        return np.pad(points, gap).reshape(*points.shape[:-1], side, side)

    def seen(chosen: list[int]) -> tuple[Tensor, Tensor]:
        """Image and clear pixels of some bands."""
        found = values[kept][..., chosen].transpose(1, 2, 0)
        image = torch.from_numpy(square(found)).float()
        return image, torch.from_numpy(square((found != _NO_DATA).all(1)))

    optical = [i for i, band in enumerate(bands) if band.startswith('B')]
    radar = [i for i, band in enumerate(bands) if band.startswith('V')]
    image, clear = seen(optical)
    classes = square(codes[kept].astype(np.int64))
    fields = square(np.arange(1, kept.sum() + 1))
    names = tuple(bands[i] for i in optical)
    site = Site('canada', image, times, clear, classes, fields, names)
    image, clear = seen(radar)
    return with_radar(normalised([site]), [Radar(image, times, clear)])


def synthetic(scratch: Path, *, seed: int, size: int, realistic: bool = False) -> list[Site]:
    """Simulated farmland of twelve classes, seen well or as real land is."""
    name = 'realistic' if realistic else 'synthetic'
    series = write_synthetic_series(
        scratch / f'{name}-{seed}-{size}',
        size=(size, size),
        num_dates=40,
        parcel_pixels=72,
        difficulty=1.0,
        realistic=realistic,
        seed=seed,
    )
    classes, fields = _band(series.classes), _band(series.parcels)
    found, bands = _read(series.images, series.clouds)
    fields[classes == 0] = 0
    return normalised([Site(name, *found, classes, fields, bands)])


# -- composites: equally many layers for every site, medians of what was clear in bins ------


def season_composite(site: Site, number: int = 16) -> Tensor:
    """Medians ``(number, C, H, W)`` by the day of the year."""
    share = (site.times % YEAR) / YEAR
    return _composite(site, (share * number).long().clamp(max=number - 1), number)


def elapsed_composite(site: Site, number: int = 24) -> Tensor:
    """Medians ``(number, C, H, W)`` by the time since the first date."""
    share = (site.times - site.times[0]) / (site.times[-1] - site.times[0])
    return _composite(site, (share * number).long().clamp(max=number - 1), number)


def _composite(site: Site, bins: Tensor, number: int) -> Tensor:
    """Medians by bin; empty ones are interpolated along time, 0 where nothing was ever seen."""
    values = torch.where(site.clear[:, None], site.image, torch.nan)
    empty = torch.full_like(values[0], torch.nan)
    stack = torch.stack(
        [
            values[bins == b].nanmedian(0).values if (bins == b).any() else empty
            for b in range(number)
        ]
    )
    lines = stack.flatten(2).permute(2, 0, 1)[None]
    seen = ~lines.isnan().any(-1)
    steps = torch.arange(number)[None]
    filled = fill_gaps(lines, steps, seen, steps)
    return filled[0].permute(1, 2, 0).unflatten(-1, site.image.shape[2:])
