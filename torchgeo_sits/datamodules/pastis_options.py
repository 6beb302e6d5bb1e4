"""The arguments of the data module of PASTIS: which cannot work."""

from collections.abc import Mapping
from typing import Any

from ..datasets import PASTIS

__all__ = ['check_pastis_options']


def check_pastis_options(given: Mapping[str, Any]) -> None:
    """Refuse arguments that are out of their range or do not go together.

    Args:
        given: All arguments, by their names.

    Raises:
        ValueError: If an argument cannot work.
    """
    if given['fold'] not in range(1, 6):
        raise ValueError(f'fold={given["fold"]}: expected one of the official runs, from 1 to 5')
    choices = {
        'modality': PASTIS.modalities,
        'target': ('pixel', 'field'),
        'label_unit': ('field', 'patch'),
    }
    for name, known in choices.items():
        if given[name] not in known:
            raise ValueError(f'unknown {name} {given[name]!r}: expected one of {known}')
    for name, least in (
        ('crop', 1),
        ('batch_size', 1),
        ('num_workers', 0),
        ('fields_per_class', 1),
    ):
        if given[name] is not None and given[name] < least:
            raise ValueError(f'{name}={given[name]}: expected {least} at least')
    fraction = given['label_fraction']
    if fraction is not None and not 0 < fraction <= 1:
        raise ValueError(f'label_fraction={fraction}: expected a share above 0, at most 1')
    if given['fields_per_class'] is not None and given['label_unit'] == 'patch':
        raise ValueError(
            f'fields_per_class counts parcels, got {given["fields_per_class"]} with '
            "label_unit='patch': leave one of them out"
        )
    if fraction is not None and given['fields_per_class'] is not None:
        raise ValueError(
            f'fields_per_class={given["fields_per_class"]} and label_fraction={fraction} both say '
            'how much is labelled: give one of them'
        )
    if (given['mean'] is None) != (given['std'] is None):
        raise ValueError('give both mean and std, or neither')
