"""SITSBYOL: its loss against the paper's formula, its teacher, what it refuses."""

import math

import pytest
import torch
from lightning.pytorch import Callback

from torchgeo_sits.tasks import SITSBYOL

from .pretraining_run import VIEWS, data, trainer
from .two_views import IDS, LEVELS, TwoViews, heads_of, weights_of

ENCODER = {'embed_dim': 5, 'depth': 1, 'num_heads': 1, 'time_dim': 8, 'time_heads': 2}
TINY = {'model_kwargs': ENCODER, 'in_channels': 2, 'hidden_dim': 7, 'output_dim': 6}


def distance(prediction, target):
    """Eq. 2 of BYOL, the mean over the pairs of both directions."""
    prediction = prediction / prediction.norm(dim=1, keepdim=True)
    target = target / target.norm(dim=1, keepdim=True)
    return (prediction - target).square().sum(1).mean()


@pytest.mark.parametrize('levels', LEVELS, ids=IDS)
def test_loss_is_the_distance_of_normalised_vectors_in_both_directions(monkeypatch, levels):
    torch.manual_seed(0)
    task = SITSBYOL(**TINY, **weights_of(levels)).double()
    # A teacher of its own: at the start it is a copy.
    for parameter in task.teacher_head.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    views = TwoViews(('backbone', 'teacher'))
    tensors = {name: [*views.embed[name], *views.late[name]] for name in views.embed}
    for tensor in [*tensors['backbone'], *tensors['teacher']]:
        tensor.requires_grad_()
    views.install(task, monkeypatch, 'byol')
    project, predict = heads_of(task, 'projection_head'), heads_of(task, 'prediction_head')
    teacher = heads_of(task, 'teacher_head')
    loss = task.training_step(views.batch, 0)['loss']
    expected = 0.0
    for level, weight in levels.items():
        # The heads see both directions at once, in their batch norm too.
        there = views.pairs(level, ('backbone', 0), ('teacher', 1))
        back = views.pairs(level, ('backbone', 1), ('teacher', 0))
        ours, theirs = (torch.cat(both) for both in zip(there, back, strict=True))
        guess, target = predict[level](project[level](ours)), teacher[level](theirs)
        expected += weight * distance(guess, target)
    # The loss itself is computed in float32.
    torch.testing.assert_close(loss.double(), expected, atol=1e-6, rtol=1e-6)

    loss.backward()
    assert all(tensor.grad is None for tensor in tensors['teacher'])
    assert all(parameter.grad is None for parameter in task.teacher_head.parameters())
    assert any(tensor.grad is not None for tensor in tensors['backbone'])


def test_statistics_of_the_teachers_batch_norm_follow_as_its_weights(tmp_path):
    class Follow(Callback):
        def __init__(self):
            self.errors, self.moved = [], []

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            self.step = trainer.global_step
            self.before = {k: v.clone() for k, v in pl_module.teacher.state_dict().items()}

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            # A cosine from 0.8 to 1 over the four steps of the run.
            momentum = 1 - 0.2 * (1 + math.cos(math.pi * self.step / 3)) / 2
            student, teacher = pl_module.backbone.state_dict(), pl_module.teacher.state_dict()
            for key, old in self.before.items():
                if 'running' in key:
                    expected = momentum * old + (1 - momentum) * student[key]
                    self.errors.append((teacher[key] - expected).abs().max().item())
                    self.moved.append((teacher[key] - old).abs().max().item())

    follow = Follow()
    task = SITSBYOL(
        model='tempcnn',
        model_kwargs={'hidden_dim': 4, 'embed_dim': 4, 'depth': 1, 'num_dates': 8},
        views_kwargs=VIEWS,
        momentum=0.8,
    )
    trainer(tmp_path, callbacks=[follow], max_steps=4, max_epochs=-1).fit(task, data(tmp_path))
    # Mean and variance of two layers in each of four steps.
    assert len(follow.errors) == 16
    assert max(follow.errors) < 1e-6
    assert max(follow.moved) > 1e-3
    assert not task.teacher.training


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'momentum': 1.5}, r'momentum must be in \[0, 1\], got 1.5'),
        ({'views_kwargs': {'global_views': 1}}, 'at least 2 and local_views=0, got 1 and 0'),
        ({'views_kwargs': {'local_views': 2}}, 'got 2 and 2'),
    ],
)
def test_refusals_name_the_value(options, message):
    with pytest.raises(ValueError, match=message):
        SITSBYOL(**TINY, **options)
