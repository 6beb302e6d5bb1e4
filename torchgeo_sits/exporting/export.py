"""Export a trained model, and hold the file against the model before it is kept."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from ..errors import SITSError
from ..keys import Series
from ..models import CARD_KEY, EncoderCard, SITSEncoder
from ..whole_files import whole_file
from .graph import SIZES_WITH_S1, inputs_of, load_model, s1_channels_of, trace, unseen_series

__all__ = [
    'TOLERANCE',
    'export_model',
    'load_pt2',
    'read_card',
    'run_onnx',
]


def _check_packages() -> None:
    """Raise ModuleNotFoundError where a package is missing that ONNX files need."""
    packages = 'onnx', 'onnxscript', 'onnxruntime'
    if missing := [name for name in packages if find_spec(name) is None]:
        raise SITSError(
            f'ONNX files need {", ".join(packages)}, of which {", ".join(missing)} '
            f'{"is" if len(missing) == 1 else "are"} not installed: pip install '
            "'torchgeo-sits[export]', or export to a .pt2 file, which needs none of them"
        )


def _write_onnx(
    graph: ExportedProgram, path: Path, inputs: list[str], names: list[str], card: EncoderCard
) -> None:
    """Write a graph as one ONNX file, the card as JSON in its metadata under ``'sits'``.

    Args:
        graph: The graph.
        path: Path of the file.
        inputs: Names of the inputs.
        names: Names of the outputs.
        card: The card.

    Raises:
        SITSError: If the graph has an operation that ONNX has not.
    """
    try:
        program = torch.onnx.export(
            graph, input_names=inputs, output_names=names, dynamo=True, verbose=False
        )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).splitlines()[0][:200]
        raise SITSError(
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
        for axis, name in SIZES_WITH_S1[value.name].items():
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
    inputs = {name: value.numpy() for name, value in inputs_of(series).items()}
    names = [output.name for output in session.get_outputs()]
    return {
        name: torch.from_numpy(value)
        for name, value in zip(names, session.run(names, inputs), strict=True)
    }


def _read_onnx_card(path: Path) -> EncoderCard:
    """Read the card of an ONNX file.

    Raises:
        SITSError: If there is none.
    """
    _check_packages()
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # of protobuf, whose classes have changed over the years
        raise SITSError(f'{path} is no ONNX file: {error}') from error
    for entry in model.metadata_props:
        if entry.key == CARD_KEY:
            return _parse_card(entry.value, path)
    raise SITSError(
        f'{path}: expected a card under {CARD_KEY!r} in the metadata, found '
        f'{[entry.key for entry in model.metadata_props]}: the file was not written by '
        'torchgeo-sits export'
    )


def _parse_card(text: str | bytes, path: Path) -> EncoderCard:
    """Read the text of a card, which is JSON and nothing that runs.

    Raises:
        SITSError: If it is none.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SITSError(f'the card of {path} is no JSON: {error}') from error
    if not isinstance(content, dict) or not content:
        raise SITSError(f'the card of {path} is no mapping, but {type(content).__name__}')
    card: EncoderCard = content  # type: ignore[assignment]
    return card


#: Name of the card among the extra files.
_CARD: Final = 'sits.json'


def _write_pt2(graph: ExportedProgram, path: Path, card: EncoderCard) -> None:
    """Write a graph, the card as JSON in the extra file ``sits.json``."""
    torch.export.save(graph, path, extra_files={_CARD: json.dumps(card)})


def _read_pt2_card(path: Path) -> EncoderCard:
    """Read the card of a ``.pt2`` file, which is a zip archive, and nothing else of it."""
    try:
        with ZipFile(path) as archive:
            found = [name for name in archive.namelist() if name.endswith(f'extra/{_CARD}')]
            text = archive.read(found[0]) if len(found) == 1 else None
    except (BadZipFile, OSError, ValueError) as error:
        raise SITSError(f'{path} cannot be read as a .pt2 file: {error}') from error
    if text is None:
        raise SITSError(
            f'{path}: expected the extra file {_CARD!r}, found none: the file was not written by '
            'torchgeo-sits export'
        )
    return _parse_card(text, path)


def load_pt2(path: str | Path, *, trust: bool = False) -> tuple[nn.Module, EncoderCard]:
    """Load a ``.pt2`` file of ``torchgeo-sits export``, for series of any size.

    PyTorch unpickles parts of such a file, which can run any code: an ONNX file cannot.

    ``torch.export.load(path).module()`` gives the same model with more checks: it refuses some
    sizes that were taken for unlike others when the model was traced, but are not.

    Args:
        path: Path of the file.
        trust: Say that you trust whoever wrote the file; nothing is loaded without.

    Returns:
        The model, which takes image, acquisition_times, valid and mask_clear, and those of
        Sentinel-1 where it was trained with them, and its card.

    Raises:
        FileNotFoundError: If there is no such file.
        SITSError: If the file is no exported model, or *trust* is not given.

    Examples:
        >>> from torchgeo_sits.exporting import load_pt2
        >>> load_pt2('nowhere.pt2', trust=True)
        Traceback (most recent call last):
            ...
        FileNotFoundError: no file at nowhere.pt2: give the path of a .pt2 file
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'no file at {path}: give the path of a .pt2 file')
    card = _read_pt2_card(Path(path))
    if not trust:
        raise SITSError(
            f'{path} can run code when it is loaded, as all .pt2 files can: give trust=True if you '
            'trust whoever wrote it, or use an .onnx file. read_card reads its card without'
        )
    try:
        graph = torch.export.load(path)
    except Exception as error:  # of many kinds, as files can be broken in many ways
        raise SITSError(f'{path} cannot be loaded as a .pt2 file: {error}') from error
    return graph.module(check_guards=False), card


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
    and W left open; see :mod:`torchgeo_sits.keys` for their meaning and
    :class:`~.graph.RawSeriesModel` for the outputs. Of a model that takes Sentinel-1 the same four
    of that come behind them, with ``_s1`` at the end of their names and frames of their own. It
    works through a whole image at once: give it windows that fit the memory.

    Args:
        checkpoint: Path of a checkpoint of a task with labels, or of a pretraining; or
            ``hf://ORG/REPO`` of the Hub.
        path: Path of the file: ``.onnx``, or ``.pt2`` for :mod:`torch.export`.
        licence: Licence of the weights, to be stated on the card.

    Returns:
        The card, and the largest difference between the file and the model on series of other
        sizes than the model was traced with.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ModuleNotFoundError: If packages for ONNX are missing.
        SITSError: If the checkpoint cannot be read, the name ends otherwise, or the model
            cannot be exported.

    Examples:
        >>> from torchgeo_sits.exporting import export_model
        >>> # export_model('X.ckpt', 'model.onnx', licence='CC-BY-4.0') takes half a minute
        >>> export_model('nowhere.ckpt', 'model.pt2')
        Traceback (most recent call last):
            ...
        FileNotFoundError: no checkpoint at nowhere.ckpt: give the path of a .ckpt file
    """
    path = Path(path)
    if path.suffix not in ('.onnx', '.pt2'):
        raise SITSError(f"expected a file name that ends with .onnx or .pt2, got '{path}'")
    if path.suffix == '.onnx':
        _check_packages()
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder '{path.parent}' to write {path.name} to: make it first")
    model, card = load_model(checkpoint)
    if licence is not None:
        card = {**card, 'licence': licence}
    encoder = model.model if isinstance(model.model, SITSEncoder) else model.model.encoder
    cell = max(encoder.stride, *encoder.plane_cell)
    graph = trace(
        model,
        name=card['model'],
        channels=card['in_channels'],
        cell=cell,
        s1_channels=s1_channels_of(card),
    )
    with whole_file(path) as draft:
        series = list(unseen_series(card, cell))
        given = [inputs_of(each) for each in series]
        with torch.no_grad():
            wanted = [model(**each) for each in given]
        if path.suffix == '.onnx':
            _write_onnx(graph, draft, list(given[0]), list(wanted[0]), card)
            found = [run_onnx(draft, each) for each in series]
        else:
            _write_pt2(graph, draft, card)
            loaded, _ = load_pt2(draft, trust=True)
            with torch.no_grad():
                found = [loaded(*each.values()) for each in given]
        difference = max(map(_difference, found, wanted))
        if not difference <= TOLERANCE:  # NaN is not
            raise SITSError(
                f'the exported {card["model"]} differs from the model by {difference:.1g}, at '
                f'most {TOLERANCE:g} was expected: nothing was written. Please report it with '
                f'the versions of torch ({torch.__version__}) and, for ONNX, onnxscript'
            )
    return card, difference


def _difference(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """Largest difference between outputs, relative where values are above 1."""
    return max(
        float((found[name] - value).abs().max() / value.abs().max().clamp(min=1))
        for name, value in wanted.items()
    )


def read_card(path: str | Path) -> EncoderCard:
    """Read the card of an exported model; no code of the file runs.

    Args:
        path: Path of an ``.onnx`` or ``.pt2`` file that ``torchgeo-sits export`` wrote.

    Returns:
        The card.

    Raises:
        FileNotFoundError: If there is no such file.
        SITSError: If the file has no card.

    Examples:
        >>> from torchgeo_sits.exporting import read_card
        >>> read_card('nowhere.onnx')
        Traceback (most recent call last):
            ...
        FileNotFoundError: no file at nowhere.onnx: give the path of an exported model
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no file at {path}: give the path of an exported model')
    return _read_pt2_card(path) if path.suffix == '.pt2' else _read_onnx_card(path)
