"""What every published data set says of files that are damaged or hold something else."""

import itertools
import json
import os
import shutil
import warnings
from importlib import import_module

import h5py
import numpy as np
import pandas as pd
import pytest
import rasterio
import torch

from torchgeo_sits import main
from torchgeo_sits.datamodules import PublishedDataModule
from torchgeo_sits.datasets.published import (
    DATASETS,
    PARTS,
    PASTISHD,
    BioMassters,
    BraDDS1TS,
    BreizhCrops,
    CV4AKenya,
    PublishedDataNotFoundError,
    TreeSatAITS,
    find_dataset,
)
from torchgeo_sits.errors import SITSError

from .releases.multisenge import write


def release_of(name, folder):
    folder.mkdir()
    import_module(f'.releases.{name}', __package__).write_release(folder)
    return folder


def read_all(kind, root):
    """Read all samples; what was refused, which must be said in one line."""
    refused = []
    for part in PARTS:
        try:
            data = kind(root, part)
            indices = range(min(len(data), 3))
        except (SITSError, PublishedDataNotFoundError) as error:
            refused.append(str(error))
            continue
        for index in indices:
            try:
                sample = data[index]
            except SITSError as error:
                refused.append(str(error))
                continue
            assert sample['image'].isfinite().all()
    assert not any('\n' in text for text in refused)
    return refused


@pytest.mark.parametrize('name', sorted(DATASETS))
def test_damaged_files_are_refused_in_a_line(name, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCHGEO_SITS_CACHE', str(tmp_path / 'cache'))
    whole = release_of(name, tmp_path / 'whole')
    kinds = {}
    for path in sorted(path for path in whole.rglob('*') if path.is_file()):
        inner = path.relative_to(whole)
        kinds.setdefault((inner.parts[:-1][:1], path.suffix), inner)
    count = 0
    for inner in kinds.values():
        body = (whole / inner).read_bytes()
        for damage in (b'', body[: len(body) // 2], bytes(range(256)), None):
            count += 1
            copy = tmp_path / f'copy {count} [ä]'  # files are kept open by name
            shutil.copytree(whole, copy, copy_function=os.link)
            path = copy / inner
            path.unlink()
            if damage is None:
                path.mkdir()
            else:
                path.write_bytes(damage)
            read_all(DATASETS[name], copy)
            shutil.rmtree(copy)


def test_dates_that_are_none_are_told(tmp_path):
    release_of('breizhcrops', tmp_path / 'a')
    with h5py.File(tmp_path / 'a/2017/L1C/frh04.h5', 'r+') as file:
        file['csv/0.csv'][2, 16] = np.nan
        file['csv/1.csv'][3, 16] = 1e30
    with pytest.raises(SITSError, match=r'frh04.h5.*csv/0.csv has rows without a date'):
        BreizhCrops(tmp_path, 'test')[0]
    with pytest.raises(SITSError, match=r'1 of 10 dates are none'):
        BreizhCrops(tmp_path, 'test')[1]


def test_ids_that_are_no_numbers_are_told_by_their_table(tmp_path):
    release_of('breizhcrops', tmp_path / 'a')
    path = tmp_path / 'a/classmapping.csv'
    path.write_text(path.read_text().replace('0,0,', '0,zero,'))
    with pytest.raises(SITSError, match=r'classmapping.csv.*zero'):
        BreizhCrops(tmp_path)


def test_measured_values_that_are_not_finite_are_none(tmp_path):
    release_of('biomassters', tmp_path / 'a')
    data = BioMassters(tmp_path)
    biomass = np.full((1, 16, 16), 7, np.float32)
    biomass[0, 0, :3] = np.inf, -np.inf, np.nan
    write(data.files(data.samples[0])[-1], biomass)
    mask = data[0]['mask']
    assert mask[0, :4].isnan().tolist() == [True, True, True, False]


def test_rasters_of_other_sizes_do_not_shift_others(tmp_path):
    """A raster that lacks a row is no raster of coarser pixels."""
    release_of('cv4akenya', tmp_path / 'a')
    data = CV4AKenya(tmp_path)
    for band in (0, 5):
        path = data.list_frames(data.samples[0])[1].paths[band]
        body = path.read_bytes()
        write(path, np.ones((1, 20, 29), np.uint16))
        with pytest.raises(SITSError, match=rf'{path.name}.*\(20, 29\)'):
            data[0]
        path.write_bytes(body)


def test_maps_and_shares_hold_what_they_can(tmp_path):
    inner = release_of('bradd', tmp_path / 'a') / 'BraDD-S1TS_zenodo'
    data = BraDDS1TS(inner)
    path = data.files(data.samples[0])[0]
    with torch.serialization.safe_globals([__import__('datetime').date]):
        stored = torch.load(path, weights_only=True)
    torch.save(stored | {'label': stored['label'] + 8}, path)
    with pytest.raises(SITSError, match=rf'{path.name}.*two maps of 0 and 1'):
        data[0]
    torch.save(stored | {'image_dates': 3}, path)
    with pytest.raises(SITSError, match=rf'not as published \(TypeError: .*{path.name}'):
        data[0]
    folder = release_of('treesataits', tmp_path / 'b')
    path = folder / 'labels/TreeSatBA_v9_60m_multi_labels.json'
    path.write_text(path.read_text().replace('0.71', 'NaN'))
    with pytest.raises(SITSError, match=r'multi_labels.json.*nan.*share'):
        TreeSatAITS(folder)[0]


def test_check_of_what_was_read_stands_in_columns(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(CV4AKenya, 'official', {})
    folder = release_of('cv4akenya', tmp_path / 'a')
    main.main(['data', 'check', 'cv4akenya', str(folder)])
    assert 'unlabelled  ' in capsys.readouterr().out


@pytest.mark.parametrize('name', sorted(DATASETS))
def test_two_workers_read_what_one_process_does(name, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCHGEO_SITS_CACHE', str(tmp_path / 'cache'))
    root = release_of(name, tmp_path / 'grüne [Wiese] 1')
    # More dates than there are, and samples of unequal length.
    arguments = {'dataset': name, 'root': str(root), 'batch_size': 2, 'num_dates': 100}
    batches = []
    for workers in (0, 2):
        data = PublishedDataModule(**arguments, num_workers=workers)
        data.setup('fit')
        batches.append([batch['image'] for batch in itertools.islice(data.train_dataloader(), 3)])
    assert len(batches[0]) == len(batches[1]) > 0
    for one, other in zip(*batches, strict=True):
        assert torch.equal(one, other)


def test_a_part_that_is_not_published_is_told(tmp_path):
    data = PublishedDataModule('ssl4eos12', str(release_of('ssl4eos12', tmp_path / 'a')))
    data.setup('test')
    with pytest.raises(SITSError, match=r'SSL4EO-S12.*no part for the test'):
        data.test_dataloader()


@pytest.mark.parametrize('own', [{'root': 'x'}, {'bands': ['B4']}, {'part': 'test'}])
def test_arguments_that_the_module_gives_are_refused_among_those_of_a_data_set(own):
    with pytest.raises(SITSError, match=rf"dataset_kwargs has \['{next(iter(own))}'\]"):
        PublishedDataModule('breizhcrops', dataset_kwargs=own)


@pytest.mark.parametrize(
    ('name', 'told'),
    [('..x', 'cannot be imported'), ('torchgeo_sits.datasets.published.TableSeries', 'read_rows')],
)
def test_names_of_no_data_set_are_told(name, told):
    with pytest.raises(SITSError, match=told):
        find_dataset(name)


def test_bands_are_named_once_and_lists_that_are_missing_by_name(tmp_path):
    release_of('breizhcrops', tmp_path / 'a')
    with pytest.raises(SITSError, match=r"\['B4'\] twice"):
        BreizhCrops(tmp_path, bands=['B4', 'B8', 'B4'])
    with pytest.raises(SITSError, match=r'L2A/frh01.csv.* is missing'):
        BreizhCrops(tmp_path, level='L2A')


def test_outlines_that_are_none_are_told(tmp_path):
    folder = release_of('pastis_hd', tmp_path / 'a')
    path = folder / 'metadata.geojson'
    table = json.loads(path.read_text())
    ring = [[0, 0], [1, 0], [1, 1], [0.5, 0.5]]  # not closed
    table['features'][0]['geometry'] = {'type': 'Polygon', 'coordinates': [ring]}
    path.write_text(json.dumps(table))
    with pytest.raises(SITSError, match=r'metadata.geojson.*GeoJSON'):
        PASTISHD(folder)


def first_of(name, folder, part='train'):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # of data sets without dates
        return DATASETS[name](folder, part)[0]


@pytest.mark.parametrize('name', sorted(DATASETS))
def test_files_that_systems_leave_are_none(name, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCHGEO_SITS_CACHE', str(tmp_path / 'cache'))
    folder = release_of(name, tmp_path / 'a')
    whole, keys = first_of(name, folder), DATASETS[name](folder).samples
    for path in [path for path in folder.rglob('*') if path.is_file()]:
        (path.parent / f'._{path.name}').write_bytes(b'\0\5\x16\7')
        (path.parent / f'{path.name}.aux.xml').write_text('<PAMDataset/>')
        for left in ('Thumbs.db', '.DS_Store'):
            (path.parent / left).touch()
        (path.parent / '.ipynb_checkpoints').mkdir(exist_ok=True)
        shutil.copy(path, path.parent / '.ipynb_checkpoints')
    again = first_of(name, folder)
    assert DATASETS[name](folder).samples == keys
    for key in ('image', 'mask', 'label', 'acquisition_times'):
        if key in whole:
            assert torch.equal(torch.nan_to_num(again[key]), torch.nan_to_num(whole[key])), key


def change(path, function):
    """Write a raster anew, of which a function makes other pixels."""
    with rasterio.open(path) as file:
        pixels = file.read()
    write(path, function(pixels))


def with_number(number):
    def changed(pixels):
        pixels = pixels.astype(np.float32)
        pixels[:, : pixels.shape[1] // 2] = number
        return pixels

    return changed


@pytest.mark.parametrize('number', [77, -3, 1.5, np.nan, np.inf])
@pytest.mark.parametrize(
    ('name', 'pattern'),
    [('flairhub', 'D012*COSIA/*/*.tif'), ('multisenge', 'ground_reference/31TFN*.tif')],
)
def test_labels_that_are_not_published_are_refused(name, pattern, number, tmp_path):
    folder = release_of(name, tmp_path / 'a')
    for path in folder.glob(pattern):
        change(path, with_number(number))
    with pytest.raises(SITSError, match=rf'\.tif.*{number}.*not published'):
        DATASETS[name](folder)[0]


@pytest.mark.parametrize('number', [np.nan, -3, 1.5])
def test_labels_that_can_be_no_number_of_a_gap_are_refused(number, tmp_path):
    folder = release_of('mtlcc', tmp_path / 'a')
    for path in folder.rglob('y.tif'):
        change(path, with_number(number))
    with pytest.raises(SITSError, match=r'y\.tif.*no whole numbers'):
        DATASETS['mtlcc'](folder)[0]


def test_labels_in_gaps_of_the_published_ones_are_told_once(tmp_path):
    folder = release_of('mtlcc', tmp_path / 'a')
    data = DATASETS['mtlcc'](folder)
    with pytest.warns(UserWarning, match=r'y\.tif.*labels 4 \(\d+ times\), 27 \(\d+ times\)'):
        assert data[0]['mask'].min() == -1
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        data[1]
    folder = release_of('zuericrop', tmp_path / 'b')
    data = DATASETS['zuericrop'](folder)
    with pytest.warns(UserWarning, match=r'ZueriCrop.hdf5.*labels 8 \(\d+ times\)'):
        data[0]


def test_sites_without_a_folder_are_left_out_by_name(tmp_path):
    folder = release_of('dafals', tmp_path / 'a')
    every = DATASETS['dafals'](folder).samples
    site, kind = every[0]
    shutil.rmtree(next(folder.rglob(f'{kind}/{site}')))
    with pytest.warns(UserWarning, match=rf'fold_dict.json.* 1 of {len(every)}.*{kind}/{site}'):
        assert DATASETS['dafals'](folder).samples == every[1:]


@pytest.mark.parametrize(
    ('name', 'pattern', 'function', 'told'),
    [
        ('spacenet7', 'train/*/UDM_masks/*.tif', lambda p: p[:, :-1], r'_UDM.tif.*another size'),
        ('flairhub', 'D*MSK-SC/*/*.tif', lambda p: p[:, :-1], r'MSK-SC.*same ground'),
        ('flairhub', 'D*SENTINEL1-DESC_TS/*/*.tif', lambda p: p[:, :-1], r'DESC_TS.*same ground'),
        ('multisenge', 's1/*.tif', lambda p: p[:, :-1], r'Sentinel-1 has the size \(15, 16\).*tif'),
        ('multisenge', 's2/*.tif', lambda p: p.astype(np.complex64), r's2/.*tif.*complex64'),
        ('multisenge', 'ground_reference/*', lambda p: p[:, 1:], r'\(15, 16\).*_GR_.*tif'),
        ('dynamicearthnet', 'labels/**/*.tif', lambda p: p[:1], r'tif. has 1 layers'),
    ],
)
def test_rasters_that_do_not_fit_are_named(name, pattern, function, told, tmp_path):
    folder = release_of(name, tmp_path / 'a')
    for path in folder.glob(pattern):
        change(path, function)
    with pytest.raises(SITSError, match=told):
        DATASETS[name](folder)[0]


@pytest.mark.parametrize(
    ('name', 'values', 'told'),
    [
        ('B01/B01', lambda stored: stored[..., :-1], r'nc.: .*B01 has the size'),
        ('labels/labels', lambda stored: stored[:0], r'shape \(0, 24\).*nc'),
        ('labels/labels', lambda stored: stored.astype('S6'), r'nc.: labels are of the type'),
        ('B03/time', lambda stored: stored + np.nan, r'nc.*times that are none'),
        ('B03/time', lambda stored: stored.astype(complex), r'nc.*times of the type complex'),
    ],
)
def test_arrays_that_do_not_fit_are_named(name, values, told, tmp_path):
    folder = release_of('sen4agrinet', tmp_path / 'a')
    for path in folder.rglob('*.nc'):
        with h5py.File(path, 'r+') as file:
            stored, attributes = file[name][()], dict(file[name].attrs)
            del file[name]
            file[name] = values(stored)
            file[name].attrs.update(attributes)
    with pytest.raises(SITSError, match=told):
        DATASETS['sen4agrinet'](folder)[0]


@pytest.mark.parametrize(
    ('column', 'value'), [('YEAR', -4), ('YEAR', 2019.5), ('UNIQUE_ID', 1.5), ('SPLIT', 'tset')]
)
def test_rows_that_mean_nothing_are_refused(column, value, tmp_path):
    path = release_of('sickle', tmp_path / 'a') / 'sickle_dataset_tabular.csv'
    table = pd.read_csv(path).astype({column: object})
    table.loc[1, column] = value
    table.to_csv(path, index=False)
    with pytest.raises(SITSError, match=rf'tabular.csv.*{value}'):
        DATASETS['sickle'](path.parent)


def test_arrays_without_rows_are_named(tmp_path):
    folder = release_of('sickle', tmp_path / 'a')
    path = min((folder / 'images/S2/npy/3').glob('*.npz'))
    arrays = dict(np.load(path))
    for odd in (arrays['B2'].ravel(), arrays['B2'].astype('U6')):
        np.savez(path, **arrays | {'B2': odd})
        with pytest.raises(SITSError, match=rf'{path.name}.*(\(1024,\)|U6)'):
            DATASETS['sickle'](folder)[0]


def test_shapes_that_lie_nowhere_are_refused(tmp_path):
    folder = release_of('denethor', tmp_path / 'a')
    path = next(folder.glob('*train-2018.geojson'))
    table = json.loads(path.read_text())
    del table['crs']  # metres are taken for degrees
    path.write_text(json.dumps(table))
    with pytest.raises(SITSError, match=r'train-2018.geojson.*no GeoJSON'):
        DATASETS['denethor'](folder)[0]


def test_copies_of_a_day_are_no_further_days(tmp_path):
    folder = release_of('denethor', tmp_path / 'a')
    whole = DATASETS['denethor'](folder)[0]
    for path in list(folder.rglob('PF-SR/*.tif')):
        shutil.copy(path, path.with_stem(f'{path.stem} (1)'))
    assert DATASETS['denethor'](folder)[0]['length'] == whole['length']


def test_dates_that_leave_a_frame_out_are_refused(tmp_path):
    folder = release_of('flairhub', tmp_path / 'a')
    gpd = pytest.importorskip('geopandas')
    path = folder / 'GLOBAL_ALL_MTD/GLOBAL_SENTINEL2_MTD_DATES.gpkg'
    table = gpd.read_file(path)
    texts = table['acquisition_dates'].str.replace('"1":', '"99":')
    table.assign(acquisition_dates=texts).to_file(path)
    with pytest.raises(SITSError, match=r'SENTINEL2_MTD_DATES.gpkg.*leave some out'):
        DATASETS['flairhub'](folder)[0]
