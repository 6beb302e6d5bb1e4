"""VICReg on views of satellite image time series."""

from typing import Any

from lightly.loss import VICRegLoss
from lightly.models.modules.heads import VICRegProjectionHead
from torch import nn

from ..errors import SITSError
from .siamese import SITSSiamese

__all__ = ['SITSVICReg']


class SITSVICReg(SITSSiamese):
    """VICReg: bring two views of a thing together while features keep their variance.

    The loss is the sum of an invariance, a variance and a covariance term (VICReg,
    https://arxiv.org/abs/2105.04906, eqs. 1 to 6), over the whole batch, of all processes
    together, at each level. Weights are those of the authors' code, which takes the mean over
    features where eq. 5 takes the sum, and the mean over both views of the variance term where
    eq. 6 takes the sum.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import SITSVICReg
        >>> task = SITSVICReg(model='tempcnn', in_channels=3, views_kwargs={'num_paths': 2})
        >>> batch = {
        ...     'image': torch.rand(4, 6, 3, 16, 16),
        ...     'acquisition_times': 86_400 * torch.arange(6).expand(4, 6),
        ...     'valid': torch.ones(4, 6, dtype=torch.bool),
        ...     'mask_clear': torch.ones(4, 6, 16, 16, dtype=torch.bool),
        ... }
        >>> views = task.make_views(batch)
        >>> sorted(task.compare_views(views, batch).losses)
        ['image']
    """

    def __init__(
        self,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        hidden_dim: int = 512,
        output_dim: int = 512,
        **kwargs: Any,
    ) -> None:
        """Initialize a new SITSVICReg instance.

        Args:
            invariance: Weight of the distance between two views.
            variance: Weight of the hinge that keeps the standard deviation of a feature at 1.
            covariance: Weight of the covariance between features.
            hidden_dim: Width of the projection heads.
            output_dim: Output dimension of the projection heads.
            **kwargs: Arguments of the base class,
                :class:`~torchgeo_sits.tasks.pretraining.SITSPretraining`.

        Raises:
            SITSError: If an argument is out of its range, or does not go with another.
        """
        if min(invariance, variance, covariance) < 0:
            raise SITSError(
                'expected weights of at least 0, got '
                f'invariance={invariance}, variance={variance}, covariance={covariance}'
            )
        super().__init__(**kwargs)

    def build_head(self, dim: int) -> nn.Module:
        """Build a projection head ``(P, dim)`` -> ``(P, output_dim)``."""
        hidden, output = self.hparams['hidden_dim'], self.hparams['output_dim']
        return VICRegProjectionHead(dim, hidden, output)

    def build_criterion(self) -> nn.Module:
        """Build VICReg's loss; what it is given is of all processes already."""
        return VICRegLoss(
            lambda_param=self.hparams['invariance'],
            mu_param=self.hparams['variance'],
            nu_param=self.hparams['covariance'],
        )
