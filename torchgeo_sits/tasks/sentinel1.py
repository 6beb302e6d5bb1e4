"""Sentinel-1 beside an optical series: what encoders take of the data, and how it is normalised."""

from typing import Any

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from ..errors import SITSError
from ..models import CardDetails, EncoderCard, SITSEncoder, takes_argument

__all__ = ['adopt_s1', 'meet_s1', 's1_arguments', 's1_entries']


def s1_arguments(model: str, kwargs: dict[str, Any], datamodule: Any) -> dict[str, Any]:
    """Let a new encoder take the Sentinel-1 series of the data, and say so.

    Args:
        model: Name of the encoder, or its dotted path.
        kwargs: Arguments of its builder; ``s1_channels`` among them are left as they are.
        datamodule: The data module, whose ``bands_s1`` are the names of the bands.

    Returns:
        The arguments, with ``s1_channels`` where the data has bands and the builder takes it.
    """
    bands = getattr(datamodule, 'bands_s1', None)
    if not bands or 's1_channels' in kwargs or not takes_argument(model, 's1_channels'):
        return kwargs
    rank_zero_info(
        f'{model} reads Sentinel-1 beside the optical series, bands {bands}; '
        "model_kwargs={'s1_channels': 0} leaves it out"
    )
    named = {'bands_s1': list(bands)} if takes_argument(model, 'bands_s1') else {}
    return {**kwargs, 's1_channels': len(bands), **named}


def meet_s1(encoder: SITSEncoder, datamodule: Any) -> None:
    """Hold what an encoder takes of Sentinel-1 against what the data has.

    Either may lack it, with a warning: the other series is used alone.

    Args:
        encoder: The encoder.
        datamodule: The data module; nothing is known of one without ``bands_s1``.

    Raises:
        SITSError: If both have it, with different numbers of bands.
    """
    bands = getattr(datamodule, 'bands_s1', None)
    if bands is None or len(bands) == encoder.s1_channels:
        return
    if not bands:
        rank_zero_warn(
            f'the model takes {encoder.s1_channels} bands of Sentinel-1, which this data has not: '
            'it sees the optical series alone',
            category=UserWarning,
        )
    elif not encoder.s1_channels:
        rank_zero_warn(
            f'the model takes no Sentinel-1: the bands {bands} of the data are left out',
            category=UserWarning,
        )
    else:
        raise SITSError(
            f'the model takes {encoder.s1_channels} bands of Sentinel-1, the data has '
            f'{len(bands)}: {bands}. Choose `s1.bands` to match'
        )


def adopt_s1(card: EncoderCard, datamodule: Any, path: object) -> None:
    """Normalise the Sentinel-1 series of the data as that of a checkpoint was.

    Args:
        card: The checkpoint's card.
        datamodule: The data module.
        path: Path of the checkpoint, for messages.

    Raises:
        SITSError: If the data has other bands of Sentinel-1.
    """
    bands, wanted = getattr(datamodule, 'bands_s1', None), card.get('bands_s1')
    if not bands or not wanted:
        return
    if list(bands) != list(wanted):
        choice = (
            f'--data.s1.bands "{wanted}"'
            if set(wanted) <= set(bands)
            else 'data of the same bands, or a checkpoint of these'
        )
        raise SITSError(
            f'{path}: the checkpoint was trained on the Sentinel-1 bands {wanted}, the data has '
            f'{bands}. Use {choice}'
        )
    if card.get('mean_s1') and hasattr(datamodule, 'normalise_s1_as'):
        datamodule.normalise_s1_as(card['mean_s1'], card['std_s1'])


def s1_entries(card: CardDetails) -> CardDetails:
    """Take what a card says of Sentinel-1.

    Args:
        card: A card.

    Returns:
        Its entries ``bands_s1``, ``mean_s1`` and ``std_s1``, where it has them.
    """
    names = 'bands_s1', 'mean_s1', 'std_s1'
    return {name: card[name] for name in names if name in card}  # type: ignore[literal-required,return-value]
