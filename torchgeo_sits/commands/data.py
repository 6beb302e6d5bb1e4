"""The command ``torchgeo-sits data``: published data sets listed, checked and shown."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from torchgeo.datasets import DatasetNotFoundError

from ..datasets.published import (
    DATASETS,
    PARTS,
    Part,
    PublishedTimeSeries,
    TableSeries,
    find_dataset,
)
from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, LABEL, MASK, MASK_CLEAR
from ..whole_files import whole_file
from .pages import PAGES
from .parser import CommandParser

__all__ = ['data']

_PAGE = PAGES['data']
#: Most faults that are told one by one.
_TOLD = 10


def data(args: Sequence[str]) -> None:
    """List the published data sets, or check or show one.

    Args:
        args: 'list', or 'check' or 'show' with a name and a folder, and options; see
            ``torchgeo-sits data --help``.

    Raises:
        SITSError: If there is no such data set, it is not where it was looked for, or, of a check,
            anything is missing or not as published.
    """
    parser = CommandParser(prog='torchgeo-sits data', description=_PAGE.text)
    parser.add_argument('action', choices=['list', 'check', 'show'], help='what to do')
    parser.add_argument('name', nargs='?', metavar='NAME', help='name of a data set')
    parser.add_argument('folder', nargs='?', metavar='DIR', help='folder of the data set')
    own: dict[str, tuple[Any, Any]] = {
        'dataset_kwargs': (dict[str, Any], {}),
        'samples': (int, 16),
        'output': (str | None, None),
    }
    for name, (kind, default) in own.items():
        parser.add_argument(f'--{name}', type=kind, default=default, help=_PAGE.own[name])
    options = parser.parse_args(list(args))
    if options.action == 'list':
        if options.folder is not None:
            raise SITSError(f'data list takes one folder, got {options.folder!r} as well')
        _list(Path(options.name or 'data'))
        return
    if options.name is None or options.folder is None:
        raise SITSError(
            f'expected torchgeo-sits data {options.action} NAME DIR; the names are in '
            'torchgeo-sits data list'
        )
    if options.samples < 1:
        raise SITSError(f'--samples {options.samples}: expected 1 at least')
    dataset = find_dataset(options.name)
    parts = _open(dataset, options.folder, dict(options.dataset_kwargs or {}))
    _tell(dataset, parts)
    if options.action == 'show':
        _tell_labels(parts, options.samples)
    faults = _check(parts, options.samples if options.action == 'check' else 0)
    output = Path(options.output or f'{options.name.rpartition(".")[2]}.png')
    _draw(parts, output)
    if faults:
        for fault in faults[:_TOLD]:
            print(f'  {fault}', file=sys.stderr)
        more = f', of which {_TOLD} are told above' if len(faults) > _TOLD else ''
        raise SITSError(f'{dataset.about.title} is not whole: {len(faults)} faults{more}')
    if options.action == 'check':
        print('whole: all files are there, and the samples that were read are as published')
    config, alone = dataset.about.config, issubclass(dataset, TableSeries)
    if options.name in DATASETS:
        chosen = f'--config conf/data/{options.name}.yaml'
    else:
        chosen = f'--data PublishedDataModule --data.dataset {options.name}'
    chosen += f' --data.root {quote(options.folder)}'
    if options.dataset_kwargs:
        chosen += f' --data.dataset_kwargs {quote(json.dumps(dict(options.dataset_kwargs)))}'
    print('pretrain, and train with its labels:')
    print(f'  torchgeo-sits fit --config conf/{"points" if alone else "vicreg"}.yaml {chosen}')
    if config != 'vicreg':
        print(f'  torchgeo-sits fit --config conf/{config}.yaml {chosen}')


def _list(root: Path) -> None:
    """Print what there is, and what of it lies in a folder."""
    rows = [('name', 'sensor', 'labels', 'size', 'licence', f'in {root}/')]
    for name, kind in sorted(DATASETS.items()):
        about = kind.about
        at_hand = 'no'
        for folder in (root / name, root):
            if kind.find_in(folder) is not None:
                at_hand = str(folder)
                break
        rows.append((name, about.sensor, about.labels, about.size, about.licence, at_hand))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = zip(row, widths, strict=True)
        print('  '.join(cell.ljust(width) for cell, width in cells).rstrip())


def _open(
    kind: type[PublishedTimeSeries], folder: str, options: dict[str, Any]
) -> dict[Part, PublishedTimeSeries]:
    """Open all parts."""
    try:
        return {part: kind(folder, part, **options) for part in PARTS}
    except TypeError as error:
        raise SITSError(f'{kind.about.title}: --dataset_kwargs {options}: {error}') from error
    except DatasetNotFoundError as error:
        raise SITSError(str(error)) from error


def _tell(kind: type[PublishedTimeSeries], parts: dict[Part, PublishedTimeSeries]) -> None:
    """Print what is said of a data set, and what was found."""
    about, one = kind.about, parts['train']
    bands = ', '.join(one.band_names)
    if one.band_names_s1:
        bands += f'; of Sentinel-1 {", ".join(one.band_names_s1)}'
    found = []
    for part, samples in parts.items():
        official = kind.official.get(part)
        if len(samples) or official:
            of = '' if official in (None, len(samples)) else f' of {official}'
            found.append(f'{part} {len(samples)}{of}')
    for name, text in (
        ('title', about.title),
        ('paper', about.paper),
        ('licence', about.licence),
        ('sensor', about.sensor),
        ('bands', bands),
        ('dates', f'known to the {about.dates}'),
        ('labels', about.labels),
        ('scores', ', '.join(f'test_{name}' for name in about.metric)),
        ('folder', str(one.folder)),
        ('samples', ', '.join(found)),
    ):
        print(f'{name:9}{text}')


def _tell_labels(parts: dict[Part, PublishedTimeSeries], most: int) -> None:
    """Print how often each class occurs in some samples of training."""
    train = parts['train']
    if not train.classes:
        return
    count: Counter[int] = Counter()
    chosen = _some(train, most)
    for index in chosen:
        sample = train[index]
        label = sample[LABEL] if LABEL in sample else sample[MASK]
        values = label.nonzero()[:, 0] if train.label_kind == 'multilabel' else label.flatten()
        count.update(values.tolist())
    total = sum(n for value, n in count.items() if value >= 0)
    print(f'classes of {len(chosen)} samples of training:')
    for value, name in enumerate(train.classes):
        share = f'{100 * count[value] / total:5.1f} %' if count[value] else '      -'
        print(f'  {value:3} {share}  {name}')


def _check(parts: dict[Part, PublishedTimeSeries], most: int) -> list[str]:
    """What is missing or not as published: all files, and some samples that are read."""
    faults = []
    for part, samples in parts.items():
        official = samples.official.get(part)
        if official is not None and most and len(samples) != official:
            faults.append(f'{part}: {len(samples)} samples, {official} are published')
        if not most:
            continue
        for key in samples.samples:
            faults += _missing(samples, part, key)
        frames, days = [], []
        for index in _some(samples, most):
            try:
                sample = samples[index]
            except (SITSError, OSError) as error:
                faults.append(f'{part}: {error}')
                continue
            frames.append(len(sample[ACQUISITION_TIMES]))
            days += sample[ACQUISITION_TIMES][[0, -1]].tolist()
        if frames:
            first, last = (f'{datetime.fromtimestamp(f(days), UTC):%Y-%m-%d}' for f in (min, max))
            print(
                f'{part:12}{len(frames)} samples read, of {min(frames)} to {max(frames)} dates, '
                f'{first} to {last}'
            )
    return list(dict.fromkeys(faults))


def _missing(samples: PublishedTimeSeries, part: Part, key: Any) -> Iterator[str]:
    """Files of a sample that are not there."""
    try:
        files = samples.files(key)
    except SITSError as error:
        yield f'{part}: {error}'
        return
    for path in files:
        if not path.exists():
            yield f"{part}: '{path}' is missing"
        elif path.is_file() and not path.stat().st_size:
            yield f"{part}: '{path}' is empty"


def _some(samples: PublishedTimeSeries, most: int) -> list[int]:
    """Positions of some samples, evenly spread."""
    number = min(most, len(samples))
    return np.unique(np.linspace(0, len(samples) - 1, number).round().astype(int)).tolist()


def _draw(parts: dict[Part, PublishedTimeSeries], path: Path) -> None:
    """Draw the clearest of some samples."""
    samples = next((found for found in parts.values() if len(found)), None)
    if samples is None:
        raise SITSError('there is not one sample')
    read = []
    for index in _some(samples, 4):
        try:
            read.append(samples[index])
        except (SITSError, OSError):
            continue
    if not read:
        return
    clearest = max(read, key=lambda sample: float(sample[MASK_CLEAR].float().mean()))
    figure = samples.plot(clearest)
    with whole_file(path) as draft:
        figure.savefig(draft, dpi=100, format='png')
    plt.close(figure)
    print(f'drawn:   {path}')
