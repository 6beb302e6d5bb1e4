"""Tokens are matched by the pixel that they see."""

import torch

from torchgeo_sits.models import PlaneFeatures
from torchgeo_sits.tasks.matching import matched_tokens as match


def matched_tokens(student, teacher, views, most, *, seen=None):
    def features(late):
        known = torch.ones(late.shape[:3], dtype=torch.bool) if seen is None else seen
        return PlaneFeatures(late.mean((1, 2)), late, late, known)

    return match(features(student), features(teacher), views, most)


def view(paths, size):
    return {'paths': paths, 'size': size}


def tokens_of(paths, segment=1):
    """Tokens whose one feature is the mean index of their pixels."""
    return paths.unflatten(-1, (-1, segment)).float().mean(-1, keepdim=True)


def test_pairs_see_the_same_pixel_of_the_same_sample():
    generator = torch.Generator().manual_seed(0)
    height, width, batch = 5, 7, 3
    cells = height * width
    paths = [torch.randint(0, cells, (batch, 2, 6), generator=generator) for _ in range(2)]
    # Features tell sample and pixel apart, so that a match across samples would show.
    shift = torch.arange(batch)[:, None, None, None] * 1000.0
    tokens = torch.cat([tokens_of(p) + shift for p in paths])
    ours, theirs = matched_tokens(tokens, tokens, [view(p, (height, width)) for p in paths], 10**6)
    assert torch.equal(ours, theirs)
    shared = sum(
        int(torch.isin(paths[a][b], paths[1 - a][b]).sum()) for a in range(2) for b in range(batch)
    )
    assert len(ours) == shared > 0


def test_crossings_are_averaged():
    # The second view crosses pixel 3 twice, with two different tokens.
    first, second = torch.tensor([[[3, 4]]]), torch.tensor([[[3, 3]]])
    student = torch.cat([torch.tensor([[[[0.0], [0.0]]]]), torch.tensor([[[[1.0], [5.0]]]])])
    views = [view(first, (3, 3)), view(second, (3, 3))]
    _, theirs = matched_tokens(student, student, views, 100)
    assert sorted(theirs[:, 0].tolist()) == [0.0, 0.0, 3.0]


def test_segments_match_by_the_pixels_they_share():
    first, second = torch.tensor([[[0, 1, 2, 3]]]), torch.tensor([[[1, 8, 2, 3]]])
    teacher = torch.tensor([[[[10.0], [20.0]]], [[[30.0], [40.0]]]])
    views = [view(first, (3, 3)), view(second, (3, 3))]
    _, theirs = matched_tokens(teacher, teacher, views, 100)
    # (0, 1) meets pixel 1 of the first segment; (2, 3) both pixels of the second; back:
    # (1, 8) meets pixel 1 of the first, (2, 3) the second.
    assert theirs[:, 0].tolist() == [30.0, 40.0, 10.0, 20.0]


def test_views_without_a_common_pixel_have_no_pairs():
    first, second = torch.tensor([[[0, 1]]]), torch.tensor([[[2, 3]]])
    tokens = torch.zeros(2, 1, 2, 4)
    assert matched_tokens(tokens, tokens, [view(first, (2, 2)), view(second, (2, 2))], 9) is None


def test_number_of_pairs_is_bounded():
    paths = torch.arange(16)[None, None]
    tokens = tokens_of(torch.cat([paths, paths]))
    ours, theirs = matched_tokens(tokens, tokens, [view(paths, (4, 4))] * 2, 5)
    assert len(ours) == len(theirs) == 5
    assert torch.equal(ours, theirs)


def test_tokens_that_saw_nothing_are_left_out():
    paths = torch.arange(4)[None, None]
    tokens = tokens_of(torch.cat([paths, paths]))
    seen = torch.tensor([[[True, True, False, True]], [[True, False, True, True]]])
    ours, theirs = matched_tokens(tokens, tokens, [view(paths, (2, 2))] * 2, 100, seen=seen)
    # Each way, pixels 1 and 2 lack one side.
    assert sorted(ours[:, 0].tolist()) == [0.0, 0.0, 3.0, 3.0]
    assert torch.equal(ours, theirs)


def test_last_segment_may_be_filled_up():
    paths = torch.tensor([[[5, 6, 7]]])
    tokens = torch.tensor([[[[1.0], [2.0]]], [[[1.0], [2.0]]]])
    ours, theirs = matched_tokens(tokens, tokens, [view(paths, (3, 3))] * 2, 100)
    assert torch.equal(ours, theirs)
    assert len(ours) == 4
