"""Base of the methods that see two views with one encoder, and compare projections of them."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import SITSError
from ..models import PlaneFeatures, SITSEncoder, build_encoder
from ..transforms import PATHS, SIZE, s1_of
from .comparison import Level
from .distributed import gather_batch
from .pretraining import SITSPretraining, ViewLosses, zero_loss
from .view_batches import encode_view, join_views, split_views

__all__ = ['SITSSiamese']


class SITSSiamese(SITSPretraining):
    """Base of methods with two views, one encoder, and a head and a criterion for each level.

    A subclass writes :meth:`build_head` and :meth:`build_criterion`; a criterion is given float32
    projections of the whole batch, of all processes together.

    Where one view shows Sentinel-2 and the other Sentinel-1 (``views='sensors'`` or
    ``'sensor_pixels'``) and the encoder takes no Sentinel-1, a second encoder of the same kind,
    ``backbone_s1``, sees that view, with heads of its own. It stands for what radar knows of a
    place, and is left behind after pretraining: what goes on is an encoder of Sentinel-2.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import SITSSiamese
        >>> class Agree(SITSSiamese):
        ...     def build_head(self, dim):
        ...         return torch.nn.Linear(dim, 8)
        ...     def build_criterion(self):
        ...         return torch.nn.MSELoss()
        >>> task = Agree(model='tempcnn', in_channels=3, object_weight=1.0)
        >>> list(task.projection_head)
        ['image', 'object']
    """

    default_views: ClassVar[dict[str, Any]] = {'global_views': 2, 'local_views': 0}
    projection_head: nn.ModuleDict
    criteria: nn.ModuleDict
    #: Encoder and heads of views of Sentinel-1, where :attr:`backbone` takes none.
    backbone_s1: SITSEncoder
    projection_head_s1: nn.ModuleDict

    def __init__(self, s1_channels: int | None = None, **kwargs: Any) -> None:
        """Initialize a new task.

        Args:
            s1_channels: Number of bands of Sentinel-1, where an encoder of its own sees them. None
                takes it from the data module.
            **kwargs: Arguments of the base class,
                :class:`~torchgeo_sits.tasks.pretraining.SITSPretraining`.

        Raises:
            SITSError: If an argument is out of its range, or does not go with another.
        """
        super().__init__(**kwargs)

    @abstractmethod
    def build_head(self, dim: int) -> nn.Module:
        """Build a projection head ``(P, dim)`` -> ``(P, D')``."""

    @abstractmethod
    def build_criterion(self) -> nn.Module:
        """Build a criterion of two tensors ``(P, D')``."""

    def build_heads(self, dim: int) -> None:
        """Build a projection head for each level."""
        self.projection_head = self._heads(dim)

    def _heads(self, dim: int) -> nn.ModuleDict:
        return nn.ModuleDict({str(k): self.build_head(dim) for k in self.compared_levels})

    def configure_sensors(self, datamodule: Any) -> None:
        """Build a second encoder where views show Sentinel-1 and the encoder takes none.

        Args:
            datamodule: The data module, None where nothing is known of the data.

        Raises:
            SITSError: If the data has no Sentinel-1, or other bands of it than were asked for.
        """
        if not hasattr(self, 'backbone') or not self.views_need_s1:
            super().configure_sensors(datamodule)
            return
        bands = getattr(datamodule, 'bands_s1', None)
        wanted = self.hparams['s1_channels']
        found = wanted if bands is None else len(bands)
        if not found and self._trainer is None:
            return  # the data will tell
        if not found or wanted not in (None, found):
            raise SITSError(
                f'views={self.hparams["views"]!r} need '
                f'{f"{wanted} bands of " if wanted else ""}Sentinel-1, and the data has '
                f'{bands or "none"}: give data with it (SITSFusionDataModule), s1_channels of as '
                'many bands, or other views'
            )
        if hasattr(self, 'backbone_s1'):
            return
        self.hparams['s1_channels'] = found
        # Names of bands are those of the optical series.
        given = self.hparams['model_kwargs'] or {}
        arguments = {name: value for name, value in given.items() if name != 'bands'}
        self.backbone_s1 = build_encoder(self.hparams['model'], found, **arguments)
        if hasattr(self.backbone_s1, 'mask_token'):
            # No token is masked: DDP stops at parameters that never get a gradient.
            self.backbone_s1.mask_token.requires_grad_(False)
        self.projection_head_s1 = self._heads(self.backbone_s1.embed_dim)

    def trained_modules(self) -> Iterable[nn.Module]:
        """List the modules that the optimiser trains."""
        yield from super().trained_modules()
        for name in ('backbone_s1', 'projection_head_s1'):
            if hasattr(self, name):
                yield getattr(self, name)

    def configure_losses(self) -> None:
        """Initialize a criterion for each level."""
        self.criteria = nn.ModuleDict(
            {str(k): self.build_criterion() for k in self.compared_levels}
        )

    def check_views(self, global_views: int, local_views: int) -> None:
        """Raise SITSError unless there are two views of one shape."""
        if (global_views, local_views) != (2, 0):
            raise SITSError(
                f'{type(self).__name__} compares two global views: expected views_kwargs with '
                f'global_views=2 and local_views=0, got {global_views} and {local_views}'
            )

    def compare_views(self, views: list[dict[str, Any]], batch: dict[str, Any]) -> ViewLosses:
        """Encode both views and compare their projections, level by level."""
        view, other = views
        if hasattr(self, 'backbone_s1'):
            other = _radar_alone(other)
            first = encode_view(self.backbone, view)
            second = encode_view(self.backbone_s1, other)
        else:
            first, second = split_views(encode_view(self.backbone, join_views(views)), 2)
        health = {'embedding': torch.cat([first.embed, second.embed]).detach()}
        losses: dict[str, Tensor] = {}
        matched = self.match_views(first, second, view, other, batch)
        for level, (ours, theirs) in matched.items():
            if level == 'image' and hasattr(self, 'backbone_s1'):
                # A place that a sensor has not seen gives it the same vector as any other.
                both = (one.seen.flatten(1).any(1) for one in (first, second))
                kept = torch.stack([gather_batch(one) for one in both]).all(0)
                ours, theirs = ours[kept], theirs[kept]
            losses[level], projection = self._compare(level, ours, theirs)
            health.setdefault('projection', projection.detach())
        return ViewLosses(
            losses | self.further_losses([view, other], (first, second), batch), health
        )

    def further_losses(
        self,
        views: list[dict[str, Any]],
        features: tuple[PlaneFeatures, PlaneFeatures],
        batch: dict[str, Any],
    ) -> dict[str, Tensor]:
        """Compute what a method adds to the comparison; nothing by default.

        Args:
            views: Both views.
            features: Their features.
            batch: The batch that they show.

        Returns:
            Losses, each named as its weight: a loss ``mixup`` has the weight ``mixup_weight``.
        """
        return {}

    def _compare(self, level: Level, ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of a level, and the projections ``(2P, D')`` that it compares."""
        head = self.projection_head[level]
        other = getattr(self, 'projection_head_s1', self.projection_head)[level]
        if len(ours) < 2:
            # Batch normalisation needs two; DDP, a gradient of each weight.
            weights = [*head.parameters(), *(other.parameters() if other is not head else [])]
            return zero_loss(ours, theirs, *weights), torch.cat([ours, theirs])
        a, b = head(ours), other(theirs)
        with self.full_precision():
            loss: Tensor = self.criteria[level](a.float(), b.float())
        return loss, torch.cat([a, b])


def _radar_alone(view: dict[str, Any]) -> dict[str, Any]:
    """Give the Sentinel-1 series of a view of images under the keys of an optical one."""
    series = s1_of(view)
    assert series is not None  # or the views had refused the batch
    return {**series, PATHS: view[PATHS], SIZE: view[SIZE]}
