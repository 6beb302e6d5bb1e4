"""The command ``torchgeo-sits export``: a checkpoint as a file that runs without this package."""

import os
from collections.abc import Sequence

from ..exporting import export_model
from .parser import CommandParser

__all__ = ['export']

DESCRIPTION = """\
Write the model of a checkpoint as a graph that needs none of this package's code: ONNX, or the
.pt2 of torch.export. It takes series of any number of dates and any size as they are read, and
normalises them itself. The file is held against the checkpoint before it is kept.

A task with labels gives probabilities (for dates of change the date, too), the encoder of a
pretraining embeddings and dense features.

examples:
  torchgeo-sits export X.ckpt model.onnx
  torchgeo-sits export X.ckpt model.pt2 --licence CC-BY-4.0

then, in Python:
  onnxruntime.InferenceSession('model.onnx')
  torchgeo_sits.exporting.load_pt2('model.pt2', trust=True)  # it can run code
  torchgeo_sits.exporting.read_card('model.onnx')  # bands, classes, training data
"""


def export(args: Sequence[str]) -> None:
    """Export a checkpoint.

    Args:
        args: The checkpoint, the file, and options; see ``torchgeo-sits export --help``.

    Raises:
        SITSError: If the checkpoint cannot be read or exported.
        OSError: If a file cannot be read or written.
    """
    parser = CommandParser(prog='torchgeo-sits export', description=DESCRIPTION)
    parser.add_argument('checkpoint', metavar='X.ckpt', help='checkpoint of a run')
    parser.add_argument('path', metavar='MODEL', help='the file: MODEL.onnx or MODEL.pt2')
    parser.add_argument('--licence', help='licence of the weights, to be stated on the card')
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
    print(f'It takes series {unit}; bands: {bands}')
