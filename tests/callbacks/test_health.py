"""The watch stops what has collapsed, and nothing else."""

from types import SimpleNamespace

import pytest
import torch

from torchgeo_sits.callbacks import CollapseError, EmbeddingHealth


def run(watch, *, steps, embedding, assignment=None):
    logged = {}
    module = SimpleNamespace(log_dict=lambda values, **_: logged.update(values))
    for step in range(steps):
        outputs = {'embedding': embedding(step)}
        if assignment is not None:
            outputs['assignment'] = assignment(step)
        watch.on_train_batch_end(
            SimpleNamespace(global_step=step, world_size=1), module, outputs, None, step
        )
    return logged


def healthy(step):
    return torch.randn(16, 32, generator=torch.Generator().manual_seed(step))


def test_healthy_run_goes_on_and_is_logged():
    logged = run(
        EmbeddingHealth(),
        steps=100,
        embedding=healthy,
        assignment=lambda step: healthy(step).softmax(-1),
    )
    assert logged['embedding_std'] == pytest.approx(1, abs=0.2)
    assert logged['prototypes_used'] > 10


@pytest.mark.parametrize(
    ('embedding', 'assignment', 'cause'),
    [
        (lambda step: torch.ones(16, 32) + 1e-4 * healthy(step), None, 'embeddings fall together'),
        (
            lambda step: torch.linspace(-1, 1, 16)[:, None] * healthy(step)[:1],
            None,
            'few directions only',
        ),
        (healthy, lambda step: torch.eye(8)[:1].repeat(16, 1), 'few prototypes'),
        (healthy, lambda step: torch.full((16, 8), 1 / 8), 'share one assignment'),
    ],
    ids=['one point', 'one line', 'one prototype', 'uniform'],
)
def test_collapse_stops_the_run_and_names_the_cause(embedding, assignment, cause):
    watch = EmbeddingHealth(patience=5)
    run(watch, steps=4, embedding=embedding, assignment=assignment)
    with pytest.raises(CollapseError, match=cause):
        run(watch, steps=1, embedding=embedding, assignment=assignment)


def test_one_bad_step_is_forgiven():
    watch = EmbeddingHealth(patience=2)
    run(watch, steps=50, embedding=lambda s: torch.ones(8, 4) if s % 2 else healthy(s)[:8])
    assert watch.unhealthy < 2


def test_infinite_loss_stops_at_once():
    trainer = SimpleNamespace(global_step=3, world_size=1)
    EmbeddingHealth().on_before_backward(trainer, None, torch.tensor(1.0))
    with pytest.raises(CollapseError, match='nan at step 3'):
        EmbeddingHealth().on_before_backward(trainer, None, torch.tensor(float('nan')))


def test_projections_that_fall_together_stop_a_resumed_run_though_embeddings_stay_apart():
    module = SimpleNamespace(log_dict=lambda *_, **__: None)
    trainer = SimpleNamespace(global_step=0, world_size=1)
    watch = EmbeddingHealth(patience=3)
    for shift in (0.0, 8.0, 8.0):
        outputs = {'embedding': healthy(0), 'projection': healthy(1) + shift}
        watch.on_train_batch_end(trainer, module, outputs, None, 0)
    resumed = EmbeddingHealth(patience=3)
    resumed.load_state_dict(watch.state_dict())
    with pytest.raises(CollapseError, match='prediction head'):
        resumed.on_train_batch_end(trainer, module, outputs, None, 0)
