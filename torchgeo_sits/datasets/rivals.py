"""Images that cover the same pixels at one acquisition: which of them counts, by their names."""

import os
import re
import warnings
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from ..bands import find_sensor
from .filenames import RasterName
from .files import RasterFile

__all__ = ['later_first', 'level_of', 'rank_rivals']

#: Words for what was measured at the top of the atmosphere, and for what was corrected for it.
_LEVELS = re.compile(
    r'(?<![A-Za-z0-9])(?:(?P<raw>(?:MSI)?L1C|L1TP|L1GT|L1GS|TOA|Analytic(?:MS)?)'
    r'|(?P<corrected>(?:MSI)?L2A|L2SP|L2SR|BOA|TOC|SR))(?![A-Za-z0-9])',
    re.IGNORECASE,
)


@lru_cache(1 << 12)
def _level_in(name: str) -> tuple[int, str] | None:
    """Find the level that one name says, the highest if it says several."""
    found = [
        (1 if match['raw'] else 2, match[0].upper().removeprefix('MSI'))
        for match in _LEVELS.finditer(name)
    ]
    return max(found, key=lambda level: level[0], default=None)


def level_of(path: str) -> tuple[int, str] | None:
    """Tell by its name, or those of its folders, whether an image was corrected for the air.

    Args:
        path: Path of a file.

    Returns:
        2 for reflectance of the surface and 1 for that at the top of the atmosphere, with the
        word that says so; None where no name says.

    Examples:
        >>> from torchgeo_sits.datasets.rivals import level_of
        >>> level_of('20200601_103045_1003_3B_AnalyticMS_SR.tif')
        (2, 'SR')
        >>> level_of('L1C_T32TQM_A025812_20200601T103031/IMG_DATA/T32TQM_20200601T103031_B02.jp2')
        (1, 'L1C')
    """
    if _LEVELS.search(path) is None:  # as in most paths
        return None
    folder, name = os.path.split(path)
    return _level_in(name) or _level_of_folder(folder)


@lru_cache(1 << 12)
def _level_of_folder(folder: str) -> tuple[int, str] | None:
    """Find the level that the last folders say, the last of them first."""
    for _ in range(5):
        folder, name = os.path.split(folder)
        if found := _level_in(name):
            return found
    return None


class _Identity(NamedTuple):
    """What names say of an image: which acquisition it is of, and which processing of it.

    Attributes:
        time: Acquisition.
        tile: Tile of a grid, empty where the name holds none.
        mission: Satellite of a Sentinel-2 image, ``S2`` where it is not known; else empty.
        acquisition: All that does not depend on the processing.
        processing: All that does, ascending with later ones.
    """

    time: pd.Timestamp
    tile: str
    mission: str
    acquisition: str
    processing: tuple[str, ...]


#: S2A_MSIL2A_20180802T105031_N0208_R051_T31UES_20180802T135120 in a path, and its granule.
_SAFE = re.compile(r'(S2[A-D])_MSIL\d\w_(\d{8}T\d{6})_(N\d{4})_R\d{3}_(T\w{5})_(\d{8}T\d{6})')
_GRANULE = re.compile(r'[/\\](L\d\w_T\w{5}_A\d{6}_\d{8}T\d{6})[/\\]')
_MISSION = re.compile(r'(?<![A-Za-z0-9])S2[A-D](?![A-Za-z0-9])')
#: Sentinel-2, MODIS, FORCE and PROBA-V.
_TILE = re.compile(
    r'(?<![A-Za-z0-9])(?:T?(\d\d[C-HJ-NP-X][A-Z]{2})|(h\d\dv\d\d)|(X\d{4}_Y\d{4}|X\d\dY\d\d))'
    r'(?![A-Za-z0-9])'
)
#: Dates, with clocks; collections and tiers of Landsat, collections of MODIS, versions.
_PROCESSING = re.compile(
    r'(?<![A-Za-z0-9])(?:N\d{4}|(?:19|20)\d{5}(?:\d{6})?|(?:19|20)\d{6}(?:T?\d{4,6})?'
    r'|(?:19|20)\d\d-\d\d-\d\d|0\d_(?:T[12]|RT|A[12])|0\d\d(?=\.)|v\d+(?:\.\d+)*)(?![A-Za-z0-9])',
    re.IGNORECASE,
)


def _identify(path: str, name: RasterName) -> _Identity:
    """Take the names of an image apart."""
    products = _SAFE.findall(path)
    if products:
        mission, sensed, baseline, tile, discriminator = products[-1]
        granule = _GRANULE.search(path)
        # Halves of a tile that two datatakes share differ in the discriminator, too: only with
        # the granule it tells processings apart.
        made = (baseline, discriminator) if granule else (baseline,)
        acquisition = f'{sensed}_{tile}_{granule[1][4:] if granule else ""}'
        return _Identity(name.time, tile[1:], mission, acquisition, made)
    text = name.product
    if not re.search(r'\d{4}', text):
        text = f'{os.path.basename(os.path.dirname(path))}/{text}'
    tile_found = _TILE.search(text)
    mission = ''
    if find_sensor(path) == 'Sentinel-2':
        mission_found = _MISSION.search(path)
        mission = mission_found[0] if mission_found else 'S2'
    return _Identity(
        name.time,
        next(filter(None, tile_found.groups())) if tile_found else '',
        mission,
        _PROCESSING.sub('#', text),
        tuple(_PROCESSING.findall(text)),
    )


#: Images of one pass of a satellite are not further apart.
_PASS = pd.Timedelta(minutes=30)


def _relation(a: _Identity, b: _Identity) -> Literal['parts', 'processings', 'rivals']:
    """Tell what two images of the same pixels are to each other."""
    if a.tile and b.tile and a.tile != b.tile:
        return 'parts'  # of two zones that overlap
    same_pass = abs(a.time - b.time) <= _PASS
    if a.acquisition == b.acquisition and a.time == b.time and a.processing != b.processing:
        return 'processings'
    if a.mission and b.mission:
        same = a.mission == b.mission or 'S2' in (a.mission, b.mission)
        return 'parts' if same and same_pass else 'rivals'
    same = a.acquisition == b.acquisition and a.time != b.time
    return 'parts' if same and same_pass else 'rivals'


def rank_rivals(
    paths: Sequence[str],
    names: Sequence[RasterName],
    footprints: NDArray[np.object_],
    keys: NDArray[np.int64],
    *,
    group_by: Literal['day', 'time'],
) -> list[int]:
    """Order images that cover the same pixels at one acquisition, and say what is done.

    Later processings come first. Parts of one pass keep the order of their paths, silently, and
    so do others, with one warning for all of them.

    Args:
        paths: First file of each image, N of them.
        names: What their names say.
        footprints: Where they lie, in one CRS, ``(N,)``.
        keys: Equal for images of one acquisition, ``(N,)``.
        group_by: What makes them one.

    Returns:
        How many images count before each one, because of their names.
    """
    ranks = [0] * len(paths)
    superseded: list[tuple[str, str]] = []
    rivals: list[tuple[str, str, bool]] = []
    found: dict[int, _Identity] = {}
    for i, j in _overlapping(footprints, keys):
        for k in (i, j):
            if k not in found:
                found[k] = _identify(paths[k], names[k])
        a, b = found[i], found[j]
        relation = _relation(a, b)
        if relation == 'processings':
            earlier, later = (i, j) if a.processing < b.processing else (j, i)
            ranks[earlier] += 1
            superseded.append((paths[earlier], paths[later]))
        elif relation == 'rivals':
            first, second = sorted((paths[i], paths[j]))
            rivals.append((first, second, a.time != b.time))
    if superseded:
        earlier_path, later_path = superseded[0]
        warnings.warn(
            f'{sum(map(bool, ranks))} of {len(paths)} images are earlier processings of what is '
            f"there again, such as '{earlier_path}' beside '{later_path}': the later one counts "
            'wherever it has data',
            UserWarning,
            stacklevel=4,
        )
    if rivals:
        one, other, clocks = rivals[0]
        warnings.warn(
            f'{len(rivals)} pairs of images cover the same pixels '
            f'{"on one day" if group_by == "day" else "at one time"}, such as '
            f"'{one}' and '{other}', and are read as one frame, in which the first one counts "
            'wherever it has data. '
            + (
                "Give group_by='time' for a frame of each"
                if clocks and group_by == 'day'
                else 'Keep one kind of images in a folder; if they are bands of one image, say by '
                'filename_regex where their names hold the band'
            ),
            UserWarning,
            stacklevel=4,
        )
    return ranks


def _overlapping(footprints: NDArray[np.object_], keys: NDArray[np.int64]) -> list[tuple[int, int]]:
    """List pairs of images of one acquisition that share more than half of the smaller one."""
    (known,) = np.nonzero(~shapely.is_empty(footprints))
    bounds = shapely.bounds(footprints[known])
    places, place = np.unique(bounds, axis=0, return_inverse=True)
    members: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, key, at in zip(
        known.tolist(), keys[known].tolist(), place.ravel().tolist(), strict=True
    ):
        members[key, at].append(i)
    pairs = [pair for own in members.values() for pair in combinations(own, 2)]
    boxes = shapely.box(*places.T)
    one, other = shapely.STRtree(boxes).query(boxes)
    one, other = one[one < other], other[one < other]
    shared = shapely.area(shapely.intersection(boxes[one], boxes[other]))
    least = np.minimum(shapely.area(boxes[one]), shapely.area(boxes[other]))
    close: dict[int, list[int]] = defaultdict(list)
    much = shared > least / 2
    for a, b in zip(one[much].tolist(), other[much].tolist(), strict=True):
        close[a].append(b)
    for (key, at), own in list(members.items()) if close else ():
        for beside in close.get(at, ()):
            pairs += [(i, j) for i in own for j in members.get((key, beside), ())]
    return pairs


def later_first(rasters: Sequence[RasterFile]) -> list[RasterFile]:
    """Order files so that of several processings of an image the last one comes first.

    Args:
        rasters: The files.

    Returns:
        The same, all others where they were.
    """
    places: dict[tuple[str, pd.Timestamp], list[int]] = defaultdict(list)
    made = [_identify(raster.path, raster.name) for raster in rasters]
    for i, identity in enumerate(made):
        places[identity.acquisition, identity.time].append(i)
    ordered = list(rasters)
    for own in places.values():
        by_processing = sorted(own, key=lambda i: made[i].processing, reverse=True)
        for i, j in zip(own, by_processing, strict=True):
            ordered[i] = rasters[j]
    return ordered
