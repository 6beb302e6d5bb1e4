"""Maps of the features of each pixel, from the encoder of a checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn.functional import interpolate

from ..errors import SITSError
from ..keys import IMAGE, Series
from ..mapping import Embedding, MapOutput
from ..models import PUBLISHED, PlanarViT, SITSEncoder, load_bare_encoder
from ..models.encoder import Depth, series_within
from ..time_steps import DaySpan
from ..weight_names import find_published
from .base import adopt_data
from .sentinel1 import meet_s1, s1_arguments

__all__ = ['SITSEmbedding', 'embedding_map', 'pixel_embeddings']


def pixel_embeddings(
    encoder: SITSEncoder,
    batch: dict[str, Any],
    spans: Sequence[DaySpan] = (),
    *,
    depth: Depth = 'late',
) -> dict[str, Tensor]:
    """Embed each pixel of a batch.

    Args:
        encoder: The encoder.
        batch: A normalised batch, see :mod:`torchgeo_sits.keys`.
        spans: Days to embed, each alone (:meth:`~torchgeo_sits.models.SITSEncoder
            .rolling_features`). All dates at once by default.
        depth: Which features, see :data:`~torchgeo_sits.models.encoder.Depth`.

    Returns:
        ``embedding`` ``(B, D, H, W)``, the features, bilinear between the cells of an
        encoder with a stride. Of *spans* ``embedding_DAY`` for each, by its last day; NaN where
        nothing was observed on its days.
    """
    size = batch[IMAGE].shape[-2:]

    def whole(features: Tensor) -> Tensor:
        if features.shape[-2:] != size:
            features = interpolate(features, size, mode='bilinear')
        return features

    series = encoder.series_of(batch)
    if not spans:
        return {'embedding': whole(encoder.features(series, depth=depth))}
    found = {}
    steps = [span.seconds for span in spans]
    rolled = encoder.rolling_features(series, steps, depth=depth)
    for span, features in zip(spans, rolled, strict=True):
        seen = _seen_within(encoder.check_series(series), span)
        found[_name(span)] = whole(features).masked_fill(~seen[:, None], torch.nan)
    return found


def _seen_within(series: Series, span: DaySpan) -> Tensor:
    """Pixels ``(B, H, W)`` that any sensor saw on the days of a span."""
    cut = series_within(series, span.seconds)
    seen = cut.clear.any(1)
    return seen if cut.s1 is None else seen | cut.s1.clear.any(1)


def _name(span: DaySpan) -> str:
    """Name of the values, and of the map, of a span."""
    return f'embedding_{span.last}'


def embedding_map(spans: Sequence[DaySpan] = ()) -> list[MapOutput]:
    """List the maps of :func:`pixel_embeddings`, a band for each feature."""
    if not spans:
        return [Embedding('embedding', 'embedding')]
    return [Embedding(_name(span), _name(span), span=span) for span in spans]


class SITSEmbedding(LightningModule):
    """Predict the features of each pixel with the encoder of any task's checkpoint.

    The data is normalised as it was when the encoder was trained.

    Args:
        weights: Path of the checkpoint, ``hf://ORG/REPO`` of the Hub, or published weights
            (``NAME`` or ``NAME:FILE``, see :data:`torchgeo_sits.models.PUBLISHED`), which are built
            when the data is known.
        spans: Days to embed, each alone; all dates at once by default.
        depth: Late features, early ones, which an encoder has before its spatial layers and a
            linear classifier often does better with, or both joined.
        blocks: Path blocks of a planar encoder to run, all of them by default: the first ones
            alone cost less (:meth:`~torchgeo_sits.models.PlanarViT.keep_blocks`).

    Attributes:
        checkpoint: What was given.

    Raises:
        FileNotFoundError: If there is no such file.
        SITSError: If the file is not a whole checkpoint of this package, or the encoder has not
            as many *blocks*.

    Examples:
        >>> import lightning, tempfile, torch
        >>> from torch.utils.data import DataLoader
        >>> from torchgeo_sits.tasks import SITSMAE, SITSEmbedding
        >>> task = SITSMAE(model='tempcnn', in_channels=3, model_kwargs={'embed_dim': 4})
        >>> trainer = lightning.Trainer(
        ...     accelerator='cpu', logger=False, max_epochs=0, enable_model_summary=False
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trainer.fit(task, DataLoader([0]))
        ...     trainer.save_checkpoint(f'{folder}/mae.ckpt')
        ...     embedding = SITSEmbedding(f'{folder}/mae.ckpt')
        >>> series = {
        ...     'image': torch.rand(1, 5, 3, 6, 6),
        ...     'acquisition_times': 86_400 * torch.arange(5)[None],
        ...     'valid': torch.ones(1, 5, dtype=torch.bool),
        ... }
        >>> embedding.predict_step(series, 0)['embedding'].shape
        torch.Size([1, 4, 6, 6])
    """

    def __init__(
        self,
        weights: str | Path,
        *,
        spans: Sequence[DaySpan] = (),
        depth: Depth = 'late',
        blocks: int | None = None,
    ) -> None:
        super().__init__()
        self.checkpoint = weights
        self.spans = list(spans)
        if depth not in get_args(Depth.__value__):
            raise SITSError(f'expected depth early, late or joined, got {depth!r}')
        self.depth = depth
        self.blocks = blocks
        if find_published(weights) is None:
            self.encoder, self._card = load_bare_encoder(weights)
            self._shorten()
        elif blocks is not None:
            raise SITSError(f'blocks={blocks} is for planar encoders, and {weights} is none')

    def setup(self, stage: str) -> None:
        """Hold the bands of the data against those of the checkpoint, and normalise as it did.

        Raises:
            SITSError: If the data has other bands.
        """
        datamodule: Any = getattr(self.trainer, 'datamodule', None)
        published = find_published(self.checkpoint)
        if published is not None:
            arguments = s1_arguments(PUBLISHED[published[0]].encoder, {}, datamodule)
            self.encoder, self._card = load_bare_encoder(
                self.checkpoint, bands=getattr(datamodule, 'bands', None), **arguments
            )
        adopt_data(self._card, datamodule, self.checkpoint)
        meet_s1(self.encoder, datamodule)

    def _shorten(self) -> None:
        """Leave out path blocks that are not asked for."""
        if self.blocks is None:
            return
        if not isinstance(self.encoder, PlanarViT):
            raise SITSError(
                f'blocks={self.blocks} is for planar encoders, and that of {self.checkpoint} is '
                f'{type(self.encoder).__name__}: leave it out'
            )
        self.encoder.keep_blocks(self.blocks)

    def predict_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """Embed each pixel, see :func:`pixel_embeddings`."""
        return pixel_embeddings(self.encoder, batch, self.spans, depth=self.depth)

    def map_outputs(self) -> list[MapOutput]:
        """List the map of the features, a band for each; of spans a map each."""
        return embedding_map(self.spans)
