"""Weights that others have published, by name."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import torch
from torch import Tensor

from ..errors import SITSError
from .builders import build_encoder
from .encoder import SITSEncoder
from .galileo import Galileo, galileo_state
from .monthly import MonthlyTransformer
from .presto import Presto, presto_state
from .tensor_files import read_tensors

__all__ = ['PUBLISHED', 'PublishedModel', 'find_published', 'load_published']


@dataclass(frozen=True)
class PublishedModel:
    """Weights that somebody has published for one of the encoders.

    Attributes:
        encoder: Name of the encoder, see :data:`~.builders.ENCODERS`.
        kind: Its class.
        address: Where the file is, at a fixed revision.
        sha256: First digits of the file's SHA-256 in hexadecimal, as many as are known.
        state: Turns the tensors of the file into the encoder's state dict.
        licence: Licence of the weights.
        source: Where they come from, and the paper.
        arguments: Arguments of the encoder that are not its defaults.

    Examples:
        >>> from torchgeo_sits.models import PUBLISHED
        >>> PUBLISHED['presto'].licence
        'MIT'
    """

    encoder: str
    kind: type[MonthlyTransformer]
    address: str
    sha256: str
    state: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    licence: str
    source: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


#: Published weights by name.
PUBLISHED: Final[dict[str, PublishedModel]] = {
    'presto': PublishedModel(
        encoder='presto',
        kind=Presto,
        # That of torchgeo.models.Presto_Weights.PRESTO; a test holds them equal.
        address='https://hf.co/torchgeo/presto/resolve/43f8d500a930772d226b309a06ec32be6dc077dd/'
        'model-e5e57c68.pth',
        sha256='e5e57c68',
        state=presto_state,
        licence='MIT',
        source='https://github.com/nasaharvest/presto, https://arxiv.org/abs/2304.14065',
    ),
    'galileo_nano': PublishedModel(
        encoder='galileo_nano',
        kind=Galileo,
        address='https://raw.githubusercontent.com/nasaharvest/galileo/'
        '0f0b5b95ac81acef4b74cf4686dc877202f4541b/data/models/nano/encoder.pt',
        sha256='eab6acacf527886a508a555bc24efe4b4a2cf91b162e84cd1c4a1807e942180c',
        state=galileo_state,
        licence='MIT',
        source='https://github.com/nasaharvest/galileo, https://arxiv.org/abs/2502.09356',
    ),
}


def find_published(weights: str | Path | None) -> tuple[str, str | None] | None:
    """Tell whether weights are published ones, by name.

    Args:
        weights: ``NAME``, or ``NAME:FILE`` for a file of them that is at hand; or anything else.

    Returns:
        A key of :data:`PUBLISHED`, and the file or None; None where it is something else, as the
        path of a file that has such a name.

    Examples:
        >>> find_published('presto'), find_published('presto:weights/x.safetensors')
        (('presto', None), ('presto', 'weights/x.safetensors'))
        >>> find_published('logs/presto.ckpt') is None
        True
    """
    name, colon, file = str(weights or '').partition(':')
    if name not in PUBLISHED or Path(str(weights)).is_file():
        return None
    return name, (file or None) if colon else None


def load_published(
    weights: str,
    *,
    bands: Sequence[str],
    bands_s1: Sequence[str] = (),
    **arguments: Any,
) -> SITSEncoder:
    """Build the encoder of published weights for the bands of the data, and load them.

    Args:
        weights: ``NAME`` or ``NAME:FILE``, see :func:`find_published`.
        bands: Names of the C bands.
        bands_s1: Names of the bands of a Sentinel-1 series beside.
        **arguments: Further arguments of the encoder.

    Returns:
        The encoder, on the CPU and in training mode.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If the weights cannot be fetched.
        SITSError: If the name is unknown, the model does not know a band, or the file holds
            something else.
    """
    found = find_published(weights)
    if found is None:
        raise SITSError(f'expected one of {sorted(PUBLISHED)}, or NAME:FILE, got {weights!r}')
    name, file = found
    model = PUBLISHED[name]
    own = {'bands': list(bands), **model.arguments, **arguments}
    if bands_s1:
        own |= {'s1_channels': len(bands_s1), 'bands_s1': list(bands_s1)}
    encoder = build_encoder(model.encoder, len(bands), **own)
    path = _fetch(name, model) if file is None else Path(file)
    try:
        state = model.state(read_tensors(path))
        encoder.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        reason = ' '.join(str(error).split())[:200]
        raise SITSError(
            f'{path}: the tensors are not those of {name} ({reason}). Give the file that '
            f'{model.source} publishes, or leave ":FILE" out'
        ) from error
    return encoder


def _fetch(name: str, model: PublishedModel) -> Path:
    """Fetch the file of published weights, unless it lies in torch's cache already."""
    address = urlsplit(model.address)
    path = Path(torch.hub.get_dir()) / 'checkpoints' / f'{name}-{model.sha256[:8]}.pth'
    if path.is_file() and _sha256(path).startswith(model.sha256):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Beside it first, and renamed when the hash is right.
        torch.hub.download_url_to_file(model.address, str(path), model.sha256)
    except (OSError, HTTPException, RuntimeError) as error:
        raise OSError(
            f'the weights of {name} cannot be fetched from {address.hostname} ({error}): '
            f'{model.address}. Fetch the file where there is a network, and give it as '
            f'{name}:FILE'
        ) from error
    return path


def _sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()
