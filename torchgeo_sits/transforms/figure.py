"""A picture of a sample and its views."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, IMAGE, MASK_CLEAR
from .batches import observed
from .planar import PATHS, PLANES

__all__ = ['plot_views']

#: Colours of the paths of a view, and of the frames around their planes.
_COLOURS = ('#ff2d95', '#ffd000', '#00d5ff', '#ff7a00')
#: What is shown where nothing was observed.
_HIDDEN = 0.88


def plot_views(
    batch: dict[str, Any],
    views: Sequence[dict[str, Any]],
    *,
    sample: int = 0,
    bands: tuple[int, int, int] | None = None,
    class_mask: Tensor | None = None,
    max_views: int = 3,
) -> Figure:
    """Draw some frames of a sample, the paths of its views, and their planes.

    Above stand frames of the cube with their dates. Below, each view has its paths on the
    clearest frame and up to four of its planes: time runs down, the path to the right, and the
    colour of the frame around a plane is that of its path, whose start is a dot. Views
    without planes (:class:`~torchgeo_sits.transforms.ResamplingMultiView`) show frames
    instead. Pixels that were not observed are pale grey.

    Args:
        batch: A batch of the contract.
        views: Views of that batch.
        sample: Which sample of the batch to draw.
        bands: Indices of the bands shown as red, green and blue. By default the third, second
            and first, true colour in Sentinel-2's order, or the first where there are fewer.
        class_mask: Labels ``(H, W)``, drawn beside the frames.
        max_views: Views to draw; the first, and the last of them the last of *views*.

    Returns:
        The figure. Close it with :func:`matplotlib.pyplot.close` when it is no longer needed.

    Raises:
        SITSError: If there is no such sample or no view.

    Examples:
        >>> import torch
        >>> from matplotlib import pyplot as plt
        >>> from torchgeo_sits.transforms import RandomPlanarView, plot_views
        >>> times = torch.arange(6)[None] * 864000
        >>> batch = {'image': torch.rand(1, 6, 3, 16, 16), 'acquisition_times': times}
        >>> view = RandomPlanarView(num_paths=2, length=8, dates=(3, 3))(batch)
        >>> figure = plot_views(batch, [view])
        >>> [part.get_suptitle() for part in figure.subfigs]
        ['One sample: 6 dates of 16 x 16 pixels', 'View 1: 2 paths of 8 pixels through 3 dates']
        >>> plt.close(figure)
    """
    if not 0 <= sample < len(batch[IMAGE]) or not views or max_views < 1:
        raise SITSError(
            f'expected a sample below {len(batch[IMAGE])}, at least one view and max_views >= 1, '
            f'got sample={sample}, {len(views)} views, max_views={max_views}'
        )
    valid, clear = (value[sample].cpu() for value in observed(batch))
    image = batch[IMAGE][sample].detach().float().cpu()
    times = batch[ACQUISITION_TIMES][sample].cpu()
    if bands is None:
        bands = (2, 1, 0) if image.shape[1] >= 3 else (0, 0, 0)
    colour = _Stretch(image, clear & valid[:, None, None], bands)

    shown = list(views) if len(views) <= max_views else [*views[: max_views - 1], views[-1]]
    figure = plt.figure(figsize=(12, 2.7 + 2.9 * len(shown)), layout='constrained')
    heights = [2.7] + [2.9] * len(shown)
    top, *below = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]

    # The clearest frame of each sixth of the series.
    share = clear.flatten(1).float().mean(1).masked_fill(~valid, -1.0)
    count = max(1, int(valid.sum()))
    sixths = torch.arange(count).chunk(6 if class_mask is None else 5)
    picks = [int(some[0] + share[some].argmax()) for some in sixths]
    best = int(share.argmax())

    height, width = image.shape[-2:]
    frames = top.subplots(1, len(picks) + (class_mask is not None), squeeze=False)[0]
    top.suptitle(f'One sample: {count} dates of {height} x {width} pixels', fontsize=12)
    for axes, pick in zip(frames, picks, strict=False):
        axes.imshow(colour(image[pick], clear[pick]), interpolation='nearest')
        axes.set_title(_date(times[pick]), fontsize=9)
        _bare(axes)
    if class_mask is not None:
        frames[-1].imshow(class_mask.cpu(), cmap='tab20', interpolation='nearest')
        frames[-1].set_title('classes', fontsize=9)
        _bare(frames[-1])

    for number, (part, view) in enumerate(zip(below, shown, strict=True), 1):
        if number == len(shown):
            number = len(views)
        one = {key: value[sample].detach().cpu() for key, value in view.items() if key != 'size'}
        if PLANES in one:
            background = colour(image[best], clear[best])
            _draw_planes(part, f'View {number}', one, background, colour)
        else:
            _draw_frames(part, f'View {number}', one, colour)
    return figure


class _Stretch:
    """Three bands as colours, from the 2nd to the 98th percentile of what was observed."""

    def __init__(self, image: Tensor, clear: Tensor, bands: tuple[int, int, int]) -> None:
        """Find the percentiles in an image ``(T, C, H, W)``."""
        self.bands = list(bands)
        seen = image.transpose(0, 1)[self.bands][:, clear]
        seen = seen[:, seen.isfinite().all(0)]
        if not seen.numel():
            seen = torch.tensor([[0.0, 1.0]] * 3)
        seen = seen[:, :: max(1, seen.shape[1] // 100_000)]  # quantile has a limit of size
        self.low, self.high = torch.quantile(seen, torch.tensor([0.02, 0.98]), dim=1)

    def __call__(self, values: Tensor, clear: Tensor) -> Tensor:
        """Turn ``(C, H, W)`` and ``(H, W)`` into colours ``(H, W, 3)``."""
        rgb = values[self.bands].float().movedim(0, -1)
        rgb = (rgb - self.low) / (self.high - self.low).clamp(min=1e-9)
        rgb = rgb.nan_to_num(0.0).clamp(0, 1) ** 0.75  # winter frames are dark
        return torch.where(clear[..., None], rgb, _HIDDEN)


def _draw_planes(
    part: SubFigure, name: str, view: dict[str, Tensor], background: Tensor, colour: _Stretch
) -> None:
    """Draw the paths of one view on a frame, and up to four planes beside it."""
    planes, paths = view[PLANES], view[PATHS]
    kept = int(view['valid'].sum())
    shown = min(len(_COLOURS), len(planes))
    part.suptitle(
        f'{name}: {len(planes)} paths of {paths.shape[1]} pixels through {kept} dates', fontsize=12
    )
    ground, *panels = part.subplots(1, 1 + shown, width_ratios=[1.15] + [1] * shown)
    ground.imshow(background * 0.6 + 0.4, interpolation='nearest')
    width = background.shape[1]
    for i in reversed(range(len(planes))):
        y, x = paths[i] // width, paths[i] % width
        tint, line = (_COLOURS[i], 1.8) if i < shown else ('0.25', 0.7)
        ground.plot(x, y, color=tint, linewidth=line, solid_joinstyle='round')
        ground.plot(x[0], y[0], 'o', color=tint, markersize=2.2 * line)
    _bare(ground)

    rows = max(1, kept)  # a sample without dates shows one empty row
    for i, axes in enumerate(panels):
        clear = view[MASK_CLEAR][i, :rows]
        axes.imshow(colour(planes[i, :, :rows], clear), interpolation='nearest', aspect='auto')
        _bare(axes)
        for spine in axes.spines.values():
            spine.set_color(to_rgb(_COLOURS[i]))
            spine.set_linewidth(2.5)
        axes.set_xlabel('along the path \N{RIGHTWARDS ARROW}', fontsize=8)
        if i == 0 and kept:
            axes.set_ylabel('\N{LEFTWARDS ARROW} time', fontsize=8)
            ticks = torch.linspace(0, kept - 1, min(kept, 7)).round().int().unique()
            labels = [_date(view[ACQUISITION_TIMES][tick]) for tick in ticks]
            axes.set_yticks(ticks.tolist(), labels, fontsize=7)


def _draw_frames(part: SubFigure, name: str, view: dict[str, Tensor], colour: _Stretch) -> None:
    """Draw frames of one view that has no planes."""
    kept = int(view['valid'].sum())
    height, width = view[IMAGE].shape[-2:]
    part.suptitle(f'{name}: {kept} dates of {height} x {width} pixels', fontsize=12)
    picks = torch.linspace(0, max(0, kept - 1), min(max(1, kept), 6)).round().int().unique()
    panels = part.subplots(1, len(picks), squeeze=False)[0]
    for axes, pick in zip(panels, picks, strict=True):
        axes.imshow(colour(view[IMAGE][pick], view[MASK_CLEAR][pick]), interpolation='nearest')
        axes.set_title(_date(view[ACQUISITION_TIMES][pick]), fontsize=9)
        _bare(axes)


def _bare(axes: Axes) -> None:
    """Take the ticks off."""
    axes.set_xticks([])
    axes.set_yticks([])


def _date(seconds: Tensor) -> str:
    """Day of an acquisition time."""
    return f'{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%d}'
