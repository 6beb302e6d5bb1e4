import kornia.augmentation as K
import pytest
import torch

from torchgeo_sits.transforms import (
    Normalize,
    RandomCloudGaps,
    RandomDateDrop,
    RandomDateJitter,
    RandomFieldVariation,
    RandomGainOffset,
    SeriesGeometry,
    SeriesSequential,
)

B, T, C, H, W = 6, 9, 3, 14, 20
DAY = 86400


@pytest.fixture
def batch():
    length = torch.tensor([9, 9, 6, 3, 1, 0])
    valid = torch.arange(T) < length[:, None]
    clear = (torch.rand(B, T, H, W) < 0.8) & valid[..., None, None]
    return {
        'image': torch.randn(B, T, C, H, W) * valid[..., None, None, None],
        'acquisition_times': (1_500_000_000 + torch.arange(T) * 5 * DAY) * valid,
        'valid': valid,
        'length': length,
        'mask_clear': clear,
        'mask': torch.randint(0, 9, (B, T, H, W)) * valid[..., None, None],
        'bounds': torch.rand(B, 9, dtype=torch.float64),
    }


def pixel_numbers(dated_mask):
    """A batch in which the value of each pixel is its number, in image and masks alike."""
    number = torch.arange(1, H * W + 1).view(H, W)
    return {
        'image': number.float().expand(B, T, C, H, W),
        'acquisition_times': torch.arange(B * T).view(B, T),
        'valid': torch.ones(B, T, dtype=torch.bool),
        'mask_clear': (number % 3 > 0).expand(B, T, H, W),
        'mask': number.expand(B, T, H, W) if dated_mask else number.expand(B, H, W),
    }


AUGMENTATIONS = [
    lambda p: RandomDateDrop((0.2, 0.8), p=p),
    lambda p: RandomDateJitter(4, p=p),
    lambda p: RandomGainOffset(p=p),
    lambda p: RandomFieldVariation(5.0, p=p),
    lambda p: RandomCloudGaps(0.5, p=p),
]


@pytest.mark.parametrize('build', AUGMENTATIONS)
def test_p_is_the_share_of_samples_that_change(batch, build):
    before = {key: value.clone() for key, value in batch.items()}
    for p in (0.0, 0.5, 1.0):
        augment = build(p)
        changed = 0
        for _ in range(30):
            out = augment(batch)
            assert out.keys() == batch.keys()
            different = torch.zeros(B, dtype=torch.bool)
            for key in batch:
                assert out[key].shape == batch[key].shape
                assert out[key].dtype == batch[key].dtype
                different |= (out[key] != batch[key]).view(B, -1).any(1)
            changed += int(different[:2].sum())
            replayed = augment(batch, augment._params)
            assert all(torch.equal(out[key], replayed[key]) for key in out)
        assert {0.0: changed == 0, 0.5: 10 < changed < 50, 1.0: changed > 50}[p]
    assert all(torch.equal(batch[key], before[key]) for key in batch), 'input was changed'


@pytest.mark.parametrize('build', AUGMENTATIONS)
def test_a_seeded_generator_repeats(batch, build):
    augment = SeriesSequential(build(0.5), build(1.0))
    one, other = (augment(batch, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize('dated_mask', [False, True])
@pytest.mark.parametrize(
    'augmentation',
    [
        K.RandomHorizontalFlip(p=0.7),
        K.RandomVerticalFlip(p=0.7),
        K.RandomRotation90((0, 3), p=0.9),
        K.RandomAffine(30.0, scale=(0.8, 1.3), p=0.9),
        K.RandomCrop((8, 10), p=1.0),
    ],
)
def test_image_and_masks_stay_aligned_under_geometry(augmentation, dated_mask):
    batch = pixel_numbers(dated_mask)
    out = SeriesGeometry(augmentation)(batch)
    number = out['image'][:, 0, 0]
    before = batch['image'][:, 0, 0]
    assert number.shape != before.shape or not torch.equal(number, before)
    inside = number > 0  # 0 comes from outside the image
    assert inside.double().mean() > 0.4
    for t in range(T):
        for c in range(C):
            assert torch.equal(out['image'][:, t, c], number)
        clear = out['mask_clear'][:, t]
        assert torch.equal(clear, inside & (number % 3 > 0))
        mask = out['mask'][:, t] if dated_mask else out['mask']
        assert torch.equal(mask, number.long())


def test_flips_equal_plain_flips():
    batch = pixel_numbers(False)
    out = SeriesGeometry(K.RandomHorizontalFlip(p=1.0), K.RandomVerticalFlip(p=1.0))(batch)
    for key in ('image', 'mask_clear', 'mask'):
        assert torch.equal(out[key], batch[key].flip(-1, -2))


def test_s1_moves_with_the_optical_series():
    batch = pixel_numbers(False)
    batch |= {f'{key}_s1': batch[key][:, :4] for key in ('image', 'mask_clear', 'valid')}
    out = SeriesGeometry(K.RandomRotation90((0, 3), p=0.9), K.RandomAffine(30.0, p=0.9))(batch)
    for key in ('image', 'mask_clear'):
        assert torch.equal(out[f'{key}_s1'], out[key][:, :4])
    assert out['valid_s1'] is batch['valid_s1']


def test_square_quarter_turns_equal_rot90():
    image = torch.randn(8, 2, 3, 13, 13)
    batch = {'image': image, 'acquisition_times': torch.ones(8, 2, dtype=torch.int64)}
    out = SeriesGeometry(K.RandomRotation90((1, 1), p=1.0))(batch)['image']
    assert torch.equal(out, image.rot90(1, (3, 4)))


def test_geometry_follows_its_generator_and_leaves_the_global_one_alone():
    batch = pixel_numbers(False)
    geometry = SeriesGeometry(K.RandomHorizontalFlip(), K.RandomVerticalFlip())
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    one = geometry(batch, generator=torch.Generator().manual_seed(2))['image']
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(one, geometry(batch, geometry._params)['image'])
    assert torch.equal(one, geometry(batch, generator=torch.Generator().manual_seed(2))['image'])


def test_geometry_refuses_radiometry():
    with pytest.raises(ValueError, match='ColorJitter'):
        SeriesGeometry(K.ColorJitter())


def test_dropped_dates_vanish_from_every_key(batch):
    batch['mask_clear'][0] = False
    batch['mask_clear'][0, 4, 0, 0] = True  # the one date worth keeping
    augment = RandomDateDrop((0.5, 1.0))
    for _ in range(20):
        out = augment(batch)
        valid = out['valid']
        assert torch.equal(out['length'], valid.sum(1))
        assert (valid.int().diff() <= 0).all()
        assert valid.any(1).tolist() == [True] * 5 + [False]
        assert (out['length'][:2] <= 5).all()
        assert batch['acquisition_times'][0, 4] in out['acquisition_times'][0]
        for b in range(B):
            kept = torch.isin(batch['acquisition_times'][b], out['acquisition_times'][b, valid[b]])
            for key in ('image', 'acquisition_times', 'mask_clear', 'mask'):
                assert torch.equal(out[key][b, valid[b]], batch[key][b, kept]), key
                assert not out[key][b, ~valid[b]].any(), key


def test_jittered_dates_stay_in_order_and_near(batch):
    batch['acquisition_times'] = (1_500_000_000 + torch.arange(T) * DAY) * batch['valid']
    moved = 0
    for _ in range(20):
        out = RandomDateJitter(3)(batch)['acquisition_times']
        shift = out - batch['acquisition_times']
        assert shift.abs().max() <= 3 * DAY
        assert (out.diff()[batch['valid'][:, 1:]] >= 0).all()
        assert not out[~batch['valid']].any()
        moved = max(moved, int(shift.abs().max()))
    assert moved > 2 * DAY


def test_gain_and_offset_are_one_per_date_and_band_and_never_clip(batch):
    batch['image'] = batch['image'] + 3  # far above 1, as snow and cloud are
    batch['mask_clear'] = batch['valid'][..., None, None].expand(B, T, H, W).clone()
    batch['mask_clear'][0, 0, 0, 0] = False
    augment = RandomGainOffset(0.2, 0.5)
    out = augment(batch)['image']
    gain, offset = augment._params['gain'], augment._params['offset']
    assert gain.shape == (B, T, C)
    assert 0.8 <= gain.min() < 0.85
    assert 1.15 < gain.max() <= 1.2
    assert -0.5 <= offset.min() < -0.4
    expected = batch['image'] * gain[..., None, None] + offset[..., None, None]
    expected[0, 0, :, 0, 0] = batch['image'][0, 0, :, 0, 0]
    expected[~batch['valid']] = batch['image'][~batch['valid']]
    assert torch.allclose(out, expected, atol=1e-6)


def test_cloud_gaps_hide_image_and_mask_together():
    image = torch.ones(4, 30, 2, 64, 64)
    batch = {'image': image, 'acquisition_times': torch.ones(4, 30, dtype=torch.int64)}
    out = RandomCloudGaps(0.5, cover=(0.3, 0.3), fill=7.0)(batch)
    hidden = ~out['mask_clear']
    assert torch.equal((out['image'] == 7).all(2), hidden)
    assert torch.equal((out['image'] == 1).all(2), ~hidden)
    clouded = hidden.flatten(2).any(2)
    assert 0.35 < clouded.double().mean() < 0.65
    assert 0.2 < hidden[clouded].double().mean() < 0.4
    # Clouds, not salt and pepper: a pixel nearly always agrees with its neighbour.
    assert (hidden[..., 1:] == hidden[..., :-1])[clouded].double().mean() > 0.9


def test_normalise_gives_zero_mean_unit_deviation_and_blanks_what_was_not_seen(batch):
    image = batch['image'] * torch.tensor([1.0, 20.0, 300.0])[:, None, None] + 50
    image[~batch['mask_clear'].unsqueeze(2).expand_as(image)] = torch.nan
    seen = image.transpose(1, 2).transpose(0, 1)[:, batch['mask_clear']]
    out = Normalize(seen.mean(1), seen.std(1))({**batch, 'image': image})['image']
    assert out.isfinite().all()
    assert not out[~batch['mask_clear'].unsqueeze(2).expand_as(image)].any()
    normal = out.transpose(1, 2).transpose(0, 1)[:, batch['mask_clear']]
    assert torch.allclose(normal.mean(1), torch.zeros(C), atol=1e-4)
    assert torch.allclose(normal.std(1), torch.ones(C), atol=1e-4)


def test_normalise_keeps_its_statistics_and_checks_them():
    state = Normalize([1, 2], [3, 4]).state_dict()
    assert {key: value.tolist() for key, value in state.items()} == {'mean': [1, 2], 'std': [3, 4]}
    with pytest.raises(ValueError, match='constant band'):
        Normalize([0.0], [0.0])
    with pytest.raises(ValueError, match='2 bands'):
        Normalize([0, 0], [1, 1])({'image': torch.rand(1, 1, 3, 2, 2)})


@pytest.mark.parametrize(
    'build',
    [
        lambda: RandomDateDrop((0.5, 0.2)),
        lambda: RandomDateJitter(-1),
        lambda: RandomGainOffset(1.5),
        lambda: RandomFieldVariation(-1.0),
        lambda: RandomFieldVariation(vigour=1.0),
        lambda: RandomCloudGaps(cover=(0.0, 0.5)),
        lambda: RandomCloudGaps(p=2),
    ],
)
def test_bad_arguments_are_refused(build):
    with pytest.raises(ValueError, match='expected'):
        build()


def test_statistics_follow_the_batch_to_its_device():
    # A data module is never moved: with statistics left on the CPU every run on a GPU fails.
    # 'meta' stands for any other device: it refuses to mix with the CPU as a GPU does.
    normalize = Normalize([1.0, 2.0], [1.0, 2.0])
    batch = {
        'image': torch.zeros(1, 3, 2, 4, 4, device='meta'),
        'valid': torch.ones(1, 3, dtype=torch.bool, device='meta'),
        'mask_clear': torch.ones(1, 3, 4, 4, dtype=torch.bool, device='meta'),
    }
    assert normalize(batch)['image'].device.type == 'meta'


def test_field_variation_changes_all_dates_alike(batch):
    # Against the formula written out for one pixel: clear values alone make the mean.
    augment = RandomFieldVariation(days=12.0, vigour=0.4, soil=0.5)
    found = augment(batch)
    params = augment._params
    clear = batch['mask_clear'][0, :, 3, 4]
    before, after = (b['image'][0, :, :, 3, 4] for b in (batch, found))
    mean = before[clear].mean(0)
    expected = mean + params['vigour'][0] * (before - mean) + params['soil'][0]
    torch.testing.assert_close(after[clear], expected[clear])
    assert torch.equal(after[~clear], before[~clear])
    shift = (found['acquisition_times'] - batch['acquisition_times'])[0]
    assert shift.unique().numel() == 1
    assert 0 < shift[0].abs() <= 12 * DAY
    assert not found['acquisition_times'][~batch['valid']].any()
    assert params['vigour'].std() > 0
    assert params['soil'].std(1).min() > 0
