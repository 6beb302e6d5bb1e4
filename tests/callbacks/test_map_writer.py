"""Maps of a task from a folder of dated rasters."""

import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from rasterio.features import sieve
from shapely import box

from torchgeo_sits.callbacks import MapWriter, map_writer
from torchgeo_sits.commands.training import on_own_data
from torchgeo_sits.datamodules import ImageOptions, SITSDataModule, SyntheticSITSDataModule
from torchgeo_sits.main import main
from torchgeo_sits.mapping import MapRun
from torchgeo_sits.models import build_encoder
from torchgeo_sits.tasks import (
    SITSDINO,
    SITSChangeDate,
    SITSChangeDetection,
    SITSChangeSeries,
    SITSClassification,
    SITSSegmentation,
)

from ..processes import run_in_two

#: What a segmentation writes.
LEGEND = ('class.tif.aux.xml', 'class.tif.vat.dbf', 'class.tif.vat.cpg', 'class.qml')
FILES = ('class.tif', *LEGEND, 'probabilities.tif', 'certainty.tif')


def data_of(folder, **options):
    images = ImageOptions(mean=[1500.0] * 3, std=[800.0] * 3, **options)
    return SITSDataModule(str(folder), images=images)


def segmentation(**options):
    seed_everything(0, verbose=False)
    return SITSSegmentation(model='tempcnn', in_channels=3, num_classes=4, **options)


def predict(task, data, folder, *, window=16, overlap=6, writer=None, **options):
    trainer = Trainer(
        accelerator='cpu',
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[MapWriter(str(folder), window=window, overlap=overlap, **(writer or {}))],
        **options,
    )
    return trainer.predict(task, datamodule=data)


def read(path):
    with rasterio.open(path) as file:
        return file.read()


def forward(task, data):
    """The whole raster in one pass."""
    series = data.splits.series
    xmin, ymin, xmax, ymax = series.index.total_bounds
    sample = series[xmin:xmax, ymin:ymax]
    batch = data.aug({k: v[None] for k, v in sample.items()})
    with torch.no_grad():
        return task.eval().predict_step(batch, 0)


@pytest.fixture
def holed(series_folder, tmp_path):
    """The series, with a corner that was never observed."""
    folder = shutil.copytree(series_folder, tmp_path / 'holed')
    for path in folder.iterdir():
        with rasterio.open(path, 'r+') as file:
            pixels = file.read()
            pixels[:, 20:, :10] = 0
            file.write(pixels)
    return folder


def test_windows_joined_are_one_pass_over_the_whole(holed, tmp_path):
    task, data = segmentation(), data_of(holed)
    predict(task, data, tmp_path / 'maps')
    whole = forward(task, data)[0].numpy()
    pixels, classes = (read(tmp_path / 'maps' / f'{n}.tif') for n in ('probabilities', 'class'))
    hole = np.zeros((32, 40), bool)
    hole[20:, :10] = True
    assert np.isnan(pixels[:, hole]).all()
    assert (classes[0][hole] == 255).all()
    # Class 0 is what is not labelled, which is never predicted.
    np.testing.assert_allclose(pixels[:, ~hole], whole[1:, ~hole], atol=1e-6)
    first, second = np.sort(whole[:, ~hole], 0)[:-3:-1]
    certainty = read(tmp_path / 'maps/certainty.tif')[0]
    np.testing.assert_allclose(certainty[~hole], first - second, atol=1e-6)
    assert np.isnan(certainty[hole]).all()
    np.testing.assert_array_equal(classes[0][~hole], whole.argmax(0)[~hole])
    source = next(iter(sorted(holed.iterdir())))
    with rasterio.open(source) as a, rasterio.open(tmp_path / 'maps/class.tif') as b:
        assert (a.bounds, a.shape, a.crs, a.transform) == (b.bounds, b.shape, b.crs, b.transform)
        assert b.tags()['DATES'].split(',')[0] == '2021-01-15'


def test_nothing_is_kept_in_memory(series_folder, tmp_path):
    assert not predict(segmentation(), data_of(series_folder), tmp_path / 'maps')


def test_a_part_of_the_windows_is_kept_and_the_rest_follows(series_folder, tmp_path, capsys):
    predict(segmentation(), data_of(series_folder), tmp_path / 'maps', limit_predict_batches=2)
    assert 'windows are left' in capsys.readouterr().out
    assert not list((tmp_path / 'maps').glob('*.tif'))
    predict(segmentation(), data_of(series_folder), tmp_path / 'maps')
    predict(segmentation(), data_of(series_folder), tmp_path / 'once')
    for name in FILES:
        assert (tmp_path / 'once' / name).read_bytes() == (tmp_path / 'maps' / name).read_bytes()


@pytest.mark.parametrize('change', ['min_clear', 'masks'])
def test_windows_of_other_pixels_are_not_joined(series_folder, tmp_path, change):
    """With other clouds, half of a map would else be of one mask and half of the other."""
    clouds = tmp_path / 'clouds'
    clouds.mkdir()
    for path in series_folder.iterdir():
        with rasterio.open(path) as file:
            profile = {**file.profile, 'count': 1, 'dtype': 'uint8', 'nodata': None}
        with rasterio.open(clouds / path.name, 'w', **profile) as file:
            file.write(np.ones((1, 32, 40), np.uint8))
    options = {'cloud_paths': str(clouds), 'clear_values': [1]}
    predict(
        segmentation(), data_of(series_folder, **options), tmp_path / 'maps',
        limit_predict_batches=2,
    )  # fmt: skip
    if change == 'min_clear':
        options['min_clear'] = 0.5
    else:
        with rasterio.open(min(clouds.iterdir()), 'r+') as file:
            file.write(np.zeros((1, 32, 40), np.uint8))
    with pytest.raises(ValueError, match='begun with another'):
        predict(segmentation(), data_of(series_folder, **options), tmp_path / 'maps')


def test_embeddings_are_those_of_the_encoder(series_folder, tmp_path):
    seed_everything(0, verbose=False)
    task = SITSDINO(model='tempcnn', in_channels=3, num_prototypes=16)
    data = data_of(series_folder)
    predict(task, data, tmp_path / 'maps')
    whole = forward(task, data)['embedding'][0].numpy()
    np.testing.assert_allclose(read(tmp_path / 'maps/embedding.tif'), whole, atol=1e-5)


@pytest.mark.parametrize(
    ('kind', 'names'),
    [
        (SITSChangeDetection, {'change', 'change_probability'}),
        (SITSChangeDate, {'change', 'change_date', 'change_probability'}),
    ],
)
def test_change_has_its_maps(series_folder, tmp_path, kind, names):
    seed_everything(0, verbose=False)
    task = kind(model='tempcnn', in_channels=3, num_classes=2)
    data = data_of(series_folder)
    predict(task, data, tmp_path / 'maps')
    assert {path.stem for path in (tmp_path / 'maps').glob('*.tif')} == names
    found = forward(task, data)
    if kind is SITSChangeDetection:
        expected = (found[0, 0].numpy() > 0.5).astype(np.uint8)
        np.testing.assert_array_equal(read(tmp_path / 'maps/change.tif')[0], expected)
    else:
        expected = found['date'][0].numpy()
        np.testing.assert_array_equal(read(tmp_path / 'maps/change_date.tif')[0], expected)


def test_a_run_that_lost_a_source_file_goes_on_when_it_is_back(series_folder, tmp_path):
    folder = shutil.copytree(series_folder, tmp_path / 'series')
    once = tmp_path / 'once'
    predict(segmentation(), data_of(folder), once)
    lost = sorted(folder.iterdir())[3]

    class Lose(MapWriter):
        def on_predict_batch_end(self, *args, **kwargs):
            super().on_predict_batch_end(*args, **kwargs)
            if len(self._run.store.finished()) >= 3:
                lost.rename(tmp_path / lost.name)

    trainer = Trainer(
        accelerator='cpu', logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[Lose(str(tmp_path / 'maps'), window=16, overlap=6)],
    )  # fmt: skip
    with pytest.raises(Exception, match=lost.name):
        trainer.predict(segmentation(), datamodule=data_of(folder))
    kept = len(list((tmp_path / 'maps/.windows').glob('*.npy')))
    assert kept >= 3
    (tmp_path / lost.name).rename(lost)
    predict(segmentation(), data_of(folder), tmp_path / 'maps')
    for name in FILES:
        assert (once / name).read_bytes() == (tmp_path / 'maps' / name).read_bytes()


def test_two_processes_give_the_map_of_one(series_folder, tmp_path):
    predict(segmentation(), data_of(series_folder), tmp_path / 'one')
    run_in_two(predict_in_two, series_folder, tmp_path / 'two', folder=tmp_path)
    for name in FILES:
        assert (tmp_path / 'one' / name).read_bytes() == (tmp_path / 'two' / name).read_bytes()


def predict_in_two(series, folder):
    """What each of two processes does."""
    predict(segmentation(), data_of(series), folder, devices=2, strategy='ddp')


def test_other_weights_are_another_map(series_folder, tmp_path):
    predict(segmentation(), data_of(series_folder), tmp_path / 'maps')
    other = segmentation()
    with torch.no_grad():
        next(other.head.parameters()).add_(1)
    with pytest.raises(ValueError, match='another run'):
        predict(other, data_of(series_folder), tmp_path / 'maps')


@pytest.mark.parametrize(
    ('task', 'match'),
    [
        (lambda: SITSClassification(model='tempcnn', in_channels=3, num_classes=2), 'no map'),
        (
            lambda: SITSChangeSeries(model='tempcnn', in_channels=3, num_classes=2),
            'a map for each date',
        ),
    ],
)
def test_tasks_without_a_map_say_so(series_folder, tmp_path, task, match):
    with pytest.raises(ValueError, match=match):
        predict(task(), data_of(series_folder), tmp_path / 'maps')


def test_folder_alone_is_mapped_without_labels():
    args = ['--config', 'x.yaml', '--data.paths', 'DIR', '--map.window', '64']
    found = on_own_data(args)
    assert found == [
        '--config', 'x.yaml', '--data', 'SITSDataModule', '--data.paths', 'DIR',
        '--map.window', '64', '--data.labels.supervised=false',
    ]  # fmt: skip
    assert on_own_data(found) == found


def test_own_data_module_is_left_as_it_is():
    args = ['--data', 'Own', '--data.paths', 'DIR', '--data.labels.paths', 'L']
    assert on_own_data(args) == args


def test_map_of_ones_own_is_written_beside_those_of_the_task(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = ['--config', 'conf/segmentation.yaml', '--trainer.accelerator=cpu']
    args += ['--data.root=data', '--data.size=64', '--data.num_dates_written=8']
    args += ['--model.model=tempcnn']
    quick = ['--trainer.max_steps=1', '--trainer.limit_val_batches=0', '--data.batch_size=2']
    main(['fit', *args, *quick])
    [checkpoint] = Path('logs/segmentation').rglob('*.ckpt')
    args += ['--ckpt_path', str(checkpoint), '--map.folder=out', '--map.overlap=8']
    main(['predict', *args, '--map.outputs', 'tests.recipes.entropy_map.Entropy'])
    assert {path.name for path in Path('out').iterdir()} == {*FILES, 'entropy.tif'}
    probabilities = read('out/probabilities.tif').astype(float)
    # A probability of 0 adds nothing.
    logarithms = np.log(np.where(probabilities == 0, 1, probabilities))
    expected = -(probabilities * logarithms).sum(0)
    np.testing.assert_allclose(read('out/entropy.tif')[0], expected, atol=1e-5)
    with rasterio.open('out/entropy.tif') as file:
        assert file.descriptions == ('entropy in nats',)
        assert np.isnan(file.nodata)


def test_options_of_the_maps_are_in_the_help(capsys):
    main(['predict', '--help'])
    shown = capsys.readouterr().out
    for name in ('folder', 'values', 'min_area', 'vectors', 'quantise', 'outputs'):
        assert f'--map.{name}' in shown


def test_simulated_series_has_a_map_too(tmp_path):
    seed_everything(0, verbose=False)
    data = SyntheticSITSDataModule(str(tmp_path / 'data'), size=96)
    task = SITSSegmentation(model='tempcnn', in_channels=10)
    predict(task, data, tmp_path / 'maps', window=96, overlap=0)
    assert read(tmp_path / 'maps/class.tif').shape == (1, 96, 96)


def test_table_of_polygons_follows_its_maps(series_folder, tmp_path, monkeypatch):
    fields = gpd.GeoDataFrame(
        {'fid': ['x', 'x']},  # no number of rows, though some call it that
        geometry=[box(600000, 4999840, 600100, 5000000), box(600105, 4999700, 600300, 4999900)],
        crs=32631,
    )
    fields.to_crs(4326).to_parquet(tmp_path / 'fields.parquet')
    options = {'polygons': str(tmp_path / 'fields.parquet')}
    predict(segmentation(), data_of(series_folder), tmp_path / 'maps')
    # Asked for later, it is made of the maps that are there.
    monkeypatch.setattr(MapRun, 'keep', None)
    predict(segmentation(), data_of(series_folder), tmp_path / 'maps', writer=options)
    table = gpd.read_file(tmp_path / 'maps/fields.gpkg')
    assert table['fid'].tolist() == ['x', 'x']
    classes = read(tmp_path / 'maps/class.tif')[0]
    found = [(classes[:16, :10] == k).mean() for k in range(1, 4)]
    shares = [table[f'class_share_class {k}'][0] for k in range(1, 4)]
    assert 'class_share_class 0' not in table
    np.testing.assert_allclose(shares, found, atol=2e-3)
    with pytest.raises(ValueError, match=r'fields\.gpkg is another file of this run'):
        predict(
            segmentation(), data_of(series_folder), tmp_path / 'maps',
            writer={'polygons': str(tmp_path / 'maps/fields.gpkg')},
        )  # fmt: skip


CODES = [None, 1110, 1200, 2130]


@pytest.mark.parametrize('values', ['codes', 'classes'])
def test_classes_are_the_codes_of_the_labels_or_their_numbers(series_folder, tmp_path, values):
    named = {'labels': ['unlabelled', 'wheat', 'maize', 'cabbage'], 'codes': CODES}
    task, data = segmentation(**named, colors=[None, None, 'gold', None]), data_of(series_folder)
    writer = {'values': values, 'vectors': 'gpkg'}
    predict(task, data, tmp_path / 'maps', writer=writer)
    chosen = forward(task, data)[0].numpy()[1:].argmax(0)
    expected = np.array([1110, 1200, 2130] if values == 'codes' else [1, 2, 3])
    with rasterio.open(tmp_path / 'maps/class.tif') as file:
        np.testing.assert_array_equal(file.read(1), expected[chosen])
        assert (file.dtypes[0], file.nodata) == (
            ('uint16', 65535) if values == 'codes' else ('uint8', 255)
        )
        assert file.tags()[f'CLASS_{expected[1]}'] == 'maize'
        if values == 'classes':
            assert file.colormap(1)[2] == (255, 215, 0, 255)
    with rasterio.open(tmp_path / 'maps/probabilities.tif') as file:
        assert file.descriptions == tuple(
            f'probability of {name}' for name in ('wheat', 'maize', 'cabbage')
        )
    table = gpd.read_file(tmp_path / 'maps/class.gpkg')
    assert set(zip(table['class'], table['code'], table['name'], strict=True)) <= {
        (1, 1110, 'wheat'), (2, 1200, 'maize'), (3, 2130, 'cabbage')
    }  # fmt: skip
    sizes = table.area.to_numpy() / 100
    # Of each pixel the largest probability is that of its polygon's class.
    best = forward(task, data)[0].numpy().max(0)
    np.testing.assert_allclose((table['probability'] * sizes).sum(), best.sum(), rtol=1e-5)
    np.testing.assert_allclose(table['area'], sizes * 100)


def test_checkpoints_keep_codes_and_colours_of_the_labels(series_folder, tmp_path, monkeypatch):
    """With two classes of which one has the colour of the label raster, one that of the user."""
    source = min(series_folder.iterdir())
    with rasterio.open(source) as file:
        profile = {**file.profile, 'count': 1, 'dtype': 'uint8', 'nodata': 0, 'driver': 'GTiff'}
    labels = np.zeros((1, 32, 40), np.uint8)
    labels[:, :, :20], labels[:, :, 20:] = 11, 7
    with rasterio.open(tmp_path / 'labels.tif', 'w', **profile) as file:
        file.write(labels)
        file.write_colormap(1, {7: (1, 2, 3, 255), 11: (9, 9, 9, 255)})
    monkeypatch.chdir(tmp_path)
    args = ['--config', 'conf/segmentation.yaml', '--trainer.accelerator=cpu']
    args += ['--data', 'SITSDataModule', f'--data.paths={series_folder}', '--data.patches.size=8']
    fit = ['--data.labels.paths=labels.tif', '--data.labels.supervised=true', '--data.seed=1']
    fit += ['--data.labels.classes={11: wheat, 7: maize}', '--data.labels.colors={wheat: gold}']
    fit += ['--data.patches.length=4', '--data.batch_size=4', '--model.model=tempcnn']
    main(['fit', *args, *fit, '--trainer.max_steps=1', '--trainer.limit_val_batches=0'])
    [path] = Path('logs/segmentation').rglob('*.ckpt')
    card = torch.load(path, weights_only=True)['sits']
    assert card['class_codes'] == [None, 11, 7]
    assert card['class_colors'] == [None, 'gold', '#010203']
    main(['predict', *args, '--ckpt_path', str(path)])
    with rasterio.open('maps/class.tif') as file:
        assert set(np.unique(file.read())) <= {7, 11}
        assert file.colormap(1)[11] == (255, 215, 0, 255)
        assert file.colormap(1)[7] == (1, 2, 3, 255)
        assert file.tags()['CHECKPOINT'] == path.name


def test_small_patches_join_their_largest_neighbour(series_folder, tmp_path):
    task, data = segmentation(), data_of(series_folder)
    predict(task, data, tmp_path / 'begun', limit_predict_batches=1)
    with torch.no_grad():  # no class is more likely than others by itself
        *_, bias = task.head.parameters()
        bias[1:] -= forward(task, data)[0, 1:].log().mean((1, 2))
    raw = forward(task, data)[0, 1:].argmax(0).numpy().astype(np.uint8) + 1
    predict(task, data, tmp_path / 'maps', writer={'min_area': 850.0})
    expected = sieve(raw, 9)  # pixels of 100 square metres
    assert (expected != raw).mean() > 0.05
    found = read(tmp_path / 'maps/class.tif')[0]
    np.testing.assert_array_equal(found, sieve(expected, 9))
    with pytest.raises(ValueError, match='another run'):
        predict(task, data, tmp_path / 'maps')


@pytest.mark.parametrize(
    ('writer', 'match'),
    [
        ({'min_area': -1.0}, 'map.min_area must be at least 0 square metres, got -1'),
        ({'min_area': float('nan')}, 'map.min_area must be at least 0'),
        ({'values': 'names'}, "expected map.values 'codes' or 'classes', got 'names'"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path, writer, match):
    with pytest.raises(ValueError, match=match):
        MapWriter(str(tmp_path), **writer)


@pytest.mark.parametrize(
    ('name', 'options', 'alone'),
    [
        ('planar_vit_tiny', {'depth': 0}, True),
        ('planar_vit_tiny', {'depth': 1}, False),
        ('planar_vit_tiny', {'depth': 0, 'segment': 2}, False),
        # It takes the place of a window, so that a hard edge would show between two.
        ('presto', {'bands': ['B08', 'B8A']}, False),
    ],
)
def test_windows_do_without_overlap_where_pixels_stand_alone(name, options, alone):
    task = LightningModule()
    task.encoder = build_encoder(name, 2, **options)
    assert map_writer._sees_pixels_alone(task) is alone
    task.head = torch.nn.Conv2d(4, 2, 3)  # which sees neighbours
    assert not map_writer._sees_pixels_alone(task)
