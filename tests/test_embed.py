"""Maps of embeddings for a region and a year, from the command line."""

from datetime import date

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
import xarray as xr
from lightning.pytorch import Trainer, seed_everything
from rasterio.warp import transform
from shapely.geometry import box

from torchgeo_sits.commands.embed import cut_series
from torchgeo_sits.datamodules import PatchOptions, SITSDataModule
from torchgeo_sits.datasets import RasterTimeSeries
from torchgeo_sits.errors import SITSError
from torchgeo_sits.keys import Series
from torchgeo_sits.main import main
from torchgeo_sits.models import load_encoder
from torchgeo_sits.tasks import SITSDINO, SITSMAE
from torchgeo_sits.time_steps import DaySpan


def pretrain(task, series_folder, path):
    """Train a task for a step and save it."""
    data = SITSDataModule(str(series_folder), patches=PatchOptions(16), batch_size=4)
    trainer = Trainer(
        accelerator='cpu', max_steps=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(task, datamodule=data)
    trainer.save_checkpoint(path)
    return path


@pytest.fixture(scope='module')
def checkpoint(series_folder, tmp_path_factory):
    """An encoder that sees the dates of a pixel."""
    seed_everything(0, verbose=False)
    task = SITSDINO(
        model='tempcnn', model_kwargs={'hidden_dim': 8}, num_prototypes=16,
        views_kwargs={'num_paths': 2, 'length': 8},
    )  # fmt: skip
    return pretrain(task, series_folder, tmp_path_factory.mktemp('checkpoint') / 'X.ckpt')


def test_region_is_embedded_as_by_the_encoder(series_folder, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # A region off the grid is moved outwards to whole pixels.
    main(
        [
            'embed',
            str(checkpoint),
            str(series_folder),
            '--bounds',
            '[600103,4999805,600295,4999950]',
        ]
    )
    with rasterio.open(tmp_path / 'maps/embedding.tif') as file:
        assert file.tags()['CHECKPOINT'] == 'X.ckpt'
        found, bounds = file.read(), file.bounds
    assert tuple(bounds) == (600100, 4999800, 600300, 4999950)
    encoder, _ = load_encoder(checkpoint)  # takes values as they are read
    sample = RasterTimeSeries(series_folder)[600100:600300, 4999800:4999950]
    with torch.no_grad():
        whole = encoder.features(
            Series(
                sample['image'][None],
                sample['acquisition_times'][None],
                sample['valid'][None],
                sample['mask_clear'][None],
            ),
        )
    np.testing.assert_allclose(found, whole[0].numpy(), atol=1e-4)


def test_checkpoint_of_other_bands_is_refused(
    series_folder, checkpoint, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(
            ['embed', str(checkpoint), str(series_folder), '--bands', '[B1,B2]'],
        )
    error = capsys.readouterr().err
    assert 'trained on 3 bands' in error
    assert 'X.ckpt' in error


def test_a_year_leaves_its_images(series_folder):
    series = RasterTimeSeries(series_folder)
    cut_series(series, days=DaySpan(date(2021, 1, 1), date(2021, 12, 31)))
    assert len(series.index) == 8
    with pytest.raises(ValueError, match=r'no image from 1999-01-01 to 1999-12-31.*2021-'):
        cut_series(series, days=DaySpan(date(1999, 1, 1), date(1999, 12, 31)))


def test_a_region_elsewhere_is_refused(series_folder):
    with pytest.raises(ValueError, match='no image'):
        cut_series(RasterTimeSeries(series_folder), bounds=(0, 0, 10, 10))


def read(path):
    with rasterio.open(path) as file:
        return file.read(), file.tags()


def features_of(checkpoint, folder, start, stop):
    """Features ``(D, H, W)`` of the days from *start* to *stop*, without any command."""
    encoder, _ = load_encoder(checkpoint)
    series = RasterTimeSeries(folder)
    x, y, _ = series.bounds
    sample = series[x, y, pd.Timestamp(start) : pd.Timestamp(stop) + pd.Timedelta(days=1)]
    keys = 'image', 'acquisition_times', 'valid', 'mask_clear'
    with torch.no_grad():
        found = encoder.features(Series(*(sample[key][None] for key in keys)))[0]
    return found.numpy(), sample['mask_clear'].any(0).numpy()


def test_steps_are_as_their_days_alone(series_folder, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Two places of one name, one off the images, one without coordinates.
    x, y = [600055, 600315, 700000], [4999945, 4999855, 4999855]
    lon, lat = transform('EPSG:32631', 'EPSG:4326', x, y)
    rows = [f'a,{lon[0]},{lat[0]}', f'a,{lon[1]},{lat[1]}', f'b,{lon[2]},{lat[2]}', 'c,,']
    (tmp_path / 'points.csv').write_text('\n'.join(['id,lon,lat', *rows]))
    given = ['embed', str(checkpoint), str(series_folder), '--stop', '2021-06-30', '--every', '2M']
    with pytest.warns(UserWarning, match='2 of 4 polygons have no value'):
        main([*given, '--map.stack', 'true', '--at', 'points.csv'])
    days = ['2021-02-28', '2021-04-30', '2021-06-30']
    maps = [read(tmp_path / f'maps/embedding_{day}.tif') for day in days]
    for day, (found, tags) in zip(days, maps, strict=True):
        alone, _ = features_of(checkpoint, series_folder, '2021-01-01', day)
        np.testing.assert_allclose(found, alone, atol=1e-4)
        assert (tags['LAST_DAY'], tags['DATES'][-10:]) == (day, f'{day[:7]}-15')
    with xr.open_zarr('maps/embedding.zarr') as store:
        assert store.time.dt.strftime('%Y-%m-%d').values.tolist() == days
        np.testing.assert_array_equal(store.embedding[1], maps[1][0])
        assert (float(store.x[0]), float(store.y[0])) == (600005, 4999995)
    table = gpd.read_parquet('maps/points.parquet')
    assert table['id'].tolist() == [*'aaaaaa', *'bbbccc']
    assert table['time'].dt.strftime('%Y-%m-%d').tolist() == days * 4
    assert table['pixels'].tolist() == [1] * 6 + [0] * 6
    assert table['embedding_0'][6:].isna().all()
    columns = [name for name in table if name.startswith('embedding_')]
    for row in range(6):
        r, c = [(5, 5), (14, 31)][row // 3]
        pixel = maps[row % 3][0][:, r, c]
        np.testing.assert_allclose(table.loc[row, columns].astype(float), pixel)


def test_quantised_steps_have_scales_of_their_own(checkpoint, tmp_path, monkeypatch):
    """One step is all clouds: it is empty, and stops no run."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    profile = {
        'driver': 'GTiff', 'height': 16, 'width': 16, 'count': 3, 'dtype': 'uint16', 'nodata': 0,
        'crs': 'EPSG:32631', 'transform': rasterio.Affine(10, 0, 600000, 0, -10, 5000000),
    }  # fmt: skip
    (tmp_path / 'images').mkdir()
    for month in range(1, 7):
        with rasterio.open(f'images/own_2021{month:02d}15.tif', 'w', **profile) as file:
            seen = rng.integers(500, 3000, (3, 16, 16)) + 200 * month
            file.write((0 * seen if month in (3, 4) else seen).astype(np.uint16))
    given = ['embed', str(checkpoint), 'images', '--start', '2021-01-01', '--every', '2M']
    # What ends after the step with the last image would be the same again.
    given += ['--stop', '2021-12-31', '--over', '2M', '--map.quantise', 'true']
    main([*given, '--map.stack', 'true'])
    with xr.open_zarr('maps/embedding.zarr', mask_and_scale=False) as store:
        assert store.embedding.dtype == np.uint8
        assert len(store.time) == 3
        values = (store.embedding * store.scale + store.offset).where(store.embedding > 0)
        for i, months in enumerate((('01-01', '02-28'), ('03-01', '04-30'), ('05-01', '06-30'))):
            exact, seen = features_of(checkpoint, 'images', *(f'2021-{day}' for day in months))
            assert seen.all() == (i != 1)
            found, half = values[i].to_numpy(), 0.5 * store.scale[i].to_numpy() + 1e-4
            assert (np.isfinite(found) == seen).all()
            assert i == 1 or (abs(found - exact) <= half[:, None, None]).all()


def test_windows_without_a_field_are_not_computed(checkpoint, tmp_path, monkeypatch, series_folder):
    monkeypatch.chdir(tmp_path)
    field = gpd.GeoDataFrame(
        {'crop': ['oat']}, geometry=[box(600000, 4999950, 600050, 5000000)], crs=32631
    )
    field.to_file('fields.gpkg')
    given = ['embed', str(checkpoint), str(series_folder), '--map.window', '16']
    given += ['--map.overlap', '4']
    main([*given, '--polygons', 'fields.gpkg'])
    found = read(tmp_path / 'maps/embedding.tif')[0]
    assert 25 <= np.isfinite(found[0]).sum() < found[0].size / 3
    table = gpd.read_parquet('maps/fields.parquet')
    assert (table['crop'][0], table['pixels'][0]) == ('oat', 25)
    np.testing.assert_allclose(table['embedding_0'], found[0, :5, :5].mean(), rtol=1e-5)
    field.set_geometry([box(0, 0, 9, 9)]).set_crs(32631).to_file('far.gpkg')
    monkeypatch.setenv('TORCHGEO_SITS_TRACEBACK', '1')
    with pytest.raises(SITSError, match=r'nothing of far\.gpkg lies on the images.*EPSG:32631'):
        main([*given, '--polygons', 'far.gpkg', '--map.folder', 'far'])


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (['--over', '90d'], 'over is for --every'),
        (['--year', '2021', '--start', '2021-01-01'], 'both choose dates'),
        (['--start', '2021-05-01', '--stop', '2021-04-01'], 'is after --stop'),
        (['--start', '2030-01-01'], r'no image from 2030-01-01.*2021-01-15 to 2021-08-15'),
        (['--every', '14d', '--over', '2y'], r"over='2y' is longer.*2021-01-15 to 2021-08-15"),
        (['--at', 'a.csv', '--polygons', 'b.gpkg'], 'give one of them'),
    ],
)
def test_dates_and_places_that_contradict_are_refused(
    series_folder, checkpoint, monkeypatch, options, text
):
    monkeypatch.setenv('TORCHGEO_SITS_TRACEBACK', '1')
    with pytest.raises(SITSError, match=text):
        main(['embed', str(checkpoint), str(series_folder), *options])


def test_steps_of_a_table_of_points_are_refused(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCHGEO_SITS_TRACEBACK', '1')
    (tmp_path / 'points.csv').write_text('id,date,B1\na,2021-01-01,1\n')
    with pytest.raises(SITSError, match='--every is for folders of images'):
        main(['embed', str(checkpoint), str(tmp_path / 'points.csv'), '--every', '14d'])


@pytest.fixture(scope='module')
def planar(series_folder, tmp_path_factory):
    """An encoder with path layers."""
    seed_everything(0, verbose=False)
    model_kwargs = {'embed_dim': 8, 'depth': 2, 'num_heads': 2, 'time_dim': 8}
    task = SITSMAE(model='planar_vit_tiny', model_kwargs=model_kwargs)
    return pretrain(task, series_folder, tmp_path_factory.mktemp('planar') / 'P.ckpt')


def test_without_path_blocks_a_pixel_is_embedded_by_itself(
    series_folder, planar, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    found = {}
    for window in (16, 64):
        options = ['--blocks', '0', '--map.window', str(window), '--map.folder', f'of {window}']
        options += ['--map.overlap', '8']  # not needed, and not done
        main(['embed', str(planar), str(series_folder), *options])
        found[window], _ = read(tmp_path / f'of {window}' / 'embedding.tif')
    np.testing.assert_array_equal(found[16], found[64])
    # By hand: the tokens of one pixel, through the last norm.
    encoder, _ = load_encoder(planar)
    series = RasterTimeSeries(series_folder)
    xmin, ymin, xmax, ymax = series.index.total_bounds
    sample = series[xmin:xmax, ymin:ymax]
    row, column = 5, 7
    alone = Series(
        sample['image'][None, ..., row : row + 1, column : column + 1],
        sample['acquisition_times'][None],
        sample['valid'][None],
        sample['mask_clear'][None, ..., row : row + 1, column : column + 1],
    )
    encoder.encoder.path_stage.blocks = torch.nn.ModuleList()
    with torch.no_grad():
        token = encoder.features(alone)[0, :, 0, 0]
    np.testing.assert_allclose(found[64][:, row, column], token.numpy(), atol=1e-5)


def test_half_precision_is_another_map_that_is_near(series_folder, planar, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(['embed', str(planar), str(series_folder)])
    single, tags = read(tmp_path / 'maps/embedding.tif')
    main(['embed', str(planar), str(series_folder), '--precision', 'bf16-mixed',
          '--map.folder', 'half'])  # fmt: skip
    half, other = read(tmp_path / 'half/embedding.tif')
    assert tags['WEIGHTS_SHA256'] == other['WEIGHTS_SHA256']
    apart = np.abs(half - single)
    assert 0 < np.nanmax(apart) < 0.2  # features have a variance of 1
    assert (np.isnan(half) == np.isnan(single)).all()


@pytest.mark.parametrize('depth', ['early', 'joined'])
def test_other_depths_are_maps_of_their_own(
    depth, series_folder, planar, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    windows = ['--map.window', '24']
    main(['embed', str(planar), str(series_folder), '--depth', depth, *windows])
    found, _ = read(tmp_path / 'maps/embedding.tif')
    encoder, _ = load_encoder(planar)
    series = RasterTimeSeries(series_folder)
    xmin, ymin, xmax, ymax = series.index.total_bounds
    sample = series[xmin:xmax, ymin:ymax]
    keys = 'image', 'acquisition_times', 'valid', 'mask_clear'
    with torch.no_grad():
        whole = encoder.features(Series(*(sample[key][None] for key in keys)), depth=depth)[0]
    seen = np.isfinite(found[0])
    assert seen.any()
    np.testing.assert_allclose(found[:, seen], whole.numpy()[:, seen], atol=1e-4)
    # The same folder does not pass for the other features.
    with pytest.raises(SystemExit):
        main(['embed', str(planar), str(series_folder), *windows])
    assert 'is there already, of another run' in capsys.readouterr().err


@pytest.mark.parametrize(('name', 'blocks', 'said'), [
    ('planar', '3', 'from 0 to 2, got 3'), ('planar', '-1', 'from 0 to 2, got -1'),
    ('checkpoint', '0', 'is TempCNN'),
])  # fmt: skip
def test_blocks_that_are_not_there_are_refused(
    name, blocks, said, series_folder, tmp_path, monkeypatch, capsys, request
):
    monkeypatch.chdir(tmp_path)
    path = request.getfixturevalue(name)
    with pytest.raises(SystemExit):
        main(['embed', str(path), str(series_folder), '--blocks', blocks])
    assert said in capsys.readouterr().err
    assert not (tmp_path / 'maps').exists()
