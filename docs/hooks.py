"""Pages that MkDocs makes from the code and from the results of the benchmarks."""

import importlib
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks/ and study/ are no packages that are installed

#: Rooms of the package with a page in the reference, and their titles.
ROOMS = {
    'datasets': 'Data sets',
    'datasets.published': 'Published data sets',
    'samplers': 'Samplers',
    'transforms': 'Planes, views and augmentations',
    'models': 'Encoders',
    'tasks': 'Tasks',
    'datamodules': 'Data modules',
    'callbacks': 'Callbacks',
    'metrics': 'Metrics',
    'mapping': 'Maps',
    'exploring': 'Explore',
    'explaining': 'Explanations',
    'exporting': 'Exports',
    'collate': 'Batches of unequal length',
    'stacking': 'Frames as channels',
    'bands': 'Bands of sensors',
    'errors': 'Errors',
}


def on_config(config: Any) -> Any:
    """Put the pages of the reference, which are made below, into the navigation."""
    pages = [{title: f'reference/{room}.md'} for room, title in ROOMS.items()]
    config.nav = [{'Reference': pages} if 'Reference' in entry else entry for entry in config.nav]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add a page of the reference for each room, and the page of the benchmarks."""
    for room, title in ROOMS.items():
        page = reference_page(room, title)
        files.append(File.generated(config, f'reference/{room}.md', content=page))
    results = importlib.import_module('benchmarks.page')
    page = results.benchmarks_page()
    files.append(File.generated(config, 'benchmarks.md', content=page))
    for where, path in results.IMAGES.items():
        files.append(File.generated(config, where, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Put the table of the published data sets where a page asks for it."""
    mark = '<!-- table of data sets -->'
    return markdown.replace(mark, datasets_table()) if mark in markdown else markdown


def datasets_table() -> str:
    """Write the table of the published data sets, from what they say of themselves."""
    published = importlib.import_module('torchgeo_sits.datasets.published')
    rows = [
        '| name | data set | sensor | labels | size | dates | licence |',
        '|---|---|---|---|---|---|---|',
    ]
    for name, kind in sorted(published.DATASETS.items()):
        about = kind.about
        title = f'[{about.title}]({about.paper})'
        cells = (f'`{name}`', title, about.sensor, about.labels, about.size, about.dates)
        rows.append(f'| {" | ".join((*cells, about.licence))} |')
    return '\n'.join(rows)


def reference_page(room: str, title: str) -> str:
    """Write the page of a room: its description, and all that it exports.

    Args:
        room: Name of the subpackage or module.
        title: Heading of the page.

    Returns:
        Markdown, in which mkdocstrings finds what to document.
    """
    module = importlib.import_module(f'torchgeo_sits.{room}')
    # Constants are explained where they are used.
    names = [name for name in module.__all__ if not name.isupper()]
    entries = '\n\n'.join(f'::: torchgeo_sits.{room}.{name}' for name in names)
    return f'# {title}\n\n`torchgeo_sits.{room}`: {module.__doc__}\n\n{entries}\n'
