"""From a model to a graph of tensors that holds for series of any size."""

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from ..keys import ACQUISITION_TIMES, IMAGE, MASK_CLEAR, VALID
from .sizes import example

__all__ = ['SIZES', 'trace']

#: What the axes of the inputs that are left open are called.
SIZES = {
    IMAGE: {0: 'batch', 1: 'frames', 3: 'height', 4: 'width'},
    ACQUISITION_TIMES: {0: 'batch', 1: 'frames'},
    VALID: {0: 'batch', 1: 'frames'},
    MASK_CLEAR: {0: 'batch', 1: 'frames', 2: 'height', 3: 'width'},
}


def trace(model: nn.Module, *, name: str, channels: int, cell: int) -> ExportedProgram:
    """Trace a model, with the number of samples and frames, height and width left open.

    Args:
        model: The model, see :class:`~.raw_series.RawSeriesModel`.
        name: Name of its encoder, for the message.
        channels: Number of bands C.
        cell: Pixels along the side of a cell of the model's features.

    Returns:
        The graph.

    Raises:
        ValueError: If the model fixes a size.
    """
    # No size may be 1, nor the number of cells of any level of a model: those are traced as
    # numbers, not as sizes.
    series = example(channels, (2, 5, 2 * cell + 17, 3 * cell + 18))
    try:
        with torch.no_grad():
            return torch.export.export(
                model,
                tuple(series),
                dynamic_shapes={
                    name: dict.fromkeys(axes, Dim.DYNAMIC) for name, axes in SIZES.items()
                },
                strict=False,
            )
    except Exception as error:
        # Of many kinds: what torch.export cannot trace, it says in its own words.
        first = (str(error).splitlines() or [''])[0][:80]
        raise ValueError(
            f'{name} cannot be exported: its graph would hold for one size or number of frames '
            f'only, or has none ({type(error).__name__}: {first}). Use the checkpoint itself, or '
            'train an encoder that can be, such as planar_vit_tiny'
        ) from error
