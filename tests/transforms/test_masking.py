from itertools import product

import pytest
import torch

from torchgeo_sits.transforms import RandomPlanarView, RandomPlaneMask

B, N, T, L = 6, 6, 12, 16
SIZE = (8, 16)
KINDS = ('date', 'pixel', 'block')


@pytest.fixture
def apart():
    """Paths along different rows, everything clear."""
    paths = torch.arange(N * L).view(1, N, L).expand(B, -1, -1)
    return {'paths': paths, 'size': SIZE, 'mask_clear': torch.ones(B, N, T, L, dtype=torch.bool)}


@pytest.fixture
def crossing():
    """Rows, columns that cross them, a path that turns back, and one path twice; clouds."""
    row = torch.arange(8)
    paths = torch.stack(
        [
            16 * 3 + row,
            16 * 5 + row,
            16 * row + 2,
            16 * row + 4,
            torch.cat([16 * 3 + row[:4], 16 * 3 + row[:4].flip(0)]),
            16 * 5 + row,
        ]
    )
    grid = torch.rand(B, T, 128, generator=torch.Generator().manual_seed(1)) < 0.7
    grid[1, 3:] = False
    clear = grid[:, :, paths].transpose(1, 2)
    return {'paths': paths.expand(B, -1, -1), 'size': SIZE, 'mask_clear': clear}


@pytest.mark.parametrize('kind', [*KINDS, 'mixed'])
def test_a_pixel_hidden_on_a_date_is_hidden_in_every_visit(crossing, kind):
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        hidden = RandomPlaneMask(kind=kind, block=(3, 4))(crossing, generator=generator)
        assert not (hidden & ~crossing['mask_clear']).any()
        said = {}
        for b, n, t, i in product(range(B), range(6), range(T), range(8)):
            if crossing['mask_clear'][b, n, t, i]:
                pixel = crossing['paths'][b, n, i].item()
                now = hidden[b, n, t, i].item()
                assert said.setdefault((b, t, pixel), now) == now


def test_dates_are_hidden_in_all_paths_at_once(apart):
    hidden = RandomPlaneMask(kind='date')(apart)
    dates = hidden[:, 0, :, 0]
    assert torch.equal(hidden, dates[:, None, :, None].expand_as(hidden))
    assert (dates.sum(1) == T // 2).all()
    assert len(dates.unique(dim=0)) > 1, 'each sample hides its own dates'


def test_pixels_are_hidden_at_all_dates(apart):
    hidden = RandomPlaneMask(kind='pixel', ratio=0.75)(apart)
    pixels = hidden[:, :, 0]
    assert torch.equal(hidden, pixels[:, :, None].expand_as(hidden))
    assert (pixels.flatten(1).sum(1) == N * L * 3 // 4).all()


def test_blocks_are_rectangles_of_consecutive_dates_and_pixels(apart):
    hidden = RandomPlaneMask(kind='block', block=(3, 4))(apart)

    def tiled(plane, dates, pixels, down, right):
        """Whether tiles of a size, from an offset on, are all one value."""
        tile = (torch.arange(T) + down)[:, None] // dates * 100 + (
            torch.arange(L) + right
        ) // pixels
        return all(plane[tile == i].unique().numel() == 1 for i in tile.unique())

    offsets = list(product(range(3), range(4)))
    for plane in hidden.flatten(0, 1):
        assert any(tiled(plane, 3, 4, *offset) for offset in offsets)
    larger = list(product(range(4), range(5)))
    assert not all(
        any(tiled(plane, 4, 5, *offset) for offset in larger) for plane in hidden.flatten(0, 1)
    )
    assert len(hidden[0].unique(dim=0)) > 1, 'each path hides its own blocks'


@pytest.mark.parametrize('ratio', [0.25, 0.5, 0.9])
@pytest.mark.parametrize('kind', KINDS)
def test_the_share_of_clear_positions_is_met_to_half_a_group(apart, crossing, kind, ratio):
    # One group must stay, which at 0.9 can be the one that would be hidden.
    slack = 1.0 if ratio == 0.9 else 0.5
    for view in (apart, crossing):
        clear, paths = view['mask_clear'], view['paths']
        number = clear.flatten(1).sum(1)
        if kind == 'date':
            group = clear.sum((1, 3)).max(1).values
        elif kind == 'pixel':
            visits = torch.zeros(B, 128, dtype=torch.long)
            visits.scatter_add_(1, paths.flatten(1), clear.sum(2).flatten(1))
            group = visits.max(1).values
        else:
            group = torch.full((B,), 2 * 4 * 3)  # and visits by up to two other paths
        shares = []
        for seed in range(20):
            generator = torch.Generator().manual_seed(seed)
            mask = RandomPlaneMask(kind=kind, ratio=ratio, block=(2, 4))
            hidden = mask(view, generator=generator)
            count = hidden.flatten(1).sum(1)
            assert ((count - ratio * number).abs() <= slack * group).all()
            shares.append(count / number)
        assert (torch.stack(shares)[:, 2:].mean() - ratio).abs() < 0.04


@pytest.mark.parametrize('kind', [*KINDS, 'mixed'])
@pytest.mark.parametrize('ratio', [0.01, 0.99])
def test_something_stays_and_something_is_hidden(kind, ratio):
    paths = torch.tensor([[0, 1], [2, 3]]).expand(64, -1, -1)
    clear = torch.ones(64, 2, 2, 2, dtype=torch.bool)
    clear[0] = False
    clear[1] = False
    clear[1, 0, 0, 0] = True  # one clear position: it stays
    view = {'paths': paths, 'size': (2, 2), 'mask_clear': clear}
    hidden = RandomPlaneMask(kind=kind, ratio=ratio)(view)
    assert not hidden[:2].any()
    assert hidden[2:].flatten(1).any(1).all()
    open_ = clear & ~hidden
    assert open_[1:].flatten(1).any(1).all()


def test_mixed_draws_a_kind_for_each_sample(apart):
    view = {**apart, 'paths': apart['paths'][:1].expand(90, -1, -1)}
    view['mask_clear'] = apart['mask_clear'][:1].expand(90, -1, -1, -1)
    hidden = RandomPlaneMask()(view, generator=torch.Generator().manual_seed(0))
    by_date = (hidden == hidden[:, :1, :, :1]).flatten(1).all(1)
    by_pixel = (hidden == hidden[:, :, :1]).flatten(1).all(1)
    counts = by_date.sum(), by_pixel.sum(), (~by_date & ~by_pixel).sum()
    assert all(15 < count < 45 for count in counts)


@pytest.mark.parametrize('kind', [*KINDS, 'mixed'])
def test_parameters_replay_and_seeds_repeat(kind):
    image = torch.rand(4, 10, 2, 20, 20)
    batch = {'image': image, 'acquisition_times': torch.arange(10).expand(4, -1)}
    view = RandomPlanarView(kind='guided', num_paths=4, length=16)(batch)
    mask = RandomPlaneMask(kind=kind)
    hidden = mask(view, generator=torch.Generator().manual_seed(3))
    params = mask._params
    torch.manual_seed(99)
    assert torch.equal(hidden, mask(view, params))
    assert torch.equal(hidden, mask(view, generator=torch.Generator().manual_seed(3)))
    assert not torch.equal(hidden, mask(view, generator=torch.Generator().manual_seed(4)))
    assert hidden.shape == view['mask_clear'].shape
    assert hidden.dtype == torch.bool


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: RandomPlaneMask(kind='frame'), 'frame'),
        (lambda: RandomPlaneMask(ratio=1.0), r'\(0, 1\), got 1.0'),
        (lambda: RandomPlaneMask(block=(0, 4)), r'\(0, 4\)'),
        (lambda: RandomPlaneMask()({'image': torch.rand(1)}), "'mask_clear', 'paths', 'size'"),
    ],
)
def test_bad_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
