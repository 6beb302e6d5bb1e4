"""Pretraining that is killed, shared out, accumulated, compiled, or computed in few bits."""

import math
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, ModelParallelStrategy

from torchgeo_sits.datamodules import LabelOptions, PatchOptions
from torchgeo_sits.tasks import SITSChangeDate, SITSClassification, SITSSegmentation
from torchgeo_sits.tasks.pretraining import _effective_batch_size, _refuse_sharding

from ..processes import run_in_two
from . import pretraining_run
from .pretraining_run import ENCODER, VARIANTS, build, data, drawn_by_sample, train, trainer


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('synthetic')


def leaves(tree, path=''):
    """All values of nested dictionaries and lists, by path."""
    if isinstance(tree, dict | list | tuple):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {k: v for key, value in items for k, v in leaves(value, f'{path}/{key}').items()}
    return {path: tree}


def same(a, b):
    """Whether two of such values are the same, bit by bit."""
    return torch.equal(a, b) if torch.is_tensor(a) else a == b


class Killed(Exception):
    pass


class Kill(Callback):
    """Die in a step."""

    def __init__(self, after):
        self.after = after

    def on_before_backward(self, trainer, pl_module, loss):
        if trainer.global_step == self.after:
            raise Killed


RESUMED = {
    **{name: (name, {}) for name in VARIANTS},
    'dino, all terms, sinkhorn': ('dino, all terms', {'centering': 'sinkhorn'}),
    'resampling': ('dino', {'views': 'resampling', 'views_kwargs': {'local_views': 1}}),
    'dropped paths': ('simclr', {'model_kwargs': ENCODER | {'drop_path': 0.5}}),
    'dropout and batch norm': (
        'byol',
        {'model': 'tempcnn', 'model_kwargs': {'hidden_dim': 8, 'embed_dim': 8}},
    ),
}


LABELLED = {
    # Dropout, and batches that are flipped, draw random numbers.
    'segmentation': (SITSSegmentation, {'model': 'tempcnn', 'model_kwargs': {'hidden_dim': 8}}, {}),
    'classification': (SITSClassification, {'model_kwargs': ENCODER}, {'target': 'field'}),
    'change': (SITSChangeDate, {'model_kwargs': ENCODER}, {'paths': 'change_date'}),
}


@pytest.mark.parametrize('case', LABELLED)
def test_tasks_with_labels_end_bit_equal_after_a_stop_and_with_workers(folder, tmp_path, case):
    kind, options, labels = LABELLED[case]

    def weights(callbacks, seed, resume=None, workers=0):
        torch.manual_seed(0)  # the weights to begin with
        task = kind(in_channels=10, **options)
        torch.manual_seed(seed)
        run = trainer(tmp_path, enable_checkpointing=True, callbacks=callbacks)
        made = data(folder, labels=LabelOptions(**labels, supervised=True), num_workers=workers)
        run.fit(task, made, ckpt_path=resume, weights_only=True if resume else None)
        assert run.global_step == 8
        return leaves({'weights': task.state_dict(), 'optimizer': run.optimizers[0].state_dict()})

    whole = weights([], 0)
    kept = ModelCheckpoint(tmp_path, 'kept', every_n_train_steps=3)
    with pytest.raises(Killed):
        weights([kept, Kill(after=5)], 0)
    # The new process knows nothing of the old one's seed.
    resumed = weights([], 1, resume=kept.best_model_path)
    for other in (resumed, weights([], 0, workers=2)):
        assert whole.keys() == other.keys()
        assert [key for key in whole if not same(whole[key], other[key])] == []


@pytest.mark.parametrize('case', RESUMED)
def test_killed_in_an_epoch_and_resumed_ends_bit_equal(folder, tmp_path, case):
    name, options = RESUMED[case]

    def state(callbacks, seed, resume=None):
        torch.manual_seed(seed)
        task = build(name, **options)
        run = trainer(tmp_path, enable_checkpointing=True, callbacks=callbacks)
        run.fit(task, data(folder), ckpt_path=resume, weights_only=True if resume else None)
        assert run.global_step == 8
        optimizer = run.optimizers[0].state_dict()
        return leaves({'weights': task.state_dict(), 'optimizer': optimizer})

    whole = state([], 0)
    kept = ModelCheckpoint(tmp_path, 'kept', every_n_train_steps=3)
    with pytest.raises(Killed):
        state([kept, Kill(after=5)], 0)
    # The third of four steps of an epoch; the new process knows nothing of the old one's seed.
    resumed = state([], 1, resume=kept.best_model_path)
    assert whole.keys() == resumed.keys()

    assert [key for key in whole if not same(whole[key], resumed[key])] == []


@pytest.fixture(scope='module')
def runs(folder):
    """Weights before and after training in one process, and after it in each of two."""
    run_in_two(pretraining_run.main, str(folder), folder=folder)
    with drawn_by_sample():
        alone = {name: train(name, folder, batch_size=8) for name in VARIANTS}
    return {
        name: (*alone[name], *(torch.load(folder / f'{name}, {rank}.pt') for rank in range(2)))
        for name in VARIANTS
    }


def sorted_bank(weights):
    """Weights whose memory bank is in an order that does not depend on the processes."""
    return {
        key: value[value[:, 0].argsort()] if key.endswith('.bank') and value.ndim == 2 else value
        for key, value in weights.items()
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize('name', VARIANTS)
def test_two_processes_learn_what_one_with_twice_the_batch_does(runs, name):
    """Views and masks are drawn by the sample, and steps are those of SGD: see the script.

    Sums of other order differ by some 1e-6 of an update; biases that batch normalisation takes
    away have no gradient but such noise.
    """
    before, one, first, second = map(sorted_bank, runs[name])
    update = difference = 0.0
    for key, value in one.items():
        assert torch.equal(first[key], second[key]), key
        apart = (first[key].double() - value.double()).norm().item()
        moved = (value.double() - before[key].double()).norm().item()
        assert apart <= 1e-4 * moved + 1e-6, key
        update, difference = math.hypot(update, moved), math.hypot(difference, apart)
    assert difference < 1e-5 * update
    assert update > 0.01


class Schedules(Callback):
    """Note what each batch is trained with, and how far the teacher is from its average."""

    def __init__(self, first_momentum, steps):
        self.first_momentum, self.steps = first_momentum, steps
        self.lrs, self.decays, self.temps, self.error = {}, {}, {}, []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.step = trainer.global_step
        self.old = [p.clone() for p in pl_module.teacher.parameters()]
        self.lrs.setdefault(self.step, set()).add(trainer.optimizers[0].param_groups[0]['lr'])
        self.temps.setdefault(self.step, set()).add(pl_module.teacher_temp)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        m = 1.0
        if trainer.global_step > self.step:
            share = (1 + math.cos(math.pi * self.step / (self.steps - 1))) / 2
            m = 1 - (1 - self.first_momentum) * share
            groups = trainer.optimizers[0].param_groups
            self.decays[self.step] = {g['weight_decay'] for g in groups if g['decays']}
        models = pl_module.teacher.parameters(), pl_module.backbone.parameters()
        pairs = zip(self.old, *models, strict=True)
        self.error += [(m * o + (1 - m) * s - t).abs().max().item() for o, t, s in pairs]


def test_accumulated_batches_count_as_one_step(folder, tmp_path):
    # Seven batches of an epoch are four steps, the last of which has one batch.
    schedules = Schedules(0.9, 8)
    task = build(
        'dino', momentum=0.9, warmup_share=0.5, weight_decay=0.1, end_weight_decay=0.3,
        warmup_teacher_temp=0.02, teacher_temp=0.06, warmup_teacher_temp_share=0.5,
    )  # fmt: skip
    run = trainer(tmp_path, accumulate_grad_batches=2, callbacks=[schedules])
    run.fit(task, data(folder, batch_size=2, patches=PatchOptions(16, length=14)))
    assert run.global_step == 8
    # A batch of four: half of what suits 16, by the root.
    assert _effective_batch_size(run) == 4
    rise = [2.5e-4 * (i + 1) / 4 for i in range(4)]
    fall = [1e-6 + (2.5e-4 - 1e-6) * (1 + math.cos(math.pi * i / 3)) / 2 for i in range(4)]
    for got, expected in (
        (schedules.lrs, rise + fall),
        (schedules.temps, [0.02, 0.03, 0.04, 0.05] + [0.06] * 4),
        (
            schedules.decays,
            [0.3 - 0.2 * (1 + math.cos(math.pi * i / 7)) / 2 for i in range(8)],
        ),
    ):
        assert [len(values) for values in got.values()] == [1] * 8
        assert [values.pop() for values in got.values()] == pytest.approx(expected, rel=1e-3)
    assert len(schedules.error) > 14 * 20
    assert max(schedules.error) < 1e-6


@pytest.mark.parametrize(
    ('batch', 'world', 'accumulate', 'lr'),
    [(16, 1, 1, 5e-4), (4, 2, 2, 5e-4), (16, 4, 1, 1e-3), (1024, 1, 1, 2e-3), (1, 1, 4, 2.5e-4)],
)
def test_learning_rate_follows_the_samples_of_a_step(batch, world, accumulate, lr):
    task = build('dino')
    task._trainer = SimpleNamespace(
        datamodule=SimpleNamespace(batch_size=batch),
        world_size=world,
        accumulate_grad_batches=accumulate,
    )
    assert task.learning_rate == pytest.approx(lr)
    assert build('dino', lr=0.1).learning_rate == 0.1


class NotedLosses(Callback):
    """Note the terms of the loss."""

    def setup(self, trainer, pl_module, stage):
        compare, self.values, self.loss = pl_module.compare_views, [], None

        def noted(*args):
            compared = compare(*args)
            self.values += compared.losses.values()
            return compared

        pl_module.compare_views = noted

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append(outputs['loss'])
        self.loss = outputs['loss'] if self.loss is None else self.loss


@pytest.mark.parametrize(
    ('name', 'precision'),
    [*((name, 'bf16-mixed') for name in VARIANTS), ('simclr', '16-mixed')],
)
def test_few_bits_suffice(folder, tmp_path, name, precision):
    """On a CPU, Lightning takes bf16 for 16 bits. Losses are float32 whatever the precision."""
    first = {}
    for bits in ('32-true', precision):
        torch.manual_seed(0)
        noted, task = NotedLosses(), build(name)
        steps = 1 if bits == '32-true' else 3
        run = trainer(tmp_path, precision=bits, max_steps=steps, callbacks=[noted])
        run.fit(task, data(folder))
        assert {value.dtype for value in noted.values} == {torch.float32}
        assert all(value.isfinite() for value in noted.values)
        first[bits] = noted.loss.item()
    assert all(value.isfinite().all() for value in task.state_dict().values())
    assert {p.dtype for p in task.parameters()} == {torch.float32}
    assert first[precision] == pytest.approx(first['32-true'], rel=0.03)
    assert first[precision] != first['32-true']


@pytest.mark.parametrize('kind', [FSDPStrategy, ModelParallelStrategy])
def test_strategies_that_shard_are_refused(kind):
    with pytest.raises(ValueError, match=f"{kind.__name__} shards.*use strategy='ddp'"):
        _refuse_sharding(SimpleNamespace(strategy=kind()))
    _refuse_sharding(SimpleNamespace(strategy=DDPStrategy()))
