"""Published data sets of one's own, by their dotted paths."""

import numpy as np
import pytest
import torch

from tests.recipes.cropland import Cropland
from tests.recipes.monster import MonsterTimeSen2Crop
from torchgeo_sits import main
from torchgeo_sits.datamodules import PublishedDataModule
from torchgeo_sits.datasets.published import seconds_of
from torchgeo_sits.errors import SITSError

from .releases.multisenge import write

CROPLAND = 'tests.recipes.cropland.Cropland'
MONSTER = 'tests.recipes.monster.MonsterTimeSen2Crop'
QUICK = ['--trainer.accelerator=cpu', '--trainer.enable_progress_bar=false']
QUICK += ['--trainer.max_epochs=1', '--trainer.limit_train_batches=1', '--data.batch_size=2']
TINY = ['--model.model=tempcnn', '--model.model_kwargs={hidden_dim: 8}']


def image_of(crop, point, month):
    generator = np.random.default_rng([len(crop), point, month])
    return generator.integers(0, 256, (3, 16, 16)).astype(np.uint8)


@pytest.fixture
def cropland(tmp_path):
    """Three points of two crops by part, of a year."""
    for split, points in (('training', (1, 12, 3)), ('validation', (4,)), ('test', (5,))):
        for crop in ('OAT', 'CORN'):
            for point in points:
                for month in (9, 6, 7)[: 2 + point % 2]:
                    folder = tmp_path / f'crops/2019/RGB/{split}/{crop}'
                    path = folder / f'POINT_{point}_2019{month:02}.png'
                    write(path.with_suffix('.tif'), image_of(crop, point, month))
                    path.with_suffix('.tif').rename(path)
    return tmp_path / 'crops'


@pytest.fixture
def monster(tmp_path):
    """Twenty pixels of ten days."""
    generator = np.random.default_rng(0)
    values = generator.integers(1, 9000, (20, 9, 10)).astype(np.float32)
    np.save(tmp_path / 'TimeSen2Crop_X.npy', values)
    np.save(tmp_path / 'TimeSen2Crop_y.npy', np.arange(20) % 15)
    for fold in range(5):
        (tmp_path / f'test_indices_fold_{fold}.txt').write_text(
            '\n'.join(map(str, range(fold, 20, 5)))
        )
    return tmp_path


def test_a_file_for_each_date(cropland):
    data = Cropland(cropland)
    assert data.classes == ('CORN', 'OAT')
    place = data.samples.index(('OAT', '3'))
    sample = data[place]
    days = [seconds_of(f'2019{month:02}', '%Y%m') for month in (6, 7, 9)]
    assert sample['acquisition_times'].tolist() == days
    expected = [image_of('OAT', 3, month) for month in (6, 7, 9)]
    assert np.array_equal(sample['image'].numpy(), np.stack(expected))
    assert sample['label'] == 1
    assert not len(Cropland(cropland, 'unlabelled'))


def test_a_table(monster):
    data = MonsterTimeSen2Crop(monster, 'test', fold=3)
    assert data.samples == [3, 8, 13, 18]
    sample = data[1]
    stored = np.load(monster / 'TimeSen2Crop_X.npy')[8]
    assert np.array_equal(sample['image'][..., 0, 0].numpy(), stored.T)
    assert sample['label'] == 8
    assert len(MonsterTimeSen2Crop(monster)) == 16
    with pytest.raises(SITSError, match='fold=5'):
        MonsterTimeSen2Crop(monster, fold=5)


@pytest.mark.parametrize('which', ['cropland', 'monster'])
def test_read_by_dotted_path(request, which):
    root = request.getfixturevalue(which)
    path = {'cropland': CROPLAND, 'monster': MONSTER}[which]
    data = PublishedDataModule(path, str(root), batch_size=2, num_dates=2)
    # Classes that only the files name are known as well.
    assert len(data.class_names) == {'cropland': 2, 'monster': 15}[which]
    data.setup('fit')
    batch = next(iter(data.train_dataloader()))
    assert batch['image'].shape[:2] == (2, 2)
    assert torch.isfinite(batch['image']).all()


def test_check_says_how_to_train_on_one(cropland, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main.main(['data', 'check', CROPLAND, str(cropland)])
    told = capsys.readouterr().out
    assert 'whole' in told
    given = f'--data PublishedDataModule --data.dataset {CROPLAND} --data.root {cropland}'
    assert f'  torchgeo-sits fit --config conf/classification.yaml {given}' in told.splitlines()
    # What is told does.
    command = told.splitlines()[-1].split()[1:]
    main.main([*command, *QUICK, *TINY])
    assert len(list(tmp_path.rglob('*-epoch=00.ckpt'))) == 1
