"""The command ``torchgeo-sits export``: a checkpoint as a file that runs without this package."""

import os
from collections.abc import Sequence

from ..exporting import export_model
from .pages import PAGES
from .parser import CommandParser

__all__ = ['export']

_PAGE = PAGES['export']


def export(args: Sequence[str]) -> None:
    """Export a checkpoint.

    Args:
        args: The checkpoint, the file, and options; see ``torchgeo-sits export --help``.

    Raises:
        SITSError: If the checkpoint cannot be read or exported.
        OSError: If a file cannot be read or written.
    """
    parser = CommandParser(prog='torchgeo-sits export', description=_PAGE.text)
    parser.add_argument('checkpoint', metavar='X.ckpt', help='checkpoint of a run')
    parser.add_argument('path', metavar='MODEL', help='the file: MODEL.onnx or MODEL.pt2')
    parser.add_argument('--licence', help=_PAGE.own['licence'])
    options = parser.parse_args(list(args))
    card, difference = export_model(options.checkpoint, options.path, licence=options.licence)
    what = card.get('task', 'encoder') if card['encoder'] == 'encoder' else 'encoder'
    size = os.path.getsize(options.path) / 1e6
    print(
        f"'{options.path}' ({size:.1f} MB) holds the {what} of {card['model']}: at most "
        f'{difference:.1g} from the checkpoint, on series of three other sizes'
    )
    unit = 'as they are read' if card['mean'] else 'normalised already: the card has no mean'
    bands = ', '.join(card['bands']) or f'{card["in_channels"]}, of unknown names'
    beside = f', of Sentinel-1: {", ".join(names)}' if (names := card.get('bands_s1')) else ''
    print(f'It takes series {unit}; bands: {bands}{beside}')
