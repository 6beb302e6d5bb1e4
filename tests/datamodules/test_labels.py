"""What tasks read of the labels of a data module, held against the rasters themselves."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import torch
from jsonargparse import ArgumentParser
from matplotlib import pyplot as plt
from rasterio.transform import from_origin
from rasterio.warp import Resampling, reproject

from torchgeo_sits.datamodules import SITSDataModule
from torchgeo_sits.errors import SITSError

from .grouped import grouped
from .one_band import write


@pytest.fixture
def codes():
    """Codes 0, 7, 1110 and 1200 at random on the grid of the series."""
    return np.random.default_rng(1).choice([0, 7, 1110, 1200], (32, 40)).astype('uint16')


def module(series_folder, **kwargs):
    options = {
        'patches__size': 8,
        'batch_size': 4,
        'patches__length': 8,
        'images__mean': [0.0] * 3,
        'images__std': [1.0] * 3,
    }
    return SITSDataModule(str(series_folder), **grouped(**options | kwargs))


def whole_mask(made):
    """The mask of all of the imagery."""
    return made.splits.labelled[:, :]['mask'].numpy()


CLASSES = {1200: 'maize', 1110: 'winter wheat'}


@pytest.mark.parametrize(
    ('unlabelled', 'positions', 'names'),
    [
        (0, (1, 2), ['unlabelled', 'maize', 'winter wheat']),
        (1, (0, 2), ['maize', 'unlabelled', 'winter wheat']),
        (255, (0, 1), ['maize', 'winter wheat']),
        (-1, (0, 1), ['maize', 'winter wheat']),
    ],
)
def test_classes_are_counted_in_order_around_what_is_not_labelled(
    series_folder, tmp_path, codes, unlabelled, positions, names
):
    path = write(tmp_path / 'l.tif', codes, nodata=0)
    made = module(
        series_folder, labels__paths=path, labels__classes=CLASSES, labels__unlabelled=unlabelled
    )
    with pytest.warns(UserWarning, match=r'the values \[7\], which classes does not list'):
        mask = whole_mask(made)
    expected = np.full(codes.shape, unlabelled)
    expected[codes == 1200], expected[codes == 1110] = positions
    np.testing.assert_array_equal(mask, expected)
    assert made.class_names == names
    assert made.num_classes == len(names)
    assert made.unlabelled == unlabelled


def test_classes_that_are_all_listed_warn_of_nothing(series_folder, tmp_path, codes, recwarn):
    path = write(tmp_path / 'l.tif', codes)
    made = module(series_folder, labels__paths=path, labels__classes={**CLASSES, 7: 'leek'})
    assert made.num_classes == 4
    whole_mask(made)
    assert not [w for w in recwarn if 'classes' in str(w.message)]


def test_classes_come_from_the_command_line():
    parser = ArgumentParser()
    parser.add_class_arguments(SITSDataModule, 'data')
    given = json.dumps({str(value): name for value, name in CLASSES.items()})
    parsed = parser.parse_args(['--data.labels.classes', given, '--data.labels.paths', 'l.tif'])
    made = parser.instantiate_classes(parsed).data
    assert made.class_names == ['unlabelled', 'maize', 'winter wheat']
    assert made._values.positions == {1200: 1, 1110: 2}


def test_number_of_classes_is_looked_up_for_supervised_training(series_folder, tmp_path):
    values = np.zeros((32, 40), 'uint8')
    values[31, 39] = 9
    values[1, :6] = [1, 2, 3, 5, 6, 8]
    values[0] = 255
    path = write(tmp_path / 'l.tif', values, nodata=255)
    assert module(series_folder, labels__paths=path, labels__supervised=True).num_classes == 10
    assert module(series_folder, labels__paths=path).num_classes is None
    # A value that is not labelled is no class, however large.
    path = write(tmp_path / 'm.tif', values)
    made = module(
        series_folder, labels__paths=path, labels__supervised=True, labels__unlabelled=255
    )
    assert made.num_classes == 10


def test_codes_become_classes_in_their_order(series_folder, tmp_path, codes):
    path = write(tmp_path / 'l.tif', codes)
    made = module(series_folder, labels__paths=path, labels__supervised=True)
    with pytest.warns(UserWarning, match=r'\[7, 1110, 1200\] become classes .*=\{7: \.\.\., 1110'):
        assert made.num_classes == 4
    assert made.class_names == ['unlabelled', '7', '1110', '1200']
    expected = np.searchsorted([0, 7, 1110, 1200], codes)
    np.testing.assert_array_equal(whole_mask(made), expected)


def test_few_numbers_with_gaps_are_codes_too(series_folder, tmp_path):
    # WorldCover counts in tens: 4 classes and what is not labelled, not 81.
    values = np.random.default_rng(2).choice([0, 10, 30, 40, 80], (32, 40)).astype('uint8')
    made = module(
        series_folder, labels__paths=write(tmp_path / 'l.tif', values), labels__supervised=True
    )
    with pytest.warns(UserWarning, match=r'\[10, 30, 40, 80\] become classes'):
        assert made.class_names == ['unlabelled', '10', '30', '40', '80']


@pytest.mark.parametrize('nodata', [None, 255])
def test_one_class_beside_what_is_not_labelled_is_refused(series_folder, tmp_path, nodata):
    values = np.random.default_rng(2).choice([0, 1], (32, 40)).astype('uint8')
    path = write(tmp_path / 'l.tif', values, nodata=nodata)
    made = module(series_folder, labels__paths=path, labels__supervised=True)
    with pytest.raises(ValueError, match=r'the one class 1, and 0 counts .* labels.unlabelled'):
        made.setup('fit')
    made = module(
        series_folder, labels__paths=path, labels__supervised=True, labels__unlabelled=255
    )
    assert made.num_classes == 2


@pytest.mark.parametrize('classes', [{3: 'oat', 4: 'rye'}, {'oat': 'oat', 'rye': 'rye'}])
def test_classes_of_which_none_occurs_are_refused(series_folder, tmp_path, codes, classes):
    path = write(tmp_path / 'l.tif', codes)
    made = module(series_folder, labels__paths=path, labels__classes=classes)
    with pytest.raises(ValueError, match=r'lists \[.* hold none of these but \[7, 1110, 1200\]'):
        made.setup('fit')


def test_more_codes_than_classes_are_refused(series_folder, tmp_path):
    path = write(tmp_path / 'l.tif', np.arange(32 * 40, dtype='uint16').reshape(32, 40))
    made = module(series_folder, labels__paths=path, labels__supervised=True)
    with pytest.raises(ValueError, match=r'hold 1279 numbers up to 1279.*labels\.classes=\{1: '):
        made.setup('fit')


def test_no_data_reads_as_unlabelled_and_zero_as_a_class(series_folder, tmp_path, codes):
    values = (codes > 1000).astype('uint8')
    values[codes == 7] = 9
    made = module(
        series_folder,
        labels__paths=write(tmp_path / 'l.tif', values, nodata=9),
        labels__unlabelled=255,
    )
    np.testing.assert_array_equal(whole_mask(made), np.where(values == 9, 255, values))


def test_what_lies_beyond_the_labels_is_no_class_zero(series_folder, tmp_path):
    values = np.zeros((10, 12), 'uint8')
    values[:5] = 1
    path = write(tmp_path / 'l.tif', values, origin=(600100, 4999900))
    made = module(
        series_folder, labels__paths=path, labels__unlabelled=255, split__val_fraction=0.0
    )
    made.setup('fit')
    mask = made.splits.labelled[600000:600400, 4999680:5000000]['mask'].numpy()
    expected = np.full((32, 40), 255)
    expected[10:20, 10:22] = values
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    'grid',
    [
        {'res': 20, 'origin': (600000, 5000000)},
        {'res': 5, 'origin': (599990, 5000030)},
        {'crs': 'EPSG:32632', 'res': 10, 'origin': (128200, 5010200)},
    ],
)
def test_labels_of_another_grid_are_those_of_the_nearest_pixel(series_folder, tmp_path, grid):
    # Smooth stripes of classes far apart: whatever is blended is no class, or another.
    rows, columns = np.mgrid[:120, :120]
    values = np.array([3, 40, 200], 'uint8')[(rows + 2 * columns) // 20 % 3]
    path = write(tmp_path / 'l.tif', values, **grid, nodata=0)
    mask = whole_mask(module(series_folder, labels__paths=path, split__val_fraction=0.0))
    expected = np.zeros((32, 40), 'uint8')
    with rasterio.open(path) as file:
        reproject(
            rasterio.band(file, 1),
            expected,
            dst_transform=from_origin(600000, 5000000, 10, 10),
            dst_crs='EPSG:32631',
            resampling=Resampling.nearest,
        )
    assert set(np.unique(mask)) <= {0, 3, 40, 200}
    assert set(np.unique(mask)) >= {3, 40, 200}
    # TorchGeo warps to a grid of its own first, so that borders may move by a pixel.
    assert (mask == expected).mean() > (0.9 if 'crs' in grid else 0.999)


def test_frames_have_the_map_that_holds_at_their_date(shared_data):
    folder = shared_data / 'modis_dtwsat_mt'
    made = SITSDataModule(
        str(folder / 'images'),
        **grouped(
            labels__paths=str(folder / 'labels'),
            labels__per_frame=True,
            labels__supervised=True,
            patches__size=8,
            batch_size=2,
            patches__length=2,
        ),
    )
    made.setup('fit')
    sample = made.splits.labelled[:, :]
    dates = sorted(path.name[-12:-4] for path in (folder / 'images').glob('*.tif'))
    maps = {path.name[-12:-4]: path for path in (folder / 'labels').glob('*.tif')}
    assert sample['mask'].shape == sample['mask_clear'].shape
    for date, mask in zip(dates, sample['mask'], strict=True):
        held = max((day for day in maps if day <= date), default=None)
        expected = np.zeros(mask.shape)
        if held is not None:
            with rasterio.open(maps[held]) as file:
                expected = file.read(1)
        np.testing.assert_array_equal(mask, expected)
    assert made.num_classes == 6
    batch = next(iter(made.train_dataloader()))
    assert batch['mask'].shape == batch['mask_clear'].shape
    turned = made.train_aug(batch)
    assert turned['mask'].shape == turned['mask_clear'].shape


def test_frames_before_the_first_map_are_not_labelled(series_folder, tmp_path):
    for day, value in (('20210316', 1), ('20210614', 2)):
        write(tmp_path / f'l_{day}.tif', np.full((32, 40), value, 'uint8'))
    made = module(
        series_folder, labels__paths=str(tmp_path), labels__per_frame=True, labels__unlabelled=9
    )
    # Frames are of the 15th of each month.
    assert made.splits.labelled[:, :]['mask'][:, 3, 4].tolist() == [9, 9, 9, 1, 1, 2, 2, 2]


def test_maps_per_frame_need_dates(series_folder, tmp_path, codes):
    path = write(tmp_path / 'undated.tif', codes)
    with pytest.raises(ValueError, match=r"date in each name, '.*undated\.tif' has none"):
        module(series_folder, labels__paths=path, labels__per_frame=True).setup('fit')


def test_normalisation_of_a_checkpoint_is_taken(series_folder):
    made = SITSDataModule(
        str(series_folder), **grouped(patches__size=8, batch_size=4, patches__length=8)
    )
    made.setup('fit')
    mean, std = (value.tolist() for value in made.statistics)
    near = [m + s for m, s in zip(mean, std, strict=True)]
    made.normalise_as(near, std)
    assert made.card['mean'] == pytest.approx(near)
    raw = next(iter(made.train_dataloader()))
    image = made.aug(dict(raw))['image']
    scaled = (raw['image'] - torch.tensor(near)[:, None, None]) / torch.tensor(std)[:, None, None]
    torch.testing.assert_close(image, scaled, rtol=1e-4, atol=1e-4)


def test_another_scale_of_reflectance_is_announced(series_folder):
    made = SITSDataModule(
        str(series_folder), **grouped(patches__size=8, batch_size=4, patches__length=8)
    )
    made.setup('fit')
    mean, std = (value.tolist() for value in made.statistics)
    scaled = [mean[0], mean[1] / 10_000, mean[2]], [std[0], std[1] / 10_000, std[2]]
    with pytest.warns(UserWarning, match='another scale of reflectance') as caught:
        made.normalise_as(*scaled)
    assert "'B2'" in str(caught[0].message)
    assert "'B1'" not in str(caught[0].message)
    assert made.statistics[0].tolist() == pytest.approx(scaled[0])


def test_statistics_of_the_user_stand_against_a_checkpoint(series_folder):
    made = module(series_folder)
    made.setup('fit')
    with pytest.warns(UserWarning, match='mean and std that were given'):
        made.normalise_as([5.0] * 3, [2.0] * 3)
    assert made.card['mean'] == [0.0] * 3
    with pytest.raises(ValueError, match=r'1 and 1 values.*3 bands'):
        made.normalise_as([5.0], [2.0])


def test_picture_shows_labels_and_predictions_by_name(series_folder, tmp_path, codes):
    made = module(
        series_folder,
        labels__paths=write(tmp_path / 'l.tif', codes),
        labels__classes={**CLASSES, 7: 'leek'},
    )
    sample = made.splits.labelled[600000:600080, 4999920:5000000]
    sample['mask_clear'][:5] = False
    figure = made.plot({**sample, 'prediction': torch.full((8, 8), 3)})
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ['clearest frame', 'labels', 'prediction']
    shown = {text.get_text() for text in figure.legends[0].get_texts()}
    assert shown == {'maize', 'winter wheat', 'leek'}
    labels, prediction = (axis.images[0].get_array() for axis in figure.axes[1:])
    np.testing.assert_array_equal(labels.filled(0), sample['mask'])
    assert (prediction == 3).all()
    plt.close(figure)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'labels__classes': {1: 'maize'}}, 'labels.classes=.* needs labels: give labels.paths'),
        ({'labels__per_frame': True}, 'labels.per_frame=True needs labels'),
        ({'labels__classes': {}, 'labels__paths': 'l.tif'}, r'classes=\{\} names no class'),
        (
            {'labels__classes': {1: 'a'}, 'labels__num_classes': 2, 'labels__paths': 'l.tif'},
            'leave labels.num_classes out',
        ),
    ],
)
def test_options_that_cannot_work_are_refused(series_folder, options, message):
    with pytest.raises(ValueError, match=message):
        module(series_folder, **options)


def test_padding_frames_are_not_labelled(tmp_path):
    # Two places with two and three dates, all of class 0.
    for place, days in ((600000, ('0101', '0201')), (700000, ('0101', '0201', '0301'))):
        for day in days:
            name = f's_{place}_2021{day}.tif'
            write(tmp_path / name, np.full((8, 8), 5, 'uint16'), origin=(place, 5000000))
        (tmp_path / 'labels').mkdir(exist_ok=True)
        values = np.zeros((8, 8), 'uint8')
        write(tmp_path / 'labels' / f'l_{place}_20201201.tif', values, origin=(place, 5000000))
    made = SITSDataModule(
        [str(path) for path in tmp_path.glob('*.tif')],
        **grouped(
            labels__paths=str(tmp_path / 'labels'),
            labels__per_frame=True,
            labels__supervised=True,
            labels__unlabelled=255,
            split__val_fraction=0.0,
            patches__size=8,
            batch_size=8,
            patches__length=8,
            images__mean=[0.0],
            images__std=[1.0],
        ),
    )
    made.setup('fit')
    batch = next(iter(made.train_dataloader()))
    assert set(batch['length'].tolist()) == {2, 3}
    padding = ~batch['valid']
    assert (batch['mask'][padding] == 255).all()
    assert (batch['mask'][~padding] == 0).all()


@pytest.mark.parametrize('fill', [-5, -9999, 9999, 10**6, 2**31, 2**31 - 1])
def test_a_fill_beside_classes_is_no_class(series_folder, tmp_path, fill):
    values = np.random.default_rng(2).choice([0, 1, 2, 3], (32, 40)).astype('int64')
    values[3, 3] = fill
    path = write(tmp_path / 'l.tif', values)
    made = module(series_folder, labels__paths=path, labels__supervised=True)
    with pytest.raises(SITSError, match=rf'hold the number {fill} beside \[1, 2, 3\]'):
        made.setup('fit')
    named = {1: 'a', 2: 'b', 3: 'c', fill: 'd'}
    made = module(series_folder, labels__paths=path, labels__classes=named)
    assert whole_mask(made)[3, 3] == 4
    if not 0 <= fill <= 65_535:
        made = module(
            series_folder, labels__paths=path, labels__supervised=True, labels__unlabelled=255
        )
        with pytest.raises(SITSError, match=rf'hold the label {fill}, but classes are'):
            _ = made.num_classes


def test_training_without_validation_has_no_loader_of_it(series_folder, tmp_path):
    values = np.random.default_rng(2).choice([0, 1, 2], (32, 40)).astype('uint8')
    options = {'labels__paths': write(tmp_path / 'l.tif', values), 'labels__supervised': True}
    made = module(series_folder, **options, split__val_fraction=0.0)
    made.trainer = SimpleNamespace(state=SimpleNamespace(fn='fit'))
    made.setup('fit')
    assert made.val_dataloader() == []
    made.trainer.state.fn = 'validate'
    for loader in (made.val_dataloader, made.test_dataloader):
        with pytest.raises(SITSError, match='nothing is held out'):
            loader()


@pytest.mark.parametrize(('mean', 'std'), [([np.nan], [1]), ([0], [0]), ([0], [-1]), ([1e38], [1])])
def test_statistics_that_do_not_normalise_are_refused(series_folder, mean, std):
    made = module(series_folder, images__mean=mean * 3, images__std=std * 3)
    with pytest.raises(SITSError, match='do not normalise'):
        made.setup('fit')
