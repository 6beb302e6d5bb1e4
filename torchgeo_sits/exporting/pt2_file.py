"""PyTorch's own files of graphs, with the card beside the graph."""

import json
from pathlib import Path
from typing import Final

import torch
from torch import nn
from torch.export import ExportedProgram

from ..models import EncoderCard

__all__ = ['load_pt2', 'write_pt2']

#: Name of the card among the extra files.
_CARD: Final = 'sits.json'


def write_pt2(graph: ExportedProgram, path: Path, card: EncoderCard) -> None:
    """Write a graph, the card as JSON in the extra file ``sits.json``."""
    torch.export.save(graph, path, extra_files={_CARD: json.dumps(card)})


def load_pt2(path: str | Path) -> tuple[nn.Module, EncoderCard]:
    """Load what ``torchgeo-sits export`` wrote, for series of any size.

    ``torch.export.load(path).module()`` gives the same model with more checks: it refuses some
    sizes that were taken for unlike others when the model was traced, but are not.

    Args:
        path: Path of the file.

    Returns:
        The model, which takes image, acquisition_times, valid and mask_clear, and its card.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'no file at {path}: give the path of a .pt2 file')
    extra: dict[str, str] = {_CARD: ''}
    try:
        graph = torch.export.load(path, extra_files=extra)
    except Exception as error:  # of many kinds, as files can be broken in many ways
        raise ValueError(f'{path} cannot be loaded as a .pt2 file: {error}') from error
    if not extra[_CARD]:
        raise ValueError(
            f'{path}: expected the extra file {_CARD!r}, found none: the file was not written by '
            'torchgeo-sits export'
        )
    return graph.module(check_guards=False), json.loads(extra[_CARD])
