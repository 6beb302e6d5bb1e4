"""No step of a task, and no batch, needs a device that has 64-bit floating point.

Apple's GPUs do not: "Cannot convert a MPS Tensor to float64 dtype". None is here, so operations
on tensors of 64 bits are refused while a step runs.
"""

from contextlib import contextmanager

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from torchgeo_sits.tasks import SITSChangeDate, SITSChangeDetection, SITSSegmentation

from .labelled_data import DAY, LabelledData
from .pretraining_run import VARIANTS, build, data, trainer

TINY = {'embed_dim': 16, 'depth': 1, 'num_heads': 2, 'time_dim': 8}


class _NoDoubles(TorchDispatchMode):
    """A device without float64."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for value in tree_leaves((args, kwargs, found)):
            if isinstance(value, torch.Tensor):
                assert value.dtype != torch.float64, f'{func} with a tensor of 64 bits'
        return found


def without_doubles(task):
    """Let the steps of a task run on such a device."""
    for name in ('training_step', 'validation_step'):
        step = getattr(task, name, None)
        if step is None:
            continue

        def checked(batch, *args, step=step):
            with _NoDoubles():
                return step(batch, *args)

        setattr(task, name, checked)
    return task


@contextmanager
def moved(monkeypatch):
    """Names of what is moved to the device in 64 bits."""
    found = set()
    move = torch.Tensor.to

    def watched(tensor, *args, **kwargs):
        if tensor.dtype == torch.float64 and any(isinstance(a, torch.device) for a in args):
            found.add(tuple(tensor.shape))
        return move(tensor, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, 'to', watched)
        yield found


# Sinkhorn takes 64 bits where they are.
@pytest.mark.parametrize('name', [name for name in VARIANTS if 'sinkhorn' not in name])
def test_pretraining_computes_with_32_bits(name, tmp_path, monkeypatch):
    task = without_doubles(build(name))
    with moved(monkeypatch) as doubles:
        trainer(tmp_path, max_epochs=1, limit_train_batches=1).fit(task, data(tmp_path))
    assert not doubles


@pytest.mark.parametrize(
    ('kind', 'options'),
    [
        (SITSSegmentation, {}),
        (SITSSegmentation, {'loss': 'dice'}),
        (
            SITSChangeDetection,
            {'windows': [['2020-01-01', '2020-03-01'], ['2020-03-01', '2021-01-01']]},
        ),
        (SITSChangeDate, {}),
    ],
    ids=['segmentation', 'dice', 'change', 'date'],
)
def test_tasks_with_labels_compute_with_32_bits(kind, options, tmp_path):
    task = without_doubles(kind(model_kwargs=TINY, **options))
    change = (lambda s: s) if kind is SITSSegmentation else _changes
    labelled = LabelledData(change=change)
    if kind is not SITSSegmentation:
        labelled.class_names, labelled.num_classes, labelled.unlabelled = None, None, -1
    run = trainer(tmp_path, max_epochs=1, limit_val_batches=1, limit_train_batches=1)
    run.fit(task, labelled)
    assert run.callback_metrics['val_loss'].isfinite()


def _changes(sample):
    """Days of change in place of classes."""
    day = sample['acquisition_times'][3] // DAY
    return sample | {'mask': (sample['mask'] == 1) * day}
