"""What all methods of pretraining share, on a tiny simulated place."""

import inspect
import math

import pytest
import torch
import yaml
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.tuner import Tuner
from torch.utils.data import DataLoader

from torchgeo_sits import main
from torchgeo_sits.callbacks import KNNProbe
from torchgeo_sits.models import ENCODERS, load_bare_encoder
from torchgeo_sits.tasks import (
    SITSBYOL,
    SITSDINO,
    SITSMAE,
    SITSBarlowTwins,
    SITSSegmentation,
    SITSSimCLR,
    SITSVICReg,
)
from torchgeo_sits.tasks.distributed import gather_batch, global_mean
from torchgeo_sits.tasks.pretraining import SITSPretraining
from torchgeo_sits.tasks.step_seed import StepSeed
from torchgeo_sits.transforms import MultiView, RandomPlanarView

from .pretraining_run import DINO, ENCODER, SMALL, VIEWS, build, data, trainer

MAE = {'model_kwargs': ENCODER, 'views_kwargs': VIEWS}
#: Each method alone, the levels on images, and methods joined with reconstruction.
RUNS = {
    'dino': (SITSDINO, DINO),
    'simclr': (SITSSimCLR, SMALL),
    'byol': (SITSBYOL, SMALL),
    'vicreg': (SITSVICReg, SMALL),
    'barlow twins': (SITSBarlowTwins, SMALL),
    'mae': (SITSMAE, MAE),
    'dino and reconstruction': (SITSDINO, DINO | {'reconstruction_weight': 0.5}),
    'simclr and reconstruction': (SITSSimCLR, SMALL | {'reconstruction_weight': 0.5}),
    'byol and reconstruction': (SITSBYOL, SMALL | {'reconstruction_weight': 0.5}),
    'pixels of images': (
        SITSSimCLR,
        SMALL | {'views': 'resampling', 'views_kwargs': None, 'pixel_weight': 1.0},
    ),
    'pixels alone': (SITSBYOL, SMALL | {'image_weight': 0.0, 'pixel_weight': 1.0}),
}
#: Small encoders of each kind.
SMALL_ENCODERS = {
    'planar_vit_tiny': ENCODER,
    'planar_vit_v2_tiny': ENCODER | {'reach': 1},
    'planar_vit_small': ENCODER,
    'planar_vit_base': ENCODER,
    'tsvit': {'patch_size': 1, 'num_tokens': 2, 'dim': 8, 'temporal_depth': 1, 'spatial_depth': 1},
    'unet3d': {'width': 2},
    'convlstm': {'hidden_dim': 4},
    'ltae': {'embed_dim': 8, 'pixel_dim': 8, 'dim': 8, 'num_heads': 2},
    'utae': {
        'encoder_widths': (8, 8, 16),
        'decoder_widths': (8, 8, 16),
        'num_heads': 4,
        'dim': 16,
        'groups': 2,
    },
    'tempcnn': {'hidden_dim': 4, 'embed_dim': 4, 'num_dates': 8},
    'deep_star': {'backbone': 'test_convnext', 'num_steps': 8, 'max_stride': 4},
    'factorised_tiny': {'dim': 8, 'patch_size': 1, 'num_heads': 2},
    'factorised_small': {'dim': 8, 'patch_size': 1, 'num_heads': 2},
    'presto': {'dim': 8, 'depth': 1, 'num_heads': 2},
    'galileo_nano': {'dim': 16, 'depth': 1, 'num_heads': 2},
    'sits_s2_tiny': {'time_dim': 8, 'embed_dim': 8},
    **{
        name: {'dim': 16, 'depth': 1, 'num_heads': 2, 'patch_size': 1}
        for name in ENCODERS
        if name.startswith('olmoearth')
    },
    'tessera': {'latent_dim': 4, 'depth': 1, 'num_heads': 2, 'hidden_dim': 8},
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('synthetic')


class Losses(Callback):
    def __init__(self):
        self.values, self.logged = [], {}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append(outputs['loss'].item())
        self.logged = {k: v.item() for k, v in trainer.callback_metrics.items()}


def fit(task, folder, tmp_path, **kwargs):
    """A few steps: their losses, and the checkpoint."""
    losses, checkpoint = Losses(), ModelCheckpoint(tmp_path, save_top_k=1)
    options = {'max_steps': 2, 'max_epochs': -1, 'enable_checkpointing': True}
    run = trainer(tmp_path, callbacks=[losses, checkpoint], **options | kwargs)
    run.fit(task, data(folder))
    assert all(math.isfinite(value) for value in losses.values)
    return losses, checkpoint.best_model_path


@pytest.mark.parametrize('name', RUNS)
def test_trains_and_its_checkpoint_serves(folder, tmp_path, name):
    kind, options = RUNS[name]
    task = kind(**options, in_channels=10)
    start = {k: v.clone() for k, v in task.backbone.state_dict().items()}
    losses, path = fit(task, folder, tmp_path)
    moved = [k for k, v in task.backbone.state_dict().items() if not torch.equal(v, start[k])]
    # What stands for masked tokens, and for pixels that were never seen, may stay.
    still = {k for k, _ in task.backbone.named_parameters()} - set(moved)
    assert still <= {'mask_token', 'time_stage.nothing_seen'}
    if 'and' in name:
        assert losses.logged['reconstruction_loss'] > 0
        parts = {k: losses.logged[f'{k}_loss'] for k in ('image', 'reconstruction')}
        total = sum(task.loss_weights[k] * v for k, v in parts.items())
        assert losses.values[-1] == pytest.approx(total, rel=1e-4)

    encoder, card = load_bare_encoder(path)
    assert card['bands'] == data(folder).bands
    for key, value in task.encoder.state_dict().items():
        assert torch.equal(encoder.state_dict()[key], value)
    downstream = SITSSegmentation(model_kwargs=ENCODER, num_classes=3, in_channels=10, weights=path)
    for key, value in task.encoder.state_dict().items():
        assert torch.equal(downstream.encoder.state_dict()[key], value)

    again = kind.load_from_checkpoint(path, weights_only=True)
    assert dict(again.hparams) == dict(task.hparams)
    for key, value in task.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)


@pytest.mark.parametrize('model', ENCODERS)
def test_every_encoder_trains_on_all_levels(folder, tmp_path, model):
    torch.manual_seed(0)
    kwargs = SMALL | {'model': model, 'model_kwargs': SMALL_ENCODERS[model]}
    task = SITSSimCLR(**kwargs, pixel_weight=1.0, object_weight=1.0, object_size=4)
    losses, _ = fit(task, folder, tmp_path, max_steps=1)
    assert losses.logged['pixel_loss'] > 0
    assert losses.logged['object_loss'] > 0


def arguments(kind):
    """All arguments of a task, those of its base classes included, with their defaults."""
    found = {}
    for parent in reversed(kind.__mro__):
        if issubclass(parent, SITSPretraining) and '__init__' in vars(parent):
            parameters = inspect.signature(parent.__init__).parameters.values()
            found |= {p.name: p.default for p in parameters if p.kind != p.VAR_KEYWORD}
    return {k: v for k, v in found.items() if k != 'self'}


FIXED = {'image_weight', 'object_weight', 'pixel_weight', 'reconstruction_weight'}


@pytest.mark.parametrize(
    'kind', [SITSDINO, SITSSimCLR, SITSBYOL, SITSVICReg, SITSBarlowTwins, SITSMAE]
)
def test_checkpoints_hold_every_argument(kind):
    expected = arguments(kind)
    # A checkpoint stands for itself.
    del expected['weights']
    if kind is SITSMAE:
        expected = {k: v for k, v in expected.items() if k not in FIXED}
    assert dict(kind().hparams) == expected


@pytest.mark.parametrize('kind', [SITSSimCLR, SITSMAE])
def test_command_line_offers_every_argument(capsys, kind):
    args = ['fit', '--config', 'conf/dino.yaml', '--model', kind.__name__, '--print_config']
    with pytest.raises(SystemExit) as stopped:
        main.main(args)
    assert not stopped.value.code
    shown = yaml.safe_load(capsys.readouterr().out)['model']
    assert shown['class_path'].endswith(kind.__name__)
    # Of the configuration stays what the method has, too.
    kept = {'views': 'planar'}
    fixed = FIXED if kind is SITSMAE else set()
    expected = {k: v for k, v in arguments(kind).items() if k not in fixed} | kept
    assert shown['init_args'].keys() == expected.keys()
    differing = {k for k, v in expected.items() if shown['init_args'][k] != v}
    # conf/dino.yaml compares pixels, too.
    assert differing <= {'pixel_weight'}


def test_processes_draw_apart_and_a_step_draws_the_same_again():
    seed = StepSeed()
    torch.manual_seed(7)
    seed.start()

    def draw(*step):
        seed.step(*step)
        return torch.rand(4)

    first = draw(0, 2, 3)
    torch.rand(9)
    assert torch.equal(draw(0, 2, 3), first)
    others = [draw(1, 2, 3), draw(0, 3, 2), draw(0, 2, 4), draw(0, 0, 23)]
    assert not any(torch.equal(other, first) for other in others)

    checkpoint = {}
    seed.save(checkpoint)
    resumed = StepSeed()
    resumed.load(checkpoint)
    resumed.start()
    resumed.step(0, 2, 3)
    assert torch.equal(torch.rand(4), first)
    torch.manual_seed(8)
    other = StepSeed()
    other.start()
    other.step(0, 2, 3)
    assert not torch.equal(torch.rand(4), first)


def test_one_process_gathers_what_it_has():
    values = torch.randn(3, 2, requires_grad=True)
    assert torch.equal(gather_batch(values), values)
    mean = global_mean(values.square().sum(), torch.tensor(values.numel()))
    torch.testing.assert_close(mean, values.square().mean())
    mean.backward()
    torch.testing.assert_close(values.grad, 2 * values.detach() / 6)
    assert global_mean(torch.tensor(0.0), torch.tensor(0)) == 0


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'views': 'planer'}, "views.*'sensors', 'sensor_pixels', or the dotted.*got 'planer'"),
        (
            {'views': 'pixels', 'object_weight': 1.0},
            "views='pixels' are of one pixel each.*expected object_weight of 0",
        ),
        ({'views': 'no_such.Views'}, "got 'no_such.Views' .No module named 'no_such'"),
        # A checkpoint of somebody else must not call what it names.
        ({'views': 'subprocess.run'}, "subclass of torch.nn.Module, got 'subprocess.run'"),
        ({'views': 'torch.nn.Identity'}, r"expected views with \['global_views', 'local_views'\]"),
        ({'pixel_weight': -1.0}, "at least 0.*'pixel_weight': -1.0"),
        ({'image_weight': math.nan}, "'image_weight': nan"),
        ({'image_weight': 0.0}, "one of them above, got.*'image_weight': 0.0"),
        ({'lr': 0.0}, 'lr must be above 0, got 0.0'),
        ({'warmup_share': 2.0}, r'warmup_share must be in \[0, 1\], got 2.0'),
        ({'pixels': 0}, 'pixels and object_size of at least 1, got 0 and 8'),
        ({'object_size': 0}, 'got 64 and 0'),
        ({'reconstruction_weight': 1.0, 'mask_ratio': 2.0, 'in_channels': 2}, 'got 2.0'),
        ({'jitter_days': -1.0}, '-1.0'),
        ({'cloud_rate': 2.0}, '2.0'),
    ],
)
def test_refusals_name_the_value(options, message):
    with pytest.raises(ValueError, match=message):
        SITSSimCLR(**options)


@pytest.mark.parametrize('method', [SITSMAE, SITSSimCLR])
def test_paths_that_cut_a_token_are_refused(folder, tmp_path, method):
    kwargs = {'pixel_weight': 1.0} if method is SITSSimCLR else {}
    task = method(
        model_kwargs={'embed_dim': 32, 'depth': 1, 'num_heads': 2, 'time_dim': 16, 'segment': 4},
        views_kwargs={'num_paths': 2, 'length': 9},
        **kwargs,
    )
    with pytest.raises(ValueError, match=r'multiple of 1 paths and of 4 pixels.*2 paths of 9'):
        trainer(tmp_path).fit(task, data(folder))


class Halves(MultiView):
    """Views from outside the package: the left and the right half of the columns."""

    def __init__(self, *, global_views=2, local_views=0, augment):
        view = RandomPlanarView(kind='columns', num_paths=2, length=8, augment=augment)
        super().__init__(view, global_views=global_views, local_views=local_views)


@pytest.mark.parametrize('views', [Halves, f'{__name__}.Halves'])
def test_views_from_outside_by_class_or_dotted_path(tmp_path, folder, views):
    # What suits the method and these views do not take is left out.
    task = SITSMAE(views=views, model_kwargs=ENCODER)
    assert isinstance(task.views, Halves)
    assert task.views.global_views == 1
    assert task.hparams['views'] == f'{__name__}.Halves'
    _, path = fit(task, folder, tmp_path)
    again = SITSMAE.load_from_checkpoint(path, weights_only=True)
    assert isinstance(again.views, Halves)
    with pytest.raises(ValueError, match=r"do not fit Halves: .*'kind'.*takes \['glo"):
        SITSMAE(views=views, views_kwargs={'kind': 'rows'})


class Kept(Callback):
    """Note the callbacks of a run."""

    def on_fit_start(self, trainer, pl_module):
        self.kinds = [type(callback) for callback in trainer.callbacks]
        self.probes = [c.every_n_epochs for c in trainer.callbacks if isinstance(c, KNNProbe)]


def own_run(task, tmp_path, *data, **kwargs):
    """Run a task with nothing but what it brings, on one batch an epoch."""
    kept = Kept()
    run = Trainer(
        accelerator='cpu', logger=False, default_root_dir=tmp_path, limit_val_batches=0,
        callbacks=[kept, *kwargs.pop('callbacks', [])], enable_progress_bar=False,
        enable_model_summary=False, limit_train_batches=1, **kwargs,
    )  # fmt: skip
    run.fit(task, *data)
    return run, kept


def test_a_run_brings_a_probe_and_keeps_its_last_epoch(folder, tmp_path):
    task = SITSSimCLR(**SMALL)
    run, kept = own_run(task, tmp_path, data(folder), max_epochs=6)
    assert kept.probes == [2]
    assert kept.kinds.count(ModelCheckpoint) == 1
    assert [path.name for path in tmp_path.rglob('*.ckpt')] == ['simclr-epoch=05.ckpt']
    assert 'knn_f1_late' in run.callback_metrics


def test_callbacks_of_the_trainer_go_before_those_of_the_task(folder, tmp_path):
    asked = ModelCheckpoint(tmp_path, filename='mine', every_n_epochs=1)
    callbacks = [asked, KNNProbe(every_n_epochs=0)]
    run, kept = own_run(
        SITSSimCLR(**SMALL), tmp_path, data(folder), max_epochs=1, callbacks=callbacks
    )
    assert run.checkpoint_callbacks == [asked]
    assert kept.probes == [0]
    assert [path.name for path in tmp_path.rglob('*.ckpt')] == ['mine.ckpt']
    assert not any(name.startswith('knn') for name in run.callback_metrics)


def test_without_a_data_module_or_checkpoints_there_are_none(folder, tmp_path):
    module = data(folder)
    module.prepare_data()
    module.setup('fit')
    batches = DataLoader([*map(module.aug, module.train_dataloader())], batch_size=None)
    task = SITSSimCLR(**SMALL, in_channels=10)
    _, kept = own_run(task, tmp_path, batches, max_epochs=1, enable_checkpointing=False)
    assert kept.probes == []
    assert ModelCheckpoint not in kept.kinds
    assert not [*tmp_path.rglob('*.ckpt')]


def test_a_probe_does_not_change_what_is_learned(folder, tmp_path):
    weights = []
    for callbacks in ([], [KNNProbe(every_n_epochs=0)]):
        torch.manual_seed(0)
        task = SITSSimCLR(**SMALL)
        own_run(task, tmp_path, data(folder), max_epochs=2, callbacks=callbacks)
        weights.append(task.state_dict())
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


@pytest.mark.parametrize('name', ['dino', 'mae'])
def test_learning_rates_and_sizes_of_batches_are_found(name, tmp_path):
    tuner = Tuner(trainer(tmp_path, max_epochs=3))
    found = tuner.lr_find(build(name), datamodule=data(tmp_path), num_training=3)
    assert len(found.results['lr']) == 3
    tuner = Tuner(trainer(tmp_path, max_epochs=3))
    assert tuner.scale_batch_size(
        build(name), datamodule=data(tmp_path), steps_per_trial=1, max_trials=1
    )


def test_overfitting_takes_the_same_batches(tmp_path):
    seen = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            seen.append(batch['bounds'].clone())

    task = build('vicreg')
    trainer(tmp_path, callbacks=[Watch()], overfit_batches=2, max_epochs=2).fit(
        task, data(tmp_path)
    )
    assert len(seen) == 4
    assert seen[0].equal(seen[2])
    assert seen[1].equal(seen[3])
    assert not seen[0].equal(seen[1])


def test_a_copy_of_dino_for_an_average_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'EMAWeightAveraging copies .* leave it out'):
        trainer(tmp_path, callbacks=[EMAWeightAveraging()]).fit(build('dino'), data(tmp_path))
