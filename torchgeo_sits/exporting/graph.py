"""Trained models as graphs that take series as they are read, and name their outputs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ..errors import SITSError
from ..keys import ACQUISITION_TIMES, IMAGE, MASK_CLEAR, S1_KEYS, VALID, Series
from ..models import EncoderCard, SITSEncoder, load_bare_encoder
from ..tasks import SITSLabelled, load_task
from ..transforms import Normalize, NormalizeS1

__all__ = [
    'SIZES',
    'SIZES_WITH_S1',
    'RawSeriesModel',
    'example_series',
    'inputs_of',
    'load_model',
    's1_channels_of',
    'trace',
    'unseen_series',
]


def example_series(
    channels: int, size: tuple[int, int, int, int], *, s1_channels: int = 0, seed: int = 0
) -> Series:
    """Draw a series of noise with clouds, and with padding for two samples or more.

    Args:
        channels: Number of bands C.
        size: B, T, H and W.
        s1_channels: Bands of a Sentinel-1 series beside it, of two frames more; 0 for none.
        seed: Seed of values, dates and clouds.

    Returns:
        The series.
    """
    b, t, h, w = size
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(b, t, channels, h, w, generator=generator)
    # 22 months: encoders by month take 24 at most.
    times = torch.randint(1_540_000_000, 1_597_000_000, (b, t), generator=generator).sort(1).values
    valid = torch.ones(b, t, dtype=torch.bool)
    valid[1:, (t + 1) // 2 :] = False
    clear = torch.rand(b, t, h, w, generator=generator) > 0.3
    clear[:, :, 0, 0] = False  # a pixel that no frame saw
    series = Series(image, times * valid, valid, clear)
    if s1_channels:
        size = b, t + 2, h, w
        series = series._replace(s1=example_series(s1_channels, size, seed=seed + 100))
    return series


def s1_channels_of(card: EncoderCard) -> int:
    """Bands of Sentinel-1 that the encoder of a card takes."""
    return int(card['model_kwargs'].get('s1_channels', 0))


def unseen_series(card: EncoderCard, cell: int) -> Iterator[Series]:
    """Draw series of other sizes than a model was traced with, in the unit of its training data.

    Args:
        card: The model's card.
        cell: Pixels along the side of a cell of the model's features.

    Yields:
        The series.
    """
    for seed, (b, t, h, w) in enumerate([(1, 1, 1, 2), (3, 7, 6, 9), (1, 12, 23, 8)], start=1):
        series = example_series(
            card['in_channels'],
            (b, t, cell + h, cell + w),
            s1_channels=s1_channels_of(card),
            seed=seed,
        )
        if card['mean']:
            series = _in_unit(series, card['mean'], card['std'])
        if series.s1 is not None and card.get('mean_s1'):
            s1 = _in_unit(series.s1, card['mean_s1'], card['std_s1'])
            series = series._replace(s1=s1)
        yield series


def _in_unit(series: Series, mean: Sequence[float], std: Sequence[float]) -> Series:
    """Undo the normalisation of a series."""
    centre, spread = (torch.tensor(v)[:, None, None] for v in (mean, std))
    return series._replace(image=series.image * spread + centre)


#: Names of the axes of the inputs that are left open.
SIZES = {
    IMAGE: {0: 'batch', 1: 'frames', 3: 'height', 4: 'width'},
    ACQUISITION_TIMES: {0: 'batch', 1: 'frames'},
    VALID: {0: 'batch', 1: 'frames'},
    MASK_CLEAR: {0: 'batch', 1: 'frames', 2: 'height', 3: 'width'},
}
#: The same of models that take Sentinel-1, whose frames are counted apart.
SIZES_WITH_S1 = SIZES | {S1_KEYS[name]: axes | {1: 'frames_s1'} for name, axes in SIZES.items()}


def inputs_of(series: Series) -> dict[str, Tensor]:
    """Give the inputs of a graph, by their names, of a series and of Sentinel-1 if any."""
    inputs = {name: getattr(series, name) for name in SIZES}
    if series.s1 is not None:
        inputs |= {S1_KEYS[name]: getattr(series.s1, name) for name in SIZES}
    return inputs


def trace(
    model: nn.Module, *, name: str, channels: int, cell: int, s1_channels: int = 0
) -> ExportedProgram:
    """Trace a model, with the number of samples and frames, height and width left open.

    Args:
        model: The model, see :class:`~.graph.RawSeriesModel`.
        name: Name of its encoder, for the message.
        channels: Number of bands C.
        cell: Pixels along the side of a cell of the model's features.
        s1_channels: Bands of Sentinel-1, 0 where it takes none.

    Returns:
        The graph.

    Raises:
        SITSError: If the model fixes a size.
    """
    # No size may be 1, nor the number of cells of any level of a model: those are traced as
    # numbers, not as sizes.
    size = 2, 5, 2 * cell + 17, 3 * cell + 18
    inputs = inputs_of(example_series(channels, size, s1_channels=s1_channels))
    sizes = SIZES_WITH_S1 if s1_channels else SIZES
    try:
        with torch.no_grad():
            return torch.export.export(
                model,
                tuple(inputs.values()),
                dynamic_shapes={name: dict.fromkeys(sizes[name], Dim.DYNAMIC) for name in inputs},
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
        s1 = card.get('mean_s1')
        self.normalize_s1: nn.Module = NormalizeS1(s1, card['std_s1']) if s1 else nn.Identity()
        self.eval()

    def forward(
        self,
        image: Tensor,
        acquisition_times: Tensor,
        valid: Tensor,
        mask_clear: Tensor,
        image_s1: Tensor | None = None,
        acquisition_times_s1: Tensor | None = None,
        valid_s1: Tensor | None = None,
        mask_clear_s1: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Predict.

        Args:
            image: ``(B, T, C, H, W)`` float32, values as they are read; anything where
                *mask_clear* or *valid* is False.
            acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.
            valid: ``(B, T)`` bool, False in padding frames.
            mask_clear: ``(B, T, H, W)`` bool, True where a pixel was seen.
            image_s1: ``(B, T1, C1, H, W)`` float32, of models that take Sentinel-1. A graph of
                one is given these four even where there is none: one frame that is not valid.
            acquisition_times_s1: ``(B, T1)`` int64.
            valid_s1: ``(B, T1)`` bool.
            mask_clear_s1: ``(B, T1, H, W)`` bool.

        Returns:
            Outputs by name, see the class.
        """
        batch = {
            IMAGE: image,
            ACQUISITION_TIMES: acquisition_times,
            VALID: valid,
            MASK_CLEAR: mask_clear,
        }
        beside = image_s1, acquisition_times_s1, valid_s1, mask_clear_s1
        names = S1_KEYS[IMAGE], S1_KEYS[ACQUISITION_TIMES], S1_KEYS[VALID], S1_KEYS[MASK_CLEAR]
        batch |= {k: v for k, v in zip(names, beside, strict=True) if v is not None}
        batch = self.normalize_s1(self.normalize(batch))
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
            is then; or ``hf://ORG/REPO`` of the Hub.

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
