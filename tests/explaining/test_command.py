"""The command ``torchgeo-sits explain``, as a user types it."""

import csv
import json
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
import rasterio
import torch
from rasterio.warp import transform

from torchgeo_sits import main

PLANAR = ['--model.model=planar_vit_tiny']
PLANAR += [f'--model.model_kwargs.{option}' for option in ('embed_dim=16', 'time_dim=8', 'depth=1')]
STAR = ['--model.model=deep_star', '--model.model_kwargs.num_steps=16', '--model.depth=late']


def labels_like(folder: Path, path: Path) -> str:
    """Fields of two classes, side by side, on the grid of a series."""
    with rasterio.open(sorted(folder.glob('*.tif'))[0]) as file:
        profile = file.profile | {'count': 1, 'dtype': 'uint8', 'nodata': 0}
        mask = np.ones(file.shape, 'uint8')
    mask[:, np.arange(mask.shape[1]) % 10 < 5] = 2
    profile = {k: profile[k] for k in ('driver', 'dtype', 'nodata', 'crs', 'transform', 'count')}
    with rasterio.open(path, 'w', height=mask.shape[0], width=mask.shape[1], **profile) as file:
        file.write(mask, 1)
    return str(path)


def fit(config: str, options: list[str]) -> str:
    """A checkpoint of a step of training."""
    quick = '--trainer.max_epochs=1 --trainer.logger=false --trainer.accelerator=cpu'
    quick += ' --trainer.limit_val_batches=1'
    main.main(['fit', '--config', config, '--data', 'SITSDataModule', *options, *quick.split()])
    [path] = Path().rglob('*.ckpt')
    return str(path)


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('sys.argv', ['torchgeo-sits'])


def test_a_pixel_of_a_folder_is_explained(series_folder, tmp_path, capsys):
    masks = labels_like(series_folder, tmp_path / 'labels.tif')
    options = [f'--data.paths={series_folder}', '--data.patches.size=12']
    labelled = [
        f'--data.labels.paths={masks}',
        '--data.labels.classes={"1": "wheat", "2": "maize"}',
    ]
    labelled += ['--data.batch_size=2', '--data.patches.length=2', '--data.labels.supervised=true']
    path = fit('conf/segmentation.yaml', [*options, *labelled, *PLANAR])
    command = ['explain', '--config', 'conf/segmentation.yaml', '--ckpt_path', path]
    command += options
    before = set(tmp_path.rglob('*'))
    main.main([*command, '--at', '600305,4999905', '--output', 'out'])
    out = tmp_path / 'out'
    assert set(tmp_path.rglob('*')) - before == {out, *out.iterdir()}  # no logs
    assert sorted(p.name for p in out.iterdir()) == [
        'dates.csv', 'dates.png', 'explanation.json', 'pixels.png', 'pixels.qml', 'pixels.tif',
    ]  # fmt: skip
    said = json.loads((out / 'explanation.json').read_text())
    assert said['class'] in ('wheat', 'maize')
    assert said['place'] == {'x': 600305, 'y': 4999905, 'crs': 'EPSG:32631', 'pixel': [6, 6]}
    with (out / 'dates.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['date'] for row in rows] == [f'2021-{month:02d}-15' for month in range(1, 9)]
    assert sum(float(row['attention']) for row in rows) == pytest.approx(1, abs=1e-4)
    with rasterio.open(sorted(series_folder.glob('*.tif'))[0]) as source:
        # What was observed comes back from the normalised batch as it stands in the file.
        pixel = next(source.sample([(600305, 4999905)]))
        bands = [name for name in rows[0] if name.startswith(('B', 'band'))]
        assert [float(rows[0][name]) for name in bands] == pytest.approx(pixel, rel=1e-3)
        with rasterio.open(out / 'pixels.tif') as file:
            window = rasterio.windows.from_bounds(*file.bounds, source.transform)
            assert (window.col_off, window.row_off, window.width, window.height) == (24, 3, 12, 12)
            found = file.read(1)
    assert found[6, 6] != 0
    beside = np.ones_like(found, bool)
    beside[6], beside[:, 6] = False, False
    assert (found[beside] == 0).all()
    share = abs(found[6, 6]) / np.abs(found).sum()
    assert said['share_of_pixel_itself'] == pytest.approx(share, rel=1e-5)
    assert f'{share:.0%} of the effect of all pixels is its own' in capsys.readouterr().out
    # The pixel itself does not set the scale.
    others = np.abs(found[~beside])
    others = others[(others > np.abs(found).max() / 1e4) & (others != np.abs(found[6, 6]))]
    style = Xml.parse(out / 'pixels.qml').find('.//colorrampshader')
    assert float(style.get('maximumValue')) == pytest.approx(np.quantile(others, 0.98), rel=1e-3)
    with pytest.raises(SystemExit):
        main.main([*command, '--at', '0,0'])
    assert 'expected a place in it' in capsys.readouterr().err


def test_a_field_is_explained_as_a_whole(series_folder, tmp_path):
    masks = labels_like(series_folder, tmp_path / 'labels.tif')
    options = [f'--data.paths={series_folder}', f'--data.labels.paths={masks}']
    options += ['--data.labels.target=field', '--data.patches.size=8', '--data.split.by=fields']
    options += ['--data.batch_size=2', '--data.patches.length=2']
    path = fit('conf/classification.yaml', [*options, *STAR])
    command = ['explain', '--config', 'conf/classification.yaml', '--ckpt_path', path]
    command += options
    main.main([*command, '--at', '600100,4999900', '--output', 'out'])
    with (tmp_path / 'out' / 'dates.csv').open(newline='') as file:
        assert 'attention' not in next(csv.reader(file))
    with rasterio.open(tmp_path / 'out' / 'pixels.tif') as file:
        assert file.shape == (8, 8)
        assert (file.read(1) != 0).all()


def test_dates_of_s1_stand_among_the_others(series_folder, tmp_path):
    masks = labels_like(series_folder, tmp_path / 'labels.tif')
    (tmp_path / 's1').mkdir()
    for path in sorted(series_folder.iterdir())[:2]:
        with rasterio.open(path) as file:
            profile = file.profile | {'count': 1, 'dtype': 'float32', 'nodata': -9999}
        name = path.name.replace('15.tif', '18.tif')
        with rasterio.open(tmp_path / 's1' / name, 'w', **profile) as file:
            values = np.random.default_rng(0).normal(-11, 3, (1, file.height, file.width))
            file.write(values.astype('float32'))
    options = [f'--data.paths={series_folder}', '--data.patches.size=12']
    options += [f'--data.s1.paths={tmp_path / "s1"}']
    labelled = [f'--data.labels.paths={masks}', '--data.labels.supervised=true']
    labelled += ['--data.batch_size=2', '--data.patches.length=2']
    model = ['--model.model=factorised_tiny', '--model.model_kwargs={dim: 16, patch_size: 2}']
    data = ['--data', 'SITSFusionDataModule']
    path = fit('conf/segmentation.yaml', [*data, *options, *labelled, *model])
    main.main(['explain', '--ckpt_path', path, *data, *options, '--at', '600305,4999905'])
    with (tmp_path / 'explanation' / 'dates.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    sensors = [row['sensor'] for row in rows]
    assert sensors == ['optical', 'Sentinel-1'] * 2 + ['optical'] * 6
    assert [row['date'] for row in rows] == sorted(row['date'] for row in rows)
    with rasterio.open(min((tmp_path / 's1').iterdir())) as file:
        [value] = next(file.sample([(600305, 4999905)]))
    assert float(rows[1]['B1']) == pytest.approx(value, rel=1e-3)
    assert all(float(row['importance']) for row in rows[1:4:2])


def test_other_tasks_are_refused(series_folder, capsys):
    torch.save({'state_dict': {}}, 'a.ckpt')
    command = ['explain', '--config', 'conf/dino.yaml', '--ckpt_path', 'a.ckpt']
    with pytest.raises(SystemExit):
        main.main([*command, '--data.paths', str(series_folder)])
    assert 'expected SITSSegmentation or SITSClassification' in capsys.readouterr().err


def test_real_imagery_is_explained_where_it_lies(shared_data, tmp_path):
    root = shared_data / 'wc_be_b'
    options = [f'--data.paths={root / "s2"}', f'--data.images.cloud_paths={root / "scl"}']
    options += [
        '--data.images.clear_values=[2,4,5,6,7]',
        '--data.images.bands=[B04,B08]',
        '--data.patches.size=8',
    ]
    labelled = [f'--data.labels.paths={root / "labels" / "wc_be_b_CT_aligned_core.tif"}']
    labelled += ['--data.labels.classes={"1110": "wheat", "1200": "maize", "9120": "grass"}']
    labelled += ['--data.batch_size=2', '--data.patches.length=2', '--data.labels.supervised=true']
    path = fit('conf/segmentation.yaml', [*options, *labelled, *PLANAR])
    command = ['explain', '--config', 'conf/segmentation.yaml', '--ckpt_path', path, *options]
    main.main([*command, '--at', '4.064,50.7435', '--output', 'out'])
    said = json.loads((tmp_path / 'out' / 'explanation.json').read_text())
    with (
        rasterio.open(root / 's2' / 'wc_be_b_S2_20190426.tif') as source,
        rasterio.open(tmp_path / 'out' / 'pixels.tif') as file,
    ):
        [x], [y] = transform(4326, source.crs, [4.064], [50.7435])
        place = said['place']
        assert (place['x'], place['y']) == source.xy(*source.index(x, y))
        window = rasterio.windows.from_bounds(*file.bounds, source.transform)
        assert file.crs == source.crs
        assert file.transform == source.window_transform(window)
        assert window.round() == window
        assert list(file.index(place['x'], place['y'])) == place['pixel']
    with (tmp_path / 'out' / 'dates.csv').open(newline='') as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == 72
    assert all(row['B04'] == '' for row in rows if row['clear'] == '0')
