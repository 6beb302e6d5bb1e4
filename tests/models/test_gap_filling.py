"""Gap filling against numpy.interp."""

import numpy as np
import pytest
import torch

from torchgeo_sits.models.frame_order import fill_gaps, regular_dates


def test_equals_numpy_interp_per_pixel_and_band():
    g = torch.Generator().manual_seed(0)
    b, p, t, c, s = 3, 7, 11, 2, 23
    values = torch.randn(b, p, t, c, generator=g)
    times = 1_500_000_000 + torch.randint(0, 10**8, (b, t), generator=g)
    clear = torch.rand(b, p, t, generator=g) > 0.6
    clear[0, 0] = False
    clear[0, 1] = torch.arange(t) == 4
    values = values.masked_fill(~clear[..., None], float('nan'))
    # Between, before, after and exactly at the observations.
    dates = 1_490_000_000 + torch.randint(0, 12 * 10**7, (b, s), generator=g)
    dates[:, :t] = times
    got = fill_gaps(values, times, clear, dates)
    for i, j, k in np.ndindex(b, p, c):
        known = clear[i, j].numpy()
        if not known.any():
            assert not got[i, j].any()
            continue
        order = np.argsort(times[i].numpy()[known])
        x = times[i].numpy()[known][order]
        y = values[i, j, :, k].numpy()[known][order]
        np.testing.assert_allclose(got[i, j, :, k], np.interp(dates[i], x, y), atol=1e-5)


def test_padding_of_any_date_and_content_changes_nothing():
    values = torch.tensor([1.0, 3.0, float('inf'), float('nan')]).view(1, 1, 4, 1)
    times = torch.tensor([[100, 200, -(10**18), 150]])
    clear = torch.tensor([[[True, True, False, False]]])
    got = fill_gaps(values, times, clear, torch.tensor([[50, 150, 175, 300]]))
    assert got.flatten().tolist() == [1.0, 2.0, 2.5, 3.0]


def test_gradients_reach_clear_values_only():
    values = torch.tensor([1.0, float('nan'), 3.0]).view(1, 1, 3, 1).requires_grad_()
    clear = torch.tensor([[[True, False, True]]])
    fill_gaps(values, torch.tensor([[0, 5, 10]]), clear, torch.tensor([[4]])).sum().backward()
    torch.testing.assert_close(values.grad.flatten(), torch.tensor([0.6, 0.0, 0.4]))


def test_regular_dates_span_the_valid_frames():
    times = torch.tensor([[100, 400, 9999], [7, 0, 0], [5, 5, 5]])
    valid = torch.tensor([[True, True, False], [True, False, False], [False, False, False]])
    dates = regular_dates(times, valid, 4)
    assert dates.tolist() == [[100, 200, 300, 400], [7, 7, 7, 7], [0, 0, 0, 0]]
    with pytest.raises(ValueError, match='at least 1, got 0'):
        regular_dates(times, valid, 0)
