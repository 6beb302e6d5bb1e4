"""Low-rank adapters of encoders: put in for fine-tuning, merged where an encoder is loaded."""

from collections.abc import Mapping
from typing import Final

from torch import Tensor, nn

from ..errors import SITSError
from .encoder import SITSEncoder

__all__ = ['add_adapters', 'merge_adapters']

#: Linear layers of attention and MLP, by the names that timm gives them in its blocks.
_LAYERS: Final = {'attn': ('qkv', 'proj'), 'mlp': ('fc1', 'fc2')}
#: Names that peft gives the two matrices of an adapter.
_PARTS: Final = ('lora_A.default', 'lora_B.default')


def add_adapters(encoder: SITSEncoder, rank: int) -> list[str]:
    r"""Put adapters beside the linear layers of an encoder's blocks, and freeze the rest.

    Each layer :math:`W x + b` becomes :math:`W x + b + B A x`, with :math:`A` of *rank* rows and
    :math:`B` of as many columns, zero at first: LoRA, https://arxiv.org/abs/2106.09685, equation
    3, with :math:`\alpha = r`, which leaves the scale to the learning rate (section 4.1).

    Args:
        encoder: The encoder, changed in place.
        rank: Rank r of the adapters, at least 1.

    Returns:
        Names of the layers that have one.

    Raises:
        SITSError: If the encoder has no such layers, or peft is not installed.

    Examples:
        >>> from torchgeo_sits.models import build_encoder
        >>> from torchgeo_sits.models.adapters import add_adapters
        >>> encoder = build_encoder('tempcnn', 4)
        >>> try:
        ...     add_adapters(encoder, 4)
        ... except ValueError as error:
        ...     print(str(error)[:34])
        TempCNN has no attention or MLP of
    """
    names = [
        f'{name}.{layer}'
        for name, module in encoder.named_modules()
        for layer in _LAYERS.get(name.rpartition('.')[-1], ())
        if isinstance(getattr(module, layer, None), nn.Linear)
        # timm's EvaAttention takes the weight of this layer past the layer itself.
        and not (layer == 'qkv' and getattr(module, 'q_bias', None) is not None)
    ]
    if not names:
        raise SITSError(
            f'{type(encoder).__name__} has no attention or MLP of timm that adapters could be '
            'put on: leave lora_rank out, or choose presto, galileo_nano or planar_vit_tiny'
        )
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError as error:
        if error.name != 'peft':
            raise
        raise SITSError(
            'adapters (lora_rank) need the package peft: pip install "torchgeo-sits[lora]"'
        ) from error
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=names), encoder)
    return names


def merge_adapters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Merge the adapters of :func:`add_adapters` into the weights that they stand beside.

    Args:
        state: State dict of an encoder, with adapters or without.

    Returns:
        The state dict of the encoder without adapters that computes the same.

    Raises:
        SITSError: If a part of an adapter is missing, or does not fit.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.models.adapters import merge_adapters
        >>> merge_adapters(
        ...     {
        ...         'fc1.base_layer.weight': torch.zeros(2, 3),
        ...         'fc1.lora_A.default.weight': torch.ones(1, 3),
        ...         'fc1.lora_B.default.weight': torch.ones(2, 1),
        ...     }
        ... )
        {'fc1.weight': tensor([[1., 1., 1.],
                [1., 1., 1.]])}
    """
    merged = {
        name.replace('.base_layer.', '.'): value
        for name, value in state.items()
        if '.lora_' not in name
    }
    layers = sorted({name.partition('.lora_')[0] for name in state if '.lora_' in name})
    for layer in layers:
        parts = [f'{layer}.{part}.weight' for part in ('base_layer', *_PARTS)]
        try:
            base, down, up = (state[part] for part in parts)
            # In float64, for the sum to be that of the exact product.
            merged[f'{layer}.weight'] = (base.double() + up.double() @ down.double()).to(base)
        except (KeyError, RuntimeError) as error:
            raise SITSError(
                f'the adapter of {layer} is damaged: expected {", ".join(parts)}, of shapes that '
                'fit. Use another checkpoint'
            ) from error
    return merged
