"""DAFA-LS, value by value."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from torchgeo_sits.datasets.published import DAFALS
from torchgeo_sits.errors import SITSError

from .releases.dafals import FOLDS, image_of, mask_of, months_of, write_release


@pytest.fixture(scope='module')
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp('dafals'))


def sites_of(*names):
    return sorted(
        (str(site), kind) for name in names for kind in FOLDS[name] for site in FOLDS[name][kind]
    )


def test_a_fold_is_held_out_of_training(release):
    assert DAFALS(release, 'train', fold=2).samples == sites_of(
        'train', 'val_1', 'val_3', 'val_4', 'val_5'
    )
    assert DAFALS(release, 'val', fold=2).samples == sites_of('val_2')
    assert DAFALS(release, 'test', fold=2).samples == sites_of('test')
    assert len(DAFALS(release, 'unlabelled')) == 0


@pytest.mark.parametrize('target', ['site', 'pixel'])
@pytest.mark.parametrize('part', ['train', 'val', 'test'])
def test_sites_have_their_months_and_class(release, part, target):
    data = DAFALS(release, part, target=target)
    classes = []
    for index, (site, kind) in enumerate(data.samples):
        sample, months, value = data[index], months_of(site), int(kind == 'looted')
        dates = [datetime.fromtimestamp(t, UTC) for t in sample['acquisition_times'].tolist()]
        assert [(d.year, d.month, d.day) for d in dates] == [(*month, 1) for month in months]
        images = np.stack([image_of(site, month) for month in months]).transpose(0, 3, 1, 2)
        assert np.abs(sample['image'].numpy() - images).max() <= 5  # JPEG
        if target == 'site':
            assert sample['label'] == value
        else:
            expected = np.where(mask_of(site) > 0, value, -1)
            assert np.array_equal(sample['mask'].numpy(), expected)
        classes.append(value)
    assert data.sample_classes().tolist() == classes


def test_wrong_arguments_and_lists_are_named(tmp_path):
    write_release(tmp_path)
    with pytest.raises(SITSError, match='fold=0'):
        DAFALS(tmp_path, fold=0)
    with pytest.raises(SITSError, match="target 'parcel'"):
        DAFALS(tmp_path, target='parcel')
    path = next(tmp_path.rglob('fold_dict.json'))
    path.write_text(json.dumps({'train': {'looted': []}}))
    with pytest.raises(SITSError, match=r'fold_dict.json.*preserved sites of .train'):
        DAFALS(tmp_path)
