"""Base of the augmentations of whole batches, and their composition."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SITSError
from ..keys import IMAGE, MASK_CLEAR, VALID
from .dates import observed
from .random import uniform

__all__ = ['SeriesAugmentation', 'SeriesSequential']


class SeriesAugmentation(nn.Module, ABC):
    """An augmentation of batches in Kornia's vocabulary, for dictionaries with 5-D images.

    A subclass draws in :meth:`generate_parameters` and computes in :meth:`apply_transform`,
    which must keep the shape of every tensor it changes unless ``p`` is 1. The last
    parameters stay in ``_params``: ``augment(batch, augment._params)`` gives equal output,
    bit for bit. The batch given is never changed in place.
    """

    def __init__(self, *, p: float = 1.0) -> None:
        """Initialise a new SeriesAugmentation instance.

        Args:
            p: Probability that a sample is augmented, in [0, 1].

        Raises:
            SITSError: If *p* is out of range.
        """
        super().__init__()
        if not 0 <= p <= 1:
            raise SITSError(f'expected a probability p in [0, 1], got {p}')
        self.p = p
        self._params: dict[str, Tensor] = {}

    @abstractmethod
    def generate_parameters(
        self, batch: dict[str, Any], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Draw the parameters for a batch, with one entry per sample in their first axis.

        Args:
            batch: A batch of the contract with ``valid`` and ``mask_clear``.
            generator: Source of randomness; torch's default without one.

        Returns:
            Tensors on the device of the batch.
        """

    @abstractmethod
    def apply_transform(self, batch: dict[str, Any], params: dict[str, Tensor]) -> dict[str, Any]:
        """Augment all samples as *params* say, without drawing anything.

        Args:
            batch: A batch of the contract with ``valid`` and ``mask_clear``.
            params: From :meth:`generate_parameters`.

        Returns:
            A new dictionary.
        """

    def forward(
        self,
        batch: dict[str, Any],
        params: dict[str, Tensor] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> dict[str, Any]:
        """Augment each sample of a batch with probability ``p``.

        Args:
            batch: A batch of the contract, on any device.
            params: Parameters to replay; drawn by default.
            generator: Source of randomness; torch's default without one.

        Returns:
            A new dictionary, with ``valid`` and ``mask_clear`` where there were none.
        """
        valid, clear = observed(batch)
        batch = {**batch, VALID: valid, MASK_CLEAR: clear}
        if params is None:
            params = self.generate_parameters(batch, generator=generator)
            u = uniform((len(valid),), generator=generator, device=valid.device)
            params['applied'] = u < self.p
        self._params = params
        augmented = self.apply_transform(batch, params)
        if self.p == 1:
            return augmented
        applied = params['applied']
        return {
            key: torch.where(applied.view(-1, *(1,) * (new.ndim - 1)), new, batch[key])
            if isinstance(new, Tensor) and new is not batch[key]
            else new
            for key, new in augmented.items()
        }


class SeriesSequential(nn.Module):
    """Augmentations one after the other, replayable as a whole."""

    def __init__(self, *augmentations: nn.Module) -> None:
        """Initialise a new SeriesSequential instance.

        Args:
            augmentations: Modules called as :class:`SeriesAugmentation` is.
        """
        super().__init__()
        self.augmentations = nn.ModuleList(augmentations)
        self._params: list[Any] = []

    def forward(
        self,
        batch: dict[str, Any],
        params: list[Any] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> dict[str, Any]:
        """Augment a batch.

        Args:
            batch: A batch of the contract with an ``image``.
            params: Parameters to replay, one entry per augmentation; drawn by default.
            generator: Source of randomness; torch's default without one.

        Returns:
            A new dictionary.

        Raises:
            SITSError: If the batch has no image, or *params* another number of entries.
        """
        if IMAGE not in batch:
            raise SITSError(f"expected a batch with 'image', got the keys {sorted(batch)}")
        replay = [None] * len(self.augmentations) if params is None else params
        used = []
        for augmentation, values in zip(self.augmentations, replay, strict=True):
            batch = augmentation(batch, values, generator=generator)
            used.append(augmentation._params)
        self._params = used
        return batch
