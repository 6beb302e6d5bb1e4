"""Encoders by name."""

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from typing import Any, Final, get_type_hints

from ..errors import SITSError
from .convlstm import ConvLSTM
from .deep_star import DeepSTaR
from .encoder import SITSEncoder
from .factorised import FactorisedEncoder
from .galileo import Galileo
from .ltae import LTAE
from .olmoearth import OlmoEarth
from .olmoearth_v1_2 import OlmoEarthV12
from .planar_vit import PlanarViT
from .presto import Presto
from .sits_s2 import SITSS2Tiny
from .tempcnn import TempCNN
from .tessera import Tessera
from .tsvit import TSViT
from .unet3d import UNet3D
from .utae import UTAE

__all__ = [
    'ENCODERS',
    'build_encoder',
    'factorised_small',
    'factorised_tiny',
    'olmoearth_v1_2_base',
    'olmoearth_v1_2_small',
    'olmoearth_v1_2_tiny',
    'olmoearth_v1_base',
    'olmoearth_v1_tiny',
    'planar_vit_base',
    'planar_vit_small',
    'planar_vit_tiny',
    'planar_vit_v2_tiny',
    'takes_argument',
]


def planar_vit_tiny(in_channels: int = 10, **kwargs: Any) -> PlanarViT:
    """PlanarViT with D = 128 and 2 path blocks, for pretraining on a CPU.

    Args:
        in_channels: Number of bands.
        **kwargs: Arguments of :class:`PlanarViT` that replace those of this size.

    Examples:
        >>> planar_vit_tiny(4).embed_dim
        128
    """
    return PlanarViT(in_channels, **kwargs)


def planar_vit_v2_tiny(in_channels: int = 10, **kwargs: Any) -> PlanarViT:
    """PlanarViT of the second version: it tells the first year of a series from the last.

    Seasonal queries see half a month each, in place of a month, and there is one set of them for
    each end of the series. What it gains and costs stands in ``study/FINDINGS.md``, with the
    development data that the numbers were chosen on.

    Args:
        in_channels: Number of bands.
        **kwargs: Arguments of :class:`PlanarViT` that replace those of this size.

    Examples:
        >>> planar_vit_v2_tiny(4).config['years']
        ['first', 'last']
    """
    second: dict[str, Any] = {
        'time_dim': 48,
        'seasonal_queries': 16,
        'concentration': 16.0,
        'years': ('first', 'last'),
    }
    return PlanarViT(in_channels, **(second | kwargs))


def planar_vit_small(in_channels: int = 10, **kwargs: Any) -> PlanarViT:
    """PlanarViT with D = 192 and 4 path blocks.

    Args:
        in_channels: Number of bands.
        **kwargs: Arguments of :class:`PlanarViT` that replace those of this size.

    Examples:
        >>> planar_vit_small(4).embed_dim
        192
    """
    size = {'embed_dim': 192, 'depth': 4, 'num_heads': 6, 'time_dim': 128, 'num_queries': 8}
    return PlanarViT(in_channels, **(size | kwargs))


def planar_vit_base(in_channels: int = 10, **kwargs: Any) -> PlanarViT:
    """PlanarViT with D = 384 and 12 path blocks.

    Args:
        in_channels: Number of bands.
        **kwargs: Arguments of :class:`PlanarViT` that replace those of this size.

    Examples:
        >>> planar_vit_base(4).embed_dim
        384
    """
    size = {'embed_dim': 384, 'depth': 12, 'num_heads': 12, 'time_dim': 256, 'num_queries': 8}
    return PlanarViT(in_channels, **(size | kwargs))


def factorised_tiny(in_channels: int = 10, **kwargs: Any) -> FactorisedEncoder:
    """FactorisedEncoder with D = 128, and 2 blocks each over space and time.

    Args:
        in_channels: Number of bands.
        **kwargs: Arguments of :class:`FactorisedEncoder` that replace those of this size.

    Examples:
        >>> factorised_tiny(4).embed_dim
        128
    """
    return FactorisedEncoder(in_channels, **kwargs)


def factorised_small(in_channels: int = 10, **kwargs: Any) -> FactorisedEncoder:
    """FactorisedEncoder with D = 192, patches of 2 pixels, 2 blocks over space and 3 over time.

    Args:
        in_channels: Number of bands.
        **kwargs: Arguments of :class:`FactorisedEncoder` that replace those of this size.

    Examples:
        >>> factorised_small(4).embed_dim
        192
    """
    size = {'dim': 192, 'patch_size': 2, 'num_heads': 6, 'temporal_depth': 3}
    return FactorisedEncoder(in_channels, **(size | kwargs))


def olmoearth_v1_tiny(in_channels: int = 10, **kwargs: Any) -> OlmoEarth:
    """OlmoEarth v1 with D = 192 and 12 blocks.

    Args:
        in_channels: Number of bands.
        **kwargs: Arguments of :class:`OlmoEarth` that replace those of this size.

    Examples:
        >>> olmoearth_v1_tiny().embed_dim
        192
    """
    return OlmoEarth(in_channels, **({'dim': 192, 'depth': 12, 'num_heads': 3} | kwargs))


def olmoearth_v1_base(in_channels: int = 10, **kwargs: Any) -> OlmoEarth:
    """OlmoEarth v1 with D = 768 and 12 blocks.

    Args:
        in_channels: Number of bands.
        **kwargs: Arguments of :class:`OlmoEarth` that replace those of this size.

    Examples:
        >>> olmoearth_v1_base(depth=1).embed_dim
        768
    """
    return OlmoEarth(in_channels, **({'dim': 768, 'depth': 12, 'num_heads': 12} | kwargs))


def olmoearth_v1_2_tiny(in_channels: int = 10, **kwargs: Any) -> OlmoEarthV12:
    """OlmoEarth v1.2 with D = 192 and 12 blocks.

    Args:
        in_channels: Number of bands.
        **kwargs: Arguments of :class:`OlmoEarthV12` that replace those of this size.

    Examples:
        >>> olmoearth_v1_2_tiny(depth=1).embed_dim
        192
    """
    size = {'dim': 192, 'depth': 12, 'num_heads': 3, 'hidden_dim': 64}
    return OlmoEarthV12(in_channels, **(size | kwargs))


def olmoearth_v1_2_small(in_channels: int = 10, **kwargs: Any) -> OlmoEarthV12:
    """OlmoEarth v1.2 with D = 384 and 12 blocks.

    Args:
        in_channels: Number of bands.
        **kwargs: Arguments of :class:`OlmoEarthV12` that replace those of this size.

    Examples:
        >>> olmoearth_v1_2_small(depth=1).embed_dim
        384
    """
    size = {'dim': 384, 'depth': 12, 'num_heads': 6, 'hidden_dim': 64}
    return OlmoEarthV12(in_channels, **(size | kwargs))


def olmoearth_v1_2_base(in_channels: int = 10, **kwargs: Any) -> OlmoEarthV12:
    """OlmoEarth v1.2 with D = 768 and 12 blocks.

    Args:
        in_channels: Number of bands.
        **kwargs: Arguments of :class:`OlmoEarthV12` that replace those of this size.

    Examples:
        >>> olmoearth_v1_2_base(depth=1).embed_dim
        768
    """
    size = {'dim': 768, 'depth': 12, 'num_heads': 12, 'hidden_dim': 64}
    return OlmoEarthV12(in_channels, **(size | kwargs))


#: Builders of encoders by name; each takes ``in_channels`` first. Add others by
#: :func:`~.api.register_encoder`.
ENCODERS: Final[dict[str, Callable[..., SITSEncoder]]] = {
    'planar_vit_tiny': planar_vit_tiny,
    'planar_vit_v2_tiny': planar_vit_v2_tiny,
    'planar_vit_small': planar_vit_small,
    'planar_vit_base': planar_vit_base,
    'factorised_tiny': factorised_tiny,
    'factorised_small': factorised_small,
    'tsvit': TSViT,
    'unet3d': UNet3D,
    'convlstm': ConvLSTM,
    'ltae': LTAE,
    'utae': UTAE,
    'tempcnn': TempCNN,
    'deep_star': DeepSTaR,
    'presto': Presto,
    'galileo_nano': Galileo,
    'tessera': Tessera,
    'sits_s2_tiny': SITSS2Tiny,
    'olmoearth_v1_nano': OlmoEarth,
    'olmoearth_v1_tiny': olmoearth_v1_tiny,
    'olmoearth_v1_base': olmoearth_v1_base,
    'olmoearth_v1_2_nano': OlmoEarthV12,
    'olmoearth_v1_2_tiny': olmoearth_v1_2_tiny,
    'olmoearth_v1_2_small': olmoearth_v1_2_small,
    'olmoearth_v1_2_base': olmoearth_v1_2_base,
}


#: No format of images has more bands.
_MOST_CHANNELS = 65_535


def build_encoder(name: str, in_channels: int, **kwargs: Any) -> SITSEncoder:
    """Build an encoder by name, or by the dotted path of its class or builder.

    Args:
        name: One of :data:`ENCODERS`; the name of a :class:`~.encoder.SITSEncoder` that another
            package registered with :mod:`torchgeo.models`; or a path such as
            ``my.package.build`` of a class derived from :class:`~.encoder.SITSEncoder`, or of a
            function that is annotated to return one.
        in_channels: Number of bands.
        **kwargs: Further arguments of the builder.

    Returns:
        The encoder, with random weights.

    Raises:
        SITSError: If there is no encoder of this name or path, or it takes other arguments.

    Examples:
        >>> build_encoder('planar_vit_tiny', 4, depth=1).embed_dim
        128
        >>> build_encoder('torchgeo_sits.models.LTAE', 4).in_channels
        4
    """
    if not isinstance(in_channels, int) or not 1 <= in_channels <= _MOST_CHANNELS:
        raise SITSError(f'in_channels must be from 1 to {_MOST_CHANNELS}, got {in_channels!r}')
    if name in ENCODERS or '.' in name:
        builder = ENCODERS.get(name) or _import_builder(name)
        try:
            return builder(in_channels=in_channels, **kwargs)
        except SITSError:
            raise
        except (TypeError, ValueError, ArithmeticError, MemoryError, RuntimeError) as error:
            raise SITSError(
                f'{name} cannot be built with {kwargs}: {str(error).splitlines()[0]}'
            ) from error
    from torchgeo.models import get_model, list_models

    if name in list_models():
        refusal = f'{name!r} is a model of TorchGeo but no encoder of time series'
        choice = f'choose one of {sorted(ENCODERS)}'
        try:
            model = get_model(name, in_channels=in_channels, **kwargs)
        except TypeError as error:
            raise SITSError(f'{refusal}, or takes other arguments ({error}): {choice}') from error
        if isinstance(model, SITSEncoder):
            return model
        raise SITSError(f'{refusal}, got {type(model).__name__}: {choice}')
    raise SITSError(
        f'expected the name of an encoder, one of {sorted(ENCODERS)}, or the dotted path of one, '
        f'got {name!r}'
    )


def takes_argument(name: str, argument: str) -> bool:
    """Say whether the builder of an encoder takes an argument.

    Args:
        name: Name or dotted path of the encoder, as of :func:`build_encoder`.
        argument: Such as ``s1_channels``, the bands of a Sentinel-1 series, or ``bands``, the
            names of the channels.

    Returns:
        False too for names that only TorchGeo knows.

    Examples:
        >>> from torchgeo_sits.models.builders import takes_argument
        >>> takes_argument('factorised_tiny', 's1_channels')
        True
        >>> takes_argument('planar_vit_tiny', 's1_channels')
        False
    """
    builder: Any = ENCODERS.get(name) or ('.' in name and _import_builder(name))
    if not builder:
        return False
    # A function hands what it does not name to what it is annotated to return.
    made = builder if isinstance(builder, type) else _annotation(builder)
    return any(argument in signature(part).parameters for part in (builder, made) if part)


def _annotation(builder: Callable[..., Any]) -> Any:
    """What a function is annotated to return, None where that is not known."""
    try:
        return get_type_hints(builder).get('return')
    except (NameError, TypeError):
        return None


def _import_builder(path: str) -> Callable[..., SITSEncoder]:
    """Import the class or the function at a dotted path.

    Nothing is called that does not say that it builds an encoder: paths come from checkpoints
    too, together with the arguments.
    """
    module, _, name = path.rpartition('.')
    try:
        builder: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise SITSError(
            f'no encoder can be imported from {path!r} ({error}): check the path, and that '
            'Python finds the module (PYTHONPATH)'
        ) from error
    made = builder if isinstance(builder, type) else _annotation(builder)
    if not (isinstance(made, type) and issubclass(made, SITSEncoder)):
        raise SITSError(
            f'expected {path!r} to be a class derived from SITSEncoder, or a function annotated '
            f'to return one, got {builder!r}'
        )
    return builder
