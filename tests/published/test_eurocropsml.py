"""EuroCropsML, value by value."""

import numpy as np
import pytest

from torchgeo_sits.datasets.published import EuroCropsML
from torchgeo_sits.errors import SITSError

from .releases.eurocropsml import LISTS, arrays_of, write_release


@pytest.mark.parametrize(
    ('options', 'place', 'parcels'),
    [
        ({'stage': 'pretrain'}, 'pretrain/region_split', 'preprocess/S2/2021'),
        ({'shots': 1}, 'finetune/region_split_1', 'preprocess'),
        ({}, 'finetune/region_split_all', 'S2/preprocess/2021'),
    ],
)
def test_parts_are_those_of_the_lists(tmp_path, options, place, parcels):
    write_release(tmp_path, parcels=parcels)
    lists = LISTS[f'latvia_vs_estonia/{place}']
    for part in ('train', 'val', 'test', 'unlabelled'):
        data = EuroCropsML(tmp_path, part, **options)
        assert data.samples == lists.get(part, [])
        for index, name in enumerate(data.samples):
            values, dates = arrays_of(name)
            order = np.argsort(dates, kind='stable')
            sample = data[index]
            assert np.array_equal(sample['image'][..., 0, 0].numpy(), values[order])
            days = (dates[order] - np.datetime64('1970-01-01')).astype(int)
            assert sample['acquisition_times'].tolist() == (86_400 * days).tolist()
            crop = {
                '3301010101': 'winter common soft wheat',
                '3302000000': 'pasture meadow grassland grass',
            }.get(name[-14:-4])
            assert crop in (None, data.classes[sample['label']])
        classes = [int(data[i]['label']) for i in range(len(data))]
        assert data.sample_classes().tolist() == classes


def test_other_files_are_refused_by_name(tmp_path):
    write_release(tmp_path)
    with pytest.raises(SITSError, match=r'region_split_7.json.*region_split_all.json'):
        EuroCropsML(tmp_path, shots=7)
    with pytest.raises(SITSError, match=r'moon_vs_mars.*latvia_vs_estonia'):
        EuroCropsML(tmp_path, scenario='moon_vs_mars')
    with pytest.raises(SITSError, match='meta'):
        EuroCropsML(tmp_path, stage='meta')
    data = EuroCropsML(tmp_path, 'test')
    path = tmp_path / 'preprocess/S2/2021' / data.samples[0]
    whole = path.read_bytes()
    for content in (b'', b'no archive', whole[:200]):
        path.write_bytes(content)
        with pytest.raises(SITSError, match=path.name):
            data[0]
    np.savez(path, data=np.zeros((3, 13)), dates=np.array([{}, {}, {}]))  # would run code
    with pytest.raises(SITSError, match=path.name):
        data[0]
    np.savez(path, data=np.zeros((3, 10)), dates=np.zeros(3, 'datetime64[D]'))
    with pytest.raises(SITSError, match=r'\(3, 10\)'):
        data[0]
    place = tmp_path / 'split/latvia_vs_estonia/finetune/region_split_all.json'
    place.write_text('{"test": ["EE008_1_42.npz"]}')
    (path.parent / 'EE008_1_42.npz').write_bytes(whole)
    with pytest.raises(SITSError, match='42 is the code of no published crop'):
        EuroCropsML(tmp_path, 'test')[0]
    place.write_text('[]')
    with pytest.raises(SITSError, match=r'region_split_all.json.*no list'):
        EuroCropsML(tmp_path, 'test')
