"""The command ``torchgeo-sits compare``: change between two embeddings, without labels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import SITSError
from ..mapping import compare_embeddings
from .pages import PAGES
from .parser import CommandParser

__all__ = ['compare']

_PAGE = PAGES['compare']


def compare(args: Sequence[str]) -> None:
    """Map how much changed between two maps of embeddings.

    Args:
        args: The two maps, and options; see ``torchgeo-sits compare --help``.

    Raises:
        SITSError: If the maps do not fit each other.
        OSError: If a file cannot be read or written.
    """
    parser = CommandParser(prog='torchgeo-sits compare', description=_PAGE.text)
    parser.add_argument('before', metavar='BEFORE.tif', help='embeddings of one time')
    parser.add_argument('after', metavar='AFTER.tif', help='embeddings of another time')
    parser.add_argument('--stable', nargs=2, help=_PAGE.own['stable'])
    parser.add_argument('--output', default='change.tif', help=_PAGE.own['output'])
    options = parser.parse_args(list(args))
    output = Path(options.output)
    if output.suffix not in ('.tif', '.tiff'):
        raise SITSError(f'--output {output}: expected a GeoTIFF, such as change.tif')
    output.parent.mkdir(parents=True, exist_ok=True)
    stable = None if options.stable is None else (options.stable[0], options.stable[1])
    learned = compare_embeddings(options.before, options.after, output, stable=stable)
    usual = np.quantile(learned.distances, [0.5, 0.99])
    print(f'{output}: distance (band 1), percent of stable pairs that are closer (band 2)')
    print(f'Stable pairs are {usual[0]:.2f} apart in the median, one in a hundred {usual[1]:.2f}')
