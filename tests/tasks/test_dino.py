"""SITSDINO from files to checkpoint."""

import math

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from torchgeo_sits.callbacks import CollapseError, KNNProbe
from torchgeo_sits.datamodules import PatchOptions, SyntheticSITSDataModule
from torchgeo_sits.models import PlaneFeatures, encoder_card, load_bare_encoder
from torchgeo_sits.tasks import SITSDINO
from torchgeo_sits.tasks.dino import _draw_token_mask

from .two_views import IDS, LEVELS, TwoViews, weights_of

TINY = {
    'model_kwargs': {'embed_dim': 32, 'depth': 1, 'num_heads': 2, 'time_dim': 16},
    'num_prototypes': 32,
    'hidden_dim': 32,
    'bottleneck_dim': 16,
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('synthetic')


def data(folder, **kwargs):
    options = {'batch_size': 4, 'patches': PatchOptions(16, length=8), **kwargs}
    return SyntheticSITSDataModule(str(folder), size=64, num_dates_written=10, **options)


def trainer(tmp_path, **kwargs):
    options = {'max_epochs': 2, 'callbacks': [], **kwargs}
    return Trainer(
        accelerator='cpu',
        logger=False,
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


class Record(Callback):
    """Keep what the steps return and what they are scheduled with."""

    def __init__(self):
        self.losses, self.lrs, self.decays, self.temps, self.metrics = [], [], [], [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.temps.append(pl_module.teacher_temp)
        self.lrs.append(trainer.optimizers[0].param_groups[0]['lr'])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(outputs['loss'].item())
        groups = trainer.optimizers[0].param_groups
        self.decays.append({g['decays']: g['weight_decay'] for g in groups})
        self.metrics.append(dict(trainer.callback_metrics))


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'pixel_weight': 1.0, 'ibot_weight': 1.0, 'koleo_weight': 0.1},
        {'views': 'resampling'},
        {'model_kwargs': {**TINY['model_kwargs'], 'segment': 2}, 'pixel_weight': 1.0},
    ],
    ids=['planar', 'all terms', 'resampling', 'segments of two pixels'],
)
def test_trains_and_its_checkpoint_gives_the_teacher_back(folder, tmp_path, options):
    record = Record()
    checkpoint = ModelCheckpoint(tmp_path)
    run = trainer(tmp_path, callbacks=[record, checkpoint, KNNProbe(every_n_epochs=2)])
    task, datamodule = SITSDINO(**{**TINY, **options}), data(folder)
    run.fit(task, datamodule)
    assert len(record.losses) == 4
    assert all(math.isfinite(loss) for loss in record.losses)
    for name in ('embedding_std', 'embedding_cosine', 'embedding_rank', 'prototypes_used'):
        assert name in record.metrics[-1]
    assert 0 <= run.callback_metrics['knn_f1_late'] <= 1

    encoder, card = load_bare_encoder(checkpoint.best_model_path)
    assert card['bands'] == datamodule.bands
    assert card['mean'] == pytest.approx(datamodule.statistics[0].tolist())
    batch = datamodule.aug(next(iter(datamodule.val_dataloader())))
    inputs = [batch[k] for k in ('image', 'acquisition_times', 'valid', 'mask_clear')]
    with torch.no_grad():
        torch.testing.assert_close(encoder.eval()(*inputs), task.teacher.eval()(*inputs))


def test_schedules_follow_the_papers(folder, tmp_path):
    record = Record()
    options = {'lr': 1e-3, 'warmup_share': 0.5, 'weight_decay': 0.1, 'end_weight_decay': 0.3}
    temps = {'warmup_teacher_temp': 0.02, 'teacher_temp': 0.06, 'warmup_teacher_temp_share': 0.5}
    task = SITSDINO(**TINY, **options, **temps)
    trainer(tmp_path, callbacks=[record], max_epochs=4).fit(task, data(folder))
    steps = 8
    # Linear to the peak in half of the steps, then half a cosine to the end.
    rise = [1e-3 * (i + 1) / 4 for i in range(4)]
    fall = [1e-6 + (1e-3 - 1e-6) * (1 + math.cos(math.pi * i / 3)) / 2 for i in range(4)]
    assert record.lrs == pytest.approx(rise + fall, rel=1e-3)
    decay = [0.3 - 0.2 * (1 + math.cos(math.pi * i / (steps - 1))) / 2 for i in range(steps)]
    assert [d[True] for d in record.decays] == pytest.approx(decay)
    assert {d[False] for d in record.decays} == {0.0}
    assert record.temps[:4] == pytest.approx([0.02, 0.03, 0.04, 0.05])
    assert record.temps[4:] == pytest.approx([0.06] * 4)


def test_teacher_is_the_moving_average_of_the_student(folder, tmp_path):
    class Follow(Callback):
        def __init__(self):
            self.before, self.error = None, []

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            self.step = trainer.global_step
            self.before = [p.clone() for p in pl_module.teacher.parameters()]

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            m = 1 - (1 - 0.9) * (1 + math.cos(math.pi * self.step / 3)) / 2
            pairs = zip(self.before, pl_module.backbone.parameters(), strict=True)
            expected = [m * old + (1 - m) * new.detach() for old, new in pairs]
            for p, e in zip(pl_module.teacher.parameters(), expected, strict=True):
                self.error.append((p - e).abs().max().item())

    follow = Follow()
    task = SITSDINO(**TINY, momentum=0.9)
    trainer(tmp_path, callbacks=[follow]).fit(task, data(folder))
    assert len(follow.error) > 20
    assert max(follow.error) < 1e-6
    assert not any(p.requires_grad for p in task.teacher.parameters())


def test_prototypes_stay_in_the_first_epoch(folder, tmp_path):
    class Prototypes(Callback):
        def __init__(self):
            self.kept = []

        def on_train_epoch_end(self, trainer, pl_module):
            self.kept.append(pl_module.projection_head.last_layer.weight_v.detach().clone())

    task, kept = SITSDINO(**TINY, in_channels=10, warmup_share=0.0), Prototypes()
    start = task.projection_head.last_layer.weight_v.detach().clone()
    trainer(tmp_path, callbacks=[kept]).fit(task, data(folder))
    assert torch.equal(kept.kept[0], start)
    assert not torch.equal(kept.kept[1], start)


def test_resumes_where_it_stopped(folder, tmp_path):
    checkpoint = ModelCheckpoint(tmp_path)
    trainer(tmp_path, callbacks=[checkpoint]).fit(SITSDINO(**TINY, lr=1e-3), data(folder))
    record = Record()
    run = trainer(tmp_path, callbacks=[record], max_epochs=5)
    run.fit(SITSDINO(**TINY, lr=1e-3), data(folder), ckpt_path=checkpoint.best_model_path)
    assert run.global_step == 10
    # The schedule of the ten steps that it is now, not of the four that it was.
    expected = [
        1e-6 + (1e-3 - 1e-6) * (1 + math.cos(math.pi * (i - 1) / 8)) / 2 for i in range(4, 10)
    ]
    assert record.lrs == pytest.approx(expected, rel=1e-3)


def test_interrupted_run_leaves_a_checkpoint_that_loads(folder, tmp_path):
    class Interrupt(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.current_epoch == 1:
                raise KeyboardInterrupt

    checkpoint = ModelCheckpoint(tmp_path)
    run = trainer(tmp_path, callbacks=[Interrupt(), checkpoint])
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run.fit(SITSDINO(**TINY), data(folder))
    encoder, card = load_bare_encoder(checkpoint.best_model_path)
    assert card['in_channels'] == encoder.in_channels == 10


def test_starts_from_the_weights_of_a_checkpoint(folder, tmp_path):
    checkpoint = ModelCheckpoint(tmp_path)
    trainer(tmp_path, callbacks=[checkpoint]).fit(SITSDINO(**TINY), data(folder))
    encoder, _ = load_bare_encoder(checkpoint.best_model_path)
    task = SITSDINO(**TINY, in_channels=10, weights=checkpoint.best_model_path)
    for a, b in zip(task.backbone.parameters(), encoder.parameters(), strict=True):
        assert torch.equal(a, b)


def test_unknown_number_of_bands_is_named(tmp_path):
    loader = torch.utils.data.DataLoader([{'image': torch.zeros(2, 3, 8, 8)}])
    with pytest.raises(ValueError, match='in_channels'):
        trainer(tmp_path).fit(SITSDINO(**TINY), loader)


def test_a_learning_rate_far_too_large_is_stopped_with_a_message(folder, tmp_path):
    task = SITSDINO(**TINY, lr=1e3, clip_grad=0.0, warmup_share=0.0, min_lr=1e3)
    with pytest.raises(CollapseError, match='lr'):
        trainer(tmp_path, max_epochs=40).fit(task, data(folder))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'views_kwargs': {'lenght': 3}}, r"'lenght'.*It takes \['global_views'.*'length'"),
        ({'views_kwargs': {'length': 0}}, 'length of at least 1.*got 0'),
        ({'views_kwargs': {'length': 'long'}}, "length.*'long'"),
        ({'views_kwargs': {'dates': 3}}, 'dates.*got 3'),
        ({'views_kwargs': {'global_views': 1, 'local_views': 0}}, 'two at least'),
        (
            {'pixel_weight': 1.0, 'views_kwargs': {'global_views': 1, 'local_views': 2}},
            'global_views of at least 2, got 1',
        ),
        ({'centering': 'median'}, "'mean' or 'sinkhorn', got 'median'"),
        ({'teacher_temp': 0.0}, 'above 0.*teacher_temp=0.0'),
        ({'ibot_ratio': 1.0}, 'got 1.0'),
        ({'lr': -1.0}, 'lr must be above 0'),
        ({'in_channels': 3, 'model': 'resnet18'}, "'resnet18'.*no encoder of time series"),
        ({'in_channels': 3, 'model_kwargs': {'depht': 1}}, "'depht': 1"),
    ],
)
def test_refusals_name_the_value(options, message):
    with pytest.raises(ValueError, match=message):
        SITSDINO(**{**TINY, **options})


def test_bands_of_model_data_and_weights_are_compared(folder, tmp_path):
    with pytest.raises(ValueError, match=r'in_channels=3, but the data has 10 bands'):
        trainer(tmp_path).fit(SITSDINO(**TINY, in_channels=3), data(folder))
    task = SITSDINO(**TINY, in_channels=10)
    state = {f'teacher.{k}': v for k, v in task.teacher.state_dict().items()}
    card = encoder_card(
        'planar_vit_tiny', task.teacher, bands=[f'X{i}' for i in range(10)], prefix='teacher'
    )
    torch.save({'state_dict': state, 'sits': card}, tmp_path / 'other.ckpt')
    task = SITSDINO(**TINY, weights=str(tmp_path / 'other.ckpt'))
    with pytest.warns(UserWarning, match=r"'X0'.*the data has \['B02'"):
        trainer(tmp_path, max_steps=1).fit(task, data(folder))


def test_loss_equals_the_formulas_of_the_papers(monkeypatch):
    """Two global and one local view of four samples, transcribed term by term."""
    generator = torch.Generator().manual_seed(0)
    b, k, tokens = 4, 8, (2, 3)
    task = SITSDINO(
        **{**TINY, 'num_prototypes': k},
        in_channels=2,
        student_temp=0.2,
        teacher_temp=0.05,
        ibot_weight=0.5,
        koleo_weight=0.25,
    )
    out = {
        (who, size): torch.randn(size, k, generator=generator)
        for who in ('student', 'teacher')
        for size in (2 * b, b)
    }
    late = {w: torch.randn(2 * b, *tokens, k, generator=generator) for w in ('student', 'teacher')}
    seen = torch.ones(2 * b, *tokens, dtype=torch.bool)
    masks = []

    def encode(encoder, view, token_mask=None):
        who = 'student' if encoder is task.backbone else 'teacher'
        masks.append(token_mask)
        embed = out[who, len(view['acquisition_times'])]
        return PlaneFeatures(embed, late[who], late[who], seen)

    times = torch.zeros(b, 1)
    views = [{'acquisition_times': times}] * 3
    monkeypatch.setattr('torchgeo_sits.tasks.dino.encode_view', encode)
    monkeypatch.setattr(task, 'make_views', lambda batch: views)
    monkeypatch.setattr(SITSDINO, 'teacher_temp', 0.05)
    for name in ('projection_head', 'teacher_head'):
        setattr(task, name, torch.nn.Identity())
    for name in ('log', 'log_dict'):
        monkeypatch.setattr(task, name, lambda *args, **kwargs: None)
    loss = task.training_step({'image': torch.zeros(b, 1, 2, 4, 4)}, 0)['loss']

    teacher = list(out['teacher', 2 * b].chunk(2))
    center = out['teacher', 2 * b].mean(0)  # at the first step
    student = [*out['student', 2 * b].chunk(2), out['student', b]]
    terms = []
    for i, t in enumerate(teacher):
        target = ((t - center) / 0.05).softmax(-1)
        for j, s in enumerate(student):
            if i != j:
                terms.append(-(target * (s / 0.2).log_softmax(-1)).sum(-1).mean())
    dino = torch.stack(terms).mean()
    [mask] = [m for m in masks if m is not None]
    target = ((late['teacher'] - late['teacher'][mask].mean(0)) / 0.05).softmax(-1)
    cross = -(target * (late['student'] / 0.2).log_softmax(-1)).sum(-1)
    ibot = torch.stack([c[m].mean() for c, m in zip(cross, mask, strict=True)]).mean()
    koleo = []
    for part in out['student', 2 * b].chunk(2):
        z = torch.nn.functional.normalize(part, dim=1)
        distance = torch.cdist(z, z) + 10 * torch.eye(b)
        koleo.append(-(distance.min(1).values.log()).mean())
    expected = dino + 0.5 * ibot + 0.25 * torch.stack(koleo).mean()
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)


def sinkhorn_knopp(scores, temperature):
    """Codes ``(P, K)`` of DINOv2, after SwAV, section 3.1: three rounds, rows then columns."""
    q = (scores / temperature).exp().T  # prototypes by samples
    prototypes, samples = q.shape
    q = q / q.sum()
    for _ in range(3):
        q = q / q.sum(1, keepdim=True) / prototypes
        q = q / q.sum(0, keepdim=True) / samples
    return (q * samples).T


@pytest.mark.parametrize('centering', ['mean', 'sinkhorn'])
@pytest.mark.parametrize('levels', LEVELS, ids=IDS)
def test_targets_of_a_level_are_the_teachers_in_the_other_view(monkeypatch, levels, centering):
    torch.manual_seed(0)
    task = SITSDINO(
        **{**TINY, 'num_prototypes': 8},
        **weights_of(levels),
        in_channels=2,
        student_temp=0.2,
        centering=centering,
    )
    # Heads of the features that are given; the teacher's are its own.
    task.projection_head, task.teacher_head = task.build_head(5), task.build_head(5)
    task.double()
    for criterion in (task.dino_loss, task.object_loss, task.pixel_loss):
        criterion.float()  # as what it is given
    views = TwoViews(('backbone', 'teacher'))
    views.install(task, monkeypatch, 'dino')
    monkeypatch.setattr(SITSDINO, 'teacher_temp', 0.05)
    for step in range(2):
        loss = task.training_step(views.batch, 0)['loss']
        expected = 0.0
        for level, weight in levels.items():
            # Both directions: a view of the student, and the teacher's other one.
            there = views.pairs(level, ('backbone', 0), ('teacher', 1))
            back = views.pairs(level, ('backbone', 1), ('teacher', 0))
            ours, theirs = (torch.cat(both) for both in zip(there, back, strict=True))
            scores = task.teacher_head(theirs)
            if centering == 'mean':
                # The centre is that of the first outputs, and so of the second ones, the same.
                target = ((scores - scores.mean(0)) / 0.05).softmax(1)
            else:
                target = sinkhorn_knopp(scores, 0.05)
            cross = -(target * (task.projection_head(ours) / 0.2).log_softmax(1)).sum(1)
            expected += weight * cross.mean()
        # The loss itself is computed in float32.
        torch.testing.assert_close(loss.double(), expected, atol=2e-6, rtol=2e-6, msg=str(step))


def test_token_masks_hide_their_share_of_what_was_seen():
    seen = torch.zeros(3, 4, 10, dtype=torch.bool)
    seen[0, :2] = True
    seen[1, 0, 0] = True
    mask = _draw_token_mask(seen, 0.3)
    assert mask.flatten(1).sum(1).tolist() == [6, 1, 0]
    assert not (mask & ~seen).any()
