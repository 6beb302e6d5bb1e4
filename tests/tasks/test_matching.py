"""Tokens are matched by the pixel, or the object, that they see."""

import pytest
import torch

from torchgeo_sits.models import PlaneFeatures
from torchgeo_sits.tasks.comparison import match_objects, match_pixels


def features(late, seen=None):
    known = torch.ones(late.shape[:3], dtype=torch.bool) if seen is None else seen
    return PlaneFeatures(late.mean((1, 2)), late, late, known)


def view(paths, size):
    return {'paths': paths, 'size': size}


def tokens_of(paths, segment=1):
    """Tokens whose one feature is the mean index of their pixels."""
    return paths.unflatten(-1, (-1, segment)).float().mean(-1, keepdim=True)


def found(pairs):
    return pairs.ours[pairs.found], pairs.theirs[pairs.found]


def test_pairs_see_the_same_pixel_of_the_same_sample():
    generator = torch.Generator().manual_seed(0)
    height, width, batch = 5, 7, 3
    cells = height * width
    a, b = (torch.randint(0, cells, (batch, 2, 6), generator=generator) for _ in range(2))
    # Features tell sample and pixel apart, so that a match across samples would show.
    shift = torch.arange(batch)[:, None, None, None] * 1000.0
    first, second = features(tokens_of(a) + shift), features(tokens_of(b) + shift)
    pairs = match_pixels(first, second, view(a, (height, width)), view(b, (height, width)), 12)
    ours, theirs = found(pairs)
    assert torch.equal(ours, theirs)
    # A pixel that a view's paths cross twice makes one pair.
    shared = [
        len(set(a[i].flatten().tolist()) & set(b[i].flatten().tolist())) for i in range(batch)
    ]
    assert pairs.found.sum(1).tolist() == shared
    assert sum(shared) > 0


def test_crossings_are_averaged():
    # The second view crosses pixel 3 twice, with two different tokens.
    a, b = torch.tensor([[[3, 4]]]), torch.tensor([[[3, 3]]])
    first, second = torch.tensor([[[[0.0], [0.0]]]]), torch.tensor([[[[1.0], [5.0]]]])
    pairs = match_pixels(features(first), features(second), view(a, (3, 3)), view(b, (3, 3)), 9)
    assert found(pairs)[1][:, 0].tolist() == [3.0]


def test_segments_match_by_the_pixels_they_share():
    a, b = torch.tensor([[[0, 1, 2, 3]]]), torch.tensor([[[1, 8, 2, 3]]])
    first, second = torch.tensor([[[[10.0], [20.0]]]]), torch.tensor([[[[30.0], [40.0]]]])
    views = view(a, (3, 3)), view(b, (3, 3))
    _, theirs = found(match_pixels(features(first), features(second), *views, 9))
    # (0, 1) meets pixel 1 of their first segment; (2, 3) both pixels of their second.
    assert sorted(theirs[:, 0].tolist()) == [30.0, 40.0]
    _, back = found(match_pixels(features(second), features(first), *views[::-1], 9))
    assert sorted(back[:, 0].tolist()) == [10.0, 20.0]


def test_a_segment_over_two_of_theirs_takes_both_by_their_share():
    a, b = torch.tensor([[[1, 2, 4]]]), torch.tensor([[[0, 1, 8, 2, 4, 7]]])
    second = torch.tensor([[[[30.0], [60.0]]]])
    first = torch.zeros(1, 1, 1, 1)
    views = view(a, (3, 3)), view(b, (3, 3))
    _, theirs = found(match_pixels(features(first), features(second), *views, 9))
    # Pixel 1 lies in their first segment of three, 2 and 4 in the second.
    assert theirs[:, 0].tolist() == [50.0]


def test_views_without_a_common_pixel_have_no_pairs():
    a, b = torch.tensor([[[0, 1]]]), torch.tensor([[[2, 3]]])
    tokens = features(torch.zeros(1, 1, 2, 4))
    pairs = match_pixels(tokens, tokens, view(a, (2, 2)), view(b, (2, 2)), 9)
    assert not pairs.found.any()
    assert pairs.theirs.isfinite().all()


def test_number_of_pairs_is_bounded_for_each_sample():
    paths = torch.arange(16).expand(2, 1, 16)
    tokens = features(tokens_of(paths))
    pairs = match_pixels(tokens, tokens, view(paths, (4, 4)), view(paths, (4, 4)), 5)
    assert pairs.found.sum(1).tolist() == [5, 5]
    assert torch.equal(pairs.ours, pairs.theirs)
    assert all(len(set(row[:, 0].tolist())) == 5 for row in pairs.ours)


def test_tokens_that_saw_nothing_are_left_out():
    paths = torch.arange(4)[None, None]
    late = tokens_of(paths)
    first = features(late, torch.tensor([[[True, True, False, True]]]))
    second = features(late, torch.tensor([[[True, False, True, True]]]))
    ours, theirs = found(match_pixels(first, second, *[view(paths, (2, 2))] * 2, 100))
    assert sorted(ours[:, 0].tolist()) == [0.0, 3.0]
    assert torch.equal(ours, theirs)


def test_last_segment_may_be_filled_up():
    paths = torch.tensor([[[5, 6, 7]]])
    tokens = features(torch.tensor([[[[1.0], [2.0]]]]))
    ours, theirs = found(match_pixels(tokens, tokens, *[view(paths, (3, 3))] * 2, 100))
    assert torch.equal(ours, theirs)
    assert len(ours) == 2


def test_encoders_that_join_paths_are_refused():
    paths = torch.zeros(1, 4, 4, dtype=torch.int64)
    tokens = features(torch.zeros(1, 2, 2, 3))
    with pytest.raises(ValueError, match=r'pixel_weight and object_weight.*paths apart'):
        match_pixels(tokens, tokens, *[view(paths, (4, 4))] * 2, 4)


def test_objects_are_the_means_of_their_tokens_in_both_views():
    objects = torch.tensor([[[0, 0, 1], [2, 2, 1], [3, 3, 3]]])
    a, b = torch.tensor([[[0, 1, 2, 3]]]), torch.tensor([[[5, 4, 4, 7]]])
    first = torch.tensor([[[[1.0], [3.0], [5.0], [7.0]]]])
    second = torch.tensor([[[[2.0], [4.0], [8.0], [16.0]]]])
    seen = torch.tensor([[[True, True, True, False]]])
    views = view(a, (3, 3)), view(b, (3, 3))
    pairs = match_objects(features(first), features(second), *views, objects, 4)
    # Object 0 in the first view only, 1 and 2 in both, 3 in the second only.
    assert pairs.found[0].tolist() == [False, True, True, False]
    ours, theirs = found(pairs)
    assert ours[:, 0].tolist() == [5.0, 7.0]
    assert theirs[:, 0].tolist() == [2.0, 6.0]
    hidden = match_objects(features(first, seen), features(second), *views, objects, 4)
    assert hidden.found[0].tolist() == [False, True, False, False]


def test_a_token_of_two_objects_counts_for_each_by_its_share():
    objects = torch.tensor([[[0, 0, 0, 1]]])
    paths = torch.tensor([[[0, 1, 2, 3]]])
    late = features(torch.tensor([[[[1.0], [5.0]]]]))
    ours, _ = found(match_objects(late, late, *[view(paths, (1, 4))] * 2, objects, 2))
    # Two pixels of the first segment, one of the second; one of the second.
    assert ours[:, 0].tolist() == pytest.approx([(2 * 1 + 5) / 3, 5.0])
