"""What every published data set must do, on a release that is written in its published layout."""

import pickle
import re
import shutil
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml

from torchgeo_sits import main
from torchgeo_sits.datamodules import LabelOptions, PublishedDataModule
from torchgeo_sits.datasets.published import DATASETS, PARTS, PublishedDataNotFoundError
from torchgeo_sits.errors import SITSError

CONF = Path(__file__).resolve().parents[2] / 'conf'
QUICK = ['--trainer.accelerator=cpu', '--trainer.enable_progress_bar=false']
QUICK += ['--trainer.max_epochs=1', '--trainer.limit_train_batches=2', '--data.batch_size=2']
TINY = ['--model.model=tempcnn', '--model.model_kwargs={hidden_dim: 8}']


@pytest.fixture(scope='module')
def releases(tmp_path_factory):
    """Folder of each data set, written when it is first asked for."""
    written = {}

    def folder_of(name):
        if name not in written:
            folder = tmp_path_factory.mktemp(name) / 'release'  # beside it lies nothing else
            folder.mkdir()
            import_module(f'.releases.{name}', __package__).write_release(folder)
            written[name] = folder
        return written[name]

    return folder_of


@pytest.fixture(params=sorted(DATASETS))
def name(request, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCHGEO_SITS_CACHE', str(tmp_path / 'cache'))
    return request.param


def options_of(name):
    """Arguments of the data set and of its data module in conf/data."""
    arguments = yaml.safe_load((CONF / f'data/{name}.yaml').read_text())['data']['init_args']
    return {key: value for key, value in arguments.items() if key != 'labels'}


def test_samples_keep_the_batch_contract(releases, name):
    kind, root = DATASETS[name], releases(name)
    seen = set()
    for part in PARTS:
        data = kind(root, part)
        keys = [repr(key) for key in data.samples]
        assert not seen & set(keys), 'a sample is in two parts'
        seen |= set(keys)
        for index in range(min(len(data), 3)):
            sample = data[index]
            frames, channels, height, width = sample['image'].shape
            assert sample['image'].dtype == torch.float32
            assert sample['image'].isfinite().all()
            assert channels == len(data.bands)
            assert (height, width) == data.size(data.samples[index])
            times = sample['acquisition_times']
            assert times.dtype == torch.int64
            assert times.shape == sample['valid'].shape == (frames,)
            assert (times.diff() >= 0).all()
            assert sample['mask_clear'].shape == (frames, height, width)
            assert sample['mask_clear'].any()
            assert sample['length'] == frames
            if kind.band_names_s1:
                beside = sample['image_s1']
                assert beside.shape[1:] == (len(kind.band_names_s1), height, width)
                assert len(beside) == len(sample['acquisition_times_s1'])
            if part == 'unlabelled' or data.label_kind == 'none':
                assert 'mask' not in sample
                assert 'label' not in sample
            elif data.label_kind in ('pixel', 'frame'):
                axes = (frames, height, width)
                assert sample['mask'].shape == (axes if data.label_kind == 'frame' else axes[1:])
                assert sample['mask'].min() >= -1
                assert sample['mask'].max() < len(data.classes)
    assert len(kind(root, 'train'))
    for values in (kind.mean, kind.std):
        assert values is None or len(values) == len(kind.band_names)
    for values in (kind.mean_s1, kind.std_s1):
        assert values is None or len(values) == len(kind.band_names_s1)


def test_a_window_holds_the_pixels_of_the_whole(releases, name):
    data = DATASETS[name](releases(name), 'train')
    height, width = data.size(data.samples[0])
    if height == 1:
        pytest.skip('a table has no windows')
    rows, columns = slice(height // 4, height // 2), slice(width // 3, width // 3 + 3)
    whole, part = data[0], data.read(0, (rows, columns))
    for key in ('image', 'mask_clear', 'image_s1', 'mask', 'mask_clear_s1'):
        if key in whole:
            assert torch.equal(part[key], whole[key][..., rows, columns]), key


def test_bands_are_read_by_name(releases, name):
    kind, root = DATASETS[name], releases(name)
    every = kind(root, 'train')
    chosen = every.band_names[:2][::-1]
    some = kind(root, 'train', bands=chosen)[0]['image']
    places = [every.band_names.index(band) for band in chosen]
    assert torch.equal(some, every[0]['image'][:, places])
    with pytest.raises(SITSError, match='has no bands'):
        kind(root, 'train', bands=['B99'])


def test_travels_to_another_process(releases, name):
    data = DATASETS[name](releases(name), 'train')
    first = data[0]['image']  # files are open now
    assert torch.equal(pickle.loads(pickle.dumps(data))[0]['image'], first)


def test_is_looked_for_where_it_was_said_to_be(releases, name, tmp_path):
    kind = DATASETS[name]
    with pytest.raises(PublishedDataNotFoundError, match=re.escape(kind.about.hosts[0])):
        kind(tmp_path)
    if not kind.about.downloads:
        with pytest.raises(SITSError, match='by hand'):
            kind(tmp_path, download=True)
    assert len(kind(releases(name).parent, 'train'))


def test_few_labels_leave_few_samples(releases, name):
    if DATASETS[name].label_kind == 'none':
        pytest.skip('it has no labels')
    arguments = options_of(name) | {'root': str(releases(name)), 'batch_size': 2}
    few = LabelOptions(supervised=True, fraction=0.5)
    data = PublishedDataModule(**arguments, labels=few)
    data.setup('fit')
    every = PublishedDataModule(**arguments)
    every.setup('fit')
    assert 0 < len(data.train_dataset) < len(every.train_dataset)


def test_one_epoch_of_pretraining_and_of_its_task(releases, name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    kind = DATASETS[name]
    data = ['--config', f'conf/data/{name}.yaml', '--data.root', str(releases(name))]
    train = kind(releases(name), 'train')
    alone = train.size(train.samples[0]) == (1, 1)
    if not alone:
        data += ['--data.crop', '6']
    own = 'points' if alone else 'vicreg'
    main.main(['fit', '--config', f'conf/{own}.yaml', *data, *QUICK, *TINY])
    (pretrained,) = tmp_path.rglob('*-epoch=00.ckpt')
    # What is to be typed next.
    next_line = f'--model.weights {pretrained.relative_to(tmp_path)} '
    next_line += '--data.paths' if kind.label_kind == 'none' else f'--config conf/data/{name}.yaml'
    assert next_line in capsys.readouterr().out
    if kind.label_kind != 'none':
        task = kind.about.config
        main.main(['fit', '--config', f'conf/{task}.yaml', *data, *QUICK, *TINY])
        found = sorted(set(tmp_path.rglob('*-epoch=00.ckpt')) - {pretrained})
        assert len(found) == 1
        main.main(['test', '--ckpt_path', str(found[0]), '--trainer.limit_test_batches', '2'])
        scores = capsys.readouterr().out
        for metric in kind.about.metric:
            if f'test_{metric}' in scores:
                break
        else:
            pytest.fail(f'none of {kind.about.metric} in {scores[-2000:]}')


def test_check_tells_a_damaged_copy_from_a_whole_one(releases, name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    kind = DATASETS[name]
    monkeypatch.setattr(kind, 'official', {})  # which a small release has not
    copy = tmp_path / 'copy'
    shutil.copytree(releases(name), copy)
    main.main(['data', 'check', name, str(copy)])
    assert 'whole' in capsys.readouterr().out
    assert (tmp_path / f'{name}.png').read_bytes()[:4] == b'\x89PNG'
    main.main(['data', 'show', name, str(copy)])
    assert kind.about.title in capsys.readouterr().out
    data = kind(copy, 'train')
    damaged = data.files(data.samples[-1])[-1]
    damaged.unlink()
    if kind.find_in(copy) is not None and len(kind(copy, 'train')) < len(data):
        damaged.touch()  # samples are those whose files are there
    with pytest.raises(SystemExit, match='1'):
        main.main(['data', 'check', name, str(copy)])
    told = capsys.readouterr().err
    # A file that is found by its name is missed by its sample's. One of a whole part is missed
    # before its samples are known.
    assert damaged.name in told or ('is not whole' in told and str(data.samples[-1][0]) in told)


def test_is_listed(name, capsys, tmp_path):
    main.main(['data', 'list', str(tmp_path)])
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith(f'{name} '))
    assert DATASETS[name].about.licence in line
