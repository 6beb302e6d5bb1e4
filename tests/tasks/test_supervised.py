"""What the tasks with labels share: losses, weights, schedules, metrics."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score
from torch.nn import functional as F
from torch.utils.data import DataLoader

from torchgeo_sits.callbacks import BestCheckpoint
from torchgeo_sits.collate import pad_time
from torchgeo_sits.errors import SITSError
from torchgeo_sits.models import encoder_card, load_bare_encoder, planar_vit_tiny
from torchgeo_sits.tasks import SITSChangeDetection, SITSClassification, SITSSegmentation

from .labelled_data import LabelledData, sample

TINY = {'embed_dim': 16, 'depth': 2, 'num_heads': 2, 'time_dim': 16}


def trainer(tmp_path, **kwargs):
    options = {'max_epochs': 1, 'enable_checkpointing': False, **kwargs}
    return Trainer(
        accelerator='cpu',
        logger=False,
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )


def segmentation(**kwargs):
    options = {'model_kwargs': TINY, 'in_channels': 2, 'num_classes': 4, 'ignore_index': 0}
    task = SITSSegmentation(**{**options, **kwargs})
    task.log = lambda *args, **kwargs: None
    return task


def batch(count=2, **kwargs):
    samples = [sample(i, **kwargs) for i in range(count)]
    return {key: torch.stack([s[key] for s in samples]) for key in samples[0]}


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint as pretraining writes it."""
    torch.manual_seed(1)
    encoder = planar_vit_tiny(2, **TINY)
    card = encoder_card(
        'planar_vit_tiny',
        encoder,
        bands=['red', 'nir'],
        mean=[3.0, 4.0],
        std=[1.5, 2.0],
        prefix='teacher',
    )
    path = tmp_path / 'pretrained.ckpt'
    state = {f'teacher.{key}': value for key, value in encoder.state_dict().items()}
    torch.save({'sits': card, 'state_dict': state}, path)
    return path, encoder


def test_segmentation_learns(tmp_path):
    torch.manual_seed(0)
    task = SITSSegmentation(model_kwargs=TINY, lr=1e-2)
    data = LabelledData()
    run = trainer(tmp_path, max_epochs=15)
    run.fit(task, data)
    assert task.hparams['labels'] == data.class_names
    assert run.callback_metrics['val_OverallAccuracy'] > 0.9
    assert run.callback_metrics['val_ClasswiseJaccardIndex_rises'] > 0.8
    probabilities = torch.cat(run.predict(task, data))
    assert probabilities.shape == (8, 4, 8, 8)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(8, 8, 8))
    # What is not labelled is no class to be predicted.
    assert probabilities[:, 0].max() < 1e-6


def test_cross_entropy_is_the_mean_over_labelled_pixels():
    task, series = segmentation(class_weights=[1.0, 2.0, 1.0, 0.5]), batch()
    scores = task(series)
    found = task.loss_of(*task.compare(series)[1:])
    weights = torch.tensor([1.0, 2.0, 1.0, 0.5])
    total, weight = 0.0, 0.0
    for pixel, label in zip(
        scores.movedim(1, -1).reshape(-1, 4), series['mask'].flatten(), strict=True
    ):
        if label:
            total += weights[label] * -F.log_softmax(pixel, 0)[label]
            weight += weights[label]
    torch.testing.assert_close(found, total / weight)


LOSSES = {
    'ce': {},
    'weighted ce': {'loss': 'ce', 'class_weights': [1.0, 2.0, 1.0, 0.5]},
    'focal': {'loss': 'focal'},
    'dice': {'loss': 'dice'},
    'jaccard': {'loss': 'jaccard'},
    'bce': {'loss': 'bce', 'task': 'binary', 'num_classes': None, 'pos_weight': 3.0},
}


@pytest.mark.parametrize('options', LOSSES.values(), ids=LOSSES)
def test_a_batch_four_times_has_the_loss_and_gradient_of_one(options):
    torch.manual_seed(0)
    task, series = segmentation(**options), batch()
    if options.get('task') == 'binary':
        series['mask'] = (series['mask'] - 1).clamp(max=1)  # -1 is not labelled
        task.hparams['ignore_index'] = -1
    found = []
    for times in (1, 4):
        task.zero_grad()
        loss = task.loss_of(
            *task.compare({key: torch.cat([value] * times) for key, value in series.items()})[1:]
        )
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in task.head.parameters())])
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-7)
    assert found[0][1].abs().max() > 1e-4


@pytest.mark.parametrize('options', LOSSES.values(), ids=LOSSES)
def test_the_loss_of_validation_does_not_depend_on_batches(options, tmp_path):
    def sparse(sample):  # one series has few labels, one none
        seed = int(sample['label']) + int(sample['mask'].sum()) % 3
        generator = torch.Generator().manual_seed(seed)
        keep = torch.rand(8, 8, generator=generator) < [1, 0.1, 0][seed % 3]
        mask = torch.where(keep, sample['mask'], 0)
        binary = options.get('task') == 'binary'
        return sample | {'mask': (mask - 1).clamp(max=1) if binary else mask}

    data = LabelledData(change=sparse)
    data.unlabelled = -1 if options.get('task') == 'binary' else 0
    data.class_names = data.num_classes = None
    torch.manual_seed(0)
    task = SITSSegmentation(model_kwargs=TINY, **{'num_classes': 4, **options})
    losses = []
    for size in (1, 3, 8):
        data.val_dataloader = lambda size=size: DataLoader(
            data.samples, batch_size=size, collate_fn=pad_time
        )
        (found,) = trainer(tmp_path).validate(task, data, verbose=False)
        losses.append(found['val_loss'])
    task.eval()
    with torch.no_grad():
        kept = task.compare(pad_time(data.samples))[1:]
        expected = task.loss_of(*kept).item()
    assert losses == pytest.approx([expected] * 3, rel=1e-4)


@pytest.mark.parametrize('loss', ['ce', 'focal', 'dice', 'jaccard'])
def test_what_is_predicted_where_nothing_is_labelled_costs_nothing(loss):
    torch.manual_seed(0)
    task, series = segmentation(loss=loss), batch()
    scores = task(series).detach()
    unlabelled = (series['mask'] == 0)[:, None]
    noise = torch.randn_like(scores) * 5
    noise[:, 0] = 0
    losses = [
        task.loss_of(*task.select(s, series['mask']))
        for s in (scores, torch.where(unlabelled, scores + noise, scores))
    ]
    assert losses[0].isfinite()
    torch.testing.assert_close(losses[0], losses[1])


@pytest.mark.parametrize('loss', ['ce', 'focal', 'dice', 'jaccard'])
def test_batch_without_a_label_has_no_loss_and_no_gradient(loss):
    task, series = segmentation(loss=loss), batch()
    series['mask'].zero_()
    out = task.training_step(series, 0)
    out['loss'].backward()
    assert out['loss'] == 0
    grads = [p.grad for p in task.parameters() if p.grad is not None]
    assert grads
    assert not any(g.any() for g in grads)


def test_run_without_any_label_says_so(tmp_path):
    def unlabel(s):
        return s | {'mask': torch.zeros_like(s['mask'])}

    run = trainer(tmp_path)
    with pytest.warns(UserWarning, match="no label among the data of stage 'val'"):
        run.fit(SITSSegmentation(model_kwargs=TINY), LabelledData(change=unlabel))
    assert run.callback_metrics['train_loss'] == 0
    assert 'val_OverallAccuracy' not in run.callback_metrics


def test_class_that_training_never_showed_is_named_and_counts_as_missed(tmp_path):
    def drop(s):
        return s | {'mask': s['mask'].masked_fill(s['mask'] == 3, 0)}

    data = LabelledData(change=drop)
    data.val_samples = LabelledData().samples
    torch.manual_seed(0)
    run = trainer(tmp_path, max_epochs=8)
    with pytest.warns(UserWarning, match=r"not shown the classes \['rises'\]"):
        run.fit(SITSSegmentation(model_kwargs=TINY), data)
    # It counts: were it left out, there would be no recall of it. The head, which starts at
    # random, gives it to few pixels at most.
    assert run.callback_metrics['val_ClasswiseRecall_rises'] < 0.05


@pytest.mark.parametrize('frames', [1, 2, 200])
def test_any_number_of_frames(frames):
    task = segmentation()
    assert task.training_step(batch(frames=frames), 0)['loss'].isfinite()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'mask': torch.full((2, 8, 8), 7)}, r'labels hold \[7\], expected classes from 0 to 3'),
        ({'mask': torch.ones(2, 4, 8, dtype=torch.long)}, r'labels \(2, 8, 8\).*got \(2, 4, 8\)'),
    ],
)
def test_labels_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        segmentation().training_step(batch() | change, 0)


def test_weights_bring_model_bands_and_normalisation(tmp_path, checkpoint):
    path, encoder = checkpoint
    task, data = SITSSegmentation(weights=str(path), freeze_backbone=True), LabelledData()
    trainer(tmp_path).fit(task, data)
    assert data.normalised == ([3.0, 4.0], [1.5, 2.0])
    assert task.hparams['model_kwargs']['embed_dim'] == 16
    assert not task.encoder.training
    # Frozen: after training they are what they were.
    for key, value in encoder.state_dict().items():
        assert torch.equal(task.encoder.state_dict()[key], value), key


def test_pretrained_encoder_is_trained_in_the_mode_of_training(tmp_path, checkpoint):
    class Mode(Callback):
        modes: list[bool] = []

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            self.modes.append(all(m.training for m in pl_module.encoder.modules()))

    task = SITSSegmentation(weights=str(checkpoint[0]))
    trainer(tmp_path, callbacks=[mode := Mode()], max_epochs=2).fit(task, LabelledData())
    # In the second epoch too, after a validation.
    assert mode.modes == [True] * 4


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'model': 'planar_vit_small'}, "holds planar_vit_tiny with model='planar_vit_tiny'"),
        ({'in_channels': 3}, 'in_channels=2, but in_channels=3 was asked for'),
        ({'model_kwargs': {'depth': 3}}, "model_kwargs={'depth': 2}, but"),
        ({'weights': 'missing.ckpt'}, 'no checkpoint at missing.ckpt'),
    ],
)
def test_weights_of_another_model_are_refused(checkpoint, options, message):
    error = FileNotFoundError if 'weights' in options else ValueError
    with pytest.raises(error, match=message):
        SITSSegmentation(**{'weights': str(checkpoint[0]), **options})


@pytest.mark.parametrize(
    ('bands', 'message'),
    [
        (['nir', 'red'], r"--data.bands \"\['red', 'nir'\]\""),
        (['red', 'swir'], 'data of the same bands, or a checkpoint of these'),
        (['red', 'nir', 'swir'], r'2 bands .*the data has 3.*--data.bands'),
    ],
)
def test_data_of_other_bands_is_refused(tmp_path, checkpoint, bands, message):
    data = LabelledData()
    data.bands, data.in_channels = bands, len(bands)
    with pytest.raises(ValueError, match=message):
        trainer(tmp_path).fit(SITSSegmentation(weights=str(checkpoint[0])), data)


def test_data_of_another_sensor_is_used_with_a_warning(tmp_path, checkpoint):
    data = LabelledData()
    data.bands = ['B4', 'B5']
    with pytest.warns(UserWarning, match='used in this order'):
        trainer(tmp_path).fit(SITSSegmentation(weights=str(checkpoint[0])), data)


def test_checkpoint_brings_task_and_encoder_back(tmp_path):
    data = LabelledData()
    run = trainer(tmp_path, enable_checkpointing=True)
    task = SITSSegmentation(model_kwargs=TINY)
    run.fit(task, data)
    path = run.checkpoint_callback.best_model_path
    again = SITSSegmentation.load_from_checkpoint(path)
    series = batch()
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(series), task.eval()(series))
    encoder, card = load_bare_encoder(path)
    assert card['bands'] == ['red', 'nir']
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, task.encoder.state_dict()[key])
    scores = trainer(tmp_path).test(again, data, verbose=False)[0]
    assert scores['test_OverallAccuracy'] == pytest.approx(
        run.callback_metrics['val_OverallAccuracy'].item()
    )


def test_learning_rate_falls_layer_by_layer(tmp_path):
    task = SITSSegmentation(model_kwargs=TINY, layer_decay=0.5, lr=1e-2, warmup_share=0.0)
    trainer(tmp_path).fit(task, LabelledData())
    found = {}
    names = {id(p): name for name, p in task.named_parameters()}
    for group in task.trainer.optimizers[0].param_groups:
        for p in group['params']:
            found[names[id(p)]] = group['initial_lr']
    # BEiT: the norm and the head at full rate, each block below at half of the next.
    assert found['head.scores.weight'] == pytest.approx(1e-2)
    assert found['encoder.path_stage.norm.weight'] == pytest.approx(1e-2)
    assert found['encoder.path_stage.blocks.1.attn.qkv.weight'] == pytest.approx(5e-3)
    assert found['encoder.path_stage.blocks.0.attn.qkv.weight'] == pytest.approx(2.5e-3)
    assert found['encoder.time_stage.proj.weight'] == pytest.approx(1.25e-3)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'loss': 'bce'}, "loss='bce' does not go with task='multiclass'"),
        ({'loss': 'dice', 'class_weights': [1.0] * 4}, "class_weights are for loss='ce'"),
        ({'class_weights': [1.0]}, 'one of class_weights for each of 4 classes, got 1'),
        ({'layer_decay': 0.0}, 'layer_decay in'),
        ({'depth': 'deep'}, "got 'deep'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        segmentation(**options)


def test_unknown_classes_are_asked_for(tmp_path):
    data = LabelledData()
    data.num_classes = data.class_names = None
    with pytest.raises(ValueError, match='the number of classes is unknown'):
        trainer(tmp_path).fit(SITSSegmentation(), data)


@pytest.mark.parametrize('aggregate', ['embed', 'mean', 'vote'])
def test_classification_learns(tmp_path, aggregate):
    torch.manual_seed(0)

    def one_class(s):
        kind = int(s['label'])
        s['image'] = s['image'] * 0.2 + torch.linspace(-1, 1, 6)[:, None, None, None] * (-1) ** kind
        return {key: value for key, value in s.items() if key != 'mask'}

    data = LabelledData(count=16, change=one_class)
    data.num_classes, data.class_names, data.unlabelled = 2, ['falls', 'rises'], -1
    task = SITSClassification(
        model_kwargs=TINY, aggregate=aggregate, lr=1e-2, depth='late', labels=None
    )
    run = trainer(tmp_path, max_epochs=8)
    run.fit(task, data)
    assert run.callback_metrics['val_OverallAccuracy'] == 1
    assert torch.cat(run.predict(task, data)).shape == (16, 2)


def test_votes_are_shares_of_the_planes_that_saw_something():
    task = SITSClassification(
        aggregate='vote', depth='late', in_channels=2, num_classes=3, model_kwargs=TINY
    )
    series = batch(1)
    series['mask_clear'][:, :, 3:] = False
    with torch.no_grad():
        planes, seen = task.plane_scores(series)
        found = task.eval()(series)
    assert seen[0].tolist() == [True] * 3 + [False] * 5 + [True] * 8
    votes = planes[0, seen[0]].argmax(-1)
    shares = torch.stack([(votes == k).float().mean() for k in range(3)])
    torch.testing.assert_close(found[0].exp(), shares.clamp(min=1e-4))


def test_series_without_labels_of_its_own_is_refused():
    task = SITSClassification(in_channels=2, num_classes=2, model_kwargs=TINY)
    series = batch()
    del series['label']
    with pytest.raises(ValueError, match=r"expected 'label' \(B,\)"):
        task.compare(series)


def test_binary_loss_is_weighted_by_pos_weight():
    task = SITSChangeDetection(in_channels=2, model_kwargs=TINY, pos_weight=3.0, ignore_index=255)
    scores, labels = torch.tensor([[0.3], [-1.2]]), torch.tensor([1, 0])
    expected = (3 * math.log(1 + math.exp(-0.3)) + math.log(1 + math.exp(-1.2))) / 2
    assert task.loss_of(scores, labels).item() == pytest.approx(expected)


def test_torchgeos_segmentation_of_series_takes_our_batches():
    from torchgeo.tasks import SpatioTemporalSegmentation

    task = SpatioTemporalSegmentation(in_channels=2, num_classes=4, ignore_index=0, hidden_dim=4)
    task.log = lambda *args, **kwargs: None
    samples = [sample(0), sample(1, frames=4)]
    assert task.training_step(pad_time(samples), 0).isfinite()


@pytest.mark.parametrize('case', ['scored', 'no validation', 'no label'])
def test_the_best_epoch_is_kept_or_the_last_where_none_is_scored(tmp_path, case):
    torch.manual_seed(0)
    data = LabelledData()
    if case == 'no validation':
        data.val_dataloader = lambda: []
    elif case == 'no label':
        data.val_samples = [s | {'mask': torch.zeros_like(s['mask'])} for s in data.samples]
    # The second epoch ruins the first.
    task = SITSSegmentation(model_kwargs=TINY)
    scores = []
    log_dict = task.log_dict

    def noted(values, *args, **kwargs):
        if 'val_AverageF1Score' in values:
            values = values | {'val_AverageF1Score': torch.tensor(1.0 - len(scores))}
            scores.append(values)
        log_dict(values, *args, **kwargs)

    task.log_dict = noted
    run = trainer(tmp_path, max_epochs=3, enable_checkpointing=True)
    run.fit(task, data)
    [path] = tmp_path.rglob('*.ckpt')
    assert path.name == f'segmentation-epoch={0 if case == "scored" else 2:02d}.ckpt'
    assert run.checkpoint_callback.best_model_path == str(path)


def renamed(names, numbers, unlabelled):
    """Data whose masks have other numbers for the same classes."""
    table = torch.tensor(numbers)
    data = LabelledData(change=lambda sample: sample | {'mask': table[sample['mask']]})
    data.class_names, data.num_classes, data.unlabelled = names, len(names), unlabelled
    return data


def test_names_of_a_checkpoint_decide_what_a_class_is(tmp_path):
    torch.manual_seed(0)
    task = SITSSegmentation(model_kwargs=TINY, lr=1e-2)
    run = trainer(tmp_path, max_epochs=15)
    run.fit(task, LabelledData())
    run.save_checkpoint(tmp_path / 'X.ckpt')
    right = run.callback_metrics['val_ClasswiseF1Score_falls']

    def scored(names, numbers, unlabelled=0):
        again = SITSSegmentation.load_from_checkpoint(tmp_path / 'X.ckpt', weights_only=True)
        data = renamed(names, numbers, unlabelled)
        (found,) = trainer(tmp_path).validate(again, data, verbose=False)
        return found

    for found in (
        scored(['unlabelled', 'rises', 'falls', 'stays'], [0, 2, 3, 1]),
        scored(['stays', 'falls', 'rises'], [255, 1, 0, 2], unlabelled=255),
        scored(['falls', 'rises', 'unlabelled'], [2, 0, 2, 1], unlabelled=2),
    ):
        torch.testing.assert_close(
            found['val_ClasswiseF1Score_falls'], right.item(), atol=0.03, rtol=0
        )
        assert found['val_OverallAccuracy'] > 0.9
    with pytest.raises(ValueError, match=r"the classes \['sinks'\], but the checkpoint"):
        scored(['unlabelled', 'falls', 'stays', 'sinks'], [0, 1, 2, 3])
    # A new training takes the names that it is given.
    task = SITSSegmentation(model_kwargs=TINY, labels=['0', 'down', 'flat', 'up'])
    run = trainer(tmp_path)
    run.fit(task, LabelledData())
    assert 'val_ClasswiseF1Score_up' in run.callback_metrics


def test_hyperparameters_of_numpy_and_compiled_encoders_are_read_back(tmp_path):
    options = {'class_weights': np.array([1.0, 2.0, 1.0, 0.5]), 'lr': np.logspace(-2, -3, 2)[0]}
    task = SITSSegmentation(model_kwargs=TINY, in_channels=2, num_classes=np.int64(4), **options)
    assert (task.hparams['class_weights'], task.hparams['lr']) == ([1.0, 2.0, 1.0, 0.5], 0.01)
    task.encoder = torch.compile(task.encoder, backend='eager')
    run = trainer(tmp_path)
    run.fit(task, LabelledData())
    run.save_checkpoint(tmp_path / 'X.ckpt')
    weights = task.encoder._orig_mod.state_dict()
    again = SITSSegmentation.load_from_checkpoint(tmp_path / 'X.ckpt', weights_only=True)
    encoder, _ = load_bare_encoder(tmp_path / 'X.ckpt')
    for key, value in weights.items():
        assert torch.equal(again.encoder.state_dict()[key], value)
        assert torch.equal(encoder.state_dict()[key], value)
    # A compiled task goes on from it, too.
    other = SITSSegmentation(model_kwargs=TINY, in_channels=2, num_classes=4, **options)
    other.encoder = torch.compile(other.encoder, backend='eager')
    goes_on = trainer(tmp_path, max_epochs=2)
    goes_on.fit(other, LabelledData(), ckpt_path=tmp_path / 'X.ckpt', weights_only=True)
    assert goes_on.global_step == 2 * run.global_step


@pytest.mark.parametrize('precision', ['bf16-true', '64-true'])
def test_another_type_of_all_numbers_is_refused(precision, tmp_path):
    with pytest.raises(ValueError, match=f'trainer.precision={precision} .* choose bf16-mixed'):
        trainer(tmp_path, precision=precision).fit(segmentation(), LabelledData())


def test_averages_are_over_the_classes_that_are_labelled():
    # Of four classes 0 is not labelled and 3 does not occur, but is predicted.
    truth = torch.tensor([1, 1, 1, 2, 2, 2])
    found = torch.tensor([1, 1, 3, 2, 2, 1])
    task = segmentation()
    logged = {}
    task.log_dict = logged.update
    task.warn_of_scores = lambda stage: None
    task._trainer = SimpleNamespace(sanity_checking=False)
    task._count('val', {}, F.one_hot(found, 4), 9.0 * F.one_hot(found, 4), truth)
    task._log_metrics('val')
    options = {'labels': [1, 2], 'average': 'macro', 'zero_division': 0}
    for name, score in (
        ('F1Score', f1_score), ('Precision', precision_score), ('Recall', recall_score),
        ('Accuracy', recall_score), ('JaccardIndex', jaccard_score),
    ):  # fmt: skip
        expected = score(truth, found, **options)
        assert logged[f'val_Average{name}'].item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize('accumulate', [1, 2])
def test_a_loss_that_is_not_finite_stops_before_the_weights(tmp_path, accumulate):
    data = LabelledData(count=16)
    data.samples[13]['image'][0, 0, 3, 3] = float('nan')  # in the last batch of an epoch
    task = SITSSegmentation(model_kwargs=TINY)
    run = trainer(
        tmp_path, max_epochs=2, accumulate_grad_batches=accumulate, enable_checkpointing=True
    )
    with pytest.raises(
        SITSError, match=r'loss of training is nan at step \d \(epoch 0\).*No check'
    ):
        run.fit(task, data)
    assert all(weight.isfinite().all() for weight in task.parameters())


def test_a_stop_names_the_last_good_checkpoint(tmp_path):
    task = SITSSegmentation(model_kwargs=TINY)
    run = trainer(tmp_path, max_epochs=3, enable_checkpointing=True)

    class Spoil(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch:  # a gradient alone, as of the root of 0
                hook = lambda gradient: gradient * float('inf')  # noqa: E731
                next(pl_module.head.parameters()).register_hook(hook)

    run.callbacks.append(Spoil())
    with pytest.raises(SITSError, match=r'gradient of .*\(epoch 1\).*The last checkpoint is') as e:
        run.fit(task, LabelledData())
    path = str(e.value).rpartition('checkpoint is ')[2]
    state = torch.load(path, weights_only=True)['state_dict']
    assert all(weight.isfinite().all() for weight in state.values())


@pytest.mark.parametrize('mode', ['max', 'min'])
def test_of_epochs_that_are_as_good_the_last_one_is_kept(tmp_path, mode):
    best = BestCheckpoint(tmp_path, filename='{epoch}', monitor='val_score', mode=mode)

    class Scored(SITSSegmentation):
        def on_validation_epoch_end(self):
            super().on_validation_epoch_end()
            worse = -1.0 if mode == 'max' else 1.0
            self.log('val_score', worse if self.current_epoch == 2 else 0.5)

    task = Scored(model_kwargs=TINY)
    run = trainer(tmp_path, max_epochs=3, enable_checkpointing=True, callbacks=[best])
    run.fit(task, LabelledData(count=4))
    assert [path.name for path in tmp_path.glob('*.ckpt')] == ['epoch=1.ckpt']
