"""The notebook in examples/ runs from its first cell to its last."""

from pathlib import Path

import nbformat
import numpy as np
import pytest
import rasterio
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[1] / 'examples' / 'from_rasters_to_maps.ipynb'


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


def test_what_is_kept_of_its_outputs_is_small_and_clean():
    assert NOTEBOOK.stat().st_size < 400_000
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    outputs = [output for cell in notebook.cells for output in cell.get('outputs', [])]
    assert outputs
    assert not [o for o in outputs if o.get('name') == 'stderr' or o.output_type == 'error']
    for text in texts(notebook):
        assert not [word for word in text.split() if word.lstrip('\'"[(').startswith('/')], text
