import pytest
import torch

from torchgeo_sits.transforms import (
    PATH_KINDS,
    PixelMultiView,
    PlanarMultiView,
    RandomCloudGaps,
    RandomGainOffset,
    RandomPlanarView,
    ResamplingMultiView,
    SeriesSequential,
)

B, T, C, H, W = 4, 12, 3, 24, 40
DAY = 86400


@pytest.fixture
def batch():
    """Each value of the image names its sample, frame, band and pixel."""
    image = torch.arange(B * T * C * H * W, dtype=torch.float32).view(B, T, C, H, W)
    length = torch.tensor([12, 7, 1, 0])
    valid = torch.arange(T) < length[:, None]
    clear = torch.rand(B, T, H, W, generator=torch.Generator().manual_seed(0)) < 0.7
    clear[0, [2, 5, 6]] = False  # wholly cloudy dates
    clear &= valid[..., None, None]
    times = (1_500_000_000 + torch.arange(T) * 5 * DAY).expand(B, T) * valid
    return {
        'image': image,
        'acquisition_times': times,
        'valid': valid,
        'length': length,
        'mask_clear': clear,
    }


def visits(paths):
    """How often the paths of each sample visit each pixel, ``(B, H * W)``."""
    return torch.stack([torch.bincount(path.flatten(), minlength=H * W) for path in paths])


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            assert torch.equal(torch.as_tensor(a[key]), torch.as_tensor(b[key])), key


@pytest.mark.parametrize('kind', ['mixed', *PATH_KINDS])
@pytest.mark.parametrize('length', [8, 30])  # 30: longer than the columns
def test_a_plane_holds_the_pixels_dates_and_masks_it_says_it_holds(batch, kind, length):
    view = RandomPlanarView(kind=kind, num_paths=5, length=length, dates=(0.3, 0.6))(batch)
    frames = 8
    assert view['planes'].shape == (B, 5, C, frames, length)
    assert view['mask_clear'].shape == (B, 5, frames, length)
    assert view['paths'].shape == (B, 5, length)
    assert view['size'] == (H, W)
    paths = view['paths']
    step = (paths // W).diff().abs() + (paths % W).diff().abs()
    assert (step == 1).all()
    for b in range(B):
        pixel = paths[b]
        for t in range(frames):
            if not view['valid'][b, t]:
                assert view['acquisition_times'][b, t] == 0
                assert not view['planes'][b, :, :, t].any()
                assert not view['mask_clear'][b, :, t].any()
                continue
            (source,) = torch.where(
                batch['acquisition_times'][b] == view['acquisition_times'][b, t]
            )
            expected = batch['image'][b, source.item()].flatten(1)[:, pixel]
            assert torch.equal(view['planes'][b, :, :, t], expected.transpose(0, 1))
            clear = batch['mask_clear'][b, source.item()].flatten()[pixel]
            assert torch.equal(view['mask_clear'][b, :, t], clear)


def test_dates_are_chronological_cloudless_first_and_never_none(batch):
    for _ in range(20):
        view = RandomPlanarView(dates=(0.1, 0.5), num_paths=2, length=4)(batch)
        times, valid = view['acquisition_times'], view['valid']
        assert (times.diff()[valid[:, 1:]] > 0).all()
        assert (valid.int().diff() <= 0).all(), 'padding lies at the end'
        assert valid.any(1).tolist() == [True, True, True, False]
        cloudy = batch['acquisition_times'][0, [2, 5, 6]]
        assert not torch.isin(cloudy, times[0]).any()


def test_a_sample_without_any_clear_pixel_still_has_dates(batch):
    batch['mask_clear'].zero_()
    view = RandomPlanarView(num_paths=2, length=4)(batch)
    assert view['valid'].any(1).tolist() == [True, True, True, False]


def test_dates_that_are_cloudy_where_the_planes_lie_are_left_out(batch):
    batch['mask_clear'][0] = False
    batch['mask_clear'][0, :6, :, :8] = True  # clear in the west early, in the east late
    batch['mask_clear'][0, 6:, :, 8:] = True
    multi = PlanarMultiView(num_paths=2, length=4, region=4, local_views=0)
    for _ in range(10):
        for view in multi(batch):
            seen = view['mask_clear'][0].any(0).any(-1)
            column = view['paths'][0] % W
            if column.max() < 5 or column.min() >= 11:  # the region lies on one side, too
                assert torch.equal(seen, view['valid'][0])


def test_counts_of_dates_are_counts(batch):
    view = RandomPlanarView(dates=(2, 3), num_paths=2, length=4)(batch)
    assert view['planes'].shape[3] == 3
    number = view['valid'].sum(1)
    assert 2 <= number[0] <= 3
    assert number[2:].tolist() == [1, 0]


def test_global_views_differ_in_dates_and_share_pixels(batch):
    multi = PlanarMultiView(kind='rows', num_paths=4, length=16, dates=(0.5, 0.5))
    shared = []
    for _ in range(10):
        one, other = multi(batch)[:2]
        for b in (0, 1):
            first = set(one['acquisition_times'][b, one['valid'][b]].tolist())
            second = set(other['acquisition_times'][b, other['valid'][b]].tolist())
            # An odd number of clear dates makes half of them round up: one date twice.
            assert len(first & second) <= 1
        both = (visits(one['paths']) > 0) & (visits(other['paths']) > 0)
        shared.append(both.sum(1).double().mean())
        assert not torch.equal(one['paths'], other['paths'])
    assert torch.stack(shared).mean() > 8


def test_global_views_come_first_in_their_sizes(batch):
    views = PlanarMultiView(global_views=2, local_views=3)(batch)
    assert [v['planes'].shape[1::2] for v in views] == [(8, 6)] * 2 + [(4, 4)] * 3
    assert [v['planes'].shape[-1] for v in views] == [32, 32, 16, 16, 16]


@pytest.mark.parametrize(
    'build',
    [
        lambda a: PlanarMultiView(augment=a),
        lambda a: ResamplingMultiView(local_crop=8, augment=a),
        lambda a: PixelMultiView(pixels=9, local_views=2, augment=a),
    ],
)
def test_parameters_replay_and_seeds_repeat_bit_for_bit(batch, build):
    multi = build(SeriesSequential(RandomGainOffset(p=0.5), RandomCloudGaps(p=0.5)))
    views = multi(batch, generator=torch.Generator().manual_seed(3))
    params = multi._params
    torch.manual_seed(99)
    assert_same(views, multi(batch, params))
    assert_same(views, multi(batch, generator=torch.Generator().manual_seed(3)))
    with pytest.raises(AssertionError):
        assert_same(views, multi(batch, generator=torch.Generator().manual_seed(4)))


def test_mixed_draws_a_kind_for_each_sample():
    image = torch.rand(64, 1, 1, 32, 32)
    batch = {'image': image, 'acquisition_times': torch.ones(64, 1, dtype=torch.int64)}
    paths = RandomPlanarView(kind='mixed', length=32)(batch)['paths']
    straight = (paths.diff() == 1).all(-1).all(-1), (paths.diff() == 32).all(-1).all(-1)
    for kind in straight:
        assert 0 < kind.sum() < 40


def test_pieces_of_one_curve_do_not_overlap(batch):
    paths = RandomPlanarView(kind='hilbert', num_paths=6, length=16, region=24)(batch)['paths']
    assert visits(paths).max() == 1


def test_resampled_views_show_the_pixels_of_their_dates(batch):
    for view in ResamplingMultiView(local_crop=10)(batch):
        high, wide = view['image'].shape[-2:]
        assert (high, wide) in ((H, W), (10, 10))
        (sources,) = torch.where(
            torch.isin(batch['acquisition_times'][0], view['acquisition_times'][0])
        )
        kept = int(view['valid'][0].sum())
        block = view['image'][0, :kept]
        # The first pixel says where the block lies, as values count up with the pixels.
        corner = int(block[0, 0, 0, 0]) % (H * W)
        y, x = corner // W, corner % W
        window = (slice(y, y + high), slice(x, x + wide))
        assert view['size'] == (H, W)
        assert torch.equal(view['paths'][0], torch.arange(H * W).view(H, W)[window])
        assert torch.equal(block, batch['image'][0, sources][..., *window])
        assert torch.equal(
            view['mask_clear'][0, :kept], batch['mask_clear'][0, sources][:, *window]
        )


@pytest.mark.parametrize('s1', [False, True])
def test_single_pixels_are_samples_with_dates_of_their_own(batch, s1):
    batch = with_s1(batch) if s1 else batch
    multi = PixelMultiView(pixels=5, local_views=1)
    views = multi(batch)
    pixels = multi._params[0]['pixels']
    for end in ('', '_s1') if s1 else ('',):
        for view in views:
            assert view[f'image{end}'].shape[0::2] == (B * 5, batch[f'image{end}'].shape[2], 1)
            for n, pixel in enumerate(pixels.flatten().tolist()):
                b, (row, column) = n // 5, divmod(pixel, W)
                for t in range(view[f'valid{end}'].shape[1]):
                    if not view[f'valid{end}'][n, t]:
                        assert not view[f'image{end}'][n, t].any()
                        continue
                    time = view[f'acquisition_times{end}'][n, t]
                    (source,) = torch.where(batch[f'acquisition_times{end}'][b] == time)
                    value = batch[f'image{end}'][b, source.item(), :, row, column]
                    assert torch.equal(view[f'image{end}'][n, t, :, 0, 0], value)
                    clear = batch[f'mask_clear{end}'][b, source.item(), row, column]
                    assert view[f'mask_clear{end}'][n, t] == clear
    # Pixels of one sample are seen on other dates, and both views of a pixel share none.
    first, second = (view['acquisition_times'][:5].tolist() for view in views[:2])
    assert len(set(map(tuple, first))) > 1
    for ours, theirs in zip(first, second, strict=True):
        assert len({*ours} & {*theirs} - {0}) <= 1


def test_single_pixels_are_drawn_among_those_that_were_seen(batch):
    clear = torch.zeros_like(batch['mask_clear'])
    clear[0, :2, 3, [1, 4, 6]] = True  # three pixels of the first sample, none of the second
    clear[2:] = batch['mask_clear'][2:]
    multi = PixelMultiView(pixels=7)
    views = multi({**batch, 'mask_clear': clear})
    pixels = multi._params[0]['pixels']
    seen = {3 * W + column for column in (1, 4, 6)}
    assert {*pixels[0].tolist()} == seen
    assert sorted(pixels[0].unique(return_counts=True)[1].tolist()) == [2, 2, 3]
    assert len(pixels[2].unique()) == 7
    assert not views[0]['mask_clear'][7:14].any()


def test_views_work_without_masks_and_in_half_precision():
    image = torch.rand(2, 5, 2, 9, 9, dtype=torch.bfloat16)
    batch = {'image': image, 'acquisition_times': torch.arange(10).view(2, 5)}
    view = RandomPlanarView(length=5, augment=RandomGainOffset())(batch)
    assert view['planes'].dtype == torch.bfloat16
    assert view['mask_clear'].any()


T1, C1 = 7, 2


def with_s1(batch):
    """The batch with a Sentinel-1 series, whose values go on where those of the other end."""
    size = B * T1 * C1 * H * W
    valid = torch.arange(T1) < torch.tensor([7, 4, 0, 2])[:, None]
    clear = torch.rand(B, T1, H, W, generator=torch.Generator().manual_seed(1)) < 0.8
    return {
        **batch,
        'image_s1': torch.arange(size, dtype=torch.float32).view(B, T1, C1, H, W) + 1e6,
        'acquisition_times_s1': (1_500_050_000 + torch.arange(T1) * 7 * DAY).expand(B, T1) * valid,
        'valid_s1': valid,
        'mask_clear_s1': clear & valid[..., None, None],
    }


@pytest.mark.parametrize(
    'multi',
    [
        PlanarMultiView(num_paths=3, length=8, augment=RandomGainOffset()),
        ResamplingMultiView(crop=16, local_crop=10, augment=RandomGainOffset()),
        ResamplingMultiView(),
    ],
)
def test_s1_lies_along_the_paths_of_its_view_on_dates_of_its_own(batch, multi):
    batch = with_s1(batch)
    views = multi(batch)
    for view in views:
        if 'planes_s1' in view:
            image = view['planes_s1'].permute(0, 3, 1, 2, 4)
            known = view['mask_clear_s1'].transpose(1, 2)
        else:
            image = view['image_s1'].permute(0, 1, 3, 2, 4)
            known = view['mask_clear_s1']
        valid = view['valid_s1']
        assert valid.any(1).tolist() == [True, True, False, True]
        for b in range(B):
            for t in range(valid.shape[1]):
                if not valid[b, t]:
                    assert not image[b, t].any()
                    assert not known[b, t].any()
                    continue
                time = view['acquisition_times_s1'][b, t]
                (source,) = torch.where(batch['acquisition_times_s1'][b] == time)
                pixels = batch['image_s1'][b, source.item()].flatten(1)[:, view['paths'][b]]
                assert torch.equal(image[b, t], pixels.transpose(0, 1))
                clear = batch['mask_clear_s1'][b, source.item()].flatten()[view['paths'][b]]
                assert torch.equal(known[b, t], clear)
    times = [view['acquisition_times_s1'][0, view['valid_s1'][0]].tolist() for view in views[:2]]
    assert len(set(times[0]) & set(times[1])) <= 1  # half of 7 dates is 3 or 4
    assert_same(views, multi(batch, multi._params))


def test_s1_without_dates_or_on_another_grid_is_refused(batch):
    view = RandomPlanarView(length=8)
    for key in ('acquisition_times_s1', 'image_s1'):
        other = with_s1(batch)
        if key == 'image_s1':
            other[key] = other[key][..., ::2, ::2]
        else:
            del other[key]
        with pytest.raises(ValueError, match='12, 20' if key == 'image_s1' else key):
            view(other)


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: RandomPlanarView(kind='diagonal'), 'diagonal'),
        (lambda: RandomPlanarView(dates=(0.5, 1.5)), '1.5'),
        (lambda: RandomPlanarView(dates=(0, 3)), r'\(0, 3\)'),
        (lambda: RandomPlanarView(length=0), 'length'),
        (lambda: PlanarMultiView(global_views=0), 'global_views'),
        (lambda: ResamplingMultiView(local_crop=0), 'crop'),
        (lambda: PixelMultiView(pixels=0), 'pixels of at least 1, got 0'),
    ],
)
def test_bad_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_paths_longer_than_the_image_are_refused():
    batch = {'image': torch.rand(1, 2, 1, 3, 3), 'acquisition_times': torch.arange(2)[None]}
    with pytest.raises(ValueError, match='3 x 3 pixels'):
        RandomPlanarView(kind='spiral', length=10)(batch)
    assert RandomPlanarView(kind='walk', length=10)(batch)['planes'].shape[-1] == 10
