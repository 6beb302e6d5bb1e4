"""A picture of a series."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torchgeo.datasets.utils import Sample

from ..keys import ACQUISITION_TIMES, IMAGE, MASK_CLEAR

__all__ = ['plot_series']

#: Names under which red, green and blue go, for the sensors whose files are recognised.
TRUE_COLOUR = (
    ('B04', 'B03', 'B02'),
    ('B4', 'B3', 'B2'),
    ('SR_B4', 'SR_B3', 'SR_B2'),
    ('red', 'green', 'blue'),
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
