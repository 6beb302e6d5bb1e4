"""Attributions of models for which they are known."""

import pytest
import torch

from torchgeo_sits.explaining import (
    PlacePrediction,
    date_attention,
    date_occluder,
    explain_prediction,
    occlusion,
    pixel_occluder,
)
from torchgeo_sits.keys import Series
from torchgeo_sits.models import DeepSTaR, DenseHead, PlanarViT

from .toys import DAY, additive_place, contributions


@pytest.mark.parametrize('seed', range(3))
def test_occlusion_of_an_additive_model_is_what_each_part_adds(seed):
    place, model = additive_place(seed=seed)
    added = contributions(place, model)
    dates, pixels = date_occluder(place), pixel_occluder(place)
    # The class is the one that wins, so that all together speak for it.
    assert added.sum() > 0
    torch.testing.assert_close(occlusion(dates), added.sum((1, 2, 3))[dates.units])
    expected = added.sum((0, 1)).flatten()[pixels.units]
    torch.testing.assert_close(occlusion(pixels), expected)


def test_explanation_of_an_additive_model():
    place, model = additive_place()
    added = contributions(place, model)
    found = explain_prediction(place, torch.nn.Identity())
    own = place.clear[:, 2, 1]
    assert found.attention is None
    assert torch.equal(found.dates.isnan(), ~own)
    torch.testing.assert_close(found.dates[own], added.sum((1, 2, 3))[own])
    torch.testing.assert_close(found.pixels, added.sum((0, 1)))


def test_dates_are_left_out_everywhere_and_pixels_at_all_dates():
    place, model = additive_place()
    dates, pixels = date_occluder(place), pixel_occluder(place)
    assert dates.units.tolist() == place.clear[:, 2, 1].nonzero()[:, 0].tolist()
    assert pixels.units.tolist() == list(range(12))  # every pixel is seen on the first date
    for parts, gone in ((dates, (int(dates.units[1]), ...)), (pixels, (..., 0, 1))):
        kept = torch.ones(1, len(parts), dtype=torch.bool)
        kept[0, 1] = False
        parts(kept)
        expected = place.clear.clone()
        expected[gone] = False
        assert torch.equal(model.seen[-1][0], expected)


def test_all_dates_with_anything_clear_count_for_a_series():
    place, _ = additive_place(dense=False)
    assert not place.clear[1, 2, 1]
    assert 1 in date_occluder(place).units


def series(seed=0, *, size=6, frames=5):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(frames, 3, size, size, generator=generator)
    clear = torch.rand(frames, size, size, generator=generator) > 0.3
    clear[0] = True
    return image, torch.arange(frames) * 20 * DAY, torch.ones(frames).bool(), clear


def dense_place(encoder, pixel=(1, 4)):
    torch.manual_seed(0)
    encoder.eval()
    head = DenseHead(encoder.feature_dim('joined'), 3).eval()

    def model(batch):
        features = encoder.features(Series.from_batch(batch), depth='joined')
        return head(features, batch['image'].shape[-2:])

    return PlacePrediction(model, *series(), pixel), model


def test_log_odds_are_those_of_the_probability():
    place, model = dense_place(PlanarViT(3, embed_dim=16, time_dim=8, num_heads=2, depth=1))
    image, times, valid, clear = series()
    batch = {'image': image, 'acquisition_times': times, 'valid': valid, 'mask_clear': clear}
    batch = {key: value[None] for key, value in batch.items()}
    expected = model(batch)[0, :, 1, 4].softmax(0)
    assert place.explained == int(expected.argmax())
    found = place.log_odds(clear[None]).sigmoid()
    torch.testing.assert_close(found[0], expected[place.explained])
    again = PlacePrediction.of(model, batch, (1, 4))
    assert torch.equal(again.clear, place.clear)
    assert again.explained == place.explained


def test_a_map_of_rows_and_columns_rests_on_a_row_and_a_column():
    small = PlanarViT(3, embed_dim=16, time_dim=8, num_heads=2, depth=1)
    for encoder in (small, DeepSTaR(3, num_steps=16)):
        place, _ = dense_place(encoder)
        reached = torch.zeros(36, dtype=torch.bool)
        reached[pixel_occluder(place).units] = True
        reached = reached.view(6, 6)
        assert reached[1].all()
        assert reached[:, 4].all()
        assert reached.sum() == 11


def test_a_frame_under_clouds_stays_a_frame():
    # Deep-STaR's time axis runs from the first valid frame to the last, seen or not.
    image, times, valid, clear = series()
    clear[-1] = False
    valid[1] = False
    place, model = dense_place(DeepSTaR(3, num_steps=16))
    batch = {'image': image, 'acquisition_times': times, 'valid': valid, 'mask_clear': clear}
    batch = {key: value[None] for key, value in batch.items()}
    place = PlacePrediction.of(model, batch, (1, 4))
    assert not place.clear[1].any()
    expected = model(batch)[0, :, 1, 4].softmax(0)[place.explained]
    torch.testing.assert_close(place.log_odds(place.clear[None]).sigmoid()[0], expected)


def test_attention_sums_to_one_over_clear_dates_and_is_not_there_without():
    place, _ = dense_place(PlanarViT(3, embed_dim=16, time_dim=8, num_heads=2, depth=1))
    encoder = PlanarViT(3, embed_dim=16, time_dim=8, num_heads=2, depth=1).eval()
    weights = date_attention(encoder, place)
    torch.testing.assert_close(weights.place.sum(), torch.tensor(1.0))
    torch.testing.assert_close(weights.patch.sum(), torch.tensor(1.0))
    assert torch.equal(weights.place > 0, place.clear[:, 1, 4])
    assert date_attention(DeepSTaR(3, num_steps=16).eval(), place) is None


def test_a_place_that_was_never_clear_is_refused():
    place, model = additive_place()
    clear = place.clear.clone()
    clear[:, 2, 1] = False
    with pytest.raises(ValueError, match='clear at one date at least'):
        PlacePrediction(model, place.image, place.times, place.valid, clear, (2, 1))
    # The series as a whole can do without the pixel.
    model.dense = False
    PlacePrediction(model, place.image, place.times, place.valid, clear, (2, 1))
