"""Pixels of two sensors: rows that differ by what they say, and the rule for their features."""

from pathlib import Path

import pytest

from study import second_round, tuning, two_sensors
from study.contenders import ONE_SENSOR, TWO_SENSORS, at_length
from study.records import append


def test_rows_change_what_they_are_named_after_and_see_no_test():
    jobs = two_sensors.jobs(Path('data'), Path('scratch'))
    assert {(job.set, job.development, job.steps) for job in jobs} == {('canada', True, 400)}
    assert len({job.key for job in jobs}) == len(jobs)
    assert {ONE_SENSOR, TWO_SENSORS} <= {*two_sensors.ROWS}
    trained = [row for row in two_sensors.ROWS if row.group == 'ours']
    for row in trained:
        assert row.encoder == TWO_SENSORS.encoder
        assert (
            row.views
            == row.options['views']
            == ('sensor_pixels' if 'two' in row.name else 'pixels')
        )


@pytest.mark.parametrize(('late', 'depth'), [(600, 'late'), (400, 'joined')])
def test_features_are_those_that_points_of_canada_prefer(late, depth, tmp_path, monkeypatch):
    scores = [
        {'site': site, 'budget': budget, 'probe': probe, 'depth': one, 'f1': [value]}
        for site, budget, probe, one in two_sensors.COLUMNS
        for value in [late if one == 'late' else 500]
    ]
    path = tmp_path / 'two_sensors.jsonl.gz'
    append(path, {'contender': TWO_SENSORS.name, 'set': 'canada', 'seed': 0, 'scores': scores})
    monkeypatch.setattr(tuning, 'CANADA', path)
    tuning.depth.cache_clear()
    for one in (TWO_SENSORS.name, at_length(TWO_SENSORS.name, 16)):
        assert second_round.where(one, 'wc_be_a', '1')[3] == depth
    tuning.depth.cache_clear()
