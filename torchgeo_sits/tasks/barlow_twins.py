"""Barlow Twins on views of satellite image time series, with mixed objects on request."""

from typing import Any

import torch
from einops import rearrange
from lightly.loss import BarlowTwinsLoss
from lightly.models.modules.heads import BarlowTwinsProjectionHead
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import SITSError
from ..keys import IMAGE, MASK_CLEAR, MASK_CLEAR_S1, S1_KEYS
from ..models import PlaneFeatures
from ..transforms import PATHS, PLANES, PLANES_S1
from .comparison import Objects, draw_objects, pool_objects
from .distributed import gather_batch
from .pretraining import zero_loss
from .siamese import SITSSiamese
from .view_batches import encode_view

__all__ = ['SITSBarlowTwins']


class SITSBarlowTwins(SITSSiamese):
    """Barlow Twins: make features of two views correlate each with itself and with no other.

    The loss is the distance of the cross-correlation of both views' projections from the identity
    (Barlow Twins, https://arxiv.org/abs/2103.03230, eqs. 1 and 2), over the whole batch, of all
    processes together, at each level.

    *mixup_weight* adds the regularisation of Mixed Barlow Twins (https://arxiv.org/abs/2312.02151,
    the term L_reg), which TESSERA (https://arxiv.org/abs/2506.20380) has, too: of a mixture of two
    inputs the projection must correlate with both views as the mixture of the two projections does.
    The paper mixes an image of one view with another image of the other view. Here two views, and
    two places, have dates of their own, so that no value of one belongs to a value of the other.
    Mixed are therefore superpixels of one view of one place, which share their dates, sensor,
    augmentation and light: each pixel with the mean series of another superpixel, on the dates
    that show both. A coarser sensor would see the same, since reflectance mixes by area.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import SITSBarlowTwins
        >>> task = SITSBarlowTwins(
        ...     model='tempcnn', in_channels=3, object_weight=1.0, mixup_weight=1.0
        ... )
        >>> batch = {
        ...     'image': torch.rand(4, 6, 3, 16, 16),
        ...     'acquisition_times': 86_400 * torch.arange(6).expand(4, 6),
        ...     'valid': torch.ones(4, 6, dtype=torch.bool),
        ...     'mask_clear': torch.ones(4, 6, 16, 16, dtype=torch.bool),
        ... }
        >>> views = task.make_views(batch)
        >>> sorted(task.compare_views(views, batch).losses)
        ['image', 'mixup', 'object']
    """

    def __init__(
        self,
        redundancy: float = 5e-3,
        hidden_dim: int = 512,
        output_dim: int = 512,
        mixup_weight: float = 0.0,
        **kwargs: Any,
    ) -> None:
        """Initialize a new SITSBarlowTwins instance.

        Args:
            redundancy: Weight of the correlation of different features, of the mixtures, too.
            hidden_dim: Width of the projection heads.
            output_dim: Output dimension of the projection heads.
            mixup_weight: Weight of the term on mixed superpixels, which encodes one more view. The
                authors' code has 1 for ImageNet; in trials 1 gained nothing, and 5 collapsed once.
            **kwargs: Arguments of the base class,
                :class:`~torchgeo_sits.tasks.pretraining.SITSPretraining`.

        Raises:
            SITSError: If an argument is out of its range, or does not go with another.
        """
        if redundancy < 0:
            raise SITSError(f'redundancy must be at least 0, got {redundancy}')
        super().__init__(**kwargs)
        if mixup_weight and not self.loss_weights['object']:
            raise SITSError(
                f'mixup_weight={mixup_weight} mixes superpixels: expected object_weight above 0, '
                'got 0; set it, or mixup_weight to 0'
            )

    def build_head(self, dim: int) -> nn.Module:
        """Build a projection head ``(P, dim)`` -> ``(P, output_dim)``."""
        hidden, output = self.hparams['hidden_dim'], self.hparams['output_dim']
        return BarlowTwinsProjectionHead(dim, hidden, output)

    def build_criterion(self) -> nn.Module:
        """Build the loss; what it is given is of all processes already."""
        return BarlowTwinsLoss(lambda_param=self.hparams['redundancy'])

    def configure_sensors(self, datamodule: Any) -> None:
        """Build what the base class does, and refuse mixtures where each sensor has an encoder.

        Args:
            datamodule: The data module, None where nothing is known of the data.

        Raises:
            SITSError: If views of two encoders are to be mixed, or as in the base class.
        """
        super().configure_sensors(datamodule)
        if self.hparams['mixup_weight'] and hasattr(self, 'backbone_s1'):
            raise SITSError(
                f'mixup_weight={self.hparams["mixup_weight"]} mixes what one encoder sees: '
                f'expected 0 with views={self.hparams["views"]!r} and an encoder for each sensor'
            )

    def further_losses(
        self,
        views: list[dict[str, Any]],
        features: tuple[PlaneFeatures, PlaneFeatures],
        batch: dict[str, Any],
    ) -> dict[str, Tensor]:
        """Compute the term on mixtures of the superpixels of the first view, if it has a weight."""
        if not self.hparams['mixup_weight']:
            return {}
        objects = draw_objects(batch, self.hparams['object_size'])
        (ours, a), (theirs, b) = (
            pool_objects(one, view, *objects) for one, view in zip(features, views, strict=True)
        )
        partners, share = _draw_partners(a & b)
        with torch.no_grad(), self.full_precision():
            view = _mix_objects(views[0], objects, partners, share)
        mixed, seen = pool_objects(encode_view(self.backbone, view), view, *objects)
        return {'mixup': self._mixup_loss(ours, theirs, mixed, a & b, seen, partners, share)}

    def _mixup_loss(
        self,
        ours: Tensor,
        theirs: Tensor,
        mixed: Tensor,
        found: Tensor,
        seen: Tensor,
        partners: Tensor,
        share: Tensor,
    ) -> Tensor:
        """L_reg of Mixed Barlow Twins, of all processes together.

        With Z of unit variance it is half the squared distance of ``Z_M' Z_V`` from what it is for
        the mixture of the projections, ``(share * Z_A + (1 - share) * shuffled Z_A)' Z_V``, summed
        over both views V; all divided by the number of rows.

        Args:
            ours: ``(B, K, D)``, objects in the first view.
            theirs: ``(B, K, D)``, objects in the second view.
            mixed: ``(B, K, D)``, objects in the first view, mixed.
            found: ``(B, K)`` bool, False for objects that not both views saw.
            seen: ``(B, K)`` bool, False for objects of which the mixture shows nothing.
            partners: ``(B, K)`` int64, the object that each was mixed with.
            share: ``(B, K)``, the share of an object in its mixture.
        """
        head = self.projection_head['object']
        found, seen = gather_batch(found), gather_batch(found & seen)
        ours, theirs, mixed = (gather_batch(one) for one in (ours, theirs, mixed))
        share = gather_batch(share)[seen][:, None]
        # Rows of the samples lie one after the other, as far as objects were found.
        first = torch.arange(len(found), device=found.device)[:, None] * found.shape[1]
        rows = found.flatten().cumsum(0)[gather_batch(partners) + first] - 1
        kept, rows = seen[found], rows[seen]
        ours, theirs, mixed = ours[found], theirs[found], mixed[seen]
        if len(mixed) < 2:
            # Batch normalisation needs two; DDP, a gradient of each weight.
            return zero_loss(ours, theirs, mixed, *head.parameters())
        projections = [head(one) for one in (ours, theirs, mixed)]
        with self.full_precision():
            a, b, m = (F.batch_norm(one.float(), None, None, training=True) for one in projections)
            apart = m - share * a[kept] - (1 - share) * a[rows]
            terms = [(apart.T @ one[kept] / len(m)).square().sum() for one in (a, b)]
            loss: Tensor = 0.5 * self.hparams['redundancy'] * torch.stack(terms).sum()
        return loss


def _draw_partners(found: Tensor) -> tuple[Tensor, Tensor]:
    """Draw what objects are mixed with.

    Args:
        found: ``(B, K)`` bool, objects that can be mixed.

    Returns:
        partners: ``(B, K)`` int64; the found objects of a sample in another order, of each of the
            others itself.
        share: ``(B, K)``, the share of the object itself, from 0 to 1. The authors' code draws it
            from Beta(1, 1), too, but one for a batch.
    """
    noise = torch.rand(found.shape, device=found.device)
    # Objects that were found come first, once in their order and once in any; then all others.
    order = (~found).int().argsort(dim=1, stable=True)
    other = torch.where(found, noise, 2.0).argsort(dim=1, stable=True)
    return torch.zeros_like(order).scatter(1, order, other), torch.rand_like(noise)


def _mix_objects(
    view: dict[str, Any], objects: Objects, partners: Tensor, share: Tensor
) -> dict[str, Any]:
    """Mix each pixel of a view with the mean series of the partner of its object.

    Args:
        view: A view of planes or images, with Sentinel-1 or without.
        objects: The objects of the B samples, K each.
        partners: ``(B, K)`` int64, the object that each is mixed with.
        share: ``(B, K)``, the share of the object itself.

    Returns:
        The view, with values of mixtures, clear where a pixel and its partner both are.
    """
    owner = objects.ids.flatten(1).gather(1, view[PATHS].flatten(1))
    numbers = torch.arange(objects.number, device=owner.device)
    members = (owner[..., None] == numbers).float()
    partner = partners.gather(1, owner)
    share = share.gather(1, owner)[:, None, None]
    mixed = dict(view)
    for values, clear in (
        (PLANES if PLANES in view else IMAGE, MASK_CLEAR),
        (PLANES_S1 if PLANES_S1 in view else S1_KEYS[IMAGE], MASK_CLEAR_S1),
    ):
        if values not in view:
            continue
        planes = values in (PLANES, PLANES_S1)
        axes, mask = ('b n c t l', 'b n t l') if planes else ('b t c n l', 'b t n l')
        sizes = {'n': view[PATHS].shape[1]}
        seen = rearrange(view[clear], f'{mask} -> b t (n l)')
        own = rearrange(view[values], f'{axes} -> b t c (n l)').masked_fill(~seen[:, :, None], 0.0)
        number = seen.float() @ members
        mean = (own.float() @ members[:, None]) / number[:, :, None].clamp(min=1)
        mean = mean.take_along_dim(partner[:, None, None], -1)
        seen = seen & (number.take_along_dim(partner[:, None], -1) > 0)
        whole = (share * own + (1 - share) * mean).to(own.dtype)
        mixed[values] = rearrange(whole, f'b t c (n l) -> {axes}', **sizes)
        mixed[clear] = rearrange(seen, f'b t (n l) -> {mask}', **sizes)
    return mixed
