"""SimCLR on views of satellite image time series."""

from typing import Any

from lightly.loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead
from torch import nn

from ..errors import SITSError
from .siamese import SITSSiamese

__all__ = ['SITSSimCLR']


class SITSSimCLR(SITSSiamese):
    """SimCLR: tell two views of a thing from views of all others.

    The loss is NT-Xent (SimCLR, https://arxiv.org/abs/2002.05709, eq. 1) over the whole batch,
    of all processes together, at each level: places, objects, and pixels, of which all others
    in the batch are negatives.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import SITSSimCLR
        >>> task = SITSSimCLR(
        ...     model='tempcnn', in_channels=3, views_kwargs={'num_paths': 2}, object_weight=1.0
        ... )
        >>> batch = {
        ...     'image': torch.rand(4, 6, 3, 16, 16),
        ...     'acquisition_times': 86_400 * torch.arange(6).expand(4, 6),
        ...     'valid': torch.ones(4, 6, dtype=torch.bool),
        ...     'mask_clear': torch.ones(4, 6, 16, 16, dtype=torch.bool),
        ... }
        >>> views = task.make_views(batch)
        >>> sorted(task.compare_views(views, batch).losses)
        ['image', 'object']
    """

    def __init__(
        self,
        temperature: float = 0.2,
        hidden_dim: int = 512,
        output_dim: int = 128,
        memory_bank_size: int = 0,
        **kwargs: Any,
    ) -> None:
        """Initialize a new SITSSimCLR instance.

        Args:
            temperature: Temperature of the softmax over similarities.
            hidden_dim: Width of the projection heads.
            output_dim: Output dimension of the projection heads.
            memory_bank_size: Number of projections of earlier steps that are the negatives at
                each level in place of the batch's, as in MoCo; 0 for none.
            **kwargs: Arguments of the base class,
                :class:`~torchgeo_sits.tasks.pretraining.SITSPretraining`.

        Raises:
            SITSError: If an argument is out of its range, or does not go with another.
        """
        if temperature <= 0 or memory_bank_size < 0:
            raise SITSError(
                'expected temperature above 0 and memory_bank_size of at least 0, got '
                f'{temperature} and {memory_bank_size}'
            )
        super().__init__(**kwargs)

    def build_head(self, dim: int) -> nn.Module:
        """Build a projection head ``(P, dim)`` -> ``(P, output_dim)``."""
        return SimCLRProjectionHead(dim, self.hparams['hidden_dim'], self.hparams['output_dim'])

    def build_criterion(self) -> nn.Module:
        """Build NT-Xent; what it is given is of all processes already."""
        size = self.hparams['memory_bank_size']
        bank = (size, self.hparams['output_dim']) if size else 0
        loss = NTXentLoss(self.hparams['temperature'], memory_bank_size=bank)
        if size:
            # lightly leaves the bank out of checkpoints; a resumed run needs it.
            memory = loss.memory_bank
            memory.register_buffer('bank', memory.bank)
            memory.register_buffer('bank_ptr', memory.bank_ptr)
        return loss
