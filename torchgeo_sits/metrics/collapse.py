"""Signs that a self-supervised run has collapsed, read from measures of its health."""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ['Sign', 'signs_of_collapse']


class Sign(NamedTuple):
    """A measure that is out of its healthy range.

    Attributes:
        what: What is wrong, with the number and its limit.
        cause: Likely cause, and what to do.
    """

    what: str
    cause: str


class _Rule(NamedTuple):
    """When a measure is unhealthy: below a number, or below a share of what it was at first."""

    measure: str
    least: float
    share: float
    what: str
    cause: str


_APART = (
    'the encoder maps all samples to one place: lower `lr`, raise `batch_size`, and see that no '
    'gradient reaches the targets'
)
# The limits lie between what healthy and broken runs of 50 to 80 steps showed, with room on both
# sides: see benchmarks/collapse.py. Shares, because what is usual for an encoder and a data set
# differs more between them than a healthy run changes it.
_RULES = (
    _Rule(
        'projection_std',
        0.02,
        0.5,
        'the projections fall together',
        'the method agrees with itself whatever it sees: see that the prediction head is in '
        'place and that no gradient reaches the targets, and raise `momentum`',
    ),
    _Rule(
        'projection_rank',
        1.5,
        0.15,
        'the projections vary along few directions only',
        'steps are too large, or nothing keeps features apart: lower `lr`, and see that no '
        'gradient reaches the targets',
    ),
    _Rule(
        'prototypes_used',
        4.0,
        0.0,
        'few prototypes take all samples',
        'the centring does not keep up: lower `center_momentum`, raise `teacher_temp`, or use '
        "`centering='sinkhorn'`",
    ),
    _Rule(
        'assignment_information',
        1e-3,
        0.1,
        'all samples share one assignment',
        'the teacher tells samples apart no more: lower `teacher_temp` (sharper targets), raise '
        '`momentum`, and see that no gradient reaches the teacher',
    ),
    _Rule('embedding_std', 0.02, 0.3, 'the embeddings fall together', _APART),
    _Rule('embedding_rank', 1.5, 0.2, 'the embeddings vary along few directions only', _APART),
)
#: Healthy runs of the defaults change their weights by a third of it at most.
_MOST_CHANGE = 0.02


def signs_of_collapse(
    health: Mapping[str, float], first: Mapping[str, float], count: int
) -> list[Sign]:
    """Compare measures of a step with what is healthy, and with the first step of the run.

    Args:
        health: Measures of this step by name: those of :mod:`torchgeo_sits.metrics.health` and
            ``weight_change``, the norm of the step's change of the weights over theirs.
        first: The same of the first step.
        count: Number of embeddings of a step. Few of them have a low rank and few prototypes
            whatever the encoder does.

    Returns:
        What is unhealthy, the likeliest cause first: too large steps make all else.
    """
    signs = []
    change = health.get('weight_change', 0.0)
    if change > _MOST_CHANGE:
        signs.append(
            Sign(
                'the weights change too much in each step '
                f'(weight_change {change:.3g}, expected below {_MOST_CHANGE:g})',
                'the learning rate is too high: lower `lr`, or warm up for longer',
            )
        )
    for rule in _RULES:
        if rule.measure not in health or (rule.measure.endswith('_rank') and count <= 4):
            # Two embeddings span one line whatever they are, three at most a plane.
            continue
        limit = max(rule.least, rule.share * first.get(rule.measure, 0.0))
        if rule.measure == 'prototypes_used':
            # Nor can a few samples use many prototypes, nor a small head have them.
            limit = min(limit, max(1.05, min(count, first.get(rule.measure, 0.0)) / 4))
        value = health[rule.measure]
        if value < limit:
            numbers = f'{rule.measure} {value:.3g}, expected above {limit:.3g}'
            if rule.measure in first:
                numbers += f', {first[rule.measure]:.3g} at the first step'
            signs.append(Sign(f'{rule.what} ({numbers})', rule.cause))
    return signs
