"""Operations of a training step that a GPU has to be waited for, counted without one.

A value that Python asks for, or a shape that hangs on values, stops the queue of kernels until all
of them are through. What is left of these is listed here, each with its reason.
"""

from collections import Counter
from pathlib import Path
from traceback import extract_stack

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import torchgeo_sits
from torchgeo_sits.tasks import SITSSegmentation

from .labelled_data import LabelledData
from .pretraining_run import VARIANTS, build, data, trainer

PACKAGE = Path(torchgeo_sits.__file__).parent
aten = torch.ops.aten
WAITS = {
    aten._local_scalar_dense,
    aten.bincount,
    aten.equal,
    aten.masked_select,
    aten.nonzero,
    aten.unique_consecutive,
    aten.unique_dim,
    aten._unique2,
}
INDEXES = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}

PAIRS = {'tasks/comparison.py'}  # as many pairs of pixels and objects as views share
CONTRAST = {'tasks/siamese.py'}  # lightly leaves out the diagonal by a mask, and looks at its bank
MIXED = {'tasks/barlow_twins.py'}  # as many objects as the mixture shows
HIDDEN = {'tasks/reconstruction.py'}  # as many values as are hidden and were seen
#: As many pixels as are labelled, whether all are classes, and counts of classes.
LABELLED = {'tasks/supervised.py', 'tasks/labelled.py'}
#: Files of the package in which a second step may wait.
KNOWN = {
    'dino': set(),
    'dino, all terms': {*PAIRS, 'tasks/dino.py'},  # as many tokens as are hidden
    'dino, sinkhorn': {*PAIRS, 'tasks/dino.py'},
    'simclr': PAIRS | CONTRAST,
    'simclr, memory bank': CONTRAST,
    'byol': PAIRS,
    'vicreg': PAIRS | CONTRAST,
    'vicreg and reconstruction': HIDDEN | CONTRAST,
    'barlow twins': PAIRS,
    'barlow twins, mixed': PAIRS | MIXED,
    'mae': HIDDEN,
}
TINY = {
    'planar_vit_tiny': {'embed_dim': 16, 'depth': 1, 'num_heads': 2, 'time_dim': 8},
    'factorised_tiny': {'dim': 16, 'num_heads': 2},
    'ltae': {},
    'tempcnn': {'hidden_dim': 4},
    'utae': {},
}


class CountWaits(TorchDispatchMode):
    """Count what waits, by the file of the package that asks for it."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kind = func.overloadpacket
        masks = args[1] if kind in INDEXES else []
        if (
            kind in WAITS
            or func is aten.repeat_interleave.Tensor
            or any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in masks)
        ):
            inside = [
                f.filename for f in extract_stack() if Path(f.filename).is_relative_to(PACKAGE)
            ]
            self.found[str(Path(inside[-1]).relative_to(PACKAGE)) if inside else '', str(kind)] += 1
        return func(*args, **(kwargs or {}))


def second_step(task, folder, datamodule):
    """What the second of two steps waits for: the first may look at what it begins with."""
    step, counts = task.training_step, []

    def counted(*args):
        counts.append(CountWaits())
        with counts[-1]:
            return step(*args)

    task.training_step = counted
    trainer(folder, max_epochs=1, limit_train_batches=2).fit(task, datamodule)
    return counts[1].found


def test_counter_sees_what_waits():
    with CountWaits() as counts:
        x = torch.arange(4.0)
        x[x > 1], x.max().item(), (x > 1).nonzero(), x.unique()
        x[torch.tensor([1, 2])], torch.where(x > 1, x, 0), x.sum()
    assert counts.found.total() == 4


@pytest.mark.parametrize('name', VARIANTS)
def test_pretraining_waits_where_it_is_known_to(name, tmp_path):
    found = second_step(build(name), tmp_path, data(tmp_path))
    assert {file for file, _ in found} == KNOWN[name], found


@pytest.mark.parametrize('model', TINY)
def test_encoders_wait_where_pixels_are_listed(model, tmp_path):
    task = SITSSegmentation(model=model, model_kwargs=TINY[model])
    found = second_step(task, tmp_path, LabelledData())
    listed = {'models/masked.py'} if model in ('tempcnn', 'utae') else set()  # as many as were seen
    assert {file for file, _ in found} == LABELLED | listed, found
    assert found['tasks/supervised.py', 'aten._unique2'] == 0
