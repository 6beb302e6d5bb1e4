"""The Python in the documentation, run page by page as it stands there."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pytest
import torch
from shapely.geometry import box

from torchgeo_sits.datamodules import SITSDataModule
from torchgeo_sits.models import encoder_card, planar_vit_tiny

from .datamodules.one_band import write
from .published.releases import breizhcrops

ROOT = Path(__file__).resolve().parents[1]
#: Pages with Python, but for those that show whole files of the tests.
PAGES = {
    str(path.relative_to(ROOT)): found
    for path in [ROOT / 'README.md', *sorted(ROOT.glob('docs/**/*.md'))]
    if (found := re.findall(r'```python\n(.*?)```', path.read_text(), re.DOTALL))
    and '--8<--' not in found[0]
}


@pytest.fixture
def there(series_folder, tmp_path, monkeypatch):
    """A folder as the pages speak of it, and what they take for given."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(series_folder, 'images')
    for folder in ('scl', 'labels'):
        Path(folder).mkdir()
    for path in Path('images').iterdir():
        write(f'scl/scl_{path.stem[-8:]}.tif', np.full((32, 40), 4, 'uint8'))
    write('labels/labels.tif', np.ones((32, 40), 'uint8'))
    breizhcrops.write_release(tmp_path / 'data/breizhcrops', level='L2A')
    gpd.GeoDataFrame(
        {'crop': ['rye', 'oat'] * 2},
        geometry=[box(600000 + x, 4999900, 600080 + x, 4999980) for x in (0, 100, 200, 300)],
        crs='EPSG:32631',
    ).to_file('fields.gpkg')
    bands = ['B1', 'B2', 'B3']
    encoder = planar_vit_tiny(3)
    card = encoder_card('planar_vit_tiny', encoder, bands=bands, mean=[9.0] * 3, std=[2.0] * 3)
    checkpoint = Path('logs/dino/version_0/checkpoints/dino-epoch=07.ckpt')
    checkpoint.parent.mkdir(parents=True)
    state = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
    torch.save({'state_dict': state, 'sits': card}, checkpoint)
    data = SITSDataModule('images', batch_size=2)
    data.setup('fit')
    batch = next(iter(data.train_dataloader()))
    saved = SimpleNamespace(save_object=lambda name: Path(name).touch())
    found = SimpleNamespace(item_collection=lambda: saved)
    return {
        'batch': batch,
        'encoder': encoder,
        'image': batch['image'],
        'acquisition_times': batch['acquisition_times'],
        'valid': batch['valid'],
        'mask_clear': batch['mask_clear'],
        'catalogue': SimpleNamespace(search=lambda **_: found),  # pystac_client's, not ours
        'box': (4.5, 50.5, 4.6, 50.6),
    }


@pytest.mark.parametrize('page', PAGES)
def test_python_of_a_page_runs(there, page):
    for snippet in PAGES[page]:
        exec(compile(snippet, page, 'exec'), there)
    if page.endswith('pretrain.md'):
        assert there['features'].isfinite().all()
    if page.endswith('own-data.md'):
        there['data'].setup('fit')
        assert there['data'].class_names == ['unlabelled', 'oat', 'rye']
