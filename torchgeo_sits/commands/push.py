"""The command ``torchgeo-sits push``: an encoder as a repository of the Hub, or as a folder."""

from collections.abc import Sequence

from ..exporting import push_encoder
from .pages import PAGES
from .parser import CommandParser

__all__ = ['push']

_PAGE = PAGES['push']


def push(args: Sequence[str]) -> None:
    """Push the encoder of a checkpoint.

    Args:
        args: The checkpoint, the repository or folder, and options; see
            ``torchgeo-sits push --help``.

    Raises:
        SITSError: If the checkpoint cannot be read, or the folder is there already.
        OSError: If a file cannot be read or written, or the Hub refuses it.
    """
    parser = CommandParser(prog='torchgeo-sits push', description=_PAGE.text)
    parser.add_argument('checkpoint', metavar='X.ckpt', help='checkpoint of a run')
    parser.add_argument('target', metavar='TARGET', help='hf://ORG/REPO, or a new folder')
    parser.add_argument('--private', action='store_true', help=_PAGE.own['private'])
    parser.add_argument('--licence', help=_PAGE.own['licence'])
    options = parser.parse_args(list(args))
    card, place = push_encoder(
        options.checkpoint, options.target, private=options.private, licence=options.licence
    )
    print(f'{place} holds the encoder of {card["model"]}. Use it as a checkpoint:')
    print(f'  torchgeo-sits embed {place} DIR')
    if 'licence' not in card:
        print('Its page says that no licence was stated: give --licence, such as CC-BY-4.0')
