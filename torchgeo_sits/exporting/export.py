"""Export a trained model, and hold the file against the model before it is kept."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import torch
from torch import Tensor

from ..models import EncoderCard, SITSEncoder
from .onnx_file import check_packages, read_onnx_card, run_onnx, write_onnx
from .pt2_file import load_pt2, write_pt2
from .raw_series import load_model
from .sizes import unseen_series
from .tracing import trace

__all__ = ['TOLERANCE', 'export_model', 'read_card']

#: Largest difference between a file and the model that it is of, relative to the largest value
#: of an output where that is above 1.
TOLERANCE: Final = 1e-4


def export_model(
    checkpoint: str | Path, path: str | Path, *, licence: str | None = None
) -> tuple[EncoderCard, float]:
    """Write the model of a checkpoint as a graph that needs none of this package's code.

    The graph takes ``image`` ``(B, T, C, H, W)`` float32 in the unit of the training data (it
    normalises by mean and standard deviation of the card itself), ``acquisition_times``
    ``(B, T)`` int64, ``valid`` ``(B, T)`` and ``mask_clear`` ``(B, T, H, W)`` bool, with B, T, H
    and W left open; see :mod:`torchgeo_sits.keys` for what they mean and
    :class:`~.raw_series.RawSeriesModel` for what it gives. It works through a whole image at
    once: give it windows that fit the memory.

    Args:
        checkpoint: Path of a checkpoint of a task with labels, or of a pretraining.
        path: Path of the file: ``.onnx``, or ``.pt2`` for :mod:`torch.export`.
        licence: Licence of the weights, to be stated on the card.

    Returns:
        The card, and the largest difference between the file and the model on series of other
        sizes than the model was traced with.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ModuleNotFoundError: If packages for ONNX are missing.
        ValueError: If the checkpoint cannot be read, the name ends otherwise, or the model
            cannot be exported.
    """
    path = Path(path)
    if path.suffix not in ('.onnx', '.pt2'):
        raise ValueError(f"expected a file name that ends with .onnx or .pt2, got '{path}'")
    if path.suffix == '.onnx':
        check_packages()
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder '{path.parent}' to write {path.name} to: make it first")
    model, card = load_model(checkpoint)
    if licence is not None:
        card = {**card, 'licence': licence}
    encoder = model.model if isinstance(model.model, SITSEncoder) else model.model.encoder
    cell = max(encoder.stride, *encoder.plane_cell)
    graph = trace(model, name=card['model'], channels=card['in_channels'], cell=cell)
    with TemporaryDirectory(prefix='.export-', dir=path.parent) as folder:
        draft = Path(folder) / path.name
        series = list(unseen_series(card, cell))
        with torch.no_grad():
            wanted = [model(*each) for each in series]
        if path.suffix == '.onnx':
            write_onnx(graph, draft, list(wanted[0]), card)
            found = [run_onnx(draft, each) for each in series]
        else:
            write_pt2(graph, draft, card)
            loaded, _ = load_pt2(draft)
            with torch.no_grad():
                found = [loaded(*each) for each in series]
        difference = max(map(_difference, found, wanted))
        if not difference <= TOLERANCE:  # NaN is not
            raise ValueError(
                f'the exported {card["model"]} differs from the model by {difference:.1g}, at '
                f'most {TOLERANCE:g} was expected: nothing was written. Please report it with '
                f'the versions of torch ({torch.__version__}) and, for ONNX, onnxscript'
            )
        os.replace(draft, path)
    return card, difference


def _difference(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """Largest difference between outputs, relative where values are above 1."""
    return max(
        float((found[name] - value).abs().max() / value.abs().max().clamp(min=1))
        for name, value in wanted.items()
    )


def read_card(path: str | Path) -> EncoderCard:
    """The card of an exported model.

    Args:
        path: Path of an ``.onnx`` or ``.pt2`` file that ``torchgeo-sits export`` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file has no card.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no file at {path}: give the path of an exported model')
    return load_pt2(path)[1] if path.suffix == '.pt2' else read_onnx_card(path)
