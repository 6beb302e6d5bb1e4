"""A page without a server: the map, the classes and the series of labelled places in one file."""

import io
from base64 import b64encode
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import jinja2
import numpy as np
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure

from ..grid import crs_name
from ..whole_files import whole_file
from .explorer import Explorer, as_png

__all__ = ['write_report']

#: Longest side of a picture in pixels.
_SIDE: Final = 1024
#: Most places whose series are drawn.
_MOST_SERIES: Final = 12


def write_report(path: Path, explorer: Explorer) -> None:
    """Write what an explorer shows as one HTML file, which needs neither server nor network.

    Shares of classes are those of the picture, which has 1024 pixels along a side at most.

    Args:
        path: The file.
        explorer: Images, embeddings and labels.

    Raises:
        OSError: If a file cannot be read or written.
    """
    images, session = explorer.images, explorer.session
    grid, state = images.grid, explorer.state()
    about = explorer.about()
    picture = about['pictures'][0]
    date = images.clearest
    shown = {'date': str(date), 'picture': picture, 'marked': '0'}
    layers: list[tuple[str, str, dict[str, str]]] = [
        ('image', f'{picture}, {about["dates"][date]}', shown)
    ]
    for layer in about['layers'][1:]:
        is_of_map = layer['id'] in ('map', 'certainty')
        if layer['id'] != 'similarity' and (state['has_map'] or not is_of_map):
            layers.append((layer['id'], layer['name'], {}))
    maps = []
    shares: dict[str, float] = {}
    colours = {one['name']: one['colour'] for one in state['classes']}
    for key, name, asked in layers:
        drawn = explorer.whole(key, asked, most=_SIDE)
        maps.append({'name': name, 'source': _embedded(as_png(drawn))})
        if key == 'map':
            seen = drawn[drawn[..., 3] > 0][:, :3]
            for one, colour in colours.items():
                own = (seen == list(bytes.fromhex(colour[1:]))).all(1)
                shares[one] = float(own.mean()) if len(seen) else 0.0
    numbers = Counter(label.name for label in session.labels)
    at = [label.shape.representative_point() for label in session.labels]
    score = state['held_out']
    page = jinja2.Template(
        files(__package__).joinpath('report.html').read_text('utf-8'), autoescape=True
    ).render(
        title=f'Map of {len(session.labels)} labels' if state['has_map'] else 'Images and series',
        subtitle=(
            f'{grid.height} x {grid.width} pixels of {grid.xres:g} x {grid.yres:g} in '
            f'{crs_name(grid.crs)}, {len(images.dates)} dates from {about["dates"][0]} to '
            f'{about["dates"][-1]}'
        ),
        maps=maps,
        width=grid.width,
        height=grid.height,
        radius=max(grid.height, grid.width) / 120,
        points=[
            {'x': point.x, 'y': point.y, 'colour': colours[label.name]}
            for label, point in zip(session.labels, at, strict=True)
        ],
        classes=[
            {**one, 'labels': numbers[one['name']], 'share': shares.get(one['name'], 0.0)}
            for one in state['classes']
        ],
        has_map=state['has_map'],
        score=score['asked'] and (
            f'Of {score["asked"]} labels {score["right"]} are right when they are left out. That '
            'tells of the labels, which were not drawn at random, and not of the whole area.'
        ),
        series=[
            {'name': label.name, 'source': _series(explorer, int(point.y), int(point.x))}
            for label, point in _spread(list(zip(session.labels, at, strict=True)))
        ],
    )  # fmt: skip
    with whole_file(path) as draft:
        draft.write_text(page, 'utf-8')


def _spread(labels: list[Any]) -> list[Any]:
    """Some labels: of each class the first, then of each the second, ..."""
    turns: Counter[str] = Counter()
    order = []
    for i, (label, _) in enumerate(labels):
        order.append((turns[label.name], i))
        turns[label.name] += 1
    return [labels[i] for _, i in sorted(order)[:_MOST_SERIES]]


def _series(explorer: Explorer, row: int, column: int) -> str:
    """Draw the series of a pixel: an index or the first band, what is not clear in grey."""
    found = explorer.images.pixel(row, column)
    name, values = next(iter(found.values.items()))
    times = found.times.astype('datetime64[s]')
    figure = Figure(figsize=(5, 2), layout='constrained')
    axes = figure.subplots()
    clear = found.clear & np.isfinite(values)
    axes.plot(times[~found.clear], values[~found.clear], '.', color='0.75')
    axes.plot(times[clear], values[clear], '.-', color='#2b5fd9', linewidth=1)
    axes.set_ylabel(name)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
    if clear.sum() > 1:  # clouds are far brighter than ground
        low, high = float(values[clear].min()), float(values[clear].max())
        axes.set_ylim(low - 0.1 * (high - low) - 1e-6, high + 0.1 * (high - low) + 1e-6)
    file = io.BytesIO()
    figure.savefig(file, format='png', dpi=100)
    return _embedded(file.getvalue())


def _embedded(png: bytes) -> str:
    return f'data:image/png;base64,{b64encode(png).decode()}'
