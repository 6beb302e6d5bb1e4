"""Which arguments of a data module its kind of series takes."""

from collections.abc import Mapping
from inspect import Signature, signature
from typing import Any

from ..datasets import TimeSeries

__all__ = ['series_options']


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
