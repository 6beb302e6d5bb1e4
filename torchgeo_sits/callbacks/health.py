"""Watch the embeddings during pretraining, and stop a run that has collapsed."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from ..errors import SITSError
from ..metrics import (
    assignment_information,
    assignment_perplexity,
    effective_rank,
    mean_cosine,
    normalized_std,
    signs_of_collapse,
)

__all__ = ['CollapseError', 'EmbeddingHealth']


class CollapseError(SITSError, RuntimeError):
    """Stop of a run that has collapsed, or whose loss is no longer finite.

    Examples:
        >>> from torchgeo_sits.callbacks import CollapseError
        >>> from torchgeo_sits.errors import SITSError
        >>> issubclass(CollapseError, SITSError)
        True
    """


class EmbeddingHealth(Callback):
    """Log the health of a run at every step, and stop it when it collapses.

    The task's ``training_step`` returns, beside ``loss``, ``embedding`` ``(B, D)`` and, where
    there are any, ``projection`` ``(P, D')`` and ``assignment`` ``(B, K)`` to prototypes.
    Logged are ``embedding_std`` (1 healthy, 0 collapsed), ``embedding_cosine`` and
    ``embedding_rank``, the same of projections, ``prototypes_used``,
    ``assignment_information``, and ``weight_change``, the share by which the step changed the
    weights.

    The run stops when steps with signs of collapse, see
    :func:`~torchgeo_sits.metrics.signs_of_collapse`, are *patience* more than those without
    since the last time that they were even. Most signs are relative to the first step, which a
    checkpoint keeps. Where several processes train, all stop at the step at which one of them
    has seen enough.

    Tasks of pretraining bring one; a trainer's own, with another *patience*, goes before it.

    Examples:
        >>> from lightning.pytorch import Trainer
        >>> from torchgeo_sits.callbacks import EmbeddingHealth
        >>> trainer = Trainer(accelerator='cpu', callbacks=[EmbeddingHealth(patience=50)])
    """

    def __init__(self, *, patience: int = 20) -> None:
        """Initialize a new EmbeddingHealth instance.

        Args:
            patience: Number of unhealthy steps, less the healthy ones between them, after which
                the run stops.
        """
        self.patience = patience
        self.unhealthy = 0
        self.first: dict[str, float] = {}
        self._before: tuple[list[Tensor], list[Tensor]] | None = None
        self._change: Tensor | None = None

    def state_dict(self) -> dict[str, Any]:
        """State that a resumed run goes on from."""
        return {'unhealthy': self.unhealthy, 'first': self.first}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.unhealthy, self.first = state_dict['unhealthy'], dict(state_dict['first'])

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        """Stop before a loss that is not finite reaches the weights.

        Raises:
            CollapseError: If the loss is not finite, in any process.
        """
        if self._any(trainer, not torch.isfinite(loss).item()):
            raise CollapseError(
                f'The loss is {loss.item()} at step {trainer.global_step}. Lower `lr`, keep '
                'gradient clipping on, and look for infinite values in the imagery.'
            )

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Remember the weights that the step will change."""
        weights = [p for group in optimizer.param_groups for p in group['params']]
        weights = [weight for weight in weights if weight.requires_grad]
        self._before = weights, [weight.detach().clone() for weight in weights]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure, log, and stop the run if it must be.

        Raises:
            CollapseError: If the run has collapsed.
        """
        count = len(outputs['embedding'])
        if count < 2:
            return
        health = self._measure(outputs)
        pl_module.log_dict(health, batch_size=count)
        # At the first step all but the change of the weights is of the untrained model.
        self.first = self.first or {k: v for k, v in health.items() if k != 'weight_change'}
        signs = signs_of_collapse(health, self.first, count)
        # A single better step among many bad ones is no recovery.
        self.unhealthy = self.unhealthy + 1 if signs else max(0, self.unhealthy - 1)
        if self._any(trainer, self.unhealthy >= self.patience):
            what = ' and '.join(sign.what for sign in signs) or 'so another process found'
            causes = dict.fromkeys(sign.cause for sign in signs)
            numbers = ', '.join(f'{name} {value:.3g}' for name, value in health.items())
            raise CollapseError(
                f'The run has collapsed at step {trainer.global_step}: {what}, for '
                f'{self.patience} steps. Likely {", or ".join(causes) or "as it says"}. '
                f'All numbers of this step: {numbers}.'
            )

    def _measure(self, outputs: dict[str, Tensor]) -> dict[str, float]:
        """Measures by name."""
        health = {}
        for name in ('embedding', 'projection'):
            if (vectors := outputs.get(name)) is not None and len(vectors) > 1:
                health[f'{name}_std'] = normalized_std(vectors)
                health[f'{name}_cosine'] = mean_cosine(vectors)
                health[f'{name}_rank'] = effective_rank(vectors)
        if (assignment := outputs.get('assignment')) is not None:
            health['prototypes_used'] = assignment_perplexity(assignment)
            health['assignment_information'] = assignment_information(assignment)
        if self._before is not None:
            self._change, self._before = _relative_change(*self._before), None
        if self._change is not None:
            # Between the optimiser's steps, where gradients are accumulated, the last one's.
            health['weight_change'] = self._change
        # One wait for the device, not one for each number.
        values = torch.stack([value.float() for value in health.values()]).tolist()
        return dict(zip(health, values, strict=True))

    @staticmethod
    def _any(trainer: Trainer, decision: bool) -> bool:
        """Ask all processes: one that stopped alone would leave the others waiting."""
        if trainer.world_size == 1:
            return decision
        return trainer.strategy.reduce_boolean_decision(decision, all=False)


@torch.no_grad()
def _relative_change(weights: list[Tensor], before: list[Tensor]) -> Tensor:
    """Norm of the change of all weights together, over their norm before."""
    changes = torch._foreach_sub([weight.detach() for weight in weights], before)
    change, size = (torch.stack(torch._foreach_norm(part)).norm() for part in (changes, before))
    return change / size
