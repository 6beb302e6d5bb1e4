"""Encoders in checkpoints: the card that describes one, and reading it back."""

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, TypedDict, Unpack, cast

import torch
from torch import Tensor

from ..errors import SITSError
from ..weight_names import find_on_hub, find_published
from .adapters import merge_adapters
from .builders import build_encoder
from .encoder import SITSEncoder
from .hub import fetch_encoder, read_folder
from .published import PUBLISHED, load_published
from .raw_values import RawValueEncoder
from .tensor_files import load_plain

__all__ = [
    'CARD_KEY',
    'CardDetails',
    'EncoderCard',
    'TrainingDates',
    'encoder_card',
    'load_bare_encoder',
    'load_encoder',
    'load_weights',
]

#: Top-level key of a checkpoint that holds the card of its encoder.
CARD_KEY: Final = 'sits'


class TrainingDates(TypedDict):
    """Dates of the training data.

    Attributes:
        first: Day of the first acquisition, ``YYYY-MM-DD``.
        last: Day of the last one.
        number: Number of days with an acquisition.

    Examples:
        >>> TrainingDates(first='2020-01-05', last='2020-12-30', number=24)['number']
        24
    """

    first: str
    last: str
    number: int


class CardDetails(TypedDict, total=False):
    """Entries that a card may have beside; those of earlier versions have none of them.

    Attributes:
        task: Class of the task that was trained.
        class_names: Names of the classes that a task with labels tells apart, by value.
        class_codes: Numbers that they have for the user, by value; None for what has none.
        class_colors: Their colours in maps, by value; None for those of a palette.
        dataset: Kind of data module that gave the training data.
        paths: Names of the folders or files that it read, without what leads to them.
        dates: Dates of the training data.
        licence: Licence of the weights, where somebody has stated it.
        source: Where published weights come from, and their paper.
        bands_s1: Names of the bands of Sentinel-1, of an encoder that takes them.
        mean_s1: Mean of each of these bands that the data were normalised with.
        std_s1: Standard deviation of each of these bands that the data were normalised with.

    Examples:
        >>> CardDetails(task='SITSSegmentation', class_names=['forest', 'water'])['task']
        'SITSSegmentation'
    """

    task: str
    class_names: list[str]
    class_codes: list[int | None]
    class_colors: list[str | None]
    dataset: str
    paths: list[str]
    dates: TrainingDates
    licence: str
    source: str
    bands_s1: list[str]
    mean_s1: list[float]
    std_s1: list[float]


class EncoderCard(CardDetails):
    """Description of the encoder of a checkpoint, in plain values that any reader can load.

    Attributes:
        model: Name of the builder.
        model_kwargs: Keyword arguments of the builder, without ``in_channels``.
        in_channels: Number of bands.
        bands: Names of the bands, in the order of the channels.
        mean: Mean of each band that the data were normalised with.
        std: Standard deviation of each band that the data were normalised with.
        version: Version of the package that wrote the checkpoint.
        encoder: Name of the submodule whose weights are the encoder's: they stand in
            ``state_dict`` under this name and a dot. Empty where there is nothing else, as on the
            Hub.

    Examples:
        >>> from torchgeo_sits.models import encoder_card, planar_vit_tiny
        >>> card: EncoderCard = encoder_card('planar_vit_tiny', planar_vit_tiny(4))
        >>> card['model'], card['encoder']
        ('planar_vit_tiny', 'backbone')
    """

    model: str
    model_kwargs: dict[str, Any]
    in_channels: int
    bands: list[str]
    mean: list[float]
    std: list[float]
    version: str
    encoder: str


def encoder_card(
    model: str,
    encoder: SITSEncoder,
    *,
    bands: Sequence[str] = (),
    mean: Iterable[float] = (),
    std: Iterable[float] = (),
    prefix: str = 'backbone',
    **details: Unpack[CardDetails],
) -> EncoderCard:
    """Describe an encoder, for the top-level key ``'sits'`` of a checkpoint.

    Args:
        model: Name that builds the encoder, such as ``'planar_vit_tiny'``.
        encoder: The encoder; its ``config`` is stored.
        bands: Names of the bands, one per channel, or none where unknown.
        mean: Mean of each band in the training data, or none where unknown.
        std: Standard deviation of each band in the training data, or none where unknown.
        prefix: Name of the submodule of the task whose weights are the encoder's.
        **details: See :class:`CardDetails`, plain values.

    Returns:
        The card, of plain values only.

    Raises:
        SITSError: If *bands*, *mean* or *std* are given but not one per channel, or those of
            Sentinel-1.

    Examples:
        >>> from torchgeo_sits.models import planar_vit_tiny
        >>> bands = ['B02', 'B03', 'B04', 'B08']
        >>> encoder = planar_vit_tiny(4)
        >>> card = encoder_card('planar_vit_tiny', encoder, bands=bands, licence='CC-BY-4.0')
        >>> card['in_channels'], card['model_kwargs']['embed_dim'], card['licence']
        (4, 128, 'CC-BY-4.0')
    """
    from .. import __version__

    card = EncoderCard(
        model=model,
        model_kwargs={k: v for k, v in encoder.config.items() if k != 'in_channels'},
        in_channels=encoder.in_channels,
        bands=[str(band) for band in bands],
        mean=[float(value) for value in mean],
        std=[float(value) for value in std],
        version=__version__,
        encoder=prefix,
        **details,
    )
    sizes = {'bands': len(card['bands']), 'mean': len(card['mean']), 'std': len(card['std'])}
    for name, size in sizes.items():
        if size not in (0, encoder.in_channels):
            raise SITSError(
                f'expected {name} of {encoder.in_channels} values, one per channel of the '
                f'encoder, got {size}'
            )
    for name in _S1_ENTRIES:
        if name in card and len(card[name]) != encoder.s1_channels:
            raise SITSError(
                f'expected {name} of {encoder.s1_channels} values, one for each of the '
                f's1_channels of the encoder, got {len(card[name])}'
            )
    return card


#: Entries of a card with a value for each band of Sentinel-1.
_S1_ENTRIES: Final[tuple[Literal['bands_s1', 'mean_s1', 'std_s1'], ...]] = (
    'bands_s1',
    'mean_s1',
    'std_s1',
)


def load_encoder(
    path: str | Path, *, bands: Sequence[str] | None = None
) -> tuple[SITSEncoder, EncoderCard]:
    """Rebuild the encoder of a checkpoint, for the values of images as they are read.

    Args:
        path: Path of a checkpoint that a task of this package wrote; ``hf://ORG/REPO[@REVISION]``
            of the Hub, or a folder of the same two files, as ``torchgeo-sits push`` writes them;
            or the name of published weights, see
            :func:`~torchgeo_sits.weight_names.find_published`.
        bands: Names of the bands, for published weights: they find them by their names.

    Returns:
        The encoder with its weights, on the CPU and in evaluation mode, and its card. The encoder
        takes series in the unit of the training data, and normalises them by the ``mean`` and
        ``std`` of the card, and Sentinel-1 by ``mean_s1`` and ``std_s1``. Where the card has
        none, they are the concern of who calls it.

    Raises:
        FileNotFoundError: If there is no such file.
        SITSError: If the file is not a whole checkpoint of this package, or its weights do
            not fit the model that its card names.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import torch
        >>> from torchgeo_sits.models import encoder_card, planar_vit_tiny
        >>> encoder = planar_vit_tiny(4)
        >>> state = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
        >>> content = {'state_dict': state, 'sits': encoder_card('planar_vit_tiny', encoder)}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(content, path := Path(folder) / 'last.ckpt')
        ...     encoder, card = load_encoder(path)
        >>> encoder.training, card['model'], card['in_channels']
        (False, 'planar_vit_tiny', 4)
    """
    encoder, card = load_bare_encoder(path, bands=bands)
    if not card['mean']:
        return encoder, card
    s1 = {name: card[name] for name in ('mean_s1', 'std_s1') if name in card}
    return RawValueEncoder(encoder, card['mean'], card['std'], **s1).eval(), card


def load_bare_encoder(
    path: str | Path, *, bands: Sequence[str] | None = None, **arguments: Any
) -> tuple[SITSEncoder, EncoderCard]:
    """Rebuild the encoder of a checkpoint, for values that a data module has normalised.

    Args:
        path: As of :func:`load_encoder`.
        bands: As of :func:`load_encoder`.
        **arguments: Further arguments of the encoder of published weights.

    Returns:
        As of :func:`load_encoder`, but without normalisation.

    Raises:
        FileNotFoundError: As :func:`load_encoder` does.
        SITSError: As :func:`load_encoder` does.

    Examples:
        >>> from torchgeo_sits.models import load_bare_encoder
        >>> try:
        ...     encoder, card = load_bare_encoder('none.ckpt')
        ... except FileNotFoundError as error:
        ...     print(error)
        no checkpoint at none.ckpt: give the path of a .ckpt file
    """
    found = find_published(path)
    if found is not None:
        return _published(str(path), found[0], bands, arguments)
    weights, card = _read(path)
    encoder = _build(card, weights, path)
    _load(encoder, weights, path)
    return encoder.eval(), card


def _published(
    weights: str, name: str, bands: Sequence[str] | None, arguments: dict[str, Any]
) -> tuple[SITSEncoder, EncoderCard]:
    """The encoder of published weights, for the bands of the data, and a card of it."""
    model = PUBLISHED[name]
    bands = model.bands if bands is None else bands
    if bands is None:
        raise SITSError(
            f'{weights}: the weights find bands by their names: give bands, such as '
            '["B02", "B03", "B04", "B08"]'
        )
    encoder = load_published(weights, bands=bands, **arguments)
    details = CardDetails(licence=model.licence, source=model.source)
    if encoder.s1_channels:
        radar = list(encoder.config['bands_s1'] or ('VV', 'VH'))
        mean, std = model.statistics(radar)
        details |= CardDetails(bands_s1=radar, mean_s1=mean, std_s1=std)
    mean, std = model.statistics(bands)
    card = encoder_card(model.encoder, encoder, bands=bands, mean=mean, std=std, **details)
    return encoder.eval(), card


def load_weights(encoder: SITSEncoder, path: str | Path) -> EncoderCard:
    """Load the weights of a checkpoint into an encoder that is already built.

    Args:
        encoder: The encoder, with the architecture and the bands of the checkpoint's.
        path: Path of the checkpoint.

    Returns:
        The checkpoint's card.

    Raises:
        FileNotFoundError: If there is no such file.
        SITSError: If the file is not a whole checkpoint of this package, or its encoder
            has another architecture or number of bands.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import torch
        >>> from torchgeo_sits.models import encoder_card, planar_vit_tiny
        >>> encoder = planar_vit_tiny(4)
        >>> state = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
        >>> content = {'state_dict': state, 'sits': encoder_card('planar_vit_tiny', encoder)}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(content, path := Path(folder) / 'last.ckpt')
        ...     card = load_weights(planar_vit_tiny(4), path)
        >>> card['in_channels']
        4
    """
    weights, card = _read(path)
    if card['in_channels'] != encoder.in_channels:
        names = f' ({", ".join(card["bands"])})' if card['bands'] else ''
        raise SITSError(
            f'{path}: the checkpoint was trained on {card["in_channels"]} bands{names}, the '
            f'encoder takes {encoder.in_channels}: select the same bands in the data'
        )
    _load(encoder, weights, path)
    return card


def _read(path: str | Path) -> tuple[dict[str, Tensor], EncoderCard]:
    """Weights of the encoder, their prefix removed, and its card."""
    address = find_on_hub(path)
    folder = fetch_encoder(address) if address is not None else Path(path)
    if folder.is_dir():
        state, found = read_folder(folder)
        return state, _check_card(found, path if address is not None else folder, lone=True)
    if str(path).startswith(('http:', 'https:')):
        raise SITSError(
            f'{path}: weights are not fetched from addresses: fetch the file, and give its path, '
            'or hf://ORG/REPO of the Hub'
        )
    path = Path(path)
    content = load_plain(path)
    if not isinstance(content, dict) or not {CARD_KEY, 'state_dict'} <= content.keys():
        keys = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise SITSError(
            f'{path}: not a checkpoint of torchgeo_sits: expected the keys {CARD_KEY!r} and '
            f"'state_dict', found {_some(keys) if isinstance(keys, list) else keys}"
        )
    card = _check_card(content[CARD_KEY], path)
    prefix = f'{card["encoder"]}.'
    state = content['state_dict']
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise SITSError(f"{path}: the 'state_dict' of the checkpoint holds no tensors by name")
    # Other tasks than those of this package keep a part of a name that torch.compile adds.
    state = {key.replace('_orig_mod.', ''): value for key, value in state.items()}
    weights: dict[str, Tensor] = {
        k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)
    }
    if not weights:
        raise SITSError(
            f'{path}: no weights under {prefix!r} in the checkpoint, found {_some(sorted(state))}'
        )
    try:
        return merge_adapters(weights), card
    except SITSError as error:
        raise SITSError(f'{path}: {error}') from error


def _check_card(card: Any, path: str | Path, *, lone: bool = False) -> EncoderCard:
    """Refuse a card whose entries are not what they are to be; *lone* ones have a file."""
    if not isinstance(card, dict):
        raise SITSError(f'{path}: the card {CARD_KEY!r} of the checkpoint is {type(card).__name__}')
    if missing := sorted(EncoderCard.__required_keys__ - set(card)):
        raise SITSError(f'{path}: the card {CARD_KEY!r} of the checkpoint lacks {missing}')
    numbers = {name: card[name] for name in ('mean', 'std', 'mean_s1', 'std_s1') if name in card}
    names = ['bands', *(name for name in ('bands_s1',) if name in card)]
    odd = [
        *(name for name in ('model', 'encoder') if not isinstance(card[name], str)),
        *(name for name in ('in_channels',) if not _is_count(card[name])),
        *(name for name in (*names, *numbers) if not isinstance(card[name], list | tuple)),
        *(name for name in ('model_kwargs',) if not isinstance(card[name], dict)),
    ]
    if not odd:
        odd = [
            *(n for n in (*names, *numbers) if len(card[n]) not in _sizes(card, n)),
            *(n for n, values in numbers.items() if not all(map(_is_number, values))),
            *(n for n in ('model_kwargs',) if not all(isinstance(key, str) for key in card[n])),
        ]
    if odd:
        shown = ', '.join(f'{name}={str(card[name])[:60]!r}' for name in odd)
        raise SITSError(
            f'{path}: the card {CARD_KEY!r} of the checkpoint holds {shown}, which describes no '
            'encoder: it was changed. Use another checkpoint'
        )
    if lone and card['encoder']:
        raise SITSError(
            f'{path}: the card {CARD_KEY!r} says encoder={card["encoder"]!r}, of a checkpoint, '
            "expected '': write the folder again with torchgeo-sits push"
        )
    return cast(EncoderCard, card)


def _sizes(card: dict[str, Any], name: str) -> tuple[int, int]:
    """Numbers of values that an entry may have with one for each band."""
    bands: Any = card['in_channels']
    if name in _S1_ENTRIES:
        bands = card['model_kwargs'].get('s1_channels')
    return 0, int(bands) if _is_count(bands) else 0


def _build(card: EncoderCard, weights: dict[str, Tensor], path: str | Path) -> SITSEncoder:
    """Build the encoder of a card, first without memory, where one that lies asks for much."""
    most = card['in_channels']
    for name, size in card['model_kwargs'].items():
        parts = size if isinstance(size, list | tuple) else [size]
        own = max((abs(part) for part in parts if isinstance(part, int)), default=0)
        most = max(most, own)
        if own > _LARGEST_SIZE:
            raise SITSError(
                f'{path}: the card {CARD_KEY!r} of the checkpoint asks for {name}={size}, more '
                'than any encoder takes: it was changed. Use another checkpoint'
            )
    what = card['model'], card['in_channels']
    if most > _USUAL_SIZE:
        with (
            torch.random.fork_rng(devices=[]),
            torch.device('meta'),
            suppress(NotImplementedError),  # it computes with values as it is built
        ):
            _require_fit(build_encoder(*what, **card['model_kwargs']), weights, path)
    return build_encoder(*what, **card['model_kwargs'])


#: Whole numbers among the arguments of an encoder are far below, and those of layers below this.
_LARGEST_SIZE, _USUAL_SIZE = 2**24, 4096


def _is_count(value: Any) -> bool:
    """Whether a value is a whole number above 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def _load(encoder: SITSEncoder, weights: dict[str, Tensor], path: str | Path) -> None:
    """Load all weights or, where they do not fit, none, and name those that do not."""
    _require_fit(encoder, weights, path)
    encoder.load_state_dict(weights)


def _require_fit(encoder: SITSEncoder, weights: dict[str, Tensor], path: str | Path) -> None:
    """Refuse weights that are those of another model."""
    own = encoder.state_dict()
    misfits = {
        'missing': sorted(own.keys() - weights.keys()),
        'unexpected': sorted(weights.keys() - own.keys()),
        'of another shape': sorted(
            f'{key} {tuple(weights[key].shape)}, expected {tuple(own[key].shape)}'
            for key in own.keys() & weights.keys()
            if own[key].shape != weights[key].shape
        ),
    }
    if any(misfits.values()):
        text = '; '.join(f'{name}: {_some(keys)}' for name, keys in misfits.items() if keys)
        raise SITSError(
            f'{path}: the weights are those of another model than this '
            f'{type(encoder).__name__}. {text}. Build the model that the checkpoint names, or '
            'leave it to load_encoder'
        )


def _some(names: Sequence[str], most: int = 5) -> str:
    """The first few names, and how many there are."""
    shown = ', '.join(names[:most])
    return f'{shown}, ... ({len(names)} in all)' if len(names) > most else shown or 'nothing'
