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
from torchgeo_sits.models import DeepSTaR, DenseHead, PlanarViT, factorised_tiny

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


def place_of_both(pixel=(1, 4), **changes):
    """A place that both sensors saw, and one of the same model that neither is left of."""
    torch.manual_seed(0)
    encoder = factorised_tiny(
        3, s1_channels=2, dim=16, patch_size=2, num_heads=2, spatial_depth=1, temporal_depth=1
    ).eval()
    head = DenseHead(encoder.feature_dim('joined'), 3, stride=2).eval()

    def model(batch):
        return head(encoder.features(encoder.series_of(batch), depth='joined'), (6, 6))

    batch = {}
    for end, seed, bands in (('', 0, 3), ('_s1', 1, 2)):
        image, times, valid, clear = series(seed, frames=5 if end else 4)
        names = ('image', 'acquisition_times', 'valid', 'mask_clear')
        values = (image[:, :bands], times + (DAY if end else 0), valid, clear)
        batch |= {f'{name}{end}': value[None] for name, value in zip(names, values, strict=True)}
    batch |= changes
    return PlacePrediction.of(model, batch, pixel, s1=True), model, batch


def test_dates_of_s1_are_left_out_one_by_one():
    place, model, batch = place_of_both()
    found = explain_prediction(place, torch.nn.Identity())
    assert (found.dates.shape, found.dates_s1.shape) == ((4,), (5,))
    seen = batch['mask_clear_s1'][0, :, 1, 4]
    assert torch.equal(found.dates_s1.isfinite(), seen)
    assert found.dates_s1[seen].abs().max() > 1e-4

    def log_odds(clear):
        scores = model(batch | {'mask_clear_s1': clear})[0, :, 1, 4]
        others = scores[torch.arange(3) != place.explained]
        return scores[place.explained] - others.logsumexp(0)

    whole = batch['mask_clear_s1']
    for t in seen.nonzero()[:, 0].tolist():
        left = whole.clone()
        left[0, t] = False
        with torch.no_grad():
            lost = log_odds(whole) - log_odds(left)
        torch.testing.assert_close(found.dates_s1[t], lost, atol=1e-4, rtol=1e-4)


def test_a_place_that_s1_alone_saw_is_explained():
    nothing = torch.zeros(1, 4, 6, 6, dtype=torch.bool)
    place, _, _ = place_of_both(mask_clear=nothing)
    found = explain_prediction(place, torch.nn.Identity())
    assert found.dates.isnan().all()
    assert found.dates_s1.isfinite().any()
    assert found.pixels[1, 4].isfinite()
    assert found.pixels.nan_to_num(0).abs().max() > 0
    with pytest.raises(ValueError, match='got none of 9'):
        place_of_both(mask_clear=nothing, valid_s1=torch.zeros(1, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match='no Sentinel-1'):
        additive_place()[0].gradient_s1()
