from collections import Counter

import pytest
import torch

from torchgeo_sits.transforms import (
    column_snake,
    columns,
    guided_walks,
    hilbert,
    random_walks,
    rows,
    snake,
    spiral,
)
from torchgeo_sits.transforms.paths import step_logits, walk_along

SIZES = [(h, w) for h in range(1, 41) for w in range(1, 41)]
GRIDS = [(1, 1), (1, 9), (9, 1), (2, 2), (3, 7), (16, 5)]


def steps(path: torch.Tensor, w: int) -> torch.Tensor:
    """City-block length of each step: 1 from neighbour to neighbour."""
    return (path // w).diff().abs() + (path % w).diff().abs()


@pytest.mark.parametrize('curve', [snake, column_snake, spiral, hilbert])
def test_curves_visit_each_pixel_once_from_neighbour_to_neighbour(curve):
    for h, w in SIZES:
        (path,) = curve(h, w)
        assert torch.equal(path.sort().values, torch.arange(h * w)), (h, w)
        assert (steps(path, w) == 1).all(), (h, w)


def test_hilbert_of_a_power_of_two_is_hilberts_curve():
    # The textbook recursion (bits to coordinates), up to the symmetries of the square.
    def textbook(order, d):
        x = y = 0
        s = 1
        while s < 2**order:
            rx = 1 & (d // 2)
            ry = 1 & (d ^ rx)
            if ry == 0:
                if rx == 1:
                    x, y = s - 1 - x, s - 1 - y
                x, y = y, x
            x, y = x + s * rx, y + s * ry
            d //= 4
            s *= 2
        return y, x

    for order in (1, 2, 4):
        side = 2**order
        expected = [textbook(order, d) for d in range(side * side)]
        (path,) = hilbert(side, side)
        got = [(int(p) // side, int(p) % side) for p in path]
        assert got in (expected, [(x, y) for y, x in expected])


def test_hilbert_is_more_local_than_a_snake():
    # A piece of 64 of its pixels fits a small box; 64 pixels of a snake span the grid.
    def extent(path):
        piece = path[0, : len(path[0]) // 64 * 64].view(-1, 64)
        return (piece % 61).amax(1).sub((piece % 61).amin(1)).double().mean()

    assert extent(hilbert(53, 61)) < extent(snake(53, 61)) / 3


def test_rows_and_columns():
    assert torch.equal(rows(2, 3), torch.tensor([[0, 1, 2], [3, 4, 5]]))
    assert torch.equal(columns(2, 3), torch.tensor([[0, 3], [1, 4], [2, 5]]))


def test_a_returned_curve_may_be_changed():
    hilbert(4, 4).zero_()
    assert hilbert(4, 4).sum() == 120


@pytest.mark.parametrize(('h', 'w'), GRIDS)
def test_random_walks_step_to_neighbours_and_stay_inside(h, w):
    walks = random_walks(h, w, 20, 3 * h * w + 2, batch=2)
    assert walks.shape == (2, 20, 3 * h * w + 2)
    assert walks.min() >= 0
    assert walks.max() < h * w
    assert (steps(walks, w) == (h * w > 1)).all()


def test_random_walks_turn_all_ways_alike_and_follow_the_seed():
    def draw():
        return random_walks(50, 50, 400, 40, generator=torch.Generator().manual_seed(5))

    walks = draw()
    assert torch.equal(walks, draw())
    turns = Counter(walks.diff().flatten().tolist())
    assert set(turns) == {1, -1, 50, -50}
    assert all(abs(n / (400 * 39) - 0.25) < 0.02 for n in turns.values())


@pytest.mark.parametrize(('h', 'w'), GRIDS)
@pytest.mark.parametrize('length', [1, 2, 33])
def test_guided_walks_step_to_neighbours_and_stay_inside(h, w, length):
    image = torch.randn(2, 3, 1, h, w)
    image[:, 1] = torch.nan
    clear = torch.ones(2, 3, h, w, dtype=torch.bool)
    clear[:, 1] = False
    walks = guided_walks(image, 7, length, mask_clear=clear)
    assert walks.shape == (2, 7, length)
    assert walks.min() >= 0
    assert walks.max() < h * w
    assert (steps(walks, w) == (h * w > 1)).all()


def test_guided_walks_follow_the_softmax_of_the_distances():
    image = torch.rand(1, 2, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    series = image[0, :, 0].flatten(1).T
    pairs = [
        (p, q) for p in range(9) for q in range(9) if abs(p // 3 - q // 3) + abs(p % 3 - q % 3) == 1
    ]
    distance = {(p, q): (series[p] - series[q]).square().mean().sqrt() for p, q in pairs}
    mean = sum(distance.values()) / len(distance)
    expected = torch.zeros(9, 9)
    for (p, q), d in distance.items():
        expected[p, q] = torch.exp(-d / mean / 0.7)
    expected /= expected.sum(1, keepdim=True)

    generator = torch.Generator().manual_seed(1)
    walks = guided_walks(image, 30000, 9, temperature=0.7, generator=generator)[0]
    counts = torch.bincount((walks[:, :-1] * 9 + walks[:, 1:]).flatten(), minlength=81).view(9, 9)
    assert torch.allclose(counts / counts.sum(1, keepdim=True), expected, atol=0.015)
    # Every step, not only all of them together: the doubling must not reuse a draw.
    last = torch.bincount(walks[:, -2] * 9 + walks[:, -1], minlength=81).view(9, 9)
    assert torch.allclose(last / last.sum(1, keepdim=True), expected, atol=0.04)


def test_guided_walks_keep_to_their_window():
    walks = walk_along(step_logits(torch.rand(1, 1, 1, 40, 40)), 300, 64, radius=3)
    for axis in (walks // 40, walks % 40):
        assert (axis - axis[..., :1]).abs().max() <= 6  # the window moves inside at the border
    inner = walks[(walks[..., 0] // 40 > 3) & (walks[..., 0] // 40 < 36)]
    assert (inner // 40 - inner[:, :1] // 40).abs().max() == 3


@pytest.mark.parametrize('builder', [rows, columns, snake, column_snake, spiral, hilbert])
def test_an_empty_grid_is_refused(builder):
    with pytest.raises(ValueError, match='h=0, w=3'):
        builder(0, 3)


def test_guided_walks_stay_in_parcels_of_real_fields(shared_data):
    import rasterio

    folder = shared_data / 'wc_be_b'
    (labels,) = folder.rglob('*_CT_aligned_core.tif')
    with rasterio.open(labels) as source:
        parcels = torch.from_numpy(source.read(1).astype('int64'))
    frames = []
    for path in sorted((folder / 's2').glob('*.tif'))[::6]:
        with rasterio.open(path) as source:
            frames.append(torch.from_numpy(source.read().astype('float32')))
    image = torch.stack(frames)[None]
    clear = (image > 0).all(2)
    generator = torch.Generator().manual_seed(0)
    h, w = parcels.shape

    def kept(walks):
        """Share of pixels after the start that have its class, of walks that start in one."""
        classes = parcels.flatten()[walks.view(-1, walks.shape[-1])]
        classes = classes[classes[:, 0] > 0]
        return (classes[:, 1:] == classes[:, :1]).double().mean()

    plain = kept(random_walks(h, w, 400, 32, generator=generator))
    guided = kept(guided_walks(image, 400, 32, mask_clear=clear, generator=generator))
    assert guided > plain + 0.05
