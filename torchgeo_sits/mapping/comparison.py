"""Maps of change without labels: how far two embeddings of a place are, and how odd that is."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.shutil import copy
from rasterio.windows import Window

from ..errors import SITSError
from ..whole_files import whole_file
from .rasters import BLOCK

__all__ = ['StableChange', 'compare_embeddings', 'fit_stable_change']

#: Pixels that the calibration looks at, at most.
_SAMPLE = 100_000

#: Makes the median of absolute deviations the standard deviation of a normal distribution.
_NORMAL = 1.4826


class StableChange(NamedTuple):
    """By how much embeddings differ where nothing changed.

    Attributes:
        middle: ``(D,)``, the usual difference of each feature, which dates or haze make.
        spread: ``(D,)``, by how much it varies.
        distances: ``(N,)``, distances of stable pairs, ascending.
    """

    middle: NDArray[np.float64]
    spread: NDArray[np.float64]
    distances: NDArray[np.float64]

    def distance(self, difference: NDArray[np.float64]) -> NDArray[np.float64]:
        r"""Distance of embeddings in units of what is usual.

        With :math:`m` the middle and :math:`s` the spread of each of D features it is
        :math:`\sqrt{\frac{1}{D} \sum_d ((x_d - m_d) / s_d)^2}`: about 1 where nothing changed.

        Args:
            difference: ``(D, ...)``, after less before, NaN for no data.

        Returns:
            ``(...)``, NaN for no data.
        """
        shape = (-1, *(1,) * (difference.ndim - 1))
        moved = (difference - self.middle.reshape(shape)) / self.spread.reshape(shape)
        return np.asarray(np.sqrt((moved**2).mean(0)))

    def rank(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of the stable pairs that are closer, in percent; NaN for no data."""
        below = np.searchsorted(self.distances, distance)  # NaN is the last of all
        share = 100 * below / len(self.distances)
        return np.where(np.isfinite(distance), share, np.nan)


def fit_stable_change(difference: NDArray[np.float64]) -> StableChange:
    """Learn how far embeddings are apart where nothing changed.

    Medians are used, so that up to a half of the pairs may have changed.

    Args:
        difference: ``(D, N)``, after less before, of N pairs without gaps.

    Raises:
        SITSError: If there are too few pairs, or all are equal.

    Examples:
        >>> import numpy as np
        >>> difference = np.random.default_rng(0).normal(size=(8, 1000))
        >>> stable = fit_stable_change(difference)
        >>> bool(0.9 < stable.distance(difference).mean() < 1.1)
        True
    """
    if difference.shape[1] < 2:
        raise SITSError(
            f'expected two pixels at least that both embeddings saw, got {difference.shape[1]}'
        )
    middle = np.median(difference, axis=1)
    spread = _NORMAL * np.median(np.abs(difference - middle[:, None]), axis=1)
    if not (spread > 0).any():
        raise SITSError(
            'the two embeddings are the same wherever both have data: give those of two times'
        )
    # A feature that never differs tells of no change, and may not divide by 0.
    spread = np.where(spread > 0, spread, np.inf)
    stable = StableChange(middle, spread, np.empty(0))
    return stable._replace(distances=np.sort(stable.distance(difference)))


def compare_embeddings(
    before: str | Path,
    after: str | Path,
    path: str | Path,
    *,
    stable: tuple[str | Path, str | Path] | None = None,
) -> StableChange:
    """Write a map of how much changed between two maps of embeddings, window by window.

    The first band of the map is the distance of :meth:`StableChange.distance`, the second the share
    of stable pairs that are closer, in percent: where it is above 99, one in a hundred places
    without change looks like that.

    Args:
        before: Map of embeddings, as ``torchgeo-sits embed`` writes it, of bytes or not.
        after: The same of another time: of the same encoder, on the same grid.
        path: Cloud-Optimised GeoTIFF to write.
        stable: Two maps between which nothing changed, such as those of other dates of one year.
            By default the two maps themselves, of which most pixels are taken to be unchanged.

    Returns:
        What was learned of stable pairs.

    Raises:
        SITSError: If the maps are of other grids or features, or of too few pixels.
        OSError: If a file cannot be read or written.
    """
    path = Path(path)
    with ExitStack() as files:
        pair = _open(files, before, after)
        reference = pair if stable is None else _open(files, *stable)
        if reference[0].count != pair[0].count:
            raise SITSError(
                f'{reference[0].name} has {reference[0].count} features and {pair[0].name} '
                f'{pair[0].count}: stable pairs are to be of the same encoder'
            )
        learned = fit_stable_change(_sample(reference))
        profile = {
            'driver': 'GTiff',
            'width': pair[0].width,
            'height': pair[0].height,
            'count': 2,
            'dtype': 'float32',
            'nodata': np.nan,
            'crs': pair[0].crs,
            'transform': pair[0].transform,
            'tiled': True,
            'blockxsize': BLOCK,
            'blockysize': BLOCK,
        }
        with whole_file(path) as whole:
            draft = whole.with_suffix('.draft.tif')
            with rasterio.open(draft, 'w', **profile) as file:
                for number, name in enumerate(('distance', 'percent of stable pairs closer'), 1):
                    file.set_band_description(number, name)
                for window, difference in _differences(pair):
                    distance = learned.distance(difference)
                    both = np.stack([distance, learned.rank(distance)])
                    file.write(both.astype(np.float32), window=window)
            copy(draft, whole, driver='COG', COMPRESS='DEFLATE', PREDICTOR='YES')
            draft.unlink()
    return learned


def _open(files: ExitStack, *paths: str | Path) -> tuple[DatasetReader, DatasetReader]:
    """Open two maps of embeddings.

    Raises:
        SITSError: If they do not lie on one grid, or have other features.
    """
    first, second = (files.enter_context(rasterio.open(path)) for path in paths)
    for what in ('count', 'crs', 'shape', 'transform'):
        ours, theirs = getattr(first, what), getattr(second, what)
        if ours != theirs:
            said = 'number of features' if what == 'count' else what
            raise SITSError(
                f'{first.name} and {second.name} differ in their {said} ({ours}, {theirs}): make '
                'both with one checkpoint, and the same --bounds'
            )
    return first, second


def _read(file: DatasetReader, window: Window) -> NDArray[np.float64]:
    """Features ``(D, h, w)``, bytes restored to values; NaN for no data."""
    values = file.read(window=window, masked=True).astype(np.float64).filled(np.nan)
    scales, offsets = (np.array(n)[:, None, None] for n in (file.scales, file.offsets))
    return np.asarray(values * scales + offsets)


def _differences(
    pair: tuple[DatasetReader, DatasetReader],
) -> Iterator[tuple[Window, NDArray[np.float64]]]:
    """Difference ``(D, h, w)`` of two maps, window by window."""
    for top in range(0, pair[0].height, BLOCK):
        for left in range(0, pair[0].width, BLOCK):
            high = min(BLOCK, pair[0].height - top)
            window = Window(left, top, min(BLOCK, pair[0].width - left), high)
            yield window, _read(pair[1], window) - _read(pair[0], window)


def _sample(pair: tuple[DatasetReader, DatasetReader]) -> NDArray[np.float64]:
    """Differences ``(D, N)`` of pixels all over the maps that both saw, drawn by a fixed seed."""
    rng = np.random.default_rng(0)
    share = min(1.0, _SAMPLE / (pair[0].width * pair[0].height))
    found = []
    for _, difference in _differences(pair):
        pixels = difference.reshape(len(difference), -1)
        pixels = pixels[:, np.isfinite(pixels).all(0)]
        found.append(pixels[:, rng.random(pixels.shape[1]) < share])
    return np.concatenate(found, axis=1)
