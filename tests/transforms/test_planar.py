import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchgeo_sits.transforms import (
    columns,
    from_planes,
    hilbert,
    masks_to_planes,
    random_walks,
    rows,
    snake,
    spiral,
    to_planes,
)

side = st.integers(1, 256)


@settings(max_examples=25, deadline=None)
@given(side, side, st.sampled_from([rows, columns, snake, spiral, hilbert]), st.booleans())
def test_a_path_that_visits_each_pixel_once_round_trips_bit_for_bit(h, w, builder, shared):
    image = torch.randn(2, 2, 1, h, w)
    image[0, 0, 0, 0, 0] = -0.0
    paths = builder(h, w)
    paths = paths if shared else torch.stack([paths, paths.flip(0, 1)])
    back = from_planes(to_planes(image, paths), paths, (h, w))
    assert torch.equal(back.view(torch.int32), image.view(torch.int32))


@pytest.mark.parametrize('batched', [False, True])
def test_planes_hold_what_plain_indexing_finds(batched):
    image = torch.arange(2 * 3 * 4 * 5 * 6).view(2, 3, 4, 5, 6)
    paths = random_walks(5, 6, 7, 8, batch=2 if batched else None)
    planes = to_planes(image, paths)
    assert planes.shape == (2, 7, 4, 3, 8)
    assert planes.permute(0, 3, 2, 1, 4).is_contiguous()
    masks = masks_to_planes(image[:, :, 2] % 2 == 0, paths)
    labels = masks_to_planes(image[:, 0, 0], paths)
    for b, n, x in ((0, 0, 0), (1, 6, 7), (1, 3, 2)):
        pixel = int(paths[b, n, x] if batched else paths[n, x])
        series = image[b, :, :, pixel // 6, pixel % 6]
        assert torch.equal(planes[b, n, :, :, x], series.T)
        assert torch.equal(masks[b, n, :, x], series[:, 2] % 2 == 0)
        assert labels[b, n, x] == series[0, 0]


def test_visits_are_averaged_or_added():
    paths = torch.tensor([[0, 1, 1], [1, 2, 3]])
    scores = torch.tensor([[1.0, 2.0, 4.0], [9.0, 5.0, 7.0]])[None, :, None, None]
    mean = from_planes(scores, paths, (2, 3))[0, 0]
    assert mean.tolist() == [[[1.0, 5.0, 5.0], [7.0, 0.0, 0.0]]]
    total = from_planes(scores, paths, (2, 3), reduce='sum')[0, 0]
    assert total.tolist() == [[[1.0, 15.0, 5.0], [7.0, 0.0, 0.0]]]


def test_attention_folded_back_keeps_its_mass():
    paths = random_walks(64, 64, 32, 64, batch=3)
    attention = torch.rand(3, 32, 20, 64).flatten(1).softmax(1).view(3, 32, 20, 64)
    folded = from_planes(attention[:, :, None], paths, (64, 64), reduce='sum')[:, :, 0]
    assert torch.allclose(folded.sum((1, 2, 3)), torch.ones(3), atol=1e-6, rtol=0)
    # Mass stays on its date as well.
    assert torch.allclose(folded.sum((2, 3)), attention.sum((1, 3)), atol=1e-6, rtol=0)


def test_gradients_flow_there_and_back():
    image = torch.randn(2, 2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    paths = random_walks(4, 4, 3, 6, batch=2)

    def fold(x):
        return from_planes(to_planes(x, paths) ** 2, paths, (4, 4))

    assert torch.autograd.gradcheck(fold, image)


def test_many_visits_add_up_in_bfloat16():
    paths = torch.zeros(1, 1000, dtype=torch.int64)
    ones = torch.ones(1, 1, 1, 1, 1000, dtype=torch.bfloat16)
    total = from_planes(ones, paths, (1, 1), reduce='sum')
    assert total.item() == 1000
    assert total.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: to_planes(torch.rand(2, 3, 4, 4), rows(4, 4)), r'\(B, T, C, H, W\)'),
        (lambda: to_planes(torch.rand(2, 1, 3, 4, 4), rows(4, 4).int()), 'int64'),
        (lambda: to_planes(torch.rand(2, 1, 3, 4, 4), rows(4, 4).expand(3, 4, 4)), '2 samples'),
        (lambda: masks_to_planes(torch.rand(4, 4), rows(4, 4)), r'\(B, H, W\)'),
        (lambda: from_planes(torch.ones(1, 4, 1, 1, 3), rows(4, 4), (4, 4)), 'differ in N or L'),
        (lambda: from_planes(torch.ones(1, 4, 1, 1, 4).int(), rows(4, 4), (4, 4)), 'int32'),
        (lambda: from_planes(torch.ones(1, 4, 1, 1, 4), rows(4, 4), (4, 4), reduce='max'), 'max'),
        (lambda: from_planes(torch.ones(1, 4, 4), rows(4, 4), (4, 4)), r'\(B, N, C, T, L\)'),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_index_outside_the_grid_is_no_silent_wrong_pixel():
    for paths in (rows(5, 4), rows(5, 4).expand(2, 5, 4)):
        with pytest.raises(RuntimeError):
            to_planes(torch.rand(2, 1, 3, 4, 4), paths)
