"""What comes with a pretrained encoder beside its weights: model, bands and normalisation."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..models import EncoderCard

__all__ = ['adopt_data', 'encoder_hparams']


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


def encoder_hparams(
    card: EncoderCard, given: Mapping[str, Any], path: str | Path
) -> dict[str, Any]:
    """Hyperparameters that say what the encoder of a checkpoint is.

    Args:
        card: The checkpoint's card.
        given: Hyperparameters of the task, of which ``model``, ``in_channels`` and
            ``model_kwargs`` may contradict it.
        path: Path of the checkpoint, for messages.

    Returns:
        ``model``, ``in_channels`` and ``model_kwargs``.

    Raises:
        ValueError: If one was given that is not the checkpoint's.
    """
    found = {
        'model': card['model'],
        'in_channels': card['in_channels'],
        'model_kwargs': card['model_kwargs'],
    }
    for name, value in found.items():
        asked = given[name]
        # Arguments that were not given may be what they are.
        own = {key: value.get(key) for key in asked} if isinstance(value, dict) and asked else value
        if asked and asked != own:
            raise ValueError(
                f'{path}: the checkpoint holds {card["model"]} with {name}={own!r}, but '
                f'{name}={asked!r} was asked for: leave {name} out'
            )
    return found
