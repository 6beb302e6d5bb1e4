"""What comes with a pretrained encoder beside its weights: its bands and its normalisation."""

import warnings
from pathlib import Path
from typing import Any

from ..models import EncoderCard

__all__ = ['adopt_data']


def adopt_data(card: EncoderCard, datamodule: Any, path: str | Path) -> None:
    """Hold the bands of the data against those of a checkpoint, and normalise as it did.

    Args:
        card: The checkpoint's card.
        datamodule: The data module, or None: nothing is known of the data then.
        path: Path of the checkpoint, for messages.

    Raises:
        ValueError: If the data has other bands: more or fewer, or the same in another order.
    """
    bands, wanted = getattr(datamodule, 'bands', None), card['bands']
    if bands is None:
        return
    if len(bands) != card['in_channels'] or (bands != wanted and not set(bands).isdisjoint(wanted)):
        known = f' {wanted}' if wanted else ''
        choice = (
            f'--data.bands "{wanted}"'
            if wanted and set(wanted) <= set(bands)
            else 'data of the same bands, or a checkpoint of these'
        )
        raise ValueError(
            f'{path}: the checkpoint was trained on {card["in_channels"]} bands{known}, the data '
            f'has {len(bands)}: {bands}. Use {choice}'
        )
    if wanted and bands != wanted:
        warnings.warn(
            f'{path} was trained on the bands {wanted}, the data has {bands}: its weights are '
            'used in this order',
            UserWarning,
            stacklevel=2,
        )
    if card['mean'] and hasattr(datamodule, 'normalise_as'):
        datamodule.normalise_as(card['mean'], card['std'])
