"""Trained models as graphs that take series as they are read, and name their outputs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, IMAGE, MASK_CLEAR, VALID, Series
from ..models import EncoderCard, SITSEncoder, load_bare_encoder
from ..tasks import SITSLabelled, load_task
from ..transforms import Normalize

__all__ = ['SIZES', 'RawSeriesModel', 'example_series', 'load_model', 'trace', 'unseen_series']


def example_series(channels: int, size: tuple[int, int, int, int], *, seed: int = 0) -> Series:
    """Draw a series of noise with clouds, and with padding for two samples or more.

    Args:
        channels: Number of bands C.
        size: B, T, H and W.
        seed: Seed of values, dates and clouds.

    Returns:
        The series.
    """
    b, t, h, w = size
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(b, t, channels, h, w, generator=generator)
    times = torch.randint(1_500_000_000, 1_600_000_000, (b, t), generator=generator).sort(1).values
    valid = torch.ones(b, t, dtype=torch.bool)
    valid[1:, (t + 1) // 2 :] = False
    clear = torch.rand(b, t, h, w, generator=generator) > 0.3
    clear[:, :, 0, 0] = False  # a pixel that no frame saw
    return Series(image, times * valid, valid, clear)


def unseen_series(card: EncoderCard, cell: int) -> Iterator[Series]:
    """Draw series of other sizes than a model was traced with, in the unit of its training data.

    Args:
        card: The model's card.
        cell: Pixels along the side of a cell of the model's features.

    Yields:
        The series.
    """
    for seed, (b, t, h, w) in enumerate([(1, 1, 1, 2), (3, 7, 6, 9), (1, 12, 23, 8)], start=1):
        series = example_series(card['in_channels'], (b, t, cell + h, cell + w), seed=seed)
        if card['mean']:
            mean, std = (torch.tensor(v)[:, None, None] for v in (card['mean'], card['std']))
            series = series._replace(image=series.image * std + mean)
        yield series


#: Names of the axes of the inputs that are left open.
SIZES = {
    IMAGE: {0: 'batch', 1: 'frames', 3: 'height', 4: 'width'},
    ACQUISITION_TIMES: {0: 'batch', 1: 'frames'},
    VALID: {0: 'batch', 1: 'frames'},
    MASK_CLEAR: {0: 'batch', 1: 'frames', 2: 'height', 3: 'width'},
}


def trace(model: nn.Module, *, name: str, channels: int, cell: int) -> ExportedProgram:
    """Trace a model, with the number of samples and frames, height and width left open.

    Args:
        model: The model, see :class:`~.graph.RawSeriesModel`.
        name: Name of its encoder, for the message.
        channels: Number of bands C.
        cell: Pixels along the side of a cell of the model's features.

    Returns:
        The graph.

    Raises:
        SITSError: If the model fixes a size.
    """
    # No size may be 1, nor the number of cells of any level of a model: those are traced as
    # numbers, not as sizes.
    series = example_series(channels, (2, 5, 2 * cell + 17, 3 * cell + 18))
    try:
        with torch.no_grad():
            return torch.export.export(
                model,
                series[: len(SIZES)],
                dynamic_shapes={
                    name: dict.fromkeys(axes, Dim.DYNAMIC) for name, axes in SIZES.items()
                },
                strict=False,
            )
    except Exception as error:
        # Of many kinds: what torch.export cannot trace, it says in its own words.
        first = (str(error).splitlines() or [''])[0][:80]
        raise SITSError(
            f'{name} cannot be exported: its graph would hold for one size or number of frames '
            f'only, or has none ({type(error).__name__}: {first}). Use the checkpoint itself, or '
            'train an encoder that can be, such as planar_vit_tiny'
        ) from error


class RawSeriesModel(nn.Module):
    """Normalisation, encoder and head in one, for series in the unit of the training data.

    A task with labels gives what its ``predict_step`` does: ``probabilities``, for dates of
    change ``probability`` and ``date``, for a regression ``value`` in the unit of its labels. An
    encoder alone gives ``embed`` ``(B, D)`` and the dense features ``early`` and ``late``
    ``(B, D', H / stride, W / stride)``.

    Args:
        model: The encoder, or the task.
        card: Its card, whose ``mean`` and ``std`` are used. Where it knows none, series must
            come as the model was trained.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.exporting import RawSeriesModel
        >>> from torchgeo_sits.models import build_encoder, encoder_card
        >>> encoder = build_encoder('tempcnn', 2, num_dates=4, hidden_dim=4, embed_dim=8)
        >>> model = RawSeriesModel(encoder, encoder_card('tempcnn', encoder))
        >>> seen = torch.ones(1, 3, dtype=torch.bool), torch.ones(1, 3, 6, 6, dtype=torch.bool)
        >>> found = model(torch.rand(1, 3, 2, 6, 6), torch.arange(3)[None] * 864_000, *seen)
        >>> {name: tuple(value.shape) for name, value in found.items()}
        {'embed': (1, 8), 'early': (1, 8, 6, 6), 'late': (1, 8, 6, 6)}
    """

    def __init__(self, model: SITSEncoder | SITSLabelled, card: EncoderCard) -> None:
        super().__init__()
        self.model = model
        self.normalize: nn.Module = (
            Normalize(card['mean'], card['std']) if card['mean'] else nn.Identity()
        )
        self.eval()

    def forward(
        self, image: Tensor, acquisition_times: Tensor, valid: Tensor, mask_clear: Tensor
    ) -> dict[str, Tensor]:
        """Predict.

        Args:
            image: ``(B, T, C, H, W)`` float32, values as they are read; anything where
                *mask_clear* or *valid* is False.
            acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.
            valid: ``(B, T)`` bool, False in padding frames.
            mask_clear: ``(B, T, H, W)`` bool, True where a pixel was seen.

        Returns:
            Outputs by name, see the class.
        """
        batch = {
            IMAGE: image,
            ACQUISITION_TIMES: acquisition_times,
            VALID: valid,
            MASK_CLEAR: mask_clear,
        }
        batch = self.normalize(batch)
        if isinstance(self.model, SITSEncoder):
            said = self.model.encode_image(self.model.series_of(batch))
            early, late = (rearrange(x, 'b h w d -> b d h w') for x in (said.early, said.late))
            return {'embed': said.embed, 'early': early, 'late': late}
        found: Any = self.model.predict_step(batch, 0)
        return found if isinstance(found, dict) else {'probabilities': found}


def load_model(path: str | Path) -> tuple[RawSeriesModel, EncoderCard]:
    """Load the model of a checkpoint, to be exported.

    Args:
        path: Path of a checkpoint of a task with labels, or of a pretraining, whose encoder it
            is then.

    Returns:
        The model, in evaluation mode, and its card.

    Raises:
        FileNotFoundError: If there is no such file.
        SITSError: If the file is no checkpoint of this package.

    Examples:
        >>> import tempfile, torch
        >>> from torchgeo_sits.exporting import load_model
        >>> from torchgeo_sits.models import CARD_KEY, build_encoder, encoder_card
        >>> encoder = build_encoder('tempcnn', 2, num_dates=4, hidden_dim=4, embed_dim=8)
        >>> weights = {f'backbone.{name}': value for name, value in encoder.state_dict().items()}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     content = {'state_dict': weights, CARD_KEY: encoder_card('tempcnn', encoder)}
        ...     torch.save(content, f'{folder}/X.ckpt')
        ...     model, card = load_model(f'{folder}/X.ckpt')
        >>> card['model'], card['in_channels']
        ('tempcnn', 2)
    """
    encoder, card = load_bare_encoder(path)
    model: SITSEncoder | SITSLabelled = encoder
    if card['encoder'] == SITSLabelled.encoder_name:
        model, card = load_task(path)
    return RawSeriesModel(model, card), card
