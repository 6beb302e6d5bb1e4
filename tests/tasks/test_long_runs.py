"""Pretraining that is killed, shared out, accumulated, or computed in few bits."""

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from .pretraining_run import ENCODER, VARIANTS, build, data, trainer


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('synthetic')


def leaves(tree, path=''):
    """All values of nested dictionaries and lists, by path."""
    if isinstance(tree, dict | list | tuple):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {k: v for key, value in items for k, v in leaves(value, f'{path}/{key}').items()}
    return {path: tree}


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
    'resampling': ('dino', {'views': 'resampling', 'views_kwargs': {'local_views': 1}}),
    'dropped paths': ('simclr', {'model_kwargs': ENCODER | {'drop_path': 0.5}}),
    'dropout and batch norm': (
        'byol',
        {'model': 'tempcnn', 'model_kwargs': {'hidden_dim': 8, 'embed_dim': 8}},
    ),
}


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

    def same(a, b):
        return torch.equal(a, b) if torch.is_tensor(a) else a == b

    assert [key for key in whole if not same(whole[key], resumed[key])] == []
