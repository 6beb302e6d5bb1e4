"""SITSVICReg: its loss against the paper's formulas, what it refuses."""

import pytest
import torch

from torchgeo_sits.tasks import SITSVICReg

from .two_views import IDS, LEVELS, TwoViews, heads_of, weights_of

ENCODER = {'embed_dim': 5, 'depth': 1, 'num_heads': 1, 'time_dim': 8, 'time_heads': 2}
TINY = {'model_kwargs': ENCODER, 'in_channels': 2, 'hidden_dim': 7, 'output_dim': 6}


def variance(z):
    """Eqs. 1 and 2."""
    return torch.stack([torch.relu(1 - (column.var() + 1e-4).sqrt()) for column in z.T]).mean()


def covariance(z):
    """Eqs. 3 and 4."""
    c = sum(torch.outer(row, row) for row in z - z.mean(0)) / (len(z) - 1)
    return sum(c[i, j] ** 2 for i in range(len(c)) for j in range(len(c)) if i != j) / len(c)


def vicreg(a, b, invariance_weight, variance_weight, covariance_weight):
    """Eq. 6, with the invariance of eq. 5."""
    invariance = sum((x - y).square().sum() for x, y in zip(a, b, strict=True)) / len(a)
    return (
        invariance_weight * invariance
        + variance_weight * (variance(a) + variance(b))
        + covariance_weight * (covariance(a) + covariance(b))
    )


@pytest.mark.parametrize('levels', LEVELS, ids=IDS)
def test_loss_is_that_of_the_paper(monkeypatch, levels):
    torch.manual_seed(0)
    task = SITSVICReg(
        **TINY, **weights_of(levels), invariance=20.0, variance=15.0, covariance=2.0
    ).double()
    # So that the hinge of the variance is open for some features and closed for others.
    for head in task.projection_head.values():
        head.layers[-1].weight.data.mul_(torch.linspace(0.5, 8.0, 6)[:, None])
    views = TwoViews()
    views.install(task, monkeypatch, 'siamese')
    heads = heads_of(task, 'projection_head')
    loss = task.training_step(views.batch, 0)['loss']
    expected = 0.0
    for level, weight in levels.items():
        a, b = (heads[level](part) for part in views.pairs(level))
        stds = a.var(0).sqrt()
        assert (stds < 1).any()
        assert (stds > 1).any()
        # The authors' code, and lightly, take the mean over features where eq. 5 takes the sum,
        # and the mean of the variances of both views where eq. 6 takes the sum.
        expected += weight * vicreg(a, b, 20.0 / a.shape[1], 15.0 / 2, 2.0)
    # The loss itself is computed in float32.
    torch.testing.assert_close(loss.double(), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'invariance': -1.0}, 'at least 0, got invariance=-1.0'),
        ({'covariance': -1.0}, 'covariance=-1.0'),
        ({'views_kwargs': {'global_views': 1}}, 'SITSVICReg.*global_views=2.*got 1 and 0'),
    ],
)
def test_refusals_name_the_value(options, message):
    with pytest.raises(ValueError, match=message):
        SITSVICReg(**TINY, **options)
