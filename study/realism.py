"""How hard the simulated series are beside real ones: the same measurements on both, as a table.

    uv run python -m study.realism --data DIR

No contender is run. What is measured, on reflectance and clear pixels alone:

- *variance*: shares of the variance of elapsed composites that lie between classes, between fields
  of a class, and within fields; means over layers, pixels of equal weight;
- *noise*: deviation of a date from the line through the clear dates before and after it, of those
  within 12 days, in hundredths of reflectance; half of its variance is that of one date, where
  dates are independent, and the rest growth;
- *its correlation* between neighbours at one and at three pixels: 1 for haze that lies over all, 0
  for noise of the detector;
- *missed clouds*: share of clear pixels whose blue is more than 0.05 above the median of their own
  year, in which no crop is;
- *steps at borders*: how much of the step between two fields lies between the two pixels on its
  sides, of that between the second pixels from it: 1 for sharp borders, less for mixed pixels;
- *misregistration*: median distance by which a frame is shifted against the next clear one, in
  pixels, by the peak of their phase correlation.
"""

import argparse
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from .report import rows
from .sites import Site, belgium, elapsed_composite, synthetic

DAY = 86_400
#: Greatest distance of a date from those on either side of it, in days.
NEAR = 12
#: Share of a frame that is clear, at least, where it is compared with another.
CLEAR = 0.95


def reflectance(site: Site) -> NDArray[np.float64]:
    """Values ``(T, C, H, W)`` from 0 to 1, NaN where not clear."""
    assert site.scale is not None
    mean, std = (values[:, None, None] for values in site.scale)
    values = torch.where(site.clear[:, None], site.image * std + mean, torch.nan)
    return values.double().numpy() / 10_000


def variance_shares(site: Site) -> tuple[float, float, float]:
    """Shares of the variance between classes, between fields of a class, and within fields."""
    layers = elapsed_composite(site).flatten(0, 1).flatten(1).T.numpy()
    labelled = site.fields.ravel() > 0
    layers, fields = layers[labelled], site.fields.ravel()[labelled]
    classes = site.classes.ravel()[labelled]

    def means(groups: NDArray[np.int64]) -> NDArray[np.float64]:
        _, index = np.unique(groups, return_inverse=True)
        total = np.zeros((index.max() + 1, layers.shape[1]))
        np.add.at(total, index, layers)
        return (total / np.bincount(index)[:, None])[index]

    by_class, by_field = means(classes), means(fields)
    whole = layers.var(0)
    kept = whole > 0
    parts = [by_class.var(0), (by_field - by_class).var(0), (layers - by_field).var(0)]
    between, fields_apart, within = (float((p[kept] / whole[kept]).mean()) for p in parts)
    return between, fields_apart, within


def deviations(site: Site) -> NDArray[np.float64]:
    """Deviation of each date from the line through its neighbours ``(T - 2, C, H, W)``."""
    values, times = reflectance(site), site.times.double().numpy() / DAY
    before, after = times[1:-1] - times[:-2], times[2:] - times[1:-1]
    near = (before <= NEAR) & (after <= NEAR)
    share = (before / np.maximum(before + after, 1e-9))[:, None, None, None]
    line = values[:-2] * (1 - share) + values[2:] * share
    return np.where(near[:, None, None, None], values[1:-1] - line, np.nan)


def noise(site: Site) -> float:
    """Median over bands of the robust deviation from the line, in hundredths."""
    moved = deviations(site).transpose(1, 0, 2, 3).reshape(site.image.shape[1], -1)
    middle = np.nanmedian(moved, 1, keepdims=True)
    # 1.4826 makes the median of absolute deviations that of a normal one.
    return float(100 * 1.4826 * np.median(np.nanmedian(np.abs(moved - middle), 1)))


def noise_correlation(site: Site, distance: int) -> float:
    """Correlation of the deviations of pixels of one field at a distance, median over bands."""
    moved = deviations(site)
    # Extremes are clouds that the mask missed, which are measured by themselves.
    limit = np.nanquantile(np.abs(moved), 0.98, axis=(0, 2, 3), keepdims=True)
    moved = np.where(np.abs(moved) <= limit, moved, np.nan)
    same = (site.fields[:, distance:] == site.fields[:, :-distance]) & (
        site.fields[:, distance:] > 0
    )
    found = []
    for band in range(moved.shape[1]):
        pair = [moved[:, band, :, distance:][:, same], moved[:, band, :, :-distance][:, same]]
        known = np.isfinite(pair[0]) & np.isfinite(pair[1])
        found.append(np.corrcoef(pair[0][known], pair[1][known])[0, 1])
    return float(np.median(found))


def missed_clouds(site: Site) -> float:
    """Share of clear pixels that are too bright in blue, in percent."""
    blue = reflectance(site)[:, site.bands.index('B02')]
    usual = np.nanmedian(blue, 0)
    return float(100 * (blue - usual > 0.05).sum() / np.isfinite(blue).sum())


def border_step(site: Site) -> float:
    """Share of the step between fields that lies between the two pixels at a border."""
    layers = elapsed_composite(site).flatten(0, 1).numpy()
    fields = site.fields
    # A row of two pixels of one field beside two of another; where labels are eroded at borders
    # the pixels between them are unlabelled and there is nothing to measure.
    left, right = fields[:, :-3], fields[:, 3:]
    sharp = (left == fields[:, 1:-2]) & (right == fields[:, 2:-1]) & (left != right)
    sharp &= (left > 0) & (right > 0)
    if not sharp.any():
        return float('nan')
    outer = layers[:, :, 3:][:, sharp] - layers[:, :, :-3][:, sharp]
    inner = layers[:, :, 2:-1][:, sharp] - layers[:, :, 1:-2][:, sharp]
    return float((inner * outer).sum() / (outer * outer).sum())


def misregistration(site: Site) -> float:
    """Median shift between clear frames that follow each other, in pixels."""
    near_infrared = reflectance(site)[:, site.bands.index('B08')]
    clear = np.flatnonzero(np.isfinite(near_infrared).mean((1, 2)) >= CLEAR)
    frames = [
        np.nan_to_num(near_infrared[i], nan=float(np.nanmean(near_infrared[i]))) for i in clear
    ]
    shifts = [_shift(a, b) for a, b in pairwise(frames)]
    return float(np.median(shifts)) if shifts else float('nan')


def _shift(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Length of the shift between two frames, by a parabola through the phase correlation."""
    window = np.outer(np.hanning(first.shape[0]), np.hanning(first.shape[1]))
    spectra = [np.fft.fft2((x - x.mean()) * window) for x in (first, second)]
    cross = spectra[0] * spectra[1].conj()
    peak = np.fft.ifft2(cross / np.maximum(np.abs(cross), 1e-12)).real
    at = np.unravel_index(peak.argmax(), peak.shape)
    moved = []
    for axis, (place, size) in enumerate(zip(at, peak.shape, strict=True)):
        line = [np.take(np.take(peak, (place + d) % size, axis), at[1 - axis]) for d in (-1, 0, 1)]
        bend = line[0] - 2 * line[1] + line[2]
        offset = 0.5 * (line[0] - line[2]) / bend if bend else 0.0
        moved.append((place + size // 2) % size - size // 2 + offset)
    return float(np.hypot(*moved))


#: What is measured, with its unit.
MEASURES: dict[str, Callable[[Site], float]] = {
    'variance between classes, %': lambda site: 100 * variance_shares(site)[0],
    'variance between fields of a class, %': lambda site: 100 * variance_shares(site)[1],
    'variance within fields, %': lambda site: 100 * variance_shares(site)[2],
    'noise of a date, hundredths of reflectance': noise,
    'its correlation at 1 pixel': lambda site: noise_correlation(site, 1),
    'its correlation at 3 pixels': lambda site: noise_correlation(site, 3),
    'missed clouds, % of clear pixels': missed_clouds,
    'step at borders': border_step,
    'misregistration, pixels': misregistration,
    'clear dates of a pixel, median': lambda site: float(site.clear.sum(0).double().median()),
}


def table(sites: list[Site]) -> str:
    """The measurements of sites side by side, in Markdown."""
    lines = (
        [name, *(f'{measure(site):.2f}' for site in sites)] for name, measure in MEASURES.items()
    )
    return rows(lines, ['measured', *(site.name for site in sites)])


def main() -> None:
    """Measure the real stacks and a simulated world of a seed that no contender sees."""
    parser = argparse.ArgumentParser(prog='python -m study.realism', description=__doc__)
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    parser.add_argument('--scratch', type=Path, default=Path('.benchmark/study'))
    parser.add_argument('--seed', type=int, default=2, help='seed of the simulated world')
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    sites = belgium(arguments.data)
    for realistic in (False, True):
        sites += synthetic(arguments.scratch, seed=arguments.seed, size=160, realistic=realistic)
    print(table(sites))


if __name__ == '__main__':
    main()
