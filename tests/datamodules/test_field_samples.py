"""One sample per field: its own pixels, its own class, once in an epoch."""

import numpy as np
import pytest
import rasterio
import torch
from scipy import ndimage

from torchgeo_sits.datamodules import SITSDataModule, SyntheticSITSDataModule

from .grouped import grouped

CODES = {1200: 'maize', 2130: 'cabbage', 5100: 'potato', 7900: 'legume', 9120: 'grass'}


def read(path):
    """Values with a margin, into which windows may reach, and the transform."""
    with rasterio.open(path) as file:
        return np.pad(file.read(1), 16), file.transform


@pytest.fixture
def real(shared_data):
    """Labels, components and data module of a real stack."""
    folder = shared_data / 'wc_be_a'
    path = folder / 'labels' / 'wc_be_a_CT_aligned_core.tif'
    codes, transform = read(path)
    fields = np.zeros(codes.shape, int)
    for code in CODES:
        components, _ = ndimage.label(codes == code)
        fields[components > 0] = components[components > 0] + fields.max()

    def module(**kwargs):
        options = {
            'labels__classes': CODES,
            'labels__target': 'field',
            'split__by': 'fields',
            'patches__size': 12,
            'batch_size': 3,
            'images__mean': [0.0] * 10,
            'images__std': [1.0] * 10,
        }
        made = SITSDataModule(
            str(folder / 's2'),
            **grouped(
                labels__paths=str(path),
                images__cloud_paths=str(folder / 'scl'),
                **{'images__clear_values': [2, 4, 5, 6, 7], **options, **kwargs},
            ),
        )
        with pytest.warns(UserWarning, match=r"\['cabbage', 'potato'\] is left for validation"):
            made.setup('fit')
        return made

    return codes, fields, transform, module


def window(sample, transform, size):
    """Rows and columns of a sample."""
    column, row = ~transform @ np.array(sample['bounds'][[0, 4]].tolist())
    row, column = round(row) + 16, round(column) + 16
    return slice(row, row + size), slice(column, column + size)


def test_samples_are_fields_of_the_rasters(real):
    codes, fields, transform, module = real
    made = module()
    assert made.class_names == list(CODES.values())
    assert made.num_classes == 5
    assert made.unlabelled == -1
    seen = {'train': set(), 'val': set()}
    for stage, part in (('train', made.train_dataset), ('val', made.val_dataset)):
        for place in _places(made, stage):
            sample = part[place]
            assert 'mask' not in sample
            assert sample['image'].shape[-2:] == (12, 12)
            inside = sample['mask_clear'].any(0).numpy()
            at = window(sample, transform, 12)
            field = np.unique(fields[at][inside])
            assert len(field) == 1
            # No pixel of the field in the window is lost, but for those never seen clearly.
            assert inside.sum() > 0.9 * (fields[at] == field[0]).sum()
            assert np.unique(codes[fields == field[0]]).tolist() == [
                list(CODES)[int(sample['label'])]
            ]
            seen[stage].add(int(field[0]))
    assert not seen['train'] & seen['val']
    assert len(seen['train'] | seen['val']) == fields.max()


def _places(made, stage):
    """Each place of a stage once."""
    sampler = made.train_sampler if stage == 'train' else made.val_sampler
    found = {}
    for x, y, *_ in sampler.iter_epoch(0):
        found[x.start, y.start] = (x, y)
    return list(found.values())


def test_mask_clear_is_that_of_the_series_in_the_field(real):
    _, fields, transform, module = real
    made = module()
    for x, y in _places(made, 'val'):
        sample, series = made.val_dataset[x, y], made.splits.series[x, y]
        at = window(sample, transform, 12)
        own = np.unique(fields[at][sample['mask_clear'].any(0)])
        expected = series['mask_clear'].numpy() & (fields[at] == own)
        np.testing.assert_array_equal(sample['mask_clear'], expected)
        assert torch.equal(sample['image'], series['image'])


def test_all_fields_come_before_one_comes_again(real):
    made = real[3](labels__fields_per_class=2, patches__length=12, patches__num_dates=4)
    number = int(made.splits.kept[0].sum())
    epochs = [[(x.start, y.start) for x, y, _ in made.train_sampler] for _ in range(2)]
    assert epochs[0] != epochs[1]
    for places in epochs:
        assert len(places) == 12
        assert len(set(places[:number])) == number
    batches = list(made.train_dataloader())
    assert len(batches) == 4
    for batch in batches:
        assert batch['label'].shape == (3,)
        assert batch['image'].shape[1] == 4
        assert made.train_aug(batch)['label'].tolist() == batch['label'].tolist()


def test_an_interrupted_epoch_of_fields_goes_on(real):
    def labels(loader):
        return [batch['bounds'][:, [0, 3]].tolist() for batch in loader]

    made = real[3](patches__length=12, patches__num_dates=2)
    loader = made.train_dataloader()
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    rest = [batch['bounds'][:, [0, 3]].tolist() for batch in batches]
    again = real[3](patches__length=12, patches__num_dates=2).train_dataloader()
    again.load_state_dict(state)
    assert labels(again) == rest


def test_parcels_of_the_simulated_land(tmp_path):
    made = SyntheticSITSDataModule(
        str(tmp_path),
        **grouped(
            size=96,
            num_dates_written=4,
            batch_size=4,
            patches__size=16,
            labels__target='field',
            split__by='fields',
            split__test_fraction=0.25,
        ),
    )
    made.prepare_data()
    for stage in ('fit', 'test', 'predict'):
        made.setup(stage)
    assert made.num_classes == len(made.class_names) == 12
    classes, transform = read(made._folder / 'labels' / 'synthetic_class.tif')
    parcels, _ = read(made._folder / 'labels' / 'synthetic_parcel.tif')
    found = {}
    for loader in (made.val_dataloader(), made.test_dataloader(), made.predict_dataloader()):
        for batch in loader:
            for i, label in enumerate(batch['label'].tolist()):
                sample = {key: batch[key][i] for key in ('bounds', 'mask_clear')}
                inside = sample['mask_clear'].any(0).numpy()
                at = window(sample, transform, 16)
                numbers = np.unique(parcels[at][inside])
                assert len(numbers) <= 1
                if len(numbers):
                    kinds = classes[(parcels == numbers[0]) & (classes > 0)]
                    assert label == np.bincount(kinds).argmax() - 1
                    found[int(numbers[0])] = label
    assert len(found) > 0.9 * len(np.unique(parcels[classes > 0]))


def test_large_and_nested_fields_have_windows_of_their_own(tmp_path, series_folder):
    labels = np.zeros((32, 40), 'uint8')
    labels[2:30, 2:38] = 1  # larger than the window
    labels[10:22, 14:26] = 0
    labels[12:20, 16:24] = 3
    labels[15:17, 19:21] = 2  # the centre of its neighbour is its own
    with rasterio.open(min(series_folder.iterdir())) as image:
        profile = {**image.profile, 'count': 1, 'dtype': 'uint8'}
    with rasterio.open(tmp_path / 'l.tif', 'w', **profile) as file:
        file.write(labels[None])
    made = SITSDataModule(
        str(series_folder),
        **grouped(
            labels__paths=str(tmp_path / 'l.tif'),
            labels__target='field',
            split__by='time',
            patches__size=10,
            batch_size=2,
        ),
    )
    made.setup('fit')
    assert made.num_classes == 3
    transform = profile['transform']
    for stage, part in (('train', made.train_dataset), ('val', made.val_dataset)):
        found = {}
        for place in _places(made, stage):
            sample = part[place]
            inside = sample['mask_clear'].any(0).numpy()
            assert inside.any()
            kind = int(sample['label']) + 1
            at = window(sample, transform, 10)
            np.testing.assert_array_equal(inside, np.pad(labels, 16)[at] == kind)
            found[kind] = sample
        assert set(found) == {1, 2, 3}


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'labels__target': 'field'}, "target='field' needs labels"),
        (
            {'labels__target': 'field', 'patches__by_block': True, 'labels__paths': 'l.tif'},
            'by_block=True',
        ),
    ],
)
def test_options_that_cannot_work_are_refused(series_folder, options, message):
    with pytest.raises(ValueError, match=message):
        SITSDataModule(str(series_folder), **grouped(**options))
