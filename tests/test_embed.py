"""Maps of embeddings for a region and a year, from the command line."""

import numpy as np
import pytest
import rasterio
import torch
from lightning.pytorch import Trainer, seed_everything

from torchgeo_sits.commands.embed import cut_series
from torchgeo_sits.datamodules import PatchOptions, SITSDataModule
from torchgeo_sits.datasets import RasterTimeSeries
from torchgeo_sits.keys import Series
from torchgeo_sits.main import main
from torchgeo_sits.models import load_encoder
from torchgeo_sits.tasks import SITSDINO


@pytest.fixture(scope='module')
def checkpoint(series_folder, tmp_path_factory):
    """A pretraining of one step."""
    folder = tmp_path_factory.mktemp('checkpoint')
    seed_everything(0, verbose=False)
    task = SITSDINO(
        model='tempcnn', model_kwargs={'hidden_dim': 8}, num_prototypes=16,
        views_kwargs={'num_paths': 2, 'length': 8},
    )  # fmt: skip
    data = SITSDataModule(str(series_folder), patches=PatchOptions(16), batch_size=4)
    trainer = Trainer(
        accelerator='cpu', max_steps=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(task, datamodule=data)
    trainer.save_checkpoint(folder / 'X.ckpt')
    return folder / 'X.ckpt'


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
    cut_series(series, year=2021)
    assert len(series.index) == 8
    with pytest.raises(ValueError, match=r'no image of year=1999.*\[2021\]'):
        cut_series(series, year=1999)


def test_a_region_elsewhere_is_refused(series_folder):
    with pytest.raises(ValueError, match='no image'):
        cut_series(RasterTimeSeries(series_folder), bounds=(0, 0, 10, 10))
