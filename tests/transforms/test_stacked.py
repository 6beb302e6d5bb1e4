"""Every view and augmentation in TorchGeo's own tasks, frames stacked as channels."""

from functools import partial

import kornia.augmentation as K
import lightning
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from torchgeo_sits import transforms
from torchgeo_sits.models.backbones import register_timm_backbone
from torchgeo_sits.transforms import (
    Normalize,
    PlanarMultiView,
    RandomCloudGaps,
    RandomDateDrop,
    RandomDateJitter,
    RandomFieldVariation,
    RandomGainOffset,
    RandomPlanarView,
    ResamplingMultiView,
    SeriesAugmentation,
    SeriesGeometry,
    SeriesSequential,
    StackedSeries,
)

B, T, C, H, W = 4, 6, 2, 20, 24
DAY = 86400

# What is wrapped, and the height and width that come back.
TRANSFORMS = {
    'RandomPlanarView': (lambda: RandomPlanarView(num_paths=8, length=16), (8, 16)),
    'PlanarMultiView': (
        lambda: PlanarMultiView(num_paths=8, length=16, dates=(0.5, 0.5), local_views=0),
        (8, 16),
    ),
    'ResamplingMultiView': (
        lambda: ResamplingMultiView(crop=12, dates=(0.5, 0.5), local_views=0),
        (12, 12),
    ),
    'RandomCloudGaps': (lambda: RandomCloudGaps(size=6), (H, W)),
    'RandomDateDrop': (lambda: RandomDateDrop((0.3, 0.6)), (H, W)),
    'RandomDateJitter': (lambda: RandomDateJitter(5), (H, W)),
    'RandomFieldVariation': (lambda: RandomFieldVariation(5.0), (H, W)),
    'RandomGainOffset': (lambda: RandomGainOffset(), (H, W)),
    'SeriesGeometry': (
        lambda: SeriesGeometry(K.RandomCrop((10, 14)), K.RandomRotation(30)),
        (10, 14),
    ),
    'SeriesSequential': (
        lambda: SeriesSequential(RandomDateDrop(), RandomGainOffset(p=0.5)),
        (H, W),
    ),
    'Normalize': (lambda: Normalize([0.1] * C, [2.0] * C), (H, W)),
}


@pytest.fixture
def x():
    """Stacked series in which no pixel is 0."""
    return torch.rand(B, T * C, H, W) + 1


@pytest.fixture(scope='module')
def tasks():
    # Seven seconds that only this file's trainings need.
    from torchgeo import tasks

    return tasks


def named_pixels():
    """Each value names its sample, channel and pixel."""
    return torch.arange(1, B * T * C * H * W + 1, dtype=torch.float32).view(B, T * C, H, W)


def build(tasks, name, augment, model='test_resnet'):
    """A task of TorchGeo with its own augmentations replaced, and its backbone."""
    common = {'model': model, 'in_channels': T * C}
    if name == 'SimCLR':
        options = {'version': 1, 'layers': 2, 'memory_bank_size': 0, 'lr': 0.1}
        task = tasks.SimCLR(**common, **options, augmentations=augment)
        return task, task.backbone
    if name == 'MoCo':
        options = {'version': 2, 'layers': 2, 'memory_bank_size': 8, 'lr': 0.1, 'hidden_dim': 32}
        task = tasks.MoCo(**common, **options, augmentation1=augment, augmentation2=augment)
        return task, task.backbone
    task = tasks.BYOL(**common)
    task.model.augment = augment
    return task, task.model.backbone.model


def fit(task, backbone, x, steps=1):
    """Train in the loop that users run; what the backbone was given."""
    given = []
    hook = backbone.register_forward_pre_hook(lambda _, args: given.append(args[0].clone()))
    before = [p.clone() for p in backbone.parameters()]
    trainer = lightning.Trainer(
        max_steps=steps,
        accelerator='cpu',
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, DataLoader([{'image': one} for one in x] * steps, batch_size=len(x)))
    hook.remove()
    assert trainer.global_step == steps
    assert trainer.callback_metrics['train_loss'].isfinite()
    moved = [not torch.equal(a, b) for a, b in zip(before, backbone.parameters(), strict=True)]
    assert any(moved)
    return given


def test_no_view_or_augmentation_is_left_out():
    exported = {
        name
        for name in transforms.__all__
        if isinstance(kind := getattr(transforms, name), type)
        and (name.endswith('View') or issubclass(kind, SeriesAugmentation))
    }
    # Views of sensors need the Sentinel-1 series that stacks have not, and those of pixels are of
    # more samples than TorchGeo's tasks count.
    other = {'SeriesAugmentation', 'View', 'MultiView'}
    other |= {'SensorMultiView', 'PixelMultiView', 'SensorPixelMultiView'}
    assert exported - other <= TRANSFORMS.keys()


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', ['SimCLR', 'MoCo', 'BYOL'])
@pytest.mark.parametrize('transform', TRANSFORMS)
def test_torchgeo_trains_on_it(tasks, x, name, transform):
    build_transform, size = TRANSFORMS[transform]
    augment = StackedSeries(build_transform(), num_bands=C)
    given = fit(*build(tasks, name, augment), x)
    assert {image.shape for image in given} == {(B, T * C, *size)}


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', ['SimCLR', 'MoCo', 'BYOL'])
@pytest.mark.parametrize('transform', ['PlanarMultiView', 'ResamplingMultiView'])
def test_torchgeo_compares_two_views_of_one_draw(tasks, x, name, transform):
    augment = StackedSeries(TRANSFORMS[transform][0](), num_bands=C)
    task, backbone = build(tasks, name, augment)
    given = []
    augment.register_forward_hook(lambda module, args, out: given.append(out))
    fit(task, backbone, x, steps=2)
    assert len(given) == 4
    for one, other in (given[:2], given[2:]):
        # Half of the dates each, and none in both.
        one, other = (v.unflatten(1, (T, C)).ne(0).flatten(2).any(2) for v in (one, other))
        assert torch.equal(one, ~other)
        assert (one.sum(1) == T // 2).all()


@pytest.mark.filterwarnings('ignore')
def test_torchgeo_trains_our_encoder_on_our_views(tasks, x):
    register_timm_backbone('sits_stacked_two_bands', encoder='planar_vit_tiny', num_bands=C)
    augment = StackedSeries(RandomPlanarView(num_paths=4, length=8), num_bands=C)
    task, backbone = build(tasks, 'SimCLR', augment, model='sits_stacked_two_bands')
    assert {image.shape for image in fit(task, backbone, x)} == {(B, T * C, 4, 8)}


def test_nothing_done_gives_back_every_bit(x):
    x[0, 0, 0, :4] = torch.tensor([-0.0, torch.inf, torch.nan, 1e-42])
    out = StackedSeries(nn.Identity(), num_bands=C)(x)
    assert torch.equal(out.view(torch.int32), x.view(torch.int32))


def test_a_planar_view_is_an_image_of_its_paths():
    x = named_pixels()
    view = RandomPlanarView(num_paths=5, length=9, dates=(0.3, 0.8))
    out = StackedSeries(view, num_bands=C)(x)
    assert out.shape == (B, T * C, 5, 9)
    paths, frames, keep = (view._params[key] for key in ('paths', 'frames', 'keep'))
    for b in range(B):
        kept = frames[b][keep[b]].tolist()
        assert 0 < len(kept) < T
        for channel in range(T * C):
            expected = x[b, channel].flatten()[paths[b]]
            assert torch.equal(out[b, channel], expected * (channel // C in kept))


def test_a_dropped_date_is_0_and_the_others_stay_in_their_channels():
    x = named_pixels()
    drop = RandomDateDrop((0.4, 0.8))
    out = StackedSeries(drop, num_bands=C)(x)
    for b in range(B):
        kept = drop._params['frames'][b][drop._params['keep'][b]].tolist()
        assert 0 < len(kept) < T
        shown = torch.tensor([c // C in kept for c in range(T * C)])
        assert torch.equal(out[b], x[b] * shown[:, None, None])


class Redated(nn.Module):
    """Drops dates and shifts what is left, as given in days."""

    def __init__(self, kept, days):
        super().__init__()
        self.kept, self.days = kept, torch.tensor(days)

    def forward(self, batch):
        times = batch['acquisition_times'][:, self.kept] + self.days * DAY
        valid = torch.ones_like(times).bool()
        # Padding in front, of dates that mean nothing.
        pad = torch.zeros_like(times[:, :1])
        return {
            'image': torch.cat([batch['image'][:, :1], batch['image'][:, self.kept]], 1),
            'acquisition_times': torch.cat([pad, times], 1),
            'valid': torch.cat([pad.bool(), valid], 1),
        }


@pytest.mark.parametrize(
    ('kept', 'days', 'places'),
    [
        ([1, 4], [4, -4], [1, 4]),  # less than half of the ten days between two dates
        ([1, 4], [6, -6], [2, 3]),  # more than half
        ([1, 2, 4], [0, -8, 0], [1, 2, 4]),  # both nearest to date 1
        ([2, 4, 5], [0, 12, 9], [2, 4, 5]),  # both nearest to the last date
        ([3, 4, 5], [40, 40, 40], [3, 4, 5]),  # all after the last date
        ([0, 1, 2, 3, 4], [30, 30, 30, 30, 30], [1, 2, 3, 4, 5]),
    ],
)
def test_shifted_dates_keep_frames_apart_and_in_order(kept, days, places):
    x = named_pixels()
    times = [1_500_000_000 + 10 * DAY * i for i in range(T)]
    out = StackedSeries(Redated(kept, days), num_bands=C, acquisition_times=times)(x)
    expected = torch.zeros_like(x).unflatten(1, (T, C))
    expected[:, places] = x.unflatten(1, (T, C))[:, kept]
    assert torch.equal(out.unflatten(1, (T, C)), expected)


def test_jitter_changes_nothing_that_a_stack_could_say(x):
    times = [1_500_000_000 + 5 * DAY * i for i in range(T)]
    wrap = partial(StackedSeries, num_bands=C, acquisition_times=times)
    assert torch.equal(wrap(RandomDateJitter(30))(x), x)
    both = SeriesSequential(RandomDateDrop((0.3, 0.6)), RandomDateJitter(2))
    for seed in range(5):
        torch.manual_seed(seed)
        alone = wrap(RandomDateDrop((0.3, 0.6)))(x)
        torch.manual_seed(seed)
        assert torch.equal(wrap(both)(x), alone)


def test_given_dates_reach_the_transform(x):
    class Record(nn.Module):
        def forward(self, batch):
            self.batch = batch
            return batch

    times = [3, 5, 8, 13, 21, 34]
    record = Record()
    StackedSeries(record, num_bands=C, acquisition_times=times)(x)
    assert record.batch['acquisition_times'].tolist() == [times] * B
    assert record.batch['image'].shape == (B, T, C, H, W)
    assert torch.equal(record.batch['image'][:, 2, 1], x[:, 2 * C + 1])


def test_clouds_leave_what_they_hide_with(x):
    clouds = RandomCloudGaps(0.9, size=6, fill=7.0)
    out = StackedSeries(clouds, num_bands=C)(x)
    hidden = out == 7.0
    assert 0.05 < hidden.float().mean() < 0.95
    assert torch.equal(out[~hidden], x[~hidden])


@pytest.mark.parametrize('transform', TRANSFORMS)
def test_the_seed_decides_and_the_input_stays(x, transform):
    before = x.clone()
    augment = StackedSeries(TRANSFORMS[transform][0](), num_bands=C)
    one, other, another = (
        torch.random.manual_seed(seed) and augment(x.clone()) for seed in (0, 0, 1)
    )
    assert torch.equal(one, other)
    assert torch.equal(x, before)
    if transform not in ('Normalize', 'RandomDateJitter'):
        assert not torch.equal(one, another)


def test_another_tensor_of_equal_values_is_drawn_from_anew(x):
    class Count(nn.Module):
        drawn = 0

        def forward(self, batch):
            self.drawn += 1
            return [{**batch, 'image': batch['image'] * 0 + i} for i in range(2)]

    count = Count()
    augment = StackedSeries(count, num_bands=C)
    values = [augment(one).unique().item() for one in (x, x, x, x.clone(), x, x)]
    assert values == [0, 1, 0, 0, 0, 1]
    assert count.drawn == 4


def test_what_does_not_fit_is_named(x):
    view = RandomPlanarView(num_paths=2, length=4)
    for options, image, message in (
        ({'num_bands': 5}, x, r'num_bands=5, got \(4, 12, 20, 24\)$'),
        ({'num_bands': C}, x.unflatten(1, (T, C)), r'stack the frames by x\.flatten\(1, 2\)'),
        ({'num_bands': C}, x[0], r'expected frames stacked as channels.*got \(12, 20, 24\)'),
        ({'num_bands': C, 'acquisition_times': [1, 2]}, x, r'expected \(B, 4, H, W\), 2 dates of'),
    ):
        with pytest.raises(ValueError, match=message):
            StackedSeries(view, **options)(image)
    for transform, options, message in (
        (view, {'num_bands': 0}, 'num_bands of at least 1, got 0'),
        (view, {'num_bands': 2, 'acquisition_times': [2, 1]}, r'ascending order.*\[2, 1\]'),
        (view, {'num_bands': 2, 'acquisition_times': []}, r'ascending order'),
        (PlanarMultiView(), {'num_bands': 2}, 'got local_views=4.*set local_views=0'),
    ):
        with pytest.raises(ValueError, match=message):
            StackedSeries(transform, **options)
