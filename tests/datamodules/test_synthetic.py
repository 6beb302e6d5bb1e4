"""Labels of the simulated farmland, against its rasters."""

import numpy as np
import pytest
import rasterio

from torchgeo_sits.datamodules import SyntheticSITSDataModule

from .grouped import grouped


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return str(tmp_path_factory.mktemp('synthetic'))


def module(root, **kwargs):
    options = {
        'size': 96,
        'num_dates_written': 6,
        'batch_size': 4,
        'patches__length': 8,
        'patches__size': 16,
    }
    made = SyntheticSITSDataModule(root, **grouped(**options | kwargs))
    made.prepare_data()
    made.setup('fit')
    return made


def raster(made, name):
    with rasterio.open(made._folder / 'labels' / f'synthetic_{name}.tif') as file:
        return file.read(1)


def test_classes_have_their_names(root):
    made = module(root)
    assert made.class_names[0] == 'unlabelled'
    assert made.num_classes == len(made.class_names) == 13
    np.testing.assert_array_equal(made.splits.labelled[:, :]['mask'], raster(made, 'class'))


def test_no_change_is_a_class_of_its_own(root):
    made = module(root, labels__paths='change')
    assert made.unlabelled == 255
    assert made.class_names == ['none', 'clearing', 'burning', 'building']
    mask = made.splits.labelled[:, :]['mask'].numpy()
    np.testing.assert_array_equal(mask, raster(made, 'change'))
    assert (mask == 0).any()
    assert (mask > 0).any()


def test_days_of_change_are_no_classes(root):
    made = module(root, labels__paths='change_date', labels__supervised=True)
    assert made.unlabelled == -1
    assert made.num_classes is made.class_names is None
    mask = made.splits.labelled_train[:, :]['mask'].numpy()
    known = mask != -1
    np.testing.assert_array_equal(mask[known], raster(made, 'change_date')[known])
    assert (mask > 18000).any()
    assert (mask == 0).any()


@pytest.mark.parametrize('split', ['space', 'fields'])
def test_parcels_are_labelled_in_one_split(root, split):
    made = module(root, labels__supervised=True, split__by=split, labels__fields_per_class=2)
    parcels = raster(made, 'parcel')
    masks = [
        part[500000:500960, 5639040:5640000]['mask'].numpy()
        for part in (made.splits.labelled_train, made.splits.labelled_val)
    ]
    train, val = (set(np.unique(parcels[mask > 0])) for mask in masks)
    assert train
    assert val
    assert not train & val
    labelled = raster(made, 'class')
    for kind in np.unique(masks[0][masks[0] > 0]):
        fields = [p for p in train if np.bincount(labelled[parcels == p]).argmax() == kind]
        assert len(fields) <= 2
    assert all((batch['mask'] > 0).any() for batch in made.train_dataloader())
