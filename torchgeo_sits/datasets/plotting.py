"""A picture of a series."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from torch import Tensor
from torchgeo.datasets.utils import Sample

from ..keys import ACQUISITION_TIMES, IMAGE, MASK, MASK_CLEAR, VALID

__all__ = ['plot_labels', 'plot_pixel', 'plot_series']

#: Names under which red, green and blue go, for the sensors whose files are recognised.
TRUE_COLOUR = (
    ('B04', 'B03', 'B02'),
    ('B4', 'B3', 'B2'),
    ('SR_B4', 'SR_B3', 'SR_B2'),
    ('red', 'green', 'blue'),
    ('R', 'G', 'B'),
)


def plot_series(sample: Sample, bands: Sequence[str], *, columns: int = 8) -> Figure:
    """Draw the frames of a sample in a table, with their dates.

    Args:
        sample: Sample with ``image`` ``(T, C, H, W)``, ``acquisition_times`` ``(T,)`` and
            ``mask_clear`` ``(T, H, W)``.
        bands: Names of the C channels; where they hold red, green and blue the picture is in
            true colour, else of the first channel.
        columns: Frames in a row.

    Returns:
        The figure: stretched between the 2nd and the 98th percentile of what is clear.
    """
    known = next((names for names in TRUE_COLOUR if set(names) <= set(bands)), bands[:1])
    image = sample[IMAGE][:, [list(bands).index(name) for name in known]].numpy()
    clear = sample[MASK_CLEAR].numpy()
    shown = np.moveaxis(image, 1, -1)
    low, high = np.percentile(shown[clear], (2, 98)) if clear.any() else (0.0, 1.0)
    shown = np.clip((shown - low) / max(float(high - low), 1e-12), 0, 1)
    rows = -(-len(shown) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(1.5 * columns, 1.7 * rows), squeeze=False, layout='constrained'
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, frame, time in zip(
        axes.flat, shown, sample[ACQUISITION_TIMES].tolist(), strict=False
    ):
        axis.imshow(frame.squeeze(), cmap='gray', vmin=0, vmax=1)
        axis.set_title(f'{datetime.fromtimestamp(time, UTC):%Y-%m-%d}', fontsize='small')
    return figure


def plot_pixel(sample: Sample, bands: Sequence[str]) -> Figure:
    """Draw the values of a single pixel over time.

    Args:
        sample: Sample with ``image`` ``(T, C, 1, 1)``, ``acquisition_times`` ``(T,)`` and
            ``mask_clear`` ``(T, 1, 1)``.
        bands: Names of the C channels.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(8, 3), layout='constrained')
    axes = figure.subplots()
    clear = sample[MASK_CLEAR].flatten()
    times = sample[ACQUISITION_TIMES][clear].numpy().astype('datetime64[s]')
    for band, values in zip(bands, sample[IMAGE][clear, :, 0, 0].T, strict=True):
        axes.plot(times, values.numpy(), marker='.', label=band)
    # Whole dates run into each other where few weeks are shown.
    axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
    axes.legend(fontsize='small', ncols=2)
    return figure


#: Most classes that a legend names.
_MOST = 20


def plot_labels(
    sample: Sample,
    bands: Sequence[str],
    *,
    class_names: Sequence[str] | None = None,
    unlabelled: int = 0,
) -> Figure:
    """Draw the clearest frame of a sample, its labels, and predictions beside them.

    Args:
        sample: Sample with ``image`` ``(T, C, H, W)``, normalised or not, ``mask_clear``
            ``(T, H, W)``, and where there are any ``mask`` and ``prediction``, ``(H, W)`` or
            ``(T, H, W)`` with a map for each frame, of which the clearest frame's is shown.
            Classes have colours of their own, values that were measured a scale. ``embedding``
            ``(3, H, W)`` are colours from 0 to 1, ``knn`` ``(H, W)`` classes by neighbours.
        bands: Names of the C channels; where they hold red, green and blue the picture is in
            true colour, else of the first channel.
        class_names: Names by value, for the legend.
        unlabelled: Value that is no label, left white.

    Returns:
        The figure.
    """
    seen = sample[MASK_CLEAR].flatten(1).float().mean(1)
    if VALID in sample:
        seen = seen.masked_fill(~sample[VALID], -1.0)
    frame = int(seen.argmax())
    measured = MASK in sample and sample[MASK].is_floating_point()
    maps = {
        title: _one_map(sample[key], frame, len(seen), measured)
        for key, title in (
            (MASK, 'labels'),
            ('prediction', 'prediction'),
            ('knn', 'k-NN of the features'),
        )
        if key in sample
    }
    pictures = {'clearest frame': _picture(sample, bands, frame)}
    if 'embedding' in sample:
        pictures['features as colours'] = sample['embedding'].movedim(0, -1).numpy()
    number = len(pictures) + len(maps)
    figure, axes = plt.subplots(
        1, number, figsize=(3.2 * number, 3.6), squeeze=False, layout='constrained'
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (title, picture) in zip(axes[0], pictures.items(), strict=False):
        axis.imshow(picture, cmap='gray', vmin=0, vmax=1)
        axis.set_title(title, fontsize='small')
    panels = axes[0, len(pictures) :]
    if measured:
        drawn = [axis.imshow(values) for axis, values in zip(panels, maps.values(), strict=True)]
        known = np.concatenate([values[np.isfinite(values)] for values in maps.values()])
        for axis, title, image in zip(panels, maps, drawn, strict=True):
            axis.set_title(title, fontsize='small')
            image.set_clim(known.min(initial=np.inf), known.max(initial=-np.inf))
        if len(known):
            figure.colorbar(drawn[0], ax=list(axes.flat), location='bottom', shrink=0.5)
        return figure
    shown = [values[values != unlabelled] for values in maps.values()]
    found = np.unique(np.concatenate(shown)) if shown else np.zeros(0, np.int64)
    # Classes keep their colours from one picture to the next where their number is known.
    most = len(class_names) if class_names else int(found.max(initial=0)) + 1
    cmap = colormaps['tab20' if most <= _MOST else 'turbo']
    top = max(most - 1, 1) if most > _MOST else _MOST - 1
    for axis, (title, values) in zip(panels, maps.items(), strict=True):
        masked = np.ma.masked_equal(values, unlabelled)
        axis.imshow(masked, cmap=cmap, vmin=0, vmax=top, interpolation='nearest')
        axis.set_title(title, fontsize='small')
    named = [
        Patch(color=cmap(int(v) / top if most > _MOST else int(v)), label=_name(v, class_names))
        for v in found[:_MOST]
    ]
    if named:
        figure.legend(handles=named, loc='outside lower center', ncols=4, fontsize='x-small')
    return figure


def _one_map(values: Tensor, frame: int, frames: int, measured: bool) -> NDArray[Any]:
    """The map ``(H, W)`` of a frame: of values that were measured, or of classes."""
    if values.ndim == 3:
        values = values[frame if len(values) == frames else 0]
    return values.float().numpy() if measured else values.long().numpy()


def _picture(sample: Sample, bands: Sequence[str], frame: int) -> NDArray[np.float64]:
    """A frame ``(H, W, 3)`` or ``(H, W)``, stretched between percentiles of what is clear."""
    known = next((names for names in TRUE_COLOUR if set(names) <= set(bands)), bands[:1])
    chosen = sample[IMAGE][frame, [list(bands).index(name) for name in known]]
    shown = np.moveaxis(chosen.float().numpy(), 0, -1)
    clear = sample[MASK_CLEAR][frame].numpy()
    low, high = np.percentile(shown[clear], (2, 98)) if clear.any() else (0.0, 1.0)
    stretched: NDArray[np.float64] = np.clip((shown - low) / max(float(high - low), 1e-12), 0, 1)
    return stretched.squeeze(-1) if stretched.shape[-1] == 1 else stretched


def _name(value: int, class_names: Sequence[str] | None) -> str:
    """Name of a class, or its number."""
    known = class_names is not None and 0 <= value < len(class_names)
    return class_names[int(value)] if known and class_names is not None else str(int(value))
