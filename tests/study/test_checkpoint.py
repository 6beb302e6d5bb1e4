"""The shipped weights: what is held out is not shown, steps are of one place, bands are hidden."""

import numpy as np
import torch

from study.checkpoint import PlaceByPlace, SomeBands, held_out
from study.pretraining import BATCH
from study.sites import Radar, Site


def site(name, value, size=24):
    shape = size, size
    image = torch.full((30, 3, *shape), value)
    clear = torch.ones(30, *shape, dtype=torch.bool)
    times = 86_400 * torch.arange(30)
    radar = Radar(image[:, :2] + 100, times, clear)
    points = np.arange(1, size * size + 1).reshape(shape)
    return Site(name, image, times, clear, 1 + points % 2, points, s1=radar)


def test_points_that_are_held_out_are_scored_and_not_shown_to_either_sensor():
    whole = site('canada', 1.0)
    apart = np.arange(24 * 24) % 3 == 0
    shown, pixels = held_out(whole, apart)
    assert sorted(pixels.index) == np.flatnonzero(apart).tolist()
    for series in (shown, shown.s1):
        assert torch.equal(series.clear.any(0).flatten(), torch.from_numpy(~apart))
    assert whole.clear.all()


def test_samples_of_a_step_are_of_one_place_and_places_take_turns():
    samples = PlaceByPlace([site('a', 0.0), site('b', 1.0)], [0, 0, 1], 6 * BATCH, 0)
    found = [samples[i]['image'].max().item() for i in range(6 * BATCH)]
    assert found == [float(step % 3 == 2) for step in range(6) for _ in range(BATCH)]


def test_half_of_the_pixels_lose_bands_of_sentinel_2_on_all_dates():
    sample = PlaceByPlace([site('a', 1.0)], [0], 1, 0)[0]
    batch = {key: value[None].repeat(4, *[1] * value.ndim) for key, value in sample.items()}
    torch.manual_seed(0)
    optical, radar = SomeBands(pixels=200)(batch)
    valid = optical['valid'][..., None]
    absent = optical['image'][..., 0, 0] == 0
    hidden = (absent | ~valid).all(1)
    assert torch.equal((absent & valid).any(1), hidden)
    assert 0.25 < hidden.any(1).float().mean() < 0.5
    assert (radar['image_s1'][..., 0, 0] == 101)[radar['valid_s1']].all()
