"""The views that a task is asked for."""

from collections.abc import Mapping
from inspect import signature
from typing import Any

from torch import nn

from ..transforms import PlanarMultiView, ResamplingMultiView

__all__ = ['build_views']

_KINDS = {'planar': PlanarMultiView, 'resampling': ResamplingMultiView}


def build_views(
    kind: str, augment: nn.Module, default: Mapping[str, Any], asked: Mapping[str, Any] | None
) -> PlanarMultiView | ResamplingMultiView:
    """Build the views that a task draws.

    Args:
        kind: ``'planar'`` or ``'resampling'``.
        augment: Augmentation of each view.
        default: Arguments that suit the task.
        asked: Arguments that were asked for, above these.

    Returns:
        The views.

    Raises:
        ValueError: If there is no such kind, or an argument does not fit it.
    """
    if kind not in _KINDS:
        raise ValueError(f"expected views to be 'planar' or 'resampling', got {kind!r}")
    views = _KINDS[kind]
    try:
        return views(augment=augment, **{**default, **(asked or {})})
    except TypeError as error:
        names = [name for name in signature(views).parameters if name != 'augment']
        raise ValueError(
            f'views_kwargs={asked} do not fit {views.__name__}: {error}. It takes {names}'
        ) from error
