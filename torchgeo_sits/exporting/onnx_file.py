"""ONNX files: the graph, the names of its inputs, outputs and sizes, and the card."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from ..models import CARD_KEY, EncoderCard
from .sizes import Series
from .tracing import SIZES

__all__ = ['check_packages', 'read_onnx_card', 'run_onnx', 'write_onnx']


def check_packages() -> None:
    """Raise ModuleNotFoundError where a package is missing that ONNX files need."""
    packages = 'onnx', 'onnxscript', 'onnxruntime'
    if missing := [name for name in packages if find_spec(name) is None]:
        raise ModuleNotFoundError(
            f'ONNX files need {", ".join(packages)}, of which {", ".join(missing)} '
            f'{"is" if len(missing) == 1 else "are"} not installed: pip install '
            "'torchgeo-sits[export]', or export to a .pt2 file, which needs none of them"
        )


def write_onnx(graph: ExportedProgram, path: Path, names: list[str], card: EncoderCard) -> None:
    """Write a graph as one ONNX file, the card as JSON in its metadata under ``'sits'``.

    Args:
        graph: The graph.
        path: Path of the file.
        names: Names of the outputs.
        card: The card.

    Raises:
        ValueError: If the graph has an operation that ONNX has not.
    """
    try:
        program = torch.onnx.export(
            graph, input_names=list(SIZES), output_names=names, dynamo=True, verbose=False
        )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).splitlines()[0][:200]
        raise ValueError(
            f'this model cannot be written as ONNX ({reason}): export it to a .pt2 file instead'
        ) from error
    assert program is not None  # it is where a graph is given
    model: Any = program.model
    _name_sizes(model)
    model.metadata_props[CARD_KEY] = json.dumps(card)
    # One file, weights inside: two would be parted sooner or later.
    program.save(path, external_data=False)


def _name_sizes(model: Any) -> None:
    """Give the open axes of inputs and outputs names that say what they are."""
    names: dict[str, str] = {}
    for value in model.graph.inputs:
        for axis, name in SIZES[value.name].items():
            names[str(value.shape[axis])] = name
    for value in (*model.graph.inputs, *model.graph.outputs):
        for axis, size in enumerate(value.shape):
            if str(size) in names:
                value.shape[axis] = names[str(size)]


def run_onnx(path: Path, series: Series) -> dict[str, Tensor]:
    """Run an ONNX file on a series, on one thread of the processor: outputs by name."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    inputs = {name: value.numpy() for name, value in series._asdict().items()}
    names = [output.name for output in session.get_outputs()]
    return {
        name: torch.from_numpy(value)
        for name, value in zip(names, session.run(names, inputs), strict=True)
    }


def read_onnx_card(path: Path) -> EncoderCard:
    """The card of an ONNX file.

    Raises:
        ValueError: If there is none.
    """
    check_packages()
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # of protobuf, whose classes have changed over the years
        raise ValueError(f'{path} is no ONNX file: {error}') from error
    for entry in model.metadata_props:
        if entry.key == CARD_KEY:
            card: EncoderCard = json.loads(entry.value)
            return card
    raise ValueError(
        f'{path}: expected a card under {CARD_KEY!r} in the metadata, found '
        f'{[entry.key for entry in model.metadata_props]}: the file was not written by '
        'torchgeo-sits export'
    )
