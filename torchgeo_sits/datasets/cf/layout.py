"""What a data set of xarray says of a series by the CF conventions: its grid, times and bands."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS

from ...errors import SITSError
from ...grid import Grid
from ..filenames import ANCILLARY_BANDS
from ..files import list_examples
from .axes import STANDARD_NAMES, UNITS, Axis, Variables, axes_of, axis_of, coordinates_along
from .georeference import crs_of, grid_of_axes
from .times import times_along

__all__ = ['Band', 'CFLayout', 'read_layout']


@dataclass(frozen=True, slots=True)
class Band:
    """A band of the series.

    Attributes:
        name: Its name.
        variable: Variable that holds it.
        position: Number along the dimension of bands; None where the variable has none.
    """

    name: str
    variable: str
    position: int | None = None


@dataclass(frozen=True)
class CFLayout:
    """Axes, grid, times and bands of a series.

    Attributes:
        dims: Names of the dimensions of time (None for one time without), y and x.
        band_dims: Dimension of bands of the variables that have one.
        flipped: Whether y is stored from south to north, and x from east to west.
        grid: The pixels, from north to south and from west to east.
        crs: Their coordinate reference system.
        times: Seconds since 1970 UTC, ``(T,)``, ascending.
        frames: Numbers of these along the dimension of time, ``(T,)``.
        bands: The bands that were asked for, or all that are spectral.
    """

    dims: tuple[Hashable | None, Hashable, Hashable]
    band_dims: dict[str, Hashable]
    flipped: tuple[bool, bool]
    grid: Grid
    crs: CRS
    times: NDArray[np.int64]
    frames: NDArray[np.intp]
    bands: tuple[Band, ...]


def read_layout(
    dataset: xr.Dataset,
    path: str,
    *,
    bands: Sequence[str] | None = None,
    crs: CRS | None = None,
    apart_from: str | None = None,
) -> CFLayout:
    """Find the series in a data set.

    Args:
        dataset: As it is stored: neither times nor values decoded, attributes at their variables.
        path: Where it lies, for messages.
        bands: Bands wanted; None for all variables of one grid but masks and flags.
        crs: CRS of a data set that says none.
        apart_from: A variable that is no band unless it is asked for.

    Returns:
        The layout.

    Raises:
        SITSError: If there is no series on an even grid, or it cannot be told which.
    """
    variables = dataset.variables
    axes = axes_of(variables, dataset.sizes)
    candidates = _candidates(dataset, axes)
    if not candidates:
        raise SITSError(_no_series(dataset, path, axes))
    found, band_dims = _bands(variables, candidates, axes)
    chosen = _choose(found, path, variables, bands=bands, apart_from=apart_from)
    grids = defaultdict(list)
    for band in chosen:
        grids[candidates[band.variable]].append(band.name)
    if len(grids) > 1:
        told = '; '.join(
            f'{_sizes(dims, dataset)}: {list_examples(g)}' for dims, g in grids.items()
        )
        raise SITSError(
            f"'{path}' holds variables on {len(grids)} grids ({told}): name those of one of them "
            'in `bands`'
        )
    [dims] = grids
    time, y, x = dims
    first = variables[chosen[0].variable]
    found_crs, mapping = crs_of(dataset, first, variables, (y, x), path, given=crs)
    grid, flipped = grid_of_axes(dataset, first, (y, x), found_crs, mapping, path)
    times = times_along(variables, time, path)
    order = np.argsort(times, kind='stable')
    return CFLayout(
        dims=dims,
        band_dims={b.variable: band_dims[b.variable] for b in chosen if b.position is not None},
        flipped=flipped,
        grid=grid,
        crs=found_crs,
        times=times[order],
        frames=order,
        bands=chosen,
    )


def _candidates(
    dataset: xr.Dataset, axes: Mapping[Hashable, Axis]
) -> dict[str, tuple[Hashable | None, Hashable, Hashable]]:
    """Variables of dated images by name, with their dimensions of time, y and x."""
    variables = dataset.variables
    one_time = any(axis_of(n, v) == 'T' for n, v in variables.items() if v.ndim == 0)
    found: dict[str, tuple[Hashable | None, Hashable, Hashable]] = {}
    for name, variable in variables.items():
        own: dict[str, list[Hashable]] = {'T': [], 'Y': [], 'X': [], '': []}
        for dim in variable.dims:
            own[axes.get(dim, '')].append(dim)
        places = variable.attrs.get('standard_name') in STANDARD_NAMES or (
            str(variable.attrs.get('units', '')).lower() in UNITS
        )
        if variable.dtype.kind not in 'iufb' or places:
            continue
        if len(own['Y']) != 1 or len(own['X']) != 1 or len(own['T']) > 1:
            continue
        if not own['T'] and not one_time:
            continue
        if sum(dataset.sizes[dim] > 1 for dim in own['']) > 1:
            continue
        found[str(name)] = (own['T'][0] if own['T'] else None, own['Y'][0], own['X'][0])
    return found


def _no_series(dataset: xr.Dataset, path: str, axes: Mapping[Hashable, Axis]) -> str:
    """Tell why a data set holds no series, and what to do."""
    variables = dataset.variables
    two = [n for n, v in variables.items() if v.ndim == 2 and axis_of(n, v) in ('Y', 'X')]
    images = [n for n, v in variables.items() if {axes.get(d) for d in v.dims} >= {'Y', 'X'}]
    if two and not {'Y', 'X'} <= set(axes.values()):
        return (
            f"'{path}' is on a curvilinear grid: {list_examples(two)} have two dimensions. Put it "
            'on an even grid first, for instance with pyresample or xESMF'
        )
    if images:
        return (
            f"'{path}' has no dimension of time in {list_examples(images)}: add one, for instance "
            "with xarray's ds.expand_dims(time=[date]), and write it again"
        )
    told = [f'{name}({", ".join(map(str, v.dims))})' for name, v in variables.items() if v.ndim]
    return (
        f"'{path}' holds no variable with dimensions of time, y and x: it has "
        f'{list_examples(told) or "no variables"}. Name the coordinates as the CF conventions do '
        '(axis, standard_name or units), or give `group` where variables lie in a group'
    )


def _bands(
    variables: Variables,
    candidates: Mapping[str, tuple[Hashable | None, Hashable, Hashable]],
    axes: Mapping[Hashable, Axis],
) -> tuple[list[Band], dict[str, Hashable]]:
    """All bands of some variables, and the dimensions of bands."""
    labels: dict[str, list[str] | None] = {}
    dims: dict[str, Hashable] = {}
    for name in candidates:
        variable = variables[name]
        extra = [d for d in variable.dims if d not in axes and variable.sizes[d] > 1]
        labels[name] = _labels(variables, variable, extra[0]) if extra else None
        if extra:
            dims[name] = extra[0]
    named = [label for name, own in labels.items() for label in own or [name]]
    clash = len(set(named)) < len(named)
    found: list[Band] = []
    for name, own in labels.items():
        if own is None:
            found.append(Band(name, name))
        else:
            prefix = f'{name}_' if clash else ''
            found += [Band(f'{prefix}{label}', name, i) for i, label in enumerate(own)]
    return found, dims


def _labels(variables: Variables, variable: xr.Variable, dim: Hashable) -> list[str]:
    """Names along a dimension of bands: of its coordinate, else of the variable, else B1, B2..."""
    size = variable.sizes[dim]
    numbered = [f'B{i + 1}' for i in range(size)]
    for name in coordinates_along(variables, dim):
        values = variables[name].values
        if values.dtype.kind in 'USOT':
            named = [v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()]
            return named if len(set(named)) == size else numbered
        if name == dim and values.dtype.kind == 'f':
            return [f'{value:g}' for value in values.tolist()]
    long_name = variable.attrs.get('long_name')  # as rioxarray keeps descriptions
    if isinstance(long_name, list | tuple) and len(set(long_name)) == size:
        return [str(name) for name in long_name]
    if dim in variables and variables[dim].dtype.kind in 'iu':
        return [f'B{value}' for value in variables[dim].values.tolist()]
    return numbered


def _choose(
    found: Sequence[Band],
    path: str,
    variables: Variables,
    *,
    bands: Sequence[str] | None,
    apart_from: str | None,
) -> tuple[Band, ...]:
    """Choose the bands by name, or all that are no masks and flags."""
    if bands is not None:
        named = {band.name: band for band in found}
        if unknown := [name for name in bands if name not in named]:
            raise SITSError(
                f"unknown bands {unknown}: '{path}' holds {tuple(named)}. Give some of these "
                'names, in the order in which the channels are wanted.'
            )
        if not bands:
            raise SITSError('bands is empty: name at least one, or leave it None for all')
        return tuple(named[name] for name in bands)
    ancillary = {
        name
        for variable in variables.values()
        for name in str(variable.attrs.get('ancillary_variables', '')).split()
    }
    spectral = tuple(
        band
        for band in found
        if band.variable not in ancillary | {apart_from}
        and band.name.upper() not in ANCILLARY_BANDS
        and not _is_flag(variables[band.variable])
    )
    return spectral or tuple(found)  # a series of masks alone is one of masks


def _is_flag(variable: xr.Variable) -> bool:
    """Tell whether a variable holds flags or a mask."""
    named = any(key in variable.attrs for key in ('flag_meanings', 'flag_values', 'flag_masks'))
    quality = str(variable.attrs.get('standard_name', '')).split()[-1:] in (
        ['status_flag'],
        ['quality_flag'],
    )
    return named or quality or variable.dtype.kind == 'b'


def _sizes(dims: Sequence[Hashable | None], dataset: xr.Dataset) -> str:
    """Spell dimensions with their lengths."""
    return ' x '.join(f'{dim} {dataset.sizes[dim]}' for dim in dims if dim is not None)
