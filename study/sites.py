"""Sites: series with labelled fields, held in memory, and composites of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
    """

    name: str
    image: Tensor
    times: Tensor
    clear: Tensor
    classes: NDArray[np.int64]
    fields: NDArray[np.int64]
    bands: tuple[str, ...] = ()
    scale: tuple[Tensor, Tensor] | None = None

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


def belgium(data: Path) -> list[Site]:
    """Both Sentinel-2 stacks of Flanders; fields are connected pixels of one crop."""
    sites = []
    for name in ('wc_be_a', 'wc_be_b'):
        classes = _band(data / name / 'labels' / f'{name}_CT_aligned_core.tif')
        series, bands = _read(data / name / 's2', data / name / 'scl')
        sites.append(Site(name, *series, classes, components(classes), bands))
    return normalised(sites)


def mato_grosso(data: Path) -> list[Site]:
    """The MODIS stack of Mato Grosso, of which only surveyed fields hold data."""
    root = data / 'ieda_mt'
    classes, fields = (_band(root / 'labels' / f'ieda_mt_{k}.tif') for k in ('class', 'field'))
    series, bands = _read(root / 'modis', None)
    return normalised([Site('ieda_mt', *series, classes, fields, bands)])


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
