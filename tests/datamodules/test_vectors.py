"""Polygons and points as labels of a data module: what rasters of the same fields give."""

import json
import warnings

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
from jsonargparse import ArgumentParser
from matplotlib import pyplot as plt
from rasterio.features import shapes
from scipy import ndimage
from shapely import MultiPolygon, Point, box
from shapely.geometry import shape

from torchgeo_sits.datamodules import SITSDataModule

from .grouped import grouped
from .one_band import write

CODES = {2130: 'cabbage', 9120: 'grass', 7900: 'legume', 1200: 'maize', 5100: 'potato'}


def module(paths, bands=3, **kwargs):
    options = {
        'patches__size': 8,
        'batch_size': 4,
        'patches__length': 8,
        'images__mean': [0.0] * bands,
        'images__std': [1.0] * bands,
    }
    return SITSDataModule(str(paths), **grouped(**options | kwargs))


def polygons(numbers, transform, crs):
    """The pixels of each number as one polygon or several, in the order of the numbers."""
    parts = {}
    for geometry, number in shapes(numbers.astype('int32'), numbers > 0, transform=transform):
        parts.setdefault(int(number), []).append(shape(geometry))
    made = {number: MultiPolygon(parts[number]) for number in sorted(parts)}
    return list(made), gpd.GeoSeries(list(made.values()), crs=crs)


@pytest.fixture
def farm(series_folder, tmp_path):
    """Twenty fields of 7 x 7 pixels on the series, as rasters and as polygons of three crops."""
    row, column = np.mgrid[:32, :40]
    number = (row // 8 * 5 + column // 8 + 1).astype('uint16')
    number[(row % 8 == 7) | (column % 8 == 7)] = 0
    crop = np.random.default_rng(3).integers(1, 4, 21)
    crop[0] = 0
    codes = crop[number].astype('uint8')
    rasters = {
        'labels__paths': write(tmp_path / 'labels.tif', codes, nodata=0),
        'labels__field_paths': write(tmp_path / 'fields.tif', number, nodata=0),
        'labels__classes': {1: 'hop', 2: 'oat', 3: 'rye'},
    }
    with rasterio.open(rasters['labels__paths']) as file:
        numbers, geometry = polygons(number, file.transform, file.crs)
    moisture = np.random.default_rng(4).uniform(20, 90, 20).round(2)
    frame = gpd.GeoDataFrame(
        {
            'crop': [rasters['labels__classes'][crop[n]] for n in numbers],
            'moisture': moisture,
        },
        geometry=geometry,
    ).to_crs(4326)
    # The order of features in the file changes nothing.
    frame.sample(frac=1, random_state=1).to_file(tmp_path / 'fields.gpkg')
    return rasters, str(tmp_path / 'fields.gpkg'), number, moisture


def compare(made, other, stage='fit'):
    """Hold two data modules against each other, split by split and batch by batch."""
    assert made.class_names == other.class_names
    assert made.num_classes == other.num_classes
    for one in (made, other):
        torch.manual_seed(0)
        one.setup(stage)
    parts = [
        (part.labelled, part.labelled_train, part.labelled_val)
        for part in (made.splits, other.splits)
    ]
    for own, theirs in zip(*parts, strict=True):
        assert torch.equal(own[:, :, ::50]['mask'], theirs[:, :, ::50]['mask'])
    for own, theirs in zip(made.train_dataloader(), other.train_dataloader(), strict=True):
        assert own.keys() == theirs.keys()
        for key in own:
            assert torch.equal(own[key], theirs[key]), key


@pytest.mark.parametrize(
    'options',
    [
        {'labels__supervised': True, 'split__by': 'fields', 'labels__fields_per_class': 2},
        {'labels__target': 'field', 'split__by': 'fields', 'num_workers': 1},
        {'labels__supervised': True, 'labels__fraction': 0.5, 'labels__min_field_pixels': 40},
    ],
    ids=['few fields', 'a sample per field', 'space'],
)
def test_polygons_give_what_rasters_of_their_fields_give(series_folder, farm, options):
    rasters, vectors, *_ = farm
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        made = module(series_folder, labels__paths=vectors, labels__column='crop', **options)
        compare(made, module(series_folder, **rasters, **options))


def test_real_polygons_give_what_rasters_give(shared_data, tmp_path):
    """Connected components as polygons in degrees, with names for codes."""
    path = shared_data / 'wc_be_a' / 'labels' / 'wc_be_a_CT_aligned_core.tif'
    with rasterio.open(path) as file:
        codes, transform, crs = file.read(1), file.transform, file.crs
    numbers, crops = np.zeros(codes.shape, int), ['']
    for code, name in CODES.items():
        components, count = ndimage.label(codes == code)
        numbers[components > 0] = components[components > 0] + len(crops) - 1
        crops += [name] * count
    found, geometry = polygons(numbers, transform, crs)
    frame = gpd.GeoDataFrame({'crop': [crops[n] for n in found]}, geometry=geometry)
    frame.to_crs(4326).to_file(tmp_path / 'fields.gpkg')
    options = {
        'labels__supervised': True,
        'labels__fields_per_class': 1,
        'split__by': 'fields',
        'patches__num_dates': 3,
        'bands': 10,
    }
    images = shared_data / 'wc_be_a' / 's2'
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        compare(
            module(
                images,
                labels__paths=str(tmp_path / 'fields.gpkg'),
                labels__column='crop',
                **options,
            ),
            module(images, labels__paths=str(path), labels__classes=CODES, **options),
        )


def test_without_options_polygons_are_fields_and_serve_the_probe(series_folder, farm):
    _, vectors, number, _ = farm
    options = {'labels__column': 'crop', 'split__by': 'fields'}
    made = module(series_folder, labels__paths=vectors, **options)
    made.setup('fit')
    assert made.class_names == ['unlabelled', 'hop', 'oat', 'rye']
    train, val = (part[:, :]['mask'].numpy() for part in (
        made.splits.labelled_train, made.splits.labelled_val
    ))  # fmt: skip
    kept = [set(np.flatnonzero(own) + 1) for own in made.splits.kept[:2]]
    assert not kept[0] & kept[1]
    assert kept[0] | kept[1] == set(range(1, 21))
    np.testing.assert_array_equal(train > 0, np.isin(number, list(kept[0])))
    np.testing.assert_array_equal(val > 0, np.isin(number, list(kept[1])))
    bank, query = made.probe_dataloaders()
    assert sum(int((batch['mask'] > 0).sum()) for batch in query) == (val > 0).sum()
    assert len(bank)


def test_values_are_targets_of_pixels_and_of_fields(series_folder, farm):
    _, vectors, number, moisture = farm
    options = {'labels__kind': 'value', 'labels__column': 'moisture', 'split__by': 'fields'}
    made = module(series_folder, labels__paths=vectors, labels__supervised=True, **options)
    made.setup('fit')
    assert made.num_classes is made.class_names is made.probe_dataloaders() is None
    expected = np.append(np.nan, moisture).astype('float32')[number]
    kept = [np.append(False, own)[number] for own in made.splits.kept[:2]]
    assert (kept[0] | kept[1]).sum() == (number > 0).sum()
    for part, own in zip((made.splits.labelled_train, made.splits.labelled_val), kept, strict=True):
        mask = part[:, :]['mask']
        assert mask.dtype == torch.float32
        np.testing.assert_array_equal(mask.numpy(), np.where(own, expected, np.nan))
    batch = next(iter(made.train_dataloader()))
    turned = made.train_aug(dict(batch))['mask']
    assert turned.dtype == torch.float32
    for own, before in zip(turned, batch['mask'], strict=True):
        torch.testing.assert_close(
            own.flatten().sort()[0], before.flatten().sort()[0], rtol=0, atol=0, equal_nan=True
        )
    sample = {key: value[0] for key, value in batch.items()}
    figure = made.plot({**sample, 'prediction': torch.full((8, 8), 50.5)})
    shown = figure.axes[1].images[0].get_array()
    np.testing.assert_array_equal(np.asarray(shown.filled(np.nan)), sample['mask'])
    plt.close(figure)
    made = module(series_folder, labels__paths=vectors, labels__target='field', **options)
    for stage in ('fit', 'predict'):
        made.setup(stage)
    found = torch.cat([batch['label'] for batch in made.predict_dataloader()])
    assert found.dtype == torch.float32
    # In the order of the first pixels.
    np.testing.assert_array_equal(found.numpy(), moisture.astype('float32'))


def test_rasters_of_values_need_numbers_of_fields(series_folder, tmp_path):
    values = np.linspace(-5, 5, 32 * 40, dtype='float32').reshape(32, 40)
    values[0], values[1] = np.nan, -9999
    number = np.repeat(np.arange(1, 9), 4)[:, None].repeat(40, 1).astype('uint8')
    path = write(tmp_path / 'v.tif', values, nodata=-9999)
    made = module(series_folder, labels__paths=path, labels__kind='value')
    made.setup('fit')
    mask = made.splits.labelled[:, :]['mask'].numpy()
    values[:2] = np.nan
    np.testing.assert_array_equal(mask, values)
    options = {'labels__paths': path, 'labels__kind': 'value', 'labels__target': 'field'}
    with pytest.raises(ValueError, match=r'do not tell fields apart: give .*labels\.field_paths'):
        module(series_folder, **options).setup('fit')
    fields = write(tmp_path / 'f.tif', number)
    made = module(series_folder, **options, labels__field_paths=fields, split__val_fraction=0.0)
    made.setup('fit')
    means = [np.nanmean(values[number == n]) for n in range(1, 9)]
    np.testing.assert_allclose(made.splits.fields.labels, means, rtol=1e-6)


def test_points_are_fields_of_a_pixel(series_folder, tmp_path):
    places = [(3, 4), (3, 30), (20, 10), (25, 33)]
    text = ['x,y,crop']
    text += [
        f'{600005 + 10 * c},{4999995 - 10 * r},{"oat" if r == 3 else "rye"}' for r, c in places
    ]
    (tmp_path / 'points.csv').write_text('\n'.join(text))
    made = module(
        series_folder,
        labels__paths=str(tmp_path / 'points.csv'),
        labels__column='crop',
        labels__crs='EPSG:32631',
        labels__target='field',
        split__by='fields',
    )
    for stage in ('fit', 'predict'):
        made.setup(stage)
    assert np.argwhere(made.splits.labelled[:, :]['mask'].numpy()).tolist() == [
        list(p) for p in places
    ]
    for batch in made.predict_dataloader():
        assert (batch['mask_clear'].flatten(2).sum(2) == 1).all()
        assert batch['label'].tolist() == [0, 0, 1, 1]


def test_few_polygons_of_large_images_take_little(series_folder, tmp_path):
    path = tmp_path / 'one.gpkg'
    frame = gpd.GeoDataFrame(
        {'crop': ['rye']}, geometry=[box(600100, 4999900, 600140, 4999930)], crs='EPSG:32631'
    )
    frame.to_file(path)
    made = module(series_folder, labels__paths=str(path), labels__column='crop', split__by='space')
    with pytest.warns(UserWarning, match=r"no labelled field lies .* \(split.by='fields'\)"):
        made.setup('fit')
    (area,) = made.splits.fields.areas
    assert area.numbers.shape == (3, 4)
    assert (area.left, area.top) == (600100, 4999930)


def test_classes_of_text_come_from_the_command_line(farm, series_folder):
    parser = ArgumentParser()
    parser.add_class_arguments(SITSDataModule, 'data')
    given = json.dumps({'rye': 'Roggen', 'oat': 'Hafer'})
    args = ['--data.labels.classes', given, '--data.labels.column', 'crop']
    args += [
        '--data.patches.size',
        '8',
        '--data.paths',
        str(series_folder),
        '--data.labels.paths',
        farm[1],
    ]
    made = parser.instantiate_classes(parser.parse_args(args)).data
    with pytest.warns(UserWarning, match=r"the values \['hop'\], which classes does not list"):
        assert made.splits.labelled is not None
    assert made.class_names == ['unlabelled', 'Roggen', 'Hafer']


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'labels__per_frame': True}, r'labels.per_frame=True cannot be given, .* are vectors'),
        ({'labels__field_paths': 'f.tif'}, 'features are the fields .* leave it out'),
        ({'labels__paths': 'FOLDER'}, r'hold rasters .*fields\.tif.* and vector files'),
        ({'labels__paths': 'RASTER'}, r"labels.column='crop' cannot be given, .* are rasters"),
        ({'labels__paths': 'notes.txt'}, r'is no raster \(.*\) and no vector file or table'),
        ({'labels__shrink': -1.0}, 'labels.shrink must be at least 0 metres'),
        ({'labels__kind': 'value', 'labels__fields_per_class': 2}, 'of classes, .*labels.fraction'),
        ({'labels__kind': 'value', 'labels__unlabelled': 255}, 'of classes, but labels.kind=value'),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    series_folder, farm, tmp_path, monkeypatch, options, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'notes.txt').write_text('crop')
    known = {'FOLDER': str(tmp_path), 'RASTER': farm[0]['labels__paths']}
    given = {'labels__paths': farm[1], 'labels__column': 'crop', **options}
    given['labels__paths'] = known.get(given['labels__paths'], given['labels__paths'])
    with pytest.raises(ValueError, match=message):
        module(series_folder, **given).setup('fit')


def test_a_folder_of_vector_files_is_read(series_folder, tmp_path):
    folder = tmp_path / 'labels'
    folder.mkdir()
    for i, crop in enumerate(('oat', 'rye')):
        shapes_ = [Point(600105, 4999895 - 100 * i).buffer(21)]
        gpd.GeoDataFrame({'crop': [crop]}, geometry=shapes_, crs='EPSG:32631').to_file(
            folder / f'{crop}.gpkg'
        )
    (folder / 'legend.csv').write_text('crop,name\noat,Hafer\n')
    made = module(series_folder, labels__paths=str(folder), labels__column='crop')
    mask = made.splits.labelled[:, :]['mask']
    assert torch.bincount(mask.flatten())[1:].tolist() == [13, 13]
