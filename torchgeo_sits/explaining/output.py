"""Files of an explanation: a table and a picture of its dates, and a map of its pixels."""

import csv
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import rasterio
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from ..datasets.headers import MAP_TAG
from ..errors import SITSError
from ..grid import Grid
from ..sidecars import write_diverging_style

__all__ = ['importance_limit', 'plot_dates', 'plot_pixels', 'write_dates', 'write_importance']


type Values = NDArray[np.float64]

#: Names of near infrared and red, of the sensors whose files are recognised.
_NIR_RED = (('B08', 'B04'), ('B8', 'B4'), ('SR_B5', 'SR_B4'), ('nir', 'red'))
#: Red below 0, blue above it, as the bars of dates.
_DIVERGING = 'RdBu'
#: Bands drawn where there is no NDVI.
_MOST_BANDS = 3


def write_dates(
    path: Path,
    times: Sequence[int],
    clear: NDArray[np.bool_],
    columns: Mapping[str, Values],
    observed: Mapping[str, Values],
    sensors: Sequence[str] | None = None,
) -> None:
    """Write a row per date.

    Args:
        path: File to write.
        times: Seconds since 1970-01-01 UTC of T dates.
        clear: ``(T,)``, True where the place was clear.
        columns: Weights ``(T,)`` by their names; NaN is left empty.
        observed: Observed values ``(T,)`` by band; left empty where not clear, and where NaN.
        sensors: Name of the sensor of each date, for a column of these.

    Examples:
        >>> import numpy as np, tempfile
        >>> from pathlib import Path
        >>> from torchgeo_sits.explaining import write_dates
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / 'dates.csv'
        ...     clear, values = np.array([True, False]), np.array([0.25, np.nan])
        ...     write_dates(path, [0, 864_000], clear, {'importance': values}, {'B04': values})
        ...     print(path.read_text())
        date,clear,importance,B04
        1970-01-01,1,0.25,0.25
        1970-01-11,0,,
        <BLANKLINE>
    """
    with path.open('w', newline='') as file:
        writer = csv.writer(file)
        named = [] if sensors is None else ['sensor']
        writer.writerow(['date', *named, 'clear', *columns, *observed])
        for t, time in enumerate(times):
            weights = [_cell(values[t]) for values in columns.values()]
            seen = [_cell(values[t]) if clear[t] else '' for values in observed.values()]
            by = [] if sensors is None else [sensors[t]]
            writer.writerow([_day(time).date(), *by, int(clear[t]), *weights, *seen])


def plot_dates(
    times: Sequence[int],
    clear: NDArray[np.bool_],
    observed: Mapping[str, Values],
    importance: Values,
    attention: Mapping[str, Values],
    *,
    title: str,
    s1: tuple[Sequence[int], Values] | None = None,
) -> Figure:
    """Draw the observations at a place, and below them the importance of each date.

    Clouded dates are grey marks on the axis of the observations, and grey lines below it.

    Args:
        times: Seconds since 1970-01-01 UTC of T dates.
        clear: ``(T,)``, True where the place was clear.
        observed: Observed values ``(T,)`` by band.
        importance: ``(T,)``, loss of log-odds without each date; NaN for those left out.
        attention: Attention ``(T,)`` by the name of its pixels; may be empty.
        title: Title of the picture.
        s1: Seconds of the T1 dates of Sentinel-1, and their importance ``(T1,)``.

    Returns:
        The figure.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.explaining import plot_dates
        >>> values = np.array([0.25, 0.5])
        >>> figure = plot_dates(
        ...     [0, 864_000], np.array([True, True]), {'B04': values}, values, {}, title='a place'
        ... )
        >>> len(figure.axes)
        2
    """
    days = np.array([_day(time) for time in times])
    figure, axes = plt.subplots(
        2 + bool(attention),
        1,
        figsize=(10, 5.5 + 1.8 * bool(attention)),
        sharex=True,
        layout='constrained',
    )
    figure.suptitle(title, fontsize=11)
    top, middle, *bottom = axes
    drawn = _index(observed)
    for name, values in drawn.items():
        top.plot(days[clear], values[clear], '-o', markersize=3.5, linewidth=1, label=name)
    top.plot(
        days[~clear],
        np.full(int((~clear).sum()), 0.03),
        'x',
        transform=top.get_xaxis_transform(),  # days across, share of the height up
        color='0.55',
        markersize=4,
        label='clouded, or no data',
    )
    top.set_ylabel('observed, clear dates')
    _legend(top)
    width = _bar_width(days)
    shown = np.isfinite(importance)
    colours = np.where(importance[shown] >= 0, '#1f77b4', '#d62728')
    middle.bar(days[shown], importance[shown], width=width, color=colours)
    if s1 is not None:
        days_s1, values = np.array([_day(time) for time in s1[0]]), s1[1]
        middle.plot(days_s1, values, 'D', markersize=3, color='0.15', label='Sentinel-1')
        _legend(middle)
    middle.axhline(0, color='0.3', linewidth=0.8)
    middle.set_ylabel('importance:\nlog-odds lost without it')
    for axis, (name, values) in zip(bottom * len(attention), attention.items(), strict=False):
        if name == next(iter(attention)):
            axis.bar(days, values, width=width, color='#ff7f0e', label=name)
        else:
            axis.plot(days, values, '.', color='0.15', markersize=4, label=name)
        axis.set_ylabel('attention')
        _legend(axis)
    for axis in axes:
        _shade(axis, days[~clear])
        axis.margins(x=0.01)
        axis.spines[['top', 'right']].set_visible(False)
    return figure


def importance_limit(importance: Tensor, place: tuple[int, int] | None = None) -> float:
    """Find the importance at which a picture has its last colour.

    The pixel itself often weighs a thousand times more than any other: on its scale these could
    not be seen. So the limit is the 98th percentile of all others that weigh anything; what is less
    than a ten-thousandth of the largest is nothing.

    Args:
        importance: ``(H, W)`` float, NaN for no data.
        place: Row and column of the pixel itself, for models that answer for pixels.

    Returns:
        The limit, above 0.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.explaining import importance_limit
        >>> importance_limit(torch.tensor([[8.0, -0.5], [0.0, torch.nan]]), (0, 0))
        0.5
    """
    size = importance.double().abs().cpu().numpy()
    largest = float(np.nanmax(size, initial=0))
    if place is not None:
        size[place] = np.nan
    others = size[size > largest / 10_000]
    return float(np.quantile(others, 0.98)) if len(others) else largest or 1.0


def plot_pixels(
    importance: Tensor, grid: Grid, place: tuple[int, int], *, limit: float, title: str
) -> Figure:
    """Draw the importance of each pixel, blue for the class and red against it.

    Args:
        importance: ``(H, W)`` float, NaN for no data.
        grid: Extent of the pixels.
        place: Row and column of the pixel that is explained, which gets a ring.
        limit: Importance of the last colours.
        title: Title of the picture.

    Returns:
        The figure.

    Examples:
        >>> import rasterio, torch
        >>> from torchgeo_sits.explaining import plot_pixels
        >>> from torchgeo_sits.grid import Grid
        >>> grid = Grid(600_000.0, 5_000_000.0, 10.0, 10.0, 4, 3, rasterio.CRS.from_epsg(32631))
        >>> figure = plot_pixels(torch.zeros(3, 4), grid, (1, 2), limit=1.0, title='a place')
        >>> len(figure.axes)
        2
    """
    figure, axis = plt.subplots(figsize=(7, 6), layout='constrained')
    west, south, east, north = grid.bounds
    drawn = axis.imshow(
        np.ma.masked_invalid(importance.double().cpu().numpy()),
        cmap=_DIVERGING,
        vmin=-limit,
        vmax=limit,
        extent=(west, east, south, north),
        interpolation='nearest',
    )
    axis.set_facecolor('0.8')
    x, y = grid.transform @ (place[1] + 0.5, place[0] + 0.5)
    axis.plot(x, y, 'o', markersize=14, markerfacecolor='none', markeredgecolor='0.1')
    axis.ticklabel_format(useOffset=False, style='plain')
    axis.tick_params(axis='x', labelrotation=30)
    figure.colorbar(drawn, ax=axis, label='importance: log-odds lost without it', extend='both')
    figure.suptitle(title, fontsize=10)
    return figure


def write_importance(
    path: Path, importance: Tensor, grid: Grid, tags: Mapping[str, str], *, limit: float = 1.0
) -> None:
    """Write a map that lies on the pixels of the data, and a style of QGIS beside it.

    Args:
        path: File to write.
        importance: ``(H, W)`` float, NaN for no data.
        grid: Extent, pixels and coordinate reference system.
        tags: Tags of the file.
        limit: Importance of the last colours of the style.

    Raises:
        SITSError: If the map has another size than the grid.

    Examples:
        >>> import rasterio, tempfile, torch
        >>> from pathlib import Path
        >>> from torchgeo_sits.explaining import write_importance
        >>> from torchgeo_sits.grid import Grid
        >>> grid = Grid(600_000.0, 5_000_000.0, 10.0, 10.0, 4, 3, rasterio.CRS.from_epsg(32631))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / 'pixels.tif'
        ...     write_importance(path, torch.zeros(3, 4), grid, {'CLASS': 'maize'}, limit=1.0)
        ...     with rasterio.open(path) as file:
        ...         file.shape, file.tags()['CLASS']
        ((3, 4), 'maize')
    """
    if importance.shape != (grid.height, grid.width):
        raise SITSError(
            f'expected a map of {grid.height} x {grid.width} pixels, got {tuple(importance.shape)}'
        )
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        width=grid.width,
        height=grid.height,
        count=1,
        dtype='float32',
        nodata=float('nan'),
        crs=grid.crs,
        transform=grid.transform,
        compress='deflate',
    ) as file:
        file.write(importance.float().cpu().numpy(), 1)
        file.set_band_description(1, 'importance')
        file.update_tags(**{MAP_TAG: 'explanation', **tags})
    write_diverging_style(path, limit, colours=_DIVERGING)


def _index(observed: Mapping[str, Values]) -> dict[str, Values]:
    """Compute the NDVI where its bands are there, else take the first bands."""
    for nir, red in _NIR_RED:
        if nir in observed and red in observed:
            total = observed[nir] + observed[red]
            safe = np.where(np.abs(total) > 1e-9, total, np.nan)
            return {'NDVI': (observed[nir] - observed[red]) / safe}
    return dict(list(observed.items())[:_MOST_BANDS])


def _shade(axis: Axes, days: NDArray[np.object_]) -> None:
    """Thin grey lines at the clouded dates."""
    for day in days:
        axis.axvline(day, color='0.9', linewidth=0.8, zorder=0)


def _legend(axis: Axes) -> None:
    """Draw a legend above the axes, hiding nothing."""
    axis.legend(loc='lower right', bbox_to_anchor=(1, 1), fontsize=8, ncols=4, frameon=False)


def _bar_width(days: NDArray[np.object_]) -> float:
    """Width of a bar in days, with a gap to the nearest other."""
    gaps = np.diff(sorted({day.timestamp() for day in days})) / 86_400
    return float(0.8 * np.quantile(gaps, 0.1)) if len(gaps) else 1.0


def _cell(value: float) -> str:
    """A number of the table."""
    return f'{value:.6g}' if np.isfinite(value) else ''


def _day(time: int) -> datetime:
    """Time of an acquisition."""
    return datetime.fromtimestamp(time, UTC)
