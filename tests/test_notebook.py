"""The notebooks in examples/ run from their first cell to their last."""

from pathlib import Path

import geopandas as gpd
import nbformat
import numpy as np
import pytest
import rasterio
from nbclient import NotebookClient

EXAMPLES = Path(__file__).resolve().parents[1] / 'examples'
NOTEBOOK = EXAMPLES / 'from_rasters_to_maps.ipynb'


def texts(notebook):
    """What the cells print, and what they give as text."""
    outputs = [output for cell in notebook.cells for output in cell.get('outputs', [])]
    return [
        output.get('text', '') + output.get('data', {}).get('text/plain', '') for output in outputs
    ]


@pytest.mark.timeout(600)
def test_it_runs_and_writes_the_maps_it_says(tmp_path, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.setenv('TMPDIR', str(tmp_path))  # where the notebook makes its folder
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:  # half of the pretraining shows as well that it runs
        cell.source = cell.source.replace('length=200', 'length=100')
    options = {'timeout': 400, 'kernel_name': 'python3', 'record_timing': False}
    resources = {'metadata': {'path': str(tmp_path)}}
    NotebookClient(notebook, resources=resources, **options).execute()  # raises where a cell does
    (folder,) = tmp_path.glob('*/maps')
    said = {word for text in texts(notebook) for word in text.split() if word.endswith('.tif')}
    said = {Path(word).name for word in said if word.startswith('maps/')}
    assert said == {'embedding.tif', 'change.tif', 'change_probability.tif'}
    assert {path.name for path in folder.glob('*.tif')} == said
    (source, *_) = sorted((folder.parent / 'farmland' / 'images').iterdir())
    for name, bands in (('embedding', 64), ('change', 1), ('change_probability', 1)):
        with rasterio.open(source) as one, rasterio.open(folder / f'{name}.tif') as other:
            assert (one.shape, one.transform, one.crs) == (other.shape, other.transform, other.crs)
            assert other.count == bands
            values = other.read()
        assert np.isfinite(values).all()
        assert values.std() > 0
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get('outputs', [])
        if 'image/png' in output.get('data', {})
    ]
    assert len(pictures) == 4


@pytest.mark.timeout(600)
def test_fields_of_real_images_become_a_map(tmp_path, monkeypatch, shared_data):
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    monkeypatch.setenv('SITS_DATA', str(shared_data / 'wc_be_b'))
    notebook = nbformat.read(EXAMPLES / 'from_fields_to_a_map.ipynb', as_version=4)
    for cell in notebook.cells:  # less of each training shows as well that it runs
        for long, short in (
            ('length=128', 'length=24'),
            ('length=160', 'length=80'),
            ('s=2', 's=1'),
        ):
            cell.source = cell.source.replace(long, short)
    options = {'timeout': 400, 'kernel_name': 'python3', 'record_timing': False}
    NotebookClient(notebook, resources={'metadata': {'path': str(tmp_path)}}, **options).execute()
    (folder,) = tmp_path.glob('*/maps')
    table = gpd.read_file(folder / 'fields.gpkg')
    assert len(table) == 15
    assert table.observed.min() > 0.9
    # Random guesses of five crops are right for a fifth of the fields, winter wheat for a third.
    assert (table['class'] == table.crop).mean() > 0.6
    assert any('winter wheat' in text and 'F1' in text for text in texts(notebook))


@pytest.mark.parametrize('path', sorted(EXAMPLES.glob('*.ipynb')), ids=lambda path: path.stem)
def test_what_is_kept_of_outputs_is_small_and_clean(path):
    assert path.stat().st_size < 400_000
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    outputs = [output for cell in notebook.cells for output in cell.get('outputs', [])]
    assert outputs
    assert not [o for o in outputs if o.get('name') == 'stderr' or o.output_type == 'error']
    for text in texts(notebook):
        assert not [word for word in text.split() if word.lstrip('\'"[(').startswith('/')], text
