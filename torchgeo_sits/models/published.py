"""Weights that others have published, by name."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import torch
from torch import Tensor

from ..errors import SITSError
from ..weight_names import find_on_hub, find_published
from .builders import build_encoder
from .encoder import SITSEncoder
from .galileo import Galileo, galileo_state
from .hub import fetch_file
from .olmoearth import OlmoEarth, olmoearth_state
from .olmoearth_v1_2 import OlmoEarthV12, olmoearth_v1_2_state
from .presto import Presto, presto_state
from .quantities import LIGHTS, quantity
from .sits_s2 import BANDS as SITS_S2_BANDS
from .sits_s2 import WEIGHTS as SITS_S2_WEIGHTS
from .sits_s2 import sits_s2_state, sits_s2_statistics
from .tensor_files import read_tensors
from .tessera import Tessera, tessera_state

__all__ = [
    'PUBLISHED',
    'PublishedModel',
    'load_published',
    'statistics_in_units',
]


@dataclass(frozen=True)
class PublishedModel:
    """Weights that somebody has published for one of the encoders.

    Attributes:
        encoder: Name of the encoder, see :data:`~.builders.ENCODERS`.
        address: Where the file is, at a fixed revision; None where none is known, and the file has
            to be given.
        sha256: First digits of the file's SHA-256 in hexadecimal, as many as are known.
        statistics: Gives mean and standard deviation that bands of these names are normalised by.
        state: Turns the tensors of the file into the state dict of an encoder of some bands.
        licence: Licence of the weights.
        source: Where they come from, and the paper.
        file: The file, where it is a part of this package.
        bands: The bands that are meant where none are named; None where they have to be.

    Examples:
        >>> from torchgeo_sits.models import PUBLISHED
        >>> PUBLISHED['presto'].licence
        'MIT'
    """

    encoder: str
    address: str | None
    sha256: str
    statistics: Callable[[Sequence[str]], tuple[list[float], list[float]]]
    state: Callable[[Mapping[str, Tensor], Sequence[str]], dict[str, Tensor]]
    licence: str
    source: str
    file: Path | None = None
    bands: tuple[str, ...] | None = None


def _of_all_bands(
    state: Callable[[Mapping[str, Tensor]], dict[str, Tensor]],
) -> Callable[[Mapping[str, Tensor], Sequence[str]], dict[str, Tensor]]:
    """Make of a state dict one for some bands, of an encoder that has weights for all of them."""
    return lambda tensors, bands: state(tensors)


def _olmoearth_v1(size: str, revision: str, sha256: str) -> PublishedModel:
    """OlmoEarth v1 of a size, at the address of torchgeo.models.OlmoEarthV1_Weights."""
    return PublishedModel(
        encoder=f'olmoearth_v1_{size}',
        statistics=OlmoEarth.statistics,
        address=f'https://huggingface.co/allenai/OlmoEarth-v1-{size.capitalize()}/resolve/'
        f'{revision}/weights-{sha256}.pth',
        sha256=sha256,
        state=_of_all_bands(olmoearth_state),
        licence='OlmoEarth Artifact License',
        source='https://github.com/allenai/olmoearth_pretrain, https://arxiv.org/abs/2511.13655',
    )


def _olmoearth_v1_2(size: str) -> PublishedModel:
    """OlmoEarth v1.2 of a size, of which no revision could be held against a SHA-256."""
    return PublishedModel(
        encoder=f'olmoearth_v1_2_{size}',
        statistics=OlmoEarthV12.statistics,
        address=None,
        sha256='',
        state=_of_all_bands(olmoearth_v1_2_state),
        licence='OlmoEarth Artifact License',
        source=f'https://huggingface.co/allenai/OlmoEarth-v1_2-{size.capitalize()}, '
        'https://allenai.org/papers/olmoearth-v1-2',
    )


#: Published weights by their names, :data:`torchgeo_sits.weight_names.PUBLISHED_NAMES`.
PUBLISHED: Final[dict[str, PublishedModel]] = {
    'presto': PublishedModel(
        encoder='presto',
        statistics=Presto.statistics,
        # That of torchgeo.models.Presto_Weights.PRESTO.
        address='https://hf.co/torchgeo/presto/resolve/43f8d500a930772d226b309a06ec32be6dc077dd/'
        'model-e5e57c68.pth',
        sha256='e5e57c68',
        state=_of_all_bands(presto_state),
        licence='MIT',
        source='https://github.com/nasaharvest/presto, https://arxiv.org/abs/2304.14065',
    ),
    'galileo_nano': PublishedModel(
        encoder='galileo_nano',
        statistics=Galileo.statistics,
        address='https://raw.githubusercontent.com/nasaharvest/galileo/'
        '0f0b5b95ac81acef4b74cf4686dc877202f4541b/data/models/nano/encoder.pt',
        sha256='eab6acacf527886a508a555bc24efe4b4a2cf91b162e84cd1c4a1807e942180c',
        state=_of_all_bands(galileo_state),
        licence='MIT',
        source='https://github.com/nasaharvest/galileo, https://arxiv.org/abs/2502.09356',
    ),
    'tessera': PublishedModel(
        encoder='tessera',
        statistics=Tessera.statistics,
        # That of torchgeo.models.Tessera_Weights.TESSERA_SENTINEL2_ENCODER.
        address='https://hf.co/isaaccorley/tessera/resolve/'
        '1c723278ef8211d4917f8edf4a9cd5dcddc85e44/s2_encoder-28537a8e.pth',
        sha256='28537a8e',
        state=_of_all_bands(tessera_state),
        licence='CC0-1.0',
        source='https://github.com/ucam-eo/tessera, https://arxiv.org/abs/2506.20380',
    ),
    'olmoearth_v1_nano': _olmoearth_v1(
        'nano',
        '529248a4dc3c54014c56b7504641cec98de31d1c',
        '795c68419a658fd22ccf8f2e020607675f963e9ef3b93d8e368bb17646765347',
    ),
    'olmoearth_v1_tiny': _olmoearth_v1(
        'tiny',
        '885784437d4e2d632b7bf51b4233426c6f4479dc',
        '66b9827af383bc444d7909a406a5b62c072bb08d6804ff47a247c2dce8fad9a4',
    ),
    'olmoearth_v1_base': _olmoearth_v1(
        'base',
        '4bd1392a4539404d2c74276c39f3cb4cfff466cc',
        '551c1cc53337c6faaddead88071d7ebd2bd53ec271600fa6f0ee0a518c8b6e11',
    ),
    'sits_s2_tiny': PublishedModel(
        encoder='sits_s2_tiny',
        statistics=sits_s2_statistics,
        address=None,
        sha256='',
        state=sits_s2_state,
        licence='MIT',
        source='torchgeo_sits, python -m study.checkpoint',
        file=SITS_S2_WEIGHTS,
        bands=SITS_S2_BANDS,
    ),
    **{
        f'olmoearth_v1_2_{size}': _olmoearth_v1_2(size)
        for size in ('nano', 'tiny', 'small', 'base')
    },
}


def load_published(
    weights: str,
    *,
    bands: Sequence[str],
    **arguments: Any,
) -> SITSEncoder:
    """Build the encoder of published weights for the bands of the data, and load them.

    Args:
        weights: ``NAME`` or ``NAME:FILE``, see :func:`find_published`; the file may be one of the
            Hub, ``hf://ORG/REPO[@REVISION]/FILE.safetensors``.
        bands: Names of the C bands.
        **arguments: Further arguments of the encoder.

    Returns:
        The encoder, on the CPU and in training mode.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If the weights cannot be fetched.
        SITSError: If the name is unknown, its file has to be given, the model does not know a
            band, or the file holds something else.
    """
    found = find_published(weights)
    if found is None:
        raise SITSError(f'expected one of {sorted(PUBLISHED)}, or NAME:FILE, got {weights!r}')
    name, file = found
    model = PUBLISHED[name]
    encoder = build_encoder(model.encoder, len(bands), bands=list(bands), **arguments)
    path = _fetch(name, model) if file is None else _at_hand(name, file)
    try:
        state = model.state(read_tensors(path), bands)
        encoder.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        reason = ' '.join(str(error).split())[:200]
        if file is None and arguments:
            raise SITSError(
                f'{name}: the weights do not fit an encoder with {arguments} ({reason}): leave '
                'model_kwargs out, or set them to null'
            ) from error
        raise SITSError(
            f'{path}: the tensors are not those of {name} ({reason}). Give the file that '
            f'{model.source} publishes, or leave ":FILE" out'
        ) from error
    return encoder


def statistics_in_units(
    bands: Sequence[str], found: Sequence[float], mean: Sequence[float], std: Sequence[float]
) -> tuple[list[float], list[float], str | None]:
    """Express the statistics of published weights in the units of the data.

    Files hold reflectance as such or times 10,000, and backscatter in decibels or in hundredths of
    them. A mean says which: no surface has a reflectance of 0.0002, or -100 decibels.

    Args:
        bands: Names of the C bands.
        found: Mean of each band in the data.
        mean: Mean that the weights expect: reflectance times 10,000, or decibels.
        std: Standard deviation that they expect.

    Returns:
        Mean and standard deviation in the units of the data; and what was found, None where the
        units are those of the weights.

    Raises:
        SITSError: If backscatter is not in decibels.

    Examples:
        >>> statistics_in_units(['B04', 'B08'], [0.1, 0.3], [1343.0, 2410.0], [1093.0, 1099.0])
        ([0.1343, 0.241], [0.1093, 0.1099], 'reflectance from 0 to 1')
    """
    kinds = [quantity(name) for name in bands]
    radar = [value for kind, value in zip(kinds, found, strict=True) if kind in ('VV', 'VH')]
    light = [abs(value) for kind, value in zip(kinds, found, strict=True) if kind in LIGHTS]
    if radar and max(radar) > 0:
        raise SITSError(
            f'the backscatter of the data is {radar} in the mean, expected decibels, which are '
            'negative: convert it, 10 log10(x)'
        )
    factors: dict[str, float] = {}
    told: list[str] = []
    if light and max(light) < 2:
        factors |= dict.fromkeys(LIGHTS, 1e-4)
        told.append('reflectance from 0 to 1')
    if radar and min(radar) < -100:
        factors |= dict.fromkeys(('VV', 'VH'), 100.0)
        told.append('hundredths of decibels')
    by = [factors.get(str(kind), 1.0) for kind in kinds]
    return (
        [round(value * factor, 9) for value, factor in zip(mean, by, strict=True)],
        [round(value * factor, 9) for value, factor in zip(std, by, strict=True)],
        ' and '.join(told) or None,
    )


def _at_hand(name: str, file: str) -> Path:
    """The path of a file that was given, which may be one of the Hub."""
    address = find_on_hub(file)
    if address is None:
        return Path(file)
    if address.file is None or not address.file.endswith('.safetensors'):
        raise SITSError(
            f'{name}:{file}: say which file of the repository it is, one that ends with '
            f'.safetensors: {name}:{address}/FILE.safetensors'
        )
    return fetch_file(address, local=f'{name}:FILE')


def _fetch(name: str, model: PublishedModel) -> Path:
    """Find the file of published weights in the package or in torch's cache, or fetch it."""
    if model.file is not None:
        return model.file
    if model.address is None:
        raise SITSError(
            f'{name}: no file of it at a fixed revision is known: fetch that of {model.source}, '
            f'and give it as {name}:FILE'
        )
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
