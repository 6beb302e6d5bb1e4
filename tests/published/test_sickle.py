"""SICKLE, value by value."""

from datetime import UTC, datetime

import numpy as np
import pytest

from torchgeo_sits.datasets.published import Sickle
from torchgeo_sits.errors import SITSError

from .releases.sickle import SAMPLES, date_of, dates_of, layers_of, read_of, write_release


@pytest.fixture(scope='module')
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp('sickle'))


@pytest.mark.parametrize('part', ['train', 'val', 'test'])
def test_samples_have_the_season_of_both_sensors_and_their_plots(release, part):
    data = Sickle(release, part)
    assert data.samples == sorted(number for number, *_ in SAMPLES[part])
    for index, number in enumerate(data.samples):
        sample = data[index]
        for sensor, end in (('S2', ''), ('S1', '_s1')):
            days = dates_of(number, sensor)
            if not days:
                assert not sample[f'valid{end}'].any()
                continue
            times = sample[f'acquisition_times{end}'].tolist()
            dates = [datetime.fromtimestamp(t, UTC).date() for t in times]
            assert dates == [date_of(number, day).date() for day, _ in days]
            images = np.stack([read_of(number, sensor, place) for _, place in days])
            assert _same_but_for_the_order_within_a_day(
                sample[f'image{end}'].numpy(), images, [day for day, _ in days]
            )
            assert np.array_equal(sample[f'mask_clear{end}'].numpy(), (images != 0).all(1))
        plots, crops = layers_of(number)[:2].astype(int)
        own = np.isin(plots, [plot for _, plot, _, _ in SAMPLES[part]])
        expected = np.where(own & (crops > 0), np.minimum(crops - 1, 1), -1)
        assert np.array_equal(sample['mask'].numpy(), expected)


def _same_but_for_the_order_within_a_day(found, expected, days):
    keys = [sorted(zip(days, (x.tobytes() for x in y), strict=True)) for y in (found, expected)]
    return keys[0] == keys[1]


def test_damaged_files_are_named(tmp_path):
    write_release(tmp_path)
    path = min((tmp_path / 'images/S2/npy/3').glob('*.npz'))
    path.write_bytes(b'PK')
    with pytest.raises(SITSError, match=path.name):
        Sickle(tmp_path)[0]
    np.savez(path, B1=np.zeros((4, 4)), B2=np.array([{}], dtype=object))
    with pytest.raises(SITSError, match=path.name):
        Sickle(tmp_path)[0]
    path.rename(path.with_name('nodate.npz'))
    with pytest.raises(SITSError, match=r'nodate.npz.*no date'):
        Sickle(tmp_path)[0]
    table = tmp_path / 'sickle_dataset_tabular.csv'
    text = table.read_text()
    table.write_text(text.replace('jul-oct', 'monsoon'))
    with pytest.raises(SITSError, match='monsoon'):
        Sickle(tmp_path)[0]
    table.write_text(text.replace('PLOT_ID', 'PLOT'))
    with pytest.raises(SITSError, match='PLOT_ID'):
        Sickle(tmp_path)
