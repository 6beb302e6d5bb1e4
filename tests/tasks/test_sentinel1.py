"""Sentinel-1 in all tasks: read where it is, and either sensor may be absent."""

import warnings

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from torchgeo_sits.errors import SITSError
from torchgeo_sits.models import CARD_KEY, build_encoder, factorised_tiny, load_encoder
from torchgeo_sits.tasks import (
    SITSBYOL,
    SITSDINO,
    SITSBarlowTwins,
    SITSChangeDate,
    SITSChangeDetection,
    SITSChangeSeries,
    SITSClassification,
    SITSEmbedding,
    SITSRegression,
    SITSSegmentation,
    SITSSimCLR,
    SITSVICReg,
    encode_view,
)
from torchgeo_sits.tasks.change import two_windows
from torchgeo_sits.tasks.sentinel1 import meet_s1
from torchgeo_sits.transforms import SensorMultiView

from .labelled_data import LabelledData

SMALL = {'dim': 16, 'patch_size': 2, 'num_heads': 2, 'spatial_depth': 1, 'temporal_depth': 1}
TINY = {'model': 'factorised_tiny', 'in_channels': 2, 'model_kwargs': {**SMALL, 's1_channels': 2}}
TASKS = {
    'segmentation': lambda: SITSSegmentation(num_classes=4, **TINY),
    'classification': lambda: SITSClassification(num_classes=2, **TINY),
    'planes': lambda: SITSClassification(num_classes=2, aggregate='mean', depth='late', **TINY),
    'change': lambda: SITSChangeDetection(**TINY),
    'spans': lambda: SITSChangeDetection(
        windows=[['1970-01-01', '1970-02-01'], ['1970-02-01', '1971-01-01']], **TINY
    ),
    'change_series': lambda: SITSChangeSeries(**TINY),
    'change_date': lambda: SITSChangeDate(**TINY),
    'regression': lambda: SITSRegression(target='pixel', **TINY),
    'regression_field': lambda: SITSRegression(target='field', **TINY),
}


def batch_of(seed=0, *, frames=6, frames_s1=5, size=9):
    """Two series of both sensors, with clouds, and dates of their own."""
    generator = torch.Generator().manual_seed(seed)
    batch = {}
    for end, t in (('', frames), ('_s1', frames_s1)):
        batch[f'image{end}'] = torch.randn(2, t, 2, size, size, generator=generator)
        batch[f'acquisition_times{end}'] = 86_400 * (7 + 12 * torch.arange(t)).expand(2, t)
        batch[f'valid{end}'] = torch.ones(2, t, dtype=torch.bool)
        batch[f'mask_clear{end}'] = torch.rand(2, t, size, size, generator=generator) > 0.3
    return batch


def without(batch, end):
    """The batch with all frames of a sensor not valid, and of any content."""
    return batch | {
        f'valid{end}': torch.zeros_like(batch[f'valid{end}']),
        f'image{end}': torch.full_like(batch[f'image{end}'], torch.nan),
    }


def only_optical(batch):
    return {key: value for key, value in batch.items() if not key.endswith('_s1')}


@pytest.mark.parametrize('name', TASKS)
def test_tasks_read_s1_and_do_without_either_sensor(name):
    torch.manual_seed(0)
    task, batch = TASKS[name]().eval(), batch_of()
    with torch.no_grad():
        both = task(batch)
        moved = task(batch | {'image_s1': batch['image_s1'] + 1.0})
        none, invalid = task(only_optical(batch)), task(without(batch, '_s1'))
        radar = task(without(batch, ''))
        cloudy = batch | {'mask_clear': torch.zeros_like(batch['mask_clear'])}
        clouded, nothing = task(cloudy), task(without(without(batch, ''), '_s1'))
    assert all(x.isfinite().all() for x in (both, none, radar, nothing))
    assert (both - moved).abs().max() > 1e-4
    torch.testing.assert_close(none, invalid)
    if name not in ('change_series', 'change_date', 'change'):
        # Frames that are clouded all over are as good as none, but have dates.
        torch.testing.assert_close(clouded, radar)
    if name not in ('change_series', 'change_date'):  # which are of optical frames
        assert (radar - nothing).abs().max() > 1e-4


@pytest.mark.parametrize('name', TASKS)
def test_gradients_are_finite_without_either_sensor(name):
    task, batch = TASKS[name](), batch_of()
    for given in (batch, only_optical(batch), without(batch, ''), without(batch, '_s1')):
        task.zero_grad()
        scores = task(given)
        scores.square().mean().backward()
        found = [p.grad for p in task.parameters() if p.grad is not None]
        assert found
        assert all(gradient.isfinite().all() for gradient in found)


def test_halves_of_s1_are_cut_where_those_of_the_optical_series_are():
    batch = batch_of(frames=4, frames_s1=6)
    day = 86_400
    batch['acquisition_times'] = day * torch.tensor([[10, 20, 90, 100], [10, 20, 90, 100]])
    batch['acquisition_times_s1'] = day * torch.arange(0, 120, 20).expand(2, 6)
    batch['valid'] = torch.tensor([[True] * 4, [False] * 4])
    before, after = two_windows(batch)
    # 0 to 80 come before 90; without optical frames it is three and three.
    assert before['valid_s1'].sum(1).tolist() == [5, 3]
    assert after['valid_s1'].sum(1).tolist() == [1, 3]
    assert after['acquisition_times_s1'][0][after['valid_s1'][0]].tolist() == [100 * day]
    before, after = two_windows(batch, ((0, 50 * day), (50 * day, 70 * day)))
    assert (before['valid_s1'].sum(1).tolist(), after['valid_s1'].sum(1).tolist()) == (
        [3, 3],
        [1, 1],
    )


def test_dates_of_change_are_no_data_where_s1_alone_saw():
    batch = batch_of()
    batch['mask_clear'][:, :, 2, 3] = False
    found = TASKS['change_date']().eval().predict_step(batch, 0)
    for values in found.values():
        assert values[:, 2, 3].isnan().all()
        assert values.isnan().sum() == 2


def with_s1(sample):
    """A sample with Sentinel-1, which tells the classes apart, in a unit of its own."""
    mask = sample['mask'].float()
    times = sample['acquisition_times']
    image = torch.stack([-10 + mask, -20 - mask]).expand(len(times), -1, -1, -1)
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(int(times[0]) % 97))
    return sample | {
        'image_s1': image + 0.1 * noise,
        'acquisition_times_s1': times + 86_400,
        'valid_s1': torch.ones(len(times), dtype=torch.bool),
        'mask_clear_s1': torch.ones(len(times), *mask.shape, dtype=torch.bool),
    }


class FusionData(LabelledData):
    """Labelled series of both sensors."""

    def __init__(self, *, bands_s1=('VV', 'VH'), **kwargs):
        super().__init__(change=with_s1 if bands_s1 else lambda sample: sample, **kwargs)
        self.bands_s1 = list(bands_s1)
        self.normalised_s1 = None
        if bands_s1:
            self.card_s1 = {
                'bands_s1': self.bands_s1,
                'mean_s1': [-10.0, -20.0],
                'std_s1': [3.0, 2.0],
            }

    def normalise_s1_as(self, mean, std):
        self.normalised_s1 = (list(mean), list(std))


def trainer(tmp_path, **kwargs):
    return Trainer(
        accelerator='cpu',
        logger=False,
        max_steps=kwargs.pop('max_steps', 1),
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
        **kwargs,
    )


@pytest.fixture(scope='module')
def fitted(tmp_path_factory):
    """A checkpoint of a segmentation that took Sentinel-1 because the data has it."""
    folder = tmp_path_factory.mktemp('fitted')
    task = SITSSegmentation(model='factorised_tiny', model_kwargs=SMALL)
    run = trainer(folder)
    run.fit(task, datamodule=FusionData())
    run.save_checkpoint(folder / 'x.ckpt')
    return folder / 'x.ckpt'


def card_of(path):
    return torch.load(path, weights_only=True)[CARD_KEY]


def test_a_new_model_takes_the_s1_of_its_data(fitted):
    card = card_of(fitted)
    assert card['model_kwargs']['s1_channels'] == 2
    assert (card['bands_s1'], card['mean_s1'], card['std_s1']) == (
        ['VV', 'VH'],
        [-10.0, -20.0],
        [3.0, 2.0],
    )
    encoder, _ = load_encoder(fitted)
    bare = build_encoder('factorised_tiny', 2, **SMALL, s1_channels=2).eval()
    bare.load_state_dict(encoder.encoder.state_dict())
    series = encoder.series_of(batch_of())
    raw = series._replace(
        s1=series.s1._replace(
            image=series.s1.image * torch.tensor([3.0, 2.0])[:, None, None]
            + torch.tensor([-10.0, -20.0])[:, None, None]
        )
    )
    with torch.no_grad():
        torch.testing.assert_close(encoder(raw), bare(series))


@pytest.mark.parametrize(
    'options',
    [
        {'model': 'planar_vit_tiny'},
        {'model': 'factorised_tiny', 'model_kwargs': {**SMALL, 's1_channels': 0}},
    ],
    ids=['cannot', 'must not'],
)
def test_models_that_take_no_s1_leave_it_out_with_a_word(options, tmp_path):
    task = SITSSegmentation(**options)
    with pytest.warns(UserWarning, match=r"takes no Sentinel-1: the bands \['VV', 'VH'\]"):
        trainer(tmp_path).fit(task, datamodule=FusionData())
    assert task.encoder.s1_channels == 0


@pytest.mark.parametrize('kind', [SITSSegmentation, SITSSimCLR])
def test_a_task_that_starts_from_it_normalises_s1_as_it_did(kind, fitted, tmp_path):
    data = FusionData()
    options = {'model': 'factorised_tiny', 'model_kwargs': SMALL} if kind is SITSSimCLR else {}
    if options:
        options['views_kwargs'] = {'num_paths': 2, 'length': 4}
    task = kind(weights=str(fitted), **options)
    trainer(tmp_path).fit(task, datamodule=data)
    assert task.encoder.s1_channels == 2
    assert data.normalised_s1 == ([-10.0, -20.0], [3.0, 2.0])


def test_other_bands_of_s1_are_refused_in_one_line(fitted, tmp_path):
    task = SITSSegmentation(weights=str(fitted))
    match = r"Sentinel-1 bands \['VV', 'VH'\], the data has \['VH', 'VV'\]. Use --data.s1.bands"
    with pytest.raises(SITSError, match=match) as error:
        trainer(tmp_path).fit(task, datamodule=FusionData(bands_s1=('VH', 'VV')))
    assert '\n' not in str(error.value)
    with pytest.raises(SITSError, match='takes 2 bands of Sentinel-1, the data has 1'):
        meet_s1(factorised_tiny(2, s1_channels=2), FusionData(bands_s1=('VV',)))


def test_prediction_without_s1_says_so_once_and_keeps_what_the_card_says(fitted, tmp_path):
    data = FusionData(bands_s1=())
    task = SITSSegmentation(weights=str(fitted))
    with pytest.warns(UserWarning, match='sees the optical series alone') as warned:
        found = trainer(tmp_path).predict(task, datamodule=data)
    assert len([w for w in warned if 'optical series alone' in str(w.message)]) == 1
    assert all(scores.isfinite().all() for scores in found)
    run = trainer(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        run.fit(task, datamodule=data)
    run.save_checkpoint(tmp_path / 'optical.ckpt')
    assert card_of(tmp_path / 'optical.ckpt')['mean_s1'] == [-10.0, -20.0]
    with pytest.warns(UserWarning, match='sees the optical series alone'):
        trainer(tmp_path).predict(SITSEmbedding(fitted), datamodule=data)


def test_data_of_another_kind_is_normalised_as_the_checkpoint(fitted, tmp_path):
    """Lightning restores the state of data modules of one class only."""
    data = FusionData()
    task = SITSSegmentation(
        model='factorised_tiny', model_kwargs={**SMALL, 's1_channels': 2}, in_channels=2
    )
    trainer(tmp_path).predict(task, datamodule=data, ckpt_path=str(fitted), weights_only=True)
    assert data.normalised_s1 == ([-10.0, -20.0], [3.0, 2.0])
    assert data.normalised == ([0.0, 0.0], [1.0, 1.0])


SENSORS = {'views': 'sensors', **TINY}


@pytest.mark.parametrize('kind', [SITSSimCLR, SITSVICReg, SITSBarlowTwins, SITSBYOL, SITSDINO])
def test_methods_compare_what_either_sensor_saw(kind, tmp_path):
    views = {'local_crop': 4} if kind is SITSDINO else {}
    task = kind(**SENSORS, views_kwargs={'dates': (0.5, 0.5), **views})

    class Gradients(Callback):
        def on_before_optimizer_step(self, trainer, module, optimizer):
            self.found = {
                name: stage.patches[0].weight.grad.abs().sum()
                for name, stage in (
                    ('optical', module.backbone.frames),
                    ('radar', module.backbone.frames_s1),
                )
            }

    gradients, data = Gradients(), FusionData(size=16)
    trainer(tmp_path, callbacks=[gradients], max_steps=1).fit(task, datamodule=data)
    assert all(value > 0 and value.isfinite() for value in gradients.found.values())
    shown = task.make_views(batch_of(size=16))
    for i, view in enumerate(shown[:2]):
        assert view['valid'].any().item() == (i == 0)
        assert view['valid_s1'].any().item() == (i == 1)
        hidden = view['image'] if i else view['image_s1']
        assert not hidden.any()


def test_a_sample_of_one_sensor_is_shown_as_that_saw_it_in_both_views():
    batch = batch_of()
    batch['valid_s1'][0] = False
    batch['mask_clear_s1'][0] = False
    batch['mask_clear'][1] = False
    first, second = SensorMultiView(local_views=0)(batch)
    for view in (first, second):
        assert view['mask_clear'].flatten(1).any(1).tolist() == [True, False]
        assert view['mask_clear_s1'].flatten(1).any(1).tolist() == [False, True]
    embedding = factorised_tiny(2, s1_channels=2, **SMALL).eval()
    assert encode_view(embedding, first).embed.isfinite().all()


SIAMESE = [SITSSimCLR, SITSVICReg, SITSBarlowTwins]
PLANAR = {'model': 'planar_vit_tiny', 'model_kwargs': {'embed_dim': 16, 'depth': 1, 'time_dim': 8}}


@pytest.mark.parametrize('views', ['sensors', 'sensor_pixels'])
@pytest.mark.parametrize('kind', SIAMESE)
def test_an_encoder_of_one_sensor_gets_another_beside_it(kind, views, tmp_path):
    task = kind(views=views, **PLANAR)
    before = {}

    class Start(Callback):
        def on_train_start(self, trainer, module):
            before.update({k: v.clone() for k, v in module.state_dict().items()})

    data = FusionData(size=16)
    loop = trainer(tmp_path, callbacks=[Start()], max_steps=2)
    loop.fit(task, datamodule=data)
    assert task.backbone_s1.in_channels == 2
    after = task.state_dict()
    for part in ('backbone', 'backbone_s1', 'projection_head', 'projection_head_s1'):
        name = next(k for k in after if k.startswith(f'{part}.') and k.endswith('weight'))
        assert not torch.equal(before[name], after[name]), part
    loop.save_checkpoint(tmp_path / 'last.ckpt')
    again = kind.load_from_checkpoint(tmp_path / 'last.ckpt', weights_only=True)
    assert all(torch.equal(value, after[name]) for name, value in again.state_dict().items())
    encoder, card = load_encoder(tmp_path / 'last.ckpt')
    assert (encoder.s1_channels, card.get('bands_s1')) == (0, None)


def test_an_encoder_that_knows_its_bands_by_name_gets_another_of_radar():
    task = SITSVICReg(
        model='sits_s2_tiny',
        in_channels=2,
        model_kwargs={'bands': ['B04', 'B08'], 'time_dim': 8},
        views='sensor_pixels',
        s1_channels=1,
    )
    assert [e.config['time_dim'] for e in (task.backbone, task.backbone_s1)] == [8, 8]
    assert (task.backbone.in_channels, task.backbone_s1.in_channels) == (2, 1)


def test_what_two_encoders_see_is_not_mixed():
    mixed = {'views': 'sensors', 'object_weight': 1.0, 'mixup_weight': 1.0, 'in_channels': 2}
    SITSBarlowTwins(**mixed, **PLANAR)  # as long as nothing is known of Sentinel-1
    with pytest.raises(SITSError, match='mixes what one encoder sees'):
        SITSBarlowTwins(**mixed, s1_channels=2, **PLANAR)


def test_each_encoder_sees_its_sensor_alone():
    task = SITSVICReg(views='sensors', in_channels=2, s1_channels=2, **PLANAR)
    torch.manual_seed(0)
    batch = batch_of()
    views = task.make_views(batch)
    for number, key in enumerate(('image', 'image_s1')):
        changed = [dict(view) for view in views]
        changed[number][key] = changed[number][key] + 1.0
        with torch.no_grad():
            found, other = (
                task.compare_views(some, batch).health['embedding'].chunk(2)
                for some in (views, changed)
            )
        moved = [not torch.equal(a, b) for a, b in zip(found, other, strict=True)]
        assert moved == [number == 0, number == 1]


def test_places_that_one_sensor_has_not_seen_are_not_compared():
    torch.manual_seed(0)
    task = SITSSimCLR(views='sensors', in_channels=2, s1_channels=2, **PLANAR)
    batch = {k: torch.cat([v, v, v]) for k, v in batch_of().items()}
    batch['mask_clear_s1'][0] = False
    batch['mask_clear'][1] = False
    compared = []
    task._compare = lambda level, ours, theirs: compared.append(len(ours)) or (ours.sum(), ours)
    task.compare_views(task.make_views(batch), batch)
    assert compared == [4]


def test_the_number_of_bands_of_s1_is_that_of_the_data(tmp_path):
    task = SITSSimCLR(views='sensors', in_channels=2, s1_channels=3, **PLANAR)
    with pytest.raises(
        SITSError, match=r"need 3 bands of Sentinel-1, and the data has \['VV', 'VH"
    ):
        trainer(tmp_path, max_steps=1).fit(task, datamodule=FusionData(size=16))
    with pytest.raises(SITSError, match='need Sentinel-1, and the data has none'):
        trainer(tmp_path, max_steps=1).fit(
            SITSSimCLR(views='sensors', **PLANAR), datamodule=LabelledData()
        )


def test_views_of_sensors_need_both(tmp_path):
    with pytest.raises(SITSError, match='need an encoder that takes Sentinel-1, and tempcnn'):
        SITSBYOL(model='tempcnn', in_channels=2, views='sensors')
    with pytest.raises(SITSError, match='of sensors need a Sentinel-1 series'):
        SITSSimCLR(**SENSORS).make_views(only_optical(batch_of()))
