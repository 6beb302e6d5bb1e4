"""Dates: the season against the calendar, and no seconds lost to float32."""

from datetime import UTC, datetime, timedelta

import pytest
import torch

from torchgeo_sits.models.dates import (
    SECONDS_PER_YEAR,
    TemporalEncoding,
    season_phase,
    years_elapsed,
)


def seconds(*dates: datetime) -> torch.Tensor:
    return torch.tensor([int(d.timestamp()) for d in dates])


def test_the_season_follows_the_calendar():
    days = [datetime(1984, 1, 1, tzinfo=UTC) + timedelta(days=11 * i) for i in range(1700)]
    phase = season_phase(seconds(*days)).double()
    calendar = torch.tensor([(d.timetuple().tm_yday - 1) / 365.2425 for d in days])
    apart = (phase - calendar + 0.5).remainder(1) - 0.5
    assert apart.abs().max() * 365.2425 < 1.5


def test_dates_before_1970_have_a_season():
    phase = season_phase(seconds(datetime(1965, 7, 1, tzinfo=UTC)))
    assert phase.item() == pytest.approx(181 / 365.2425, abs=0.005)


def test_seconds_are_not_rounded_to_minutes():
    # Rounding 1.5e9 to float32 first would give steps of 128 seconds.
    times = 1_500_000_000 + torch.arange(0, 640, 8)
    steps = season_phase(times).double().diff() * SECONDS_PER_YEAR
    assert (steps - 8).abs().max() < 3
    elapsed = years_elapsed(times[None], torch.ones(1, len(times), dtype=torch.bool))
    assert (elapsed.double() * SECONDS_PER_YEAR - torch.arange(0, 640, 8)).abs().max() < 0.01


def test_years_count_from_the_first_valid_frame():
    dates = seconds(*(datetime(y, 3, 1, tzinfo=UTC) for y in (1990, 2015, 2018, 2045)))
    valid = torch.tensor([False, True, True, False])
    elapsed = years_elapsed(dates[None], valid[None])[0]
    torch.testing.assert_close(elapsed, torch.tensor([0.0, 0.0, 3.0, 0.0]), atol=0.003, rtol=0)
    assert not years_elapsed(dates[None], torch.zeros_like(valid)[None]).any()


def test_bad_sizes_are_named():
    with pytest.raises(ValueError, match='octaves=-1'):
        TemporalEncoding(8, octaves=-1)
