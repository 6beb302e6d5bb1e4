"""Registration of encoders with this package, TorchGeo, timm and smp.

The only file that touches TorchGeo's private tables: TorchGeo 0.10 has no public way to
register a model or weights.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, overload

from ..errors import SITSError
from .builders import ENCODERS
from .encoder import SITSEncoder
from .sits_s2 import SITSS2Tiny_Weights

__all__ = ['register_encoder', 'register_models']

type _Builder = Callable[..., SITSEncoder]


def register_models() -> None:
    """Make the encoders known to TorchGeo, timm and segmentation_models_pytorch.

    Afterwards :func:`torchgeo.models.list_models` and :func:`~torchgeo.models.get_model` see
    them; ``timm.create_model('sits_planar_vit_tiny', in_chans=T * C, num_classes=0)`` builds
    them for TorchGeo's own tasks; and smp knows ``sits_planar_vit_tiny`` as an encoder.
    :func:`torchgeo.models.get_weight` finds the weights that this package ships.
    Calling it again changes nothing, and names that others have taken are left to them.

    Examples:
        >>> register_models()
        >>> from torchgeo.models import get_model, get_weight
        >>> type(get_model('planar_vit_tiny', in_channels=4)).__name__
        'PlanarViT'
        >>> get_weight('SITSS2Tiny_Weights.SENTINEL2').meta['bands'][:3]
        ('blue', 'green', 'red')
    """
    # Slow to import (seconds), so only here.
    from torchgeo.models import api as torchgeo_api

    for name in ENCODERS:
        _publish(name)
    torchgeo_api._model_weights.setdefault('sits_s2_tiny', SITSS2Tiny_Weights)


@overload
def register_encoder[B: _Builder](name: str) -> Callable[[B], B]: ...
@overload
def register_encoder[B: _Builder](name: str, builder: B) -> B: ...
def register_encoder(name: str, builder: Any = None) -> Any:
    """Make an encoder of one's own known by name, wherever the package's own are.

    Afterwards ``model: NAME`` of all tasks, :func:`~.builders.build_encoder` and
    :func:`torchgeo.models.get_model` build it, and timm and smp know ``sits_NAME``. Checkpoints
    hold the name: register it before one is loaded. ``torchgeo-sits`` registers nothing by
    itself but what a package names in an entry point of the group ``torchgeo.plugins``; without
    one, give the dotted path of the builder in place of a name.

    Args:
        name: Name of the encoder, without dots.
        builder: A class derived from :class:`~.encoder.SITSEncoder`, or a function that returns
            one, which takes ``in_channels`` and keyword arguments. Left out, the function is a
            decorator.

    Returns:
        The builder.

    Raises:
        SITSError: If *name* has a dot, or is that of another encoder or model of TorchGeo.

    Examples:
        >>> from torchgeo_sits.models import PlanarViT, build_encoder
        >>> @register_encoder('planar_vit_doctest')
        ... def narrow(in_channels=10, **kwargs) -> PlanarViT:
        ...     return PlanarViT(in_channels, embed_dim=32, **kwargs)
        >>> build_encoder('planar_vit_doctest', 4).embed_dim
        32
    """
    if builder is None:
        return partial(register_encoder, name)
    if not name or '.' in name:
        raise SITSError(f'expected a name without dots, which are left to paths, got {name!r}')
    # Slow to import (seconds), so only here.
    from torchgeo.models import api as torchgeo_api

    for taken in (ENCODERS.get(name), torchgeo_api._model.get(name)):
        # A module that is loaded once more, such as a cell of a notebook, brings its own again.
        if taken is not None and _origin(taken) != _origin(builder):
            raise SITSError(
                f'expected a name that is free, got {name!r}, which is that of '
                f'{".".join(_origin(taken))}: choose another'
            )
    ENCODERS[name] = builder
    torchgeo_api._model[name] = builder
    _publish(name)
    return builder


def _origin(builder: Any) -> tuple[str, str]:
    """Module and name of a builder."""
    return builder.__module__, builder.__qualname__


def _publish(name: str) -> None:
    """Make an encoder of :data:`ENCODERS` known to others, but for names that they have taken."""
    # Slow to import (seconds), so only here.
    from torchgeo.models import api as torchgeo_api

    from .backbones import register_smp_encoder, register_timm_backbone

    torchgeo_api._model.setdefault(name, ENCODERS[name])
    register_timm_backbone(f'sits_{name}', encoder=name)
    register_smp_encoder(f'sits_{name}', encoder=name)
