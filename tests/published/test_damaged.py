"""What every published data set says of files that are damaged or hold something else."""

import itertools
import json
import os
import shutil
from importlib import import_module

import h5py
import numpy as np
import pytest
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
