"""Classification: one class for a whole series."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import SITSError
from ..keys import LABEL
from ..mapping import MapOutput
from ..models import SITSEncoder
from ..models.encoder import image_as_planes, transpose_image
from .pooling import series_features, series_head
from .supervised import SITSSupervised

__all__ = ['SITSClassification']


class SITSClassification(SITSSupervised):
    """Classification of a whole series: of a field, a patch, or a place without neighbours.

    With ``aggregate='embed'`` the head sees one embedding of the series. With 'mean' and
    'vote' it sees each plane (each row and each column of the image, time on the other axis)
    and what it says of them is joined, as Deep-STaR does (Chelali et al. 2021): by the mean
    of the scores, or by the share of the planes that each class wins.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import SITSClassification
        >>> task = SITSClassification(model='tempcnn', in_channels=3, num_classes=4)
        >>> series = {
        ...     'image': torch.rand(2, 5, 3, 8, 8),
        ...     'acquisition_times': 86_400 * torch.arange(5).expand(2, 5),
        ...     'valid': torch.ones(2, 5, dtype=torch.bool),
        ... }
        >>> task(series).shape
        torch.Size([2, 4])
    """

    label_unit = 'series'

    def __init__(
        self, aggregate: Literal['embed', 'mean', 'vote'] = 'embed', **kwargs: Any
    ) -> None:
        """Initialize a new SITSClassification instance.

        Args:
            aggregate: How the answer for a series is made.
            **kwargs: Arguments of the base class, :class:`SITSSupervised`.

        Raises:
            SITSError: If planes are asked for with other than late features.
        """
        super().__init__(**kwargs)
        if aggregate != 'embed' and self.hparams['depth'] != 'late':
            raise SITSError(
                f"aggregate={aggregate!r} is of the encoder's late features of planes, got "
                f"depth={self.hparams['depth']!r}: set depth to 'late'"
            )

    def build_head(self, encoder: SITSEncoder, num_outputs: int) -> nn.Module:
        """Build the head on embeddings."""
        depth, hidden = self.hparams['depth'], self.hparams['hidden_dim']
        return series_head(encoder, num_outputs, depth=depth, hidden=hidden)

    def scores(self, batch: dict[str, Any]) -> Tensor:
        """Raw scores of the series.

        Args:
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`.

        Returns:
            ``(B, K)``; for 'vote' logarithms of the shares of the votes.
        """
        if self.hparams['aggregate'] != 'embed':
            return self._join(*self.plane_scores(batch))
        series = self.encoder.series_of(batch)
        return self.head(series_features(self.encoder, series, self.hparams['depth']))

    def plane_scores(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Scores of each plane of the series: of each row of the image, then of each column.

        Args:
            batch: A normalised batch, see :mod:`torchgeo_sits.keys`.

        Returns:
            ``(B, N, K)``, and ``(B, N)`` bool: planes of which anything was seen.
        """
        series = self.encoder.series_of(batch)
        scores, seen = [], []
        for image in (series, transpose_image(series)):
            found = self.encoder.encode_planes(image_as_planes(image))
            weights = found.seen.unsqueeze(-1).to(found.late.dtype)
            embeds = (found.late * weights).sum(2) / weights.sum(2).clamp(min=1)
            scores.append(self.head(embeds))
            seen.append(found.seen.any(2))
        return torch.cat(scores, 1), torch.cat(seen, 1)

    def _join(self, scores: Tensor, seen: Tensor) -> Tensor:
        """Scores ``(B, K)`` of series from those of planes ``(B, N, K)``."""
        # Where nothing was seen all planes say the same.
        weights = (seen | ~seen.any(1, keepdim=True)).to(scores.dtype)[..., None]
        if self.hparams['aggregate'] == 'vote':
            if scores.shape[-1] == 1:
                share = ((scores > 0) * weights).sum(1) / weights.sum(1)
                return share.clamp(1e-4, 1 - 1e-4).logit()
            scores = nn.functional.one_hot(scores.argmax(-1), scores.shape[-1]).to(scores.dtype)
        joined = (scores * weights).sum(1) / weights.sum(1)
        return joined.clamp(min=1e-4).log() if self.hparams['aggregate'] == 'vote' else joined

    def compare(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Scores and labels; votes are trained plane by plane, each with the series' label."""
        if not self.training or self.hparams['aggregate'] != 'vote':
            return super().compare(batch)
        scores, seen = self.plane_scores(batch)
        labels = self.target(batch)[:, None].expand(seen.shape)[seen]
        return self._join(scores, seen), *self.select(scores[seen], labels)

    def target(self, batch: dict[str, Any]) -> Tensor:
        """Labels ``(B,)`` of the series.

        Raises:
            SITSError: If the batch has none.
        """
        if LABEL not in batch:
            raise SITSError(
                f'expected {LABEL!r} (B,) in the batch, one label for each series, got the keys '
                f"{sorted(batch)}: for fields set labels.target='field' of SITSDataModule; for a "
                'map of classes use SITSSegmentation'
            )
        label: Tensor = batch[LABEL]
        return label

    def table_outputs(self) -> list[MapOutput]:
        """List the columns of a table of predictions: class, and probabilities of the classes."""
        return [self.class_map('class'), self.probability_map('probabilities')]

    def map_outputs(self) -> list[MapOutput]:
        """Refuse maps: this is one class for a series.

        Raises:
            SITSError: In any case.
        """
        raise SITSError(
            'SITSClassification gives one class for a whole series, not for each pixel, so there '
            'is no map of it: use SITSSegmentation, whose encoder may start from the same weights'
        )
