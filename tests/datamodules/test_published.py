"""The data module of the published data sets, on the releases that tests write."""

import numpy as np
import pytest
import torch

from torchgeo_sits.datamodules import LabelOptions, PublishedDataModule
from torchgeo_sits.errors import SITSError

from ..published.releases import breizhcrops, cv4akenya, dynamicearthnet


@pytest.fixture(scope='module')
def months(tmp_path_factory):
    return str(dynamicearthnet.write_release(tmp_path_factory.mktemp('dynamicearthnet')))


@pytest.fixture(scope='module')
def parcels(tmp_path_factory):
    return str(breizhcrops.write_release(tmp_path_factory.mktemp('breizhcrops')))


@pytest.mark.parametrize('crop', [12, 16, 32, 40])
def test_squares_of_validation_score_every_labelled_pixel_once(months, crop):
    data = PublishedDataModule('dynamicearthnet', months, crop=crop, batch_size=2)
    data.setup('validate')
    found = sum(int((sample['mask'] >= 0).sum()) for sample in data.val_dataset)
    whole = data.part('val')
    assert found == sum(int((whole[i]['mask'] >= 0).sum()) for i in range(len(whole)))
    assert len({tuple(sample['image'].shape[-2:]) for sample in data.val_dataset}) == 1


def test_squares_and_dates_of_training_follow_from_the_seed(months):
    options = {'crop': 8, 'num_dates': 2, 'dataset_kwargs': {'frames': 'daily'}}

    def drawn(seed, epoch):
        data = PublishedDataModule('dynamicearthnet', months, seed=seed, batch_size=2, **options)
        data.setup('fit')
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        return torch.cat([batch['image'] for batch in loader])

    first = drawn(0, 0)
    assert first.shape[1:] == (2, 4, 8, 8)
    assert torch.equal(first, drawn(0, 0))
    assert not torch.equal(first, drawn(0, 1))
    assert not torch.equal(first, drawn(1, 0))


def test_drawn_dates_keep_their_maps(months):
    options = {'frames': 'daily', 'per': 'series'}
    data = PublishedDataModule('dynamicearthnet', months, num_dates=3, dataset_kwargs=options)
    data.setup('fit')
    whole = data.part('train')
    item = next(iter(data.train_sampler))
    sample, every = data.train_dataset[item], whole[item.number]
    places = np.searchsorted(every['acquisition_times'], sample['acquisition_times'])
    assert len(places) == 3
    assert torch.equal(sample['mask'], every['mask'][places])
    assert torch.equal(sample['image'], every['image'][places])


def test_few_fields_of_each_class_are_chosen_by_the_seed_and_grow(parcels):
    def chosen(number, seed=0):
        labels = LabelOptions(supervised=True, fields_per_class=number)
        data = PublishedDataModule('breizhcrops', parcels, labels=labels, seed=seed)
        data.setup('fit')
        train = data.part('train')
        return {train.samples[place.sample] for place in data.train_dataset.places}

    one, two = chosen(1), chosen(2)
    classes = [key[2] for key in one]
    assert sorted(classes) == sorted(set(classes))
    assert one < two


def test_statistics_are_the_authors_by_band_or_those_of_the_user(parcels, months):
    data = PublishedDataModule('dynamicearthnet', months, bands=['NIR', 'B'])
    mean, std = data.statistics
    assert mean.tolist() == pytest.approx([2605.21, 671.26])
    assert std.tolist() == pytest.approx([1059.90, 596.94])
    own = PublishedDataModule('breizhcrops', parcels, bands=['B2'], mean=[1.0], std=[2.0])
    assert [float(value) for value in own.statistics] == [1.0, 2.0]


def test_what_does_not_fit_is_refused_by_name(months, parcels):
    def setup(*args, **options):
        PublishedDataModule(*args, **options).setup('fit')

    with pytest.raises(SITSError, match=r'frames.*hourly'):
        setup('dynamicearthnet', months, dataset_kwargs={'frames': 'hourly'})
    with pytest.raises(SITSError, match=r'dataset_kwargs.*colour'):
        setup('breizhcrops', parcels, dataset_kwargs={'colour': 1})
    with pytest.raises(SITSError, match=r'labels.target=field.*segmentation'):
        setup('dynamicearthnet', months, labels=LabelOptions(target='field'))
    with pytest.raises(SITSError, match=r'labels.kind=value.*segmentation'):
        setup('dynamicearthnet', months, labels=LabelOptions(kind='value'))
    with pytest.raises(SITSError, match=r'labels.per_frame=true.*segmentation'):
        setup('dynamicearthnet', months, labels=LabelOptions(per_frame=True))
    with pytest.raises(SITSError, match='fraction'):
        setup('dynamicearthnet', months, labels=LabelOptions(fields_per_class=2))
    with pytest.raises(SITSError, match='leave one of them out'):
        setup('breizhcrops', parcels, labels=LabelOptions(supervised=True), with_unlabelled=True)
    with pytest.raises(SITSError, match=r'expected one of .*breizhcrops'):
        setup('breizhcrop', parcels)
    with pytest.raises(SITSError, match='labels of its own'):
        setup('breizhcrops', parcels, labels=LabelOptions(paths='x.tif'))
    with pytest.raises(SITSError, match='crop=0'):
        setup('breizhcrops', parcels, crop=0)
    with pytest.raises(SITSError, match='measured values'):
        _ = PublishedDataModule('breizhcrops', parcels).target_statistics


def test_what_is_published_without_labels_trains_too(tmp_path):
    root = str(cv4akenya.write_release(tmp_path))
    plain = PublishedDataModule('cv4akenya', root, batch_size=2)
    data = PublishedDataModule('cv4akenya', root, batch_size=2, with_unlabelled=True)
    for module in (plain, data):
        module.setup('fit')
    added = len(data.part('unlabelled'))
    assert added > 0
    assert len(data.train_dataset) == len(plain.train_dataset) + added
    for index in range(len(data.train_dataset)):
        assert not {'label', 'mask'} & set(data.train_dataset[index])
    assert 'label' in plain.train_dataset[0]
