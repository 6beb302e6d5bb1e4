"""Draw the pictures of the documentation from the simulated series, into docs/img/.

    python docs/pictures.py [NAME ...]

Run by hand after a change of what they show: the cube and the kinds of path (`paths.png`), a plane
(`plane.png`), a batch (`batch.png`), the splits (`splits.png`), and what the commands make of it: a
map of classes (`map.png`), embeddings as colours (`embedding.png`), and the page of `explore`
before and after twelve clicks (`explore.png`, `explore-map.png`; by Playwright and Debian's
chromium). All follow from the seeds below. The series is simulated in a temporary folder; it takes
some five minutes.
"""

import io
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from torchgeo_sits.collate import pad_time
from torchgeo_sits.datamodules import (
    LabelOptions,
    PatchOptions,
    SplitOptions,
    SyntheticSITSDataModule,
)
from torchgeo_sits.datasets import RasterTimeSeries
from torchgeo_sits.datasets.simulation import CLASSES
from torchgeo_sits.exploring import EmbeddedArea, Explorer, PageServer, SeriesImages, Session
from torchgeo_sits.main import main as torchgeo_sits
from torchgeo_sits.transforms import (
    column_snake,
    columns,
    guided_walks,
    hilbert,
    masks_to_planes,
    random_walks,
    rows,
    snake,
    spiral,
    to_planes,
)

FOLDER = Path(__file__).parent / 'img'
SIZE, DATES = 160, 40
BANDS = [2, 1, 0]  # red, green and blue of the ten bands
HIDDEN = 0.88  # grey of pixels that were not seen
INK = '#2b2b33'
PATH = '#ff2d95'
COLOURS = ('#ff2d95', '#ffb000', '#00b4e6', '#7a5cff', '#00a878', '#ff6a00')
ALONG = LinearSegmentedColormap.from_list('along', ['#ffd000', '#ff2d95', '#5b2bd9'])
SPLITS = {'train': '#4c78a8', 'val': '#f58518', 'test': '#b279a2'}
NAMES = {'train': 'training', 'val': 'validation', 'test': 'test'}


class Sample(NamedTuple):
    """A patch of the series: image, clear pixels and times."""

    image: Tensor  # (T, C, H, W)
    clear: Tensor  # (T, H, W)
    times: Tensor  # (T,)


def data_module(root: Path, by: str = 'space', **labels: Any) -> SyntheticSITSDataModule:
    """Open the simulated series.

    Args:
        root: Folder of the series.
        by: What is held out.
        **labels: Options on the labels.

    Returns:
        The data module, set up for training and test.
    """
    data = SyntheticSITSDataModule(
        str(root),
        size=SIZE,
        num_dates_written=DATES,
        labels=LabelOptions('class', supervised=True, **labels),
        split=SplitOptions(by, val_fraction=0.2, test_fraction=0.2),
        patches=PatchOptions(32, length=400),
        batch_size=4,
        seed=4,
    )
    data.prepare_data()
    data.setup('fit')
    data.setup('test')
    return data


@lru_cache
def whole(root: Path) -> dict[str, Tensor]:
    """Read all of the series as a batch of one sample.

    Args:
        root: Folder of the series.

    Returns:
        The batch.
    """
    data = SyntheticSITSDataModule(
        str(root),
        size=SIZE,
        num_dates_written=DATES,
        split=SplitOptions(val_fraction=0.0),
        patches=PatchOptions(SIZE, length=1),
        batch_size=1,
    )
    data.prepare_data()
    data.setup('fit')
    return next(iter(data.train_dataloader()))


def cut(root: Path, row: int, column: int, side: int) -> Sample:
    """Cut a square out of the series.

    Args:
        root: Folder of the series.
        row: First row.
        column: First column.
        side: Its side in pixels.

    Returns:
        The sample.
    """
    batch = whole(root)
    window = ..., slice(row, row + side), slice(column, column + side)
    return Sample(
        batch['image'][0][window], batch['mask_clear'][0][window], batch['acquisition_times'][0]
    )


@lru_cache
def stretch_of(root: Path) -> tuple[Tensor, Tensor]:
    """Find the 2nd and the 98th percentile of red, green and blue over the series."""
    sample = cut(root, 0, 0, SIZE)
    seen = sample.image.transpose(0, 1)[BANDS][:, sample.clear]
    low, high = torch.quantile(seen[:, ::11], torch.tensor([0.02, 0.98]), dim=1)
    return low, high


def colours(image: Tensor, clear: Tensor, stretch: tuple[Tensor, Tensor]) -> NDArray[Any]:
    """Turn bands into colours.

    Args:
        image: ``(..., C, H, W)``.
        clear: ``(..., H, W)`` bool; other pixels become grey.
        stretch: Low and high of the three bands, from :func:`stretch_of`.

    Returns:
        ``(..., H, W, 3)``.
    """
    low, high = stretch
    rgb = image[..., BANDS, :, :].movedim(-3, -1)
    rgb = ((rgb - low) / (high - low)).clamp(0, 1) ** 0.7
    return torch.where(clear[..., None], rgb, HIDDEN).numpy()


def day(seconds: Any, form: str = '%-d %b %Y') -> str:
    """Write a date."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime(form)


def bare(axes: Axes, colour: str = '#b8b8c0', width: float = 0.8) -> None:
    """Take the ticks off, and draw a thin frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=width)


def draw_path(
    axes: Axes, path: Tensor, side: int, colour: str | None = None, width: float = 2.0
) -> None:
    """Draw a path on a grid, from a dot on; in one colour, or from yellow to violet along it."""
    y, x = (value.numpy() for value in (path // side, path % side))
    points = np.stack([x, y], 1)
    lines = np.stack([points[:-1], points[1:]], 1)
    shades = [colour] if colour else ALONG(np.linspace(0, 1, len(lines)))
    axes.add_collection(LineCollection(lines, colors=shades, linewidths=width, capstyle='round'))
    start = colour or ALONG(0.0)
    axes.plot(x[0], y[0], 'o', color=start, markersize=2.4 * width, markeredgecolor='white')


def draw_cube(
    axes: Axes, sample: Sample, picks: list[int], path: Tensor, stretch: tuple[Tensor, Tensor]
) -> None:
    """Draw frames of a sample one behind the other, with a path through the first."""
    side = sample.image.shape[-1]
    dx, dy = side * 0.28, side * 0.26
    last = len(picks) - 1
    for i in reversed(range(len(picks))):
        frame = colours(sample.image[picks[i]], sample.clear[picks[i]], stretch)
        left, top = i * dx, -i * dy
        extent = (left - 0.5, left + side - 0.5, top + side - 0.5, top - 0.5)
        axes.imshow(frame, extent=extent, interpolation='nearest', zorder=2 * (last - i))
        edge = Rectangle((left - 0.5, top - 0.5), side, side, fill=False, edgecolor='white')
        edge.set(linewidth=1.4, zorder=2 * (last - i) + 1)
        axes.add_patch(edge)
        axes.text(
            left + side + 0.4,
            top + side - 0.8,
            day(sample.times[picks[i]]),
            fontsize=7.5,
            color=INK,
        )
    y, x = path // side, path % side
    axes.plot(x, y, color='white', linewidth=4, zorder=90, solid_capstyle='round')
    axes.plot(x, y, color=PATH, linewidth=2.4, zorder=91, solid_capstyle='round')
    axes.plot(x[0], y[0], 'o', color=PATH, markeredgecolor='white', markersize=7, zorder=92)
    axes.set_xlim(-1, side + last * dx + side * 0.42)
    axes.set_ylim(side + 0.5, -last * dy - 1)
    axes.set_aspect('equal')
    axes.axis('off')
    axes.annotate(
        '',
        (last * dx - 1.2, -last * dy - 0.3),
        (-1.0, -1.4),
        arrowprops={'arrowstyle': '->', 'color': INK, 'linewidth': 1.2},
    )
    axes.text(
        last * dx * 0.5 - 2.2, -last * dy * 0.5 - 1.6, 'time', fontsize=10, color=INK, ha='right'
    )


def picture_of_paths(root: Path) -> Figure:
    """Draw the cube, and each kind of path on a grid."""
    side = 20
    sample = cut(root, 38, 64, side)
    generator = torch.Generator().manual_seed(1)
    share = sample.clear.flatten(1).float().mean(1)
    clearest = int(share.argmax())
    ground = colours(sample.image[clearest], sample.clear[clearest], stretch_of(root))
    walks = random_walks(side, side, 5, 40, generator=generator)
    image = sample.image[None] / sample.image.std()
    clear = sample.clear[None]
    guided = guided_walks(
        image, 5, 40, mask_clear=clear, temperature=0.35, generator=torch.Generator().manual_seed(3)
    )[0]
    kinds: list[tuple[str, Tensor]] = [
        ('rows', rows(side, side)[2::4]),
        ('columns', columns(side, side)[2::4]),
        ('snake', snake(side, side)),
        ('column_snake', column_snake(side, side)),
        ('spiral', spiral(side, side)),
        ('hilbert', hilbert(side, side)),
        ('random_walks', walks),
        ('guided_walks', guided),
    ]
    figure = plt.figure(figsize=(12.4, 4.9), layout='constrained')
    left, right = figure.subfigures(1, 2, width_ratios=[1.0, 1.5])
    left.suptitle('A series is a cube', fontsize=12, color=INK)
    picks = [int(i) for i in torch.where(share > 0.98)[0]]
    picks = [picks[round(i)] for i in np.linspace(0, len(picks) - 1, 6)]
    local = hilbert(12, 12)[0, :80]
    path = (local // 12 + 5) * side + local % 12 + 3
    draw_cube(left.subplots(), sample, picks, path, stretch_of(root))

    right.suptitle('A path is an ordered list of its pixels', fontsize=12, color=INK)
    for axes, (name, paths) in zip(right.subplots(2, 4).flat, kinds, strict=True):
        walk = 'walks' in name
        if walk:
            axes.imshow(ground * 0.75 + 0.25, interpolation='nearest')
        else:
            axes.set_facecolor('#f6f6f9')
            axes.set_xticks(np.arange(-0.5, side), minor=True)
            axes.set_yticks(np.arange(-0.5, side), minor=True)
            axes.grid(which='minor', color='white', linewidth=1)
            axes.tick_params(which='minor', length=0)
        for i, path in enumerate(paths):
            several = len(paths) > 1
            draw_path(axes, path, side, COLOURS[i] if several else None, 1.9 if several else 1.7)
        axes.set_xlim(-0.5, side - 0.5)
        axes.set_ylim(side - 0.5, -0.5)
        axes.set_aspect('equal')
        axes.set_title(name, fontsize=10, family='monospace')
        bare(axes)
    return figure


def picture_of_a_plane(root: Path) -> Figure:
    """Draw a path on a frame, and the plane along it."""
    side = 24
    sample = cut(root, 36, 62, side)
    path = hilbert(side, side)[0, 250:314]
    share = sample.clear.flatten(1).float().mean(1)
    best = int(share.argmax())
    stretch = stretch_of(root)
    planes = to_planes(sample.image[None], path[None])[0, 0]  # (C, T, L)
    clear = masks_to_planes(sample.clear[None], path[None])[0, 0]

    figure = plt.figure(figsize=(11, 5.2), layout='constrained')
    ground, plane = figure.subplots(1, 2, width_ratios=[1, 1.25])
    ground.imshow(
        colours(sample.image[best], sample.clear[best], stretch) * 0.85 + 0.15,
        interpolation='nearest',
    )
    draw_path(ground, path, side, 'white', 4.2)
    draw_path(ground, path, side, None, 2.6)
    ground.set_title(f'A path of {len(path)} pixels, on the frame of {day(sample.times[best])}')
    bare(ground)

    plane.imshow(colours(planes, clear, stretch), interpolation='nearest', aspect='auto')
    ticks = np.linspace(0, len(sample.times) - 1, 9).round().astype(int)
    plane.set_yticks(ticks, [day(sample.times[i], '%b %Y') for i in ticks], fontsize=9)
    plane.set_xticks([])
    plane.set_ylabel('\N{LEFTWARDS ARROW} time', fontsize=11, color=INK)
    plane.set_title(f'The plane along it: {len(sample.times)} dates x {len(path)} pixels')
    for spine in plane.spines.values():
        spine.set_visible(False)
    # The colour of the path runs along the plane, so that both can be matched by eye.
    strip = np.linspace(0, 1, len(path))[None]
    below = plane.inset_axes((0, -0.05, 1, 0.03))
    below.imshow(strip, cmap=ALONG, aspect='auto')
    bare(below, 'white', 0)
    below.set_xlabel('along the path \N{RIGHTWARDS ARROW}', fontsize=11, color=INK)
    return figure


def picture_of_a_batch(root: Path) -> Figure:
    """Draw a batch of three samples of unlike length: frames, clear masks and padding."""
    side, lengths, corners = 32, (9, 6, 4), ((8, 90), (70, 20), (110, 110))
    samples = []
    for length, corner in zip(lengths, corners, strict=True):
        sample = cut(root, *corner, side)
        share = sample.clear.flatten(1).float().mean(1)
        seen = torch.where(share > 0.3)[0]
        picks = seen[torch.linspace(0, len(seen) - 1, length).round().long()]
        picks[length // 2] = int(share.argmin())  # one date without a clear pixel
        picks = picks.sort().values
        samples.append(
            {
                'image': sample.image[picks],
                'mask_clear': sample.clear[picks],
                'acquisition_times': sample.times[picks],
            }
        )
    stretch = stretch_of(root)
    batch = pad_time(samples)
    valid, clear = batch['valid'], batch['mask_clear']
    steps = valid.shape[1]
    figure = plt.figure(figsize=(12, 7.4), layout='constrained')
    blocks = figure.subfigures(len(samples), 1, hspace=0.06)
    all_clear = torch.ones(side, side, dtype=torch.bool)
    seen = np.stack([to_rgba('#d9d9df'), to_rgba('#2a9d8f')])
    for b, block in enumerate(blocks):
        grid = block.subplots(2, steps)
        for t in range(steps):
            above, below = grid[0, t], grid[1, t]
            if valid[b, t]:
                above.imshow(colours(batch['image'][b, t], all_clear, stretch))
                below.imshow(seen[clear[b, t].long().numpy()], interpolation='nearest')
                above.set_title(day(batch['acquisition_times'][b, t]), fontsize=8, color=INK)
            else:
                above.set_title('0', fontsize=8, color='#9a9aa4')
                for axes in (above, below):
                    axes.add_patch(
                        Rectangle(
                            (0, 0), 1, 1, facecolor='#fafafa', edgecolor='#d0d0d8', hatch='///'
                        )
                    )
                    axes.set(xlim=(0, 1), ylim=(0, 1), aspect='equal')
            bare(above)
            bare(below)
        grid[0, 0].set_ylabel(f'image[{b}]', fontsize=9, family='monospace', color=INK)
        grid[1, 0].set_ylabel(f'mask_clear[{b}]', fontsize=9, family='monospace', color=INK)
    figure.legend(
        handles=[
            Patch(color='#2a9d8f', label='clear'),
            Patch(color='#d9d9df', label='cloud, shadow, or not observed'),
            Patch(
                facecolor='#fafafa',
                edgecolor='#d0d0d8',
                hatch='///',
                label='padding: valid is False',
            ),
        ],
        loc='outside lower center',
        ncols=3,
        frameon=False,
    )
    return figure


def painted(root: Path, by: str) -> tuple[NDArray[Any], dict[str, Tensor]]:
    """Find where and when each split is labelled, by reading all of its samples.

    Args:
        root: Folder of the series.
        by: What is held out.

    Returns:
        A map ``(SIZE, SIZE)``, 0 where nothing is labelled, else the number of the split from 1
        on; and the acquisition times of each split.
    """
    data = data_module(root, by)
    where = np.zeros((SIZE, SIZE), int)
    times = {}
    xmin, _, _, _, ymax, *_ = whole(root)['bounds'][0].tolist()
    loaders = {
        'train': data.train_dataloader(),
        'val': data.val_dataloader(),
        'test': data.test_dataloader(),
    }
    for number, (name, loader) in enumerate(loaders.items(), 1):
        found = []
        for batch in loader:
            found.append(batch['acquisition_times'][batch['valid']])
            for mask, bounds in zip(batch['mask'], batch['bounds'], strict=True):
                column = round((float(bounds[0]) - xmin) / 10)
                row = round((ymax - float(bounds[4])) / 10)
                labelled = mask.numpy() != 0
                window = where[row : row + labelled.shape[0], column : column + labelled.shape[1]]
                window[labelled[: window.shape[0], : window.shape[1]]] = number
        times[name] = torch.cat(found).unique()
    return where, times


def picture_of_splits(root: Path) -> Figure:
    """Draw what is training, validation and test in splits by space, by fields and by time."""
    figure = plt.figure(figsize=(12, 4.9), layout='constrained')
    panels = figure.subplots(1, 3)
    shades = np.stack([to_rgba('#f1f1f4'), *(to_rgba(colour) for colour in SPLITS.values())])
    titles = {
        'space': 'by: space \N{EN DASH} whole blocks',
        'fields': 'by: fields \N{EN DASH} whole fields',
    }
    for axes, (by, title) in zip(panels, titles.items(), strict=False):
        where, _ = painted(root, by)
        axes.imshow(shades[where], interpolation='nearest')
        axes.set_title(title, fontsize=12, color=INK)
        bare(axes)
    _, times = painted(root, 'time')
    axes = panels[2]
    for number, (name, colour) in enumerate(SPLITS.items()):
        days = [datetime.fromtimestamp(int(t), UTC) for t in times[name]]
        axes.vlines(days, number - 0.32, number + 0.32, color=colour, linewidth=2.4)
        axes.text(days[0], number - 0.42, f'{len(days)} dates', fontsize=9, color=colour)
    axes.set(ylim=(2.6, -0.75), yticks=[])
    axes.tick_params(axis='x', rotation=40, labelsize=8)
    axes.set_title('by: time \N{EN DASH} whole dates', fontsize=12, color=INK)
    axes.set_box_aspect(1)
    for side in ('left', 'right', 'top'):
        axes.spines[side].set_visible(False)
    handles = [Patch(color=SPLITS[name], label=NAMES[name]) for name in SPLITS]
    handles.append(Patch(facecolor='#f1f1f4', edgecolor='#d0d0d8', label='not labelled'))
    figure.legend(handles=handles, loc='outside lower center', ncols=4, frameon=False)
    return figure


def common(root: Path) -> list[str]:
    """Options that say where the data and the logs are."""
    return ['--data.root', str(root / 'data'), '--trainer.default_root_dir', str(root / 'logs')]


@lru_cache
def pretrained(root: Path) -> Path:
    """Pretrain by VICReg."""
    torchgeo_sits(['fit', '--config', 'conf/vicreg.yaml', *common(root)])
    [checkpoint] = (root / 'logs/vicreg').rglob('*.ckpt')
    return checkpoint


@lru_cache
def probed(root: Path) -> Path:
    """Train a linear probe on ten labelled fields of each class."""
    few = ['--data.labels.fields_per_class', '10', '--data.split.by', 'fields']
    weights = ['--model.weights', str(pretrained(root)), '--model.freeze_backbone', 'true']
    torchgeo_sits(['fit', '--config', 'conf/segmentation.yaml', *common(root), *few, *weights])
    [probe] = (root / 'logs/segmentation').rglob('*.ckpt')
    return probe


def series_of(root: Path, prefix: str) -> tuple[str, list[str]]:
    """Folder of the simulated images, and a command's options for its clouds."""
    [images] = (root / 'data').glob('*/images')
    clouds = [f'--{prefix}cloud_paths', str(images.parent / 'clouds')]
    return str(images), [*clouds, f'--{prefix}clear_values', '[4,5,6]']


def picture_of_a_map(root: Path) -> Figure:
    """Map the whole area, beside the truth in the same colours."""
    checkpoint = probed(root)
    images, clouds = series_of(root, 'data.images.')
    args = ['--config', 'conf/segmentation.yaml', '--ckpt_path', str(checkpoint)]
    args += ['--data.paths', images, *clouds, '--map.folder', str(root / 'maps')]
    torchgeo_sits(['predict', *args])
    with rasterio.open(root / 'maps/class.tif') as file:
        found, legend = file.read(1), file.colormap(1)
    table = np.array([legend[i][:3] for i in range(256)], np.uint8)
    table[0] = 241
    [path] = Path(images).parent.glob('labels/*_class.tif')
    with rasterio.open(path) as file:
        truth = file.read(1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 4.5), layout='constrained')
    for axes, values, title in (
        (left, found, 'class.tif, by a linear probe'),
        (right, truth, 'as it was simulated'),
    ):
        axes.imshow(table[values])
        axes.set_title(title, color=INK)
        bare(axes)
    return figure


@lru_cache
def embedded(root: Path) -> Path:
    """Embed each pixel."""
    checkpoint = pretrained(root)
    images, clouds = series_of(root, '')
    folder = root / 'embeddings'
    torchgeo_sits(['embed', str(checkpoint), images, *clouds, '--map.folder', str(folder)])
    return folder / 'embedding.tif'


def picture_of_embeddings(root: Path) -> Figure:
    """Draw the embedding of each pixel: its three first principal components as colours."""
    with rasterio.open(embedded(root)) as file:
        values = file.read()
    pixels = values.reshape(len(values), -1).T
    pixels = (pixels - pixels.mean(0)) / pixels.std(0).clip(1e-6)
    _, _, directions = np.linalg.svd(pixels[::7], full_matrices=False)
    three = pixels @ directions[:3].T
    low, high = np.percentile(three, (2, 98), axis=0)
    shown = ((three - low) / (high - low)).clip(0, 1).reshape(*values.shape[1:], 3)
    figure, axes = plt.subplots(figsize=(4.4, 4.5), layout='constrained')
    axes.imshow(shown)
    axes.set_title('embedding.tif, three components of 128', color=INK)
    bare(axes)
    return figure


@contextmanager
def page_of_explore(root: Path) -> Iterator[tuple[Any, Explorer]]:
    """Open the page of `explore` in a browser."""
    from playwright.sync_api import sync_playwright

    area = EmbeddedArea(embedded(root))
    folder, _ = series_of(root, '')
    clouds = {'cloud_paths': str(Path(folder).parent / 'clouds'), 'clear_values': [4, 5, 6]}
    images = SeriesImages(lambda bands: RasterTimeSeries(folder, bands=bands, **clouds), area.grid)
    seen = images.series[images.series.bounds]['mask_clear'].flatten(1).float().mean(1)
    summer = [i for i, date in enumerate(images.dates) if date.month in (5, 6, 7)]
    # The page names the folder: one without a place of this machine.
    with tempfile.TemporaryDirectory() as place, chdir(place):
        explorer = Explorer(images, Session('explored'), area)
        server = PageServer(explorer)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with sync_playwright() as tools:
                browser = tools.chromium.launch(
                    executable_path='/usr/bin/chromium', args=['--no-sandbox']
                )
                page = browser.new_page(viewport={'width': 1100, 'height': 720})
                page.goto(server.url)
                page.fill('#date', str(max(summer, key=lambda date: float(seen[date]))))
                page.wait_for_timeout(1000)
                yield page, explorer
                browser.close()
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
            explorer.close()


def taken(page: Any) -> Image.Image:
    """Take a picture of a page, when its tiles are there."""
    page.wait_for_timeout(2500)
    return Image.open(io.BytesIO(page.screenshot()))


def picture_of_explore(root: Path) -> Image.Image:
    """Ask a place for its series, and for what is like it."""
    with page_of_explore(root) as (page, _):
        x, y = page.evaluate('toScreen(92.5, 31.5)')
        page.mouse.click(x, y)
        page.select_option('#above', 'similarity')
        return taken(page)


def picture_of_clicks(root: Path) -> Image.Image:
    """Label twelve places that the page suggests, and show the map."""
    folder, _ = series_of(root, '')
    [path] = Path(folder).parent.glob('labels/*_class.tif')
    with rasterio.open(path) as file:
        truth = file.read(1)
    names = dict(enumerate(CLASSES, 1))
    with page_of_explore(root) as (page, explorer):
        hint = None
        while (number := len(explorer.session.labels)) < 12:
            before = hint
            page.click('#suggest')
            while (hint := page.evaluate('hint')) in (None, before):
                page.wait_for_timeout(50)
            value = int(truth[hint['row'], hint['column']])
            if value == 0:
                continue
            name = names[value]
            if not page.locator(f'.class:text-is("{name}")').count():
                page.fill('#name', name)
                page.press('#name', 'Enter')
                page.wait_for_selector(f'.class:text-is("{name}")')
            page.click(f'.class:text-is("{name}")')
            x, y = page.evaluate(f'toScreen({hint["column"] + 0.5}, {hint["row"] + 0.5})')
            page.mouse.click(x, y)
            while len(explorer.session.labels) == number:
                page.wait_for_timeout(50)
        return taken(page)


def main() -> None:
    """Draw all pictures."""
    plt.rcParams.update(
        {'font.family': 'DejaVu Sans', 'axes.titlesize': 11, 'axes.titlecolor': INK}
    )
    FOLDER.mkdir(exist_ok=True)
    pictures: dict[str, Callable[[Path], Figure | Image.Image]] = {
        'paths': picture_of_paths,
        'plane': picture_of_a_plane,
        'batch': picture_of_a_batch,
        'splits': picture_of_splits,
        'map': picture_of_a_map,
        'embedding': picture_of_embeddings,
        'explore': picture_of_explore,
        'explore-map': picture_of_clicks,
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, draw in pictures.items():
            if sys.argv[1:] and name not in sys.argv[1:]:
                continue
            figure = draw(Path(folder))
            path = FOLDER / f'{name}.png'
            if isinstance(figure, Figure):
                figure.savefig(path, dpi=110)
                plt.close(figure)
                figure = Image.open(path)
            # Once more, so that the file is small and names no version.
            small = figure.convert('RGB')
            if name in ('batch', 'map', 'explore', 'explore-map'):  # large, or of few colours
                small = small.quantize(256, dither=Image.Dither.NONE)
            small.save(path, optimize=True)
            print(f'{path}: {path.stat().st_size / 1000:.0f} kB')


if __name__ == '__main__':
    main()
