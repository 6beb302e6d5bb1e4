"""The arguments of a data module: which its kind of series takes, and which cannot work."""

import warnings
from collections.abc import Mapping
from inspect import Signature, signature
from typing import Any

from ..datasets import TimeSeries

__all__ = ['check_options', 'series_options']


def series_options(
    dataset_class: type[TimeSeries],
    options: Mapping[str, Any],
    chosen_by: Signature,
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    """Arguments for a kind of series.

    Args:
        dataset_class: The kind.
        options: Arguments of the data module that are those of series.
        chosen_by: Where the data module took them: those that are not the defaults there were
            chosen by the user.
        extra: Further arguments of this kind, as the user gave them.

    Returns:
        All arguments that the kind takes.

    Raises:
        ValueError: If it does not take one that was given.
    """
    taken = signature(dataset_class).parameters
    for name, value in options.items():
        # A cube was given these when it was converted.
        if name not in taken and value != chosen_by.parameters[name].default:
            raise ValueError(
                f'{name} is no argument of {dataset_class.__name__}: leave it out, or give it to '
                '`torchgeo-sits cube` for a cube that is read'
            )
    free = [name for name in taken if name not in options]
    if unknown := sorted(set(extra) - set(free)):
        raise ValueError(
            f'dataset_kwargs holds {unknown}, expected some of {free}, which '
            f'{dataset_class.__name__} takes beside the arguments of the data module'
        )
    return {name: value for name, value in options.items() if name in taken} | dict(extra)


def check_options(given: Mapping[str, Any]) -> None:
    """Refuse arguments of the data module that are out of their range or do not go together.

    Args:
        given: All arguments, by their names.

    Raises:
        ValueError: If an argument cannot work.
    """
    val_fraction, test_fraction = given['val_fraction'], given['test_fraction']
    if val_fraction < 0 or test_fraction < 0 or val_fraction + test_fraction >= 1:
        raise ValueError(
            'val_fraction and test_fraction must be at least 0 and leave something for '
            f'training, got {val_fraction} and {test_fraction}'
        )
    if (given['mean'] is None) != (given['std'] is None):
        raise ValueError('Give both mean and std, or neither')
    for name in (
        'patch_size',
        'batch_size',
        'length',
        'num_dates',
        'num_classes',
        'fields_per_class',
        'min_field_pixels',
    ):
        if (value := given[name]) is not None and value < 1:
            raise ValueError(f'{name} must be at least 1, got {value}')
    if given['num_workers'] < 0:
        raise ValueError(f'num_workers must be at least 0, got {given["num_workers"]}')
    fraction = given['label_fraction']
    if fraction is not None and not 0 < fraction <= 1:
        raise ValueError(f'label_fraction must be a share above 0, at most 1, got {fraction}')
    if fraction is not None and given['fields_per_class'] is not None:
        raise ValueError(
            f'fields_per_class={given["fields_per_class"]} and label_fraction={fraction} both say '
            'how many fields are labelled: give one of them'
        )
    if given['classes'] is not None and given['num_classes'] is not None:
        raise ValueError(
            f'num_classes={given["num_classes"]} follows from classes: leave num_classes out'
        )
    if given['target'] == 'field' and given['by_block']:
        raise ValueError("by_block=True draws patches: leave it out with target='field'")
    if given['mask_paths'] is None:
        _check_without_labels(given)


def _check_without_labels(given: Mapping[str, Any]) -> None:
    """Refuse what needs labels, and say what has no effect without."""
    for name, without in (
        ('supervised', False),
        ('classes', None),
        ('mask_per_frame', False),
        ('field_paths', None),
        ('fields_per_class', None),
        ('label_fraction', None),
    ):
        if given[name] != without:
            raise ValueError(f'{name}={given[name]!r} needs labels: give mask_paths')
    if given['split'] == 'fields' or given['target'] == 'field':
        name = 'split' if given['split'] == 'fields' else 'target'
        raise ValueError(f'{name}={given[name]!r} needs labels: give mask_paths')
    split, val, test = (given[name] for name in ('split', 'val_fraction', 'test_fraction'))
    if (split, val, test) != ('space', 0.25, 0.0):
        warnings.warn(
            f'split={split!r}, val_fraction={val} and test_fraction={test} '
            'have no effect without labels: nothing can be validated, so all of the imagery '
            'is for training. Give mask_paths to hold some out',
            UserWarning,
            stacklevel=4,
        )
