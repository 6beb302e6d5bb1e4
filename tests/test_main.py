"""The command line, as a newcomer meets it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
import yaml
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import LightningCLI
from shapely import box
from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader
from torchgeo.datamodules import BaseDataModule

from torchgeo_sits import __version__, main
from torchgeo_sits.callbacks import PredictionPicture, ViewsPicture
from torchgeo_sits.commands import training
from torchgeo_sits.commands.parser import CommandParser
from torchgeo_sits.commands.runs import command_line
from torchgeo_sits.commands.views import _ViewsTrainer
from torchgeo_sits.datasets import RasterTimeSeries
from torchgeo_sits.models import load_bare_encoder, load_encoder
from torchgeo_sits.tasks import SITSDINO, SITSSegmentation

from .processes import start

ROOT = Path(__file__).resolve().parents[1]
DINO = ['fit', '--config', 'conf/dino.yaml']
TINY = [
    '--trainer.max_epochs=1',
    '--trainer.accelerator=cpu',
    '--data.batch_size=4',
    '--data.patches.length=4',
    '--data.patches.size=16',
    '--model.num_prototypes=16',
]


def run(*args, cwd):
    """Run Python in a process of its own."""
    return subprocess.run(
        [sys.executable, *args], cwd=cwd, capture_output=True, text=True, timeout=280
    )


def in_folder(folder, args):
    os.chdir(folder)
    main.main(args)


def run_command(*args, cwd):
    """Exit code, output and errors of the command in another process."""
    log = cwd / 'log'
    process = start(in_folder, cwd, list(args), log=log)
    process.join(280)
    process.kill()
    return process.exitcode, log.with_suffix('.out').read_text(), log.read_text()


def test_first_questions_and_slips_are_answered_without_loading_torch():
    slips = [
        ['fitt'], ['fit', '--config', 'conf/dinno.yaml'], ['predict', '--ckpt_path', 'none.ckpt'],
        ['embed', 'none.ckpt', '.'], ['cube', 'a', 'b', '--velify'], ['export', 'x.ckpt'],
    ]  # fmt: skip
    questions = [['--help'], ['--version'], *([name, '--help'] for name in main.COMMANDS)]
    code = f"""
import sys
from torchgeo_sits.main import main
for args in {questions}:
    main(args)
for args in {slips}:
    try:
        main(args)
    except SystemExit as end:
        assert end.code in (1, 2), args
    else:
        raise AssertionError(args)
assert 'torch' not in sys.modules, 'torch was loaded'
"""
    done = run('-c', code, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert __version__ in done.stdout
    assert done.stdout.count('usage: ') == 1 + len(main.COMMANDS)
    assert len(done.stderr.splitlines()) == len(slips)


@pytest.mark.parametrize(
    ('command', 'options'),
    [
        ('fit', ['--data.paths', '--data.labels.column', '--model.weights', '--ckpt_path']),
        ('validate', ['--ckpt_path', '--data.paths']),
        ('test', ['--ckpt_path', '--data.paths']),
        ('predict', ['--ckpt_path', '--map.folder', '--map.vectors', '--table.path']),
        ('views', ['--output', '--sample', '--data.paths']),
        ('explain', ['--at', '--output', '--ckpt_path']),
        ('embed', ['--year', '--bounds', '--bands', '--map.folder', '--table.path']),
        ('explore', ['--weights', '--embeddings', '--session', '--bands', '--html', '--port']),
        ('export', ['--licence']),
        ('cube', ['--verify', '--cloud_paths', '--dataset_class']),
    ],
)
def test_help_is_a_screen_with_the_options_of_the_command(command, options, capsys):
    main.main([command, '-h'])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 105
    shown = [line.split()[0] for line in lines if line.startswith('  --')]
    assert set(options) <= set(shown)
    assert any(line.startswith(f'  torchgeo-sits {command} ') for line in lines)
    assert not any(line.rstrip().endswith(('such as {1110', 'EPSG')) for line in lines)


def test_all_options_and_those_of_a_group_are_shown_on_request(capsys):
    for args, shown, hidden in (
        (['predict', '--help', 'all'], '--trainer.num_nodes', None),
        (['predict', '--help=all'], '--map.outputs', None),
        (['predict', '--map.help'], '--map.polygons', '--trainer.num_nodes'),
        (['fit', '--data', 'SITSDataModule', '--data.images.help'], '--data.images.nodata', '.by'),
    ):
        with pytest.raises(SystemExit) as end:
            main.main(args)
        assert end.value.code == 0
        out = capsys.readouterr().out
        assert shown in out
        assert hidden is None or hidden not in out


@pytest.mark.parametrize(
    ('args', 'text'),
    [
        (['fitt'], "no command 'fitt': did you mean fit?"),
        (['fit'], 'fit needs a configuration'),
        (['fit', '--config', 'conf/dinno.yaml'], 'did you mean conf/dino.yaml?'),
        (['predict', '--config', 'conf/segmentation.yaml'], 'add --ckpt_path X.ckpt'),
        (['fit', '--config', 'conf/dino.yaml', '--model.weights', 'a.ckpt'], "'a.ckpt'"),
        (['FIT', '--data', 'SITSDataModule', '--data.path', 'x'], 'mean --data.paths?'),
        (['FIT', '--data', 'SITSDataModule', '--data.patchsize=3'], '--data.patches.size'),
        (['FIT', '--data', 'SITSDatamodule'], 'did you mean SITSDataModule?'),
        (['FIT', '--data', 'SITSDataModule', '--bands', 'B1'], '--data.images.bands?'),
        (['FIT', '--model', 'SITSDIno'], 'did you mean SITSDINO?'),
        (['FIT', '--model.lerning_rate', '1'], 'did you mean --model.lr?'),
        (['FIT', '--trainer.max_epoch', '1'], 'did you mean --trainer.max_epochs?'),
        (['FIT', '--config', 'slip.yaml'], 'slip.yaml: there is no option data.images.bandz'),
        (['FIT', '--data.batch_size', 'many'], "--data.batch_size: expected int, got 'many'"),
        (['views', '--config', 'conf/dino.yaml', '--outputt', 'x'], 'did you mean --output?'),
        (['embed', 'x.ckpt', '.', '--data.images.band', 'x'], 'did you mean --bands?'),
        (['cube', 'a'], 'DST missing'),
    ],
)
def test_slips_are_one_line_with_the_nearest_name(args, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    slip = {'class_path': 'SITSDataModule', 'init_args': {'images': {'bandz': ['B1']}}}
    Path('slip.yaml').write_text(yaml.safe_dump({'data': slip}))
    if args[0] == 'FIT':
        args = [*DINO, *args[1:]]
    with pytest.raises(SystemExit) as end:
        main.main(args)
    assert end.value.code in (1, 2)
    [error] = capsys.readouterr().err.splitlines()
    assert text in error


def test_quoted_home_is_that_of_the_user(tmp_path, series_folder, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'x').symlink_to(series_folder)
    Path('own.yaml').write_text('data: {class_path: SITSDataModule, init_args: {paths: ~/x}}')
    seen = []

    def draw(self, model, datamodule, output='views.png', sample=0):
        seen.append((datamodule.images.paths, output))

    monkeypatch.setattr(_ViewsTrainer, 'views', draw)
    views = ['views', '--config', 'conf/dino.yaml', '--output']
    main.main([*views, '~/a.png', '--data.paths=~/x'])
    main.main([*views, 'b.png', '--data.paths', '[~/x]'])
    main.main([*views, 'b.png', '--config', 'own.yaml'])
    home = str(tmp_path)
    assert seen == [
        (f'{home}/x', f'{home}/a.png'),
        ([f'{home}/x'], 'b.png'),
        (f'{home}/x', 'b.png'),
    ]


def test_help_names_the_configurations_that_exist(capsys):
    main.main(['--help'])
    assert 'conf/dino.yaml' in capsys.readouterr().out


def test_configurations_of_the_package_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for args in (['--config', 'conf/dino.yaml'], ['--config=conf/dino.yaml']):
        [*_, last] = main._find_configs(args)
        path = last.removeprefix('--config=')
        assert yaml.safe_load(Path(path).read_text())['model']['class_path']


def test_configuration_of_the_user_goes_before_that_of_the_package(tmp_path, monkeypatch):
    (tmp_path / 'conf').mkdir()
    shutil.copy(ROOT / 'conf/dino.yaml', tmp_path / 'conf/dino.yaml')
    monkeypatch.chdir(tmp_path)
    args = ['--config', 'conf/dino.yaml']
    assert main._find_configs(args) == args


def test_pretrained_checkpoint_is_fine_tuned_and_scored_by_each_configuration(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    small = [arg for arg in TINY if 'prototypes' not in arg]
    small += ['--data.size=64', '--data.num_dates_written=8', '--data.root', str(tmp_path / 'data')]
    main.main(['fit', '--config', 'conf/dino.yaml', *small, *TINY[-1:]])
    [weights] = tmp_path.glob('logs/dino/**/*.ckpt')
    said = capsys.readouterr().out
    assert len(re.findall(r'^  (before training|after 1 epochs): knn', said, re.MULTILINE)) == 2
    for name in ('learned.png', 'report.html'):
        assert f': {weights.parents[1].relative_to(tmp_path) / name}\n' in said
    report = (weights.parents[1] / 'report.html').read_text()
    assert 'torchgeo-sits fit --config conf/dino.yaml --trainer.max_epochs=1' in report.replace(
        f'{ROOT}/', ''
    )
    assert report.count('data:image/png;base64') == 2  # the views, and what was learned
    assert f'Checkpoint: {weights.relative_to(tmp_path)}' in said
    assert (
        f'--config conf/segmentation.yaml --model.weights {weights.relative_to(tmp_path)}' in said
    )
    for name in ('segmentation', 'change', 'classification'):
        args = ['--config', f'conf/{name}.yaml', *small, '--data.patches.num_dates=4']
        main.main(['fit', *args, '--model.weights', str(weights)])
        said = capsys.readouterr().out
        assert re.search(r'^Epoch 0/0: train_loss [\d.]+, val_loss', said, re.MULTILINE)
        assert 'Best validation, of epoch 0:' in said
        [path] = tmp_path.glob(f'logs/{name}/**/*.ckpt')
        content = torch.load(path, weights_only=True)
        # The encoder and its normalisation are those of the pretraining.
        pretrained = torch.load(weights, weights_only=True)
        assert content['sits']['mean'] == pretrained['sits']['mean']
        assert content['hyper_parameters']['model'] == 'planar_vit_tiny'
        if name == 'segmentation':
            main.main(['validate', *args, '--ckpt_path', str(path)])
            table = capsys.readouterr().out
            assert 'val_AverageF1Score' in table
            # A row for each class in place of one for each of its scores.
            assert re.search(r'^ +winter wheat( +[\d.]+){3} +\d+ +\d+$', table, re.MULTILINE)
            assert 'Classwise' not in table
            self_says = [*args, '--ckpt_path', str(path), '--trainer.max_epochs=2']
            # What is typed goes before what the checkpoint was trained with.
            typed = ['--model.loss=dice', '--model.layer_decay=0.5']
            main.main(['fit', *self_says, *typed, '--trainer.logger.name=again'])
            used = yaml.safe_load(next(tmp_path.glob('logs/again/**/hparams.yaml')).read_text())
            assert (used['loss'], used['layer_decay']) == ('dice', 0.5)
            with pytest.raises(SystemExit):
                main.main(['fit', *self_says, '--model.hidden_dim=8'])
            assert 'weights of the checkpoint are not those of this task' in capsys.readouterr().err
            main.main(['fit', *args, '--data.split.val_fraction=0', '--trainer.logger.name=all'])
            assert list(tmp_path.glob('logs/all/**/*.ckpt'))  # kept without validation


@pytest.mark.parametrize('address', ['http://127.0.0.1:9/x.ckpt', 's3://b/x', 'registry:x'])
def test_checkpoints_at_addresses_are_refused(address, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main.main(['validate', '--config', 'conf/segmentation.yaml', '--ckpt_path', address])
    assert f'--ckpt_path {address} is an address' in capsys.readouterr().err.splitlines()[-1]


class TestNextSteps:
    """The commands that a run prints, run as they are printed."""

    QUICK = ('--trainer.max_epochs=1', '--trainer.accelerator=cpu', '--data.patches.length=2')

    @staticmethod
    def printed(text, command):
        """The command of that name, as a shell would split it."""
        lines = [shlex.split(line) for line in text.splitlines() if 'torchgeo-sits' in line]
        [[program, *args]] = [line for line in lines if line[1] == command]
        assert program == 'torchgeo-sits'
        return args

    @pytest.fixture
    def folder(self, tmp_path, series_folder, monkeypatch):
        """A folder with images and fields, whose names have a space."""
        monkeypatch.chdir(tmp_path)
        for kind in (ViewsPicture, PredictionPicture):  # which take seconds to draw
            for name in ('on_train_batch_start', 'on_validation_batch_end'):
                monkeypatch.setattr(kind, name, getattr(Callback, name))
        (tmp_path / 'my images').symlink_to(series_folder)
        west = [box(600_000, 4_999_680 + 20 * i, 600_400, 4_999_700 + 20 * i) for i in range(16)]
        crops = {'crop': ['wheat', 'maize'] * 8}
        gpd.GeoDataFrame(crops, geometry=west, crs='EPSG:32631').to_file('my fields.gpkg')
        return tmp_path

    def test_own_fields_become_a_map(self, folder, capsys):
        main.main([
            'fit', '--config', 'conf/dino.yaml', '--data.paths', 'my images',
            '--data.images.bands', '[B1,B3]', '--data.labels.paths=my fields.gpkg',
            '--data.labels.column', 'crop', '--data.patches.size=8', '--data.batch_size=2',
            '--data.split.by=fields',
            '--model.model=tempcnn', '--model.num_prototypes=16', *self.QUICK,
        ])  # fmt: skip
        captured = capsys.readouterr()
        said = captured.out
        for noise in ('litlogger', 'FLOPs', 'GPU available', 'TPU'):
            assert noise not in said + captured.err
        main.main([*self.printed(said, 'embed'), '--map.folder=features'])
        with rasterio.open('features/embedding.tif') as file:
            assert file.shape == (32, 40)
        again = next(line for line in said.splitlines() if '--ckpt_path' in line)
        assert again.endswith('.ckpt --trainer.max_epochs 2')
        capsys.readouterr()
        fine_tune = next(line for line in said.splitlines() if '--model.weights' in line)
        main.main([*shlex.split(fine_tune)[1:], *self.QUICK])
        said = capsys.readouterr().out
        predict = self.printed(said, 'predict')
        assert predict[3:] == ['--data.paths', 'my images', '--data.images.bands', '[B1,B3]']
        before = set(folder.rglob('*'))
        main.main(predict)
        with rasterio.open('maps/class.tif') as file:
            assert set(np.unique(file.read(1))) <= {1, 2, 255, file.nodata}
        assert 'QGIS' in capsys.readouterr().out
        # The run says all else: task, bands and labels.
        main.main(self.printed(said, 'validate'))
        shown = capsys.readouterr()
        assert 'val_AverageF1Score' in shown.out
        assert 'dirpath' not in shown.err
        maps = {folder / 'maps', *(folder / 'maps').rglob('*')}
        assert set(folder.rglob('*')) - before == maps  # no logs
        [path] = folder.glob('logs/segmentation/**/*.ckpt')
        shutil.copy(path, 'moved.ckpt')
        with pytest.raises(SystemExit):
            main.main(['predict', '--ckpt_path', 'moved.ckpt'])
        assert 'add --data.paths DIR' in capsys.readouterr().err

    def test_labels_that_are_not_known_are_to_be_filled_in(self):
        task = SITSDINO(model='tempcnn')
        task._trainer = Trainer(logger=False, max_epochs=1)
        task.command_line = command_line(['--data', 'SITSDataModule', '--data.paths', 'DIR'])
        args = self.printed(
            task.next_steps('x.ckpt').replace('to twice', '').split('Train')[0], 'fit'
        )
        assert args[args.index('--data.labels.paths') :][:2] == ['--data.labels.paths', 'FIELDS']
        assert args[-2:] == ['--data.labels.supervised', 'true']

    def test_configurations_of_the_user_are_told_and_those_of_data_kept(self, folder):
        section = {'class_path': 'SITSDataModule', 'init_args': {'paths': 'DIR', 'seed': 3}}
        Path('own.yaml').write_text(yaml.safe_dump({'data': section, 'model': {}}))
        Path('data.yaml').write_text(yaml.safe_dump({'data': section}))
        line = command_line(['--config', 'own.yaml', '--data.seed', '4'])
        assert line.data == {'data': 'SITSDataModule', 'data.paths': 'DIR', 'data.seed': '4'}
        line = command_line(['--config', str(ROOT / 'conf/dino.yaml'), '--config', 'data.yaml'])
        assert line.configs == ('data.yaml',)
        assert line.data == {}
        assert line.typed == ('--config', 'conf/dino.yaml', '--config', 'data.yaml')

    @pytest.mark.parametrize('typed', [False, True])
    def test_names_with_any_characters_are_told_as_they_are_read(self, folder, typed):
        names = {1: 'a\'b"<c>', 2: '../../x', 3: '=cmd|calc', 4: 'line\nbreak', 5: 'null', 6: 'é'}
        colors = {names[1]: 'gold', 'winter wheat': 'red'}
        labels = {'paths': 'l.tif', 'classes': names, 'colors': colors}
        section = {'class_path': 'SITSDataModule', 'init_args': {'paths': 'DIR', 'labels': labels}}
        Path('own.yaml').write_text(yaml.safe_dump({'data': section, 'model': {}}))
        line = command_line(['--config', 'own.yaml'])
        args = shlex.split(line.follow('fit', data=line.data))[2:]
        if typed:  # by whoever pastes that line
            line = command_line(['--data', 'SITSDataModule', *args])
            args = shlex.split(line.follow('fit', data=line.data))[2:]
        parser = CommandParser(exit_on_error=False)
        parser.add_subclass_arguments(BaseDataModule, 'data')
        found = parser.parse_args(['--data=SITSDataModule', *args]).data.init_args
        assert found.labels.classes == names
        assert found.labels.colors == colors
        assert found.paths == 'DIR'

    def test_null_takes_an_option_back(self):
        parser = CommandParser(exit_on_error=False)
        parser.add_subclass_arguments(BaseDataModule, 'data')
        args = ['--data=SITSDataModule', '--data.labels.classes={1: a}']
        found = parser.parse_args([*args, '--data.labels.classes=null']).data.init_args
        assert found.labels.classes is None

    @pytest.mark.parametrize('where', ['checkpoint', 'data'])
    def test_classes_of_others_in_files_are_not_imported(self, folder, where, capsys):
        Path('evil.py').write_text('from pathlib import Path\nPath("ran").touch()\n')
        task = 'torchgeo_sits.tasks.SITSSegmentation'
        values = {'_class_path': 'evil.Task' if where == 'checkpoint' else task}
        content = {'state_dict': {}, 'hyper_parameters': values}
        Path('run/checkpoints').mkdir(parents=True)
        torch.save(content, 'run/checkpoints/x.ckpt')
        data = {
            'class_path': 'SITSDataModule',
            'init_args': {'images': {'dataset_class': 'evil.X'}},
        }
        Path('run/config.yaml').write_text(
            yaml.safe_dump({'model': {'class_path': task}, 'data': data})
        )
        for config in ([], ['--config', 'conf/change.yaml'])[: 1 + (where == 'checkpoint')]:
            with pytest.raises(SystemExit):
                main.main(['predict', '--ckpt_path', 'run/checkpoints/x.ckpt', *config])
            assert 'names evil.' in capsys.readouterr().err
        assert not Path('ran').exists()

    def test_checkpoint_written_from_python_is_mapped(self, folder):
        task = SITSSegmentation(
            model='tempcnn', model_kwargs={'hidden_dim': 8}, in_channels=3, num_classes=3
        )
        trainer = Trainer(accelerator='cpu', logger=False, max_epochs=0)
        trainer.fit(task, DataLoader([0]))
        trainer.save_checkpoint('python.ckpt')
        main.main(['predict', '--ckpt_path', 'python.ckpt', '--data.paths', 'my images'])
        with rasterio.open('maps/class.tif') as file:
            assert file.tags()['CHECKPOINT'] == 'python.ckpt'
            assert file.shape == (32, 40)


def test_masks_beside_rasters_are_found_under_the_settings_of_the_command(tmp_path, monkeypatch):
    for name, value in training.RASTERIO_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    size = {'count': 1, 'width': 2, 'height': 1, 'dtype': 'uint8', 'crs': 'EPSG:32631'}
    place = {'transform': rasterio.Affine(10, 0, 600_000, 0, -10, 5_000_000)}
    path = tmp_path / 'labels.tif'
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(
        path, 'w', driver='GTiff', **size, **place
    ) as file:  # fmt: skip
        file.write(np.array([[[1, 2]]], 'uint8'))
        file.write_mask(np.array([[True, False]]))
    assert path.with_suffix('.tif.msk').exists()
    with rasterio.open(path) as file:
        assert file.read_masks(1).tolist() == [[255, 0]]


def test_own_folder_needs_its_path_only(tmp_path, series_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = ['fit', '--config', 'conf/dino.yaml', '--data', 'SITSDataModule']
    main.main([*args, f'--data.paths={series_folder}', *TINY])
    assert list(tmp_path.glob('logs/**/*.ckpt'))


def test_views_are_drawn_to_a_file(tmp_path, series_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = ['views', '--config', 'conf/dino.yaml', '--data', 'SITSDataModule']
    main.main([*args, f'--data.paths={series_folder}', '--output', 'v.png'])
    assert (tmp_path / 'v.png').read_bytes().startswith(b'\x89PNG')


def test_refusals_are_one_line_that_names_the_value(tmp_path):
    args = ['fit', '--config', 'conf/dino.yaml', '--data', 'SITSDataModule']
    code, _, errors = run_command(*args, '--data.paths=nowhere', cwd=tmp_path)
    assert code == 1
    assert 'Traceback' not in errors
    assert 'nowhere' in errors.splitlines()[-1]


def test_refusals_of_workers_are_told_from_faults():
    def as_a_worker_says_it(function):
        try:
            function()
        except Exception:
            wrapped = ExceptionWrapper(where='in DataLoader worker process 0')
        try:
            wrapped.reraise()
        except Exception as error:
            return main._refusal(error)

    refusal = as_a_worker_says_it(lambda: RasterTimeSeries('nowhere'))
    assert refusal.startswith("'nowhere'")
    assert '\n' not in refusal
    assert as_a_worker_says_it(lambda: 1 / 0) is None


def test_plain_torchgeo_runs_the_same_configuration(tmp_path):
    args = ['fit', '--config', str(ROOT / 'conf/dino.yaml'), *TINY, '--data.size=64']
    args.append('--data.num_dates_written=8')
    done = run('-m', 'torchgeo', *args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]


def test_plugins_of_others_are_loaded_and_a_broken_one_is_named(monkeypatch):
    called = []

    class Plugin:
        def __init__(self, name, load):
            self.name, self.value, self.load = name, f'{name}:register', load

    plugins = [Plugin('broken', lambda: 1 / 0), Plugin('good', lambda: lambda: called.append(1))]
    monkeypatch.setattr(main, 'entry_points', lambda group: plugins)
    with pytest.warns(UserWarning, match=r"'broken'.*ZeroDivisionError"):
        main._load_plugins()
    assert called == [1]


def test_entry_point_registers_the_plugin():
    from importlib.metadata import entry_points

    [plugin] = [p for p in entry_points(group='torchgeo.plugins') if p.name == 'torchgeo_sits']
    plugin.load()()
    from torchgeo.models import list_models

    assert 'planar_vit_tiny' in list_models()


class TestReadableErrors:
    """What is cut to one line, and what keeps its traceback."""

    def test_refusal_that_a_library_wrapped(self, capsys):
        from torchgeo_sits.datamodules import PatchOptions

        def instantiate():
            try:
                PatchOptions(num_dates=0)
            except ValueError as error:
                raise ValueError('Does not validate\nagainst any') from error

        with pytest.raises(SystemExit), main._plain_refusals():
            instantiate()
        assert capsys.readouterr().err == (
            'torchgeo-sits: error: patches.num_dates must be at least 1, got 0\n'
        )

    def test_what_nobody_refused_keeps_its_traceback(self):
        from torchgeo_sits.collate import pad_time

        # Raised by torch, from a line of this package.
        samples = [{'mask': torch.zeros(1)}, {'mask': torch.zeros(1, dtype=torch.cfloat)}]
        samples[1]['mask'] = samples[1]['mask'].to('meta')
        with pytest.raises(RuntimeError), main._plain_refusals():
            pad_time(samples)


@pytest.mark.parametrize('content', [None, b'', b'hello'])
def test_checkpoint_that_lightning_cannot_read_is_refused_before_data_is_read(
    tmp_path, capsys, content
):
    path = tmp_path / 'x.ckpt'
    if content is not None:
        path.write_bytes(content)
    args = ['--config', 'conf/segmentation.yaml', '--data', 'SITSDataModule']
    with pytest.raises(SystemExit):
        main.main(['validate', *args, '--data.paths=nowhere', '--ckpt_path', str(path)])
    [error] = capsys.readouterr().err.splitlines()
    assert 'x.ckpt' in error


def test_checkpoints_of_torchgeo_pass(tmp_path):
    torch.save({'state_dict': {}}, tmp_path / 'x.ckpt')
    training._check_checkpoint(tmp_path / 'x.ckpt')
    training._check_checkpoint('last')
    training._check_checkpoint(None)


def test_wrong_options_are_one_line_without_those_that_are_right(capsys):
    for args, text in (
        (
            ['fit', '--config', 'conf/dino.yaml', '--trainer.max_epochs=many'],
            '--trainer.max_epochs',
        ),
        (['cube', 'a', 'b', '--velify'], '--velify'),
        (['export', 'x.ckpt'], 'MODEL'),
        (['embed'], 'X.ckpt'),
        (['fir'], "'fir'"),
    ):
        with pytest.raises(SystemExit) as end:
            main.main(args)
        assert end.value.code == 2
        [error] = capsys.readouterr().err.splitlines()
        assert error.startswith('torchgeo-sits: error: ')
        assert re.search(text, error)


def test_settings_are_those_of_torchgeo(monkeypatch):
    """Transcribed there, too: this test tells when a release of TorchGeo changes them."""

    def settings(module, run):
        found = {}

        def note(self=None, *args, **kwargs):
            found.update(kwargs)

        for name in training.RASTERIO_ENVIRONMENT:
            monkeypatch.delenv(name, raising=False)
        before = dict(os.environ)
        with monkeypatch.context() as patch:
            patch.setattr(module, '__init__', note)
            run()
        added = {k: v for k, v in os.environ.items() if before.get(k) != v}
        return found, added

    import torchgeo.main

    theirs, variables = settings(LightningCLI, torchgeo.main.main)
    ours, own_variables = settings(LightningCLI, lambda: training.fit([]))
    # But for what would hide masks and headers beside a raster.
    assert own_variables == variables | {'GDAL_DISABLE_READDIR_ON_OPEN': 'TRUE'}
    theirs.pop('args'), theirs.pop('parser_kwargs')
    assert {name: ours[name] for name in theirs} == theirs


def test_warnings_for_users_have_no_line_of_code_and_noise_is_not_printed():
    before = warnings.formatwarning, list(warnings.filters)
    noise = 'The loader does not have many workers which may be a bottleneck'
    with main._plain_warnings():
        shown = warnings.formatwarning(UserWarning('2 files left out'), UserWarning, 'x.py', 1)
        old = warnings.formatwarning(FutureWarning('old'), FutureWarning, 'x.py', 1)
        fault = warnings.formatwarning(RuntimeWarning('x / 0'), RuntimeWarning, 'x.py', 1)
        with warnings.catch_warnings(record=True) as caught:
            warnings.warn(noise, stacklevel=1)
    assert shown == 'torchgeo-sits: warning: 2 files left out\n'
    assert old == 'torchgeo-sits: warning: old\n'
    assert fault.startswith('x.py:1: RuntimeWarning: x / 0')
    assert not caught
    assert (warnings.formatwarning, list(warnings.filters)) == before


class TestRunFolders:
    """Where logs and checkpoints go."""

    @staticmethod
    def fit(*args):
        main.main(['fit', '--config', 'conf/dino.yaml', *TINY, '--data.size=64', *args])

    def test_root_of_the_runs_is_chosen_and_named_by_the_method(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        root = tmp_path / 'runs'
        for _ in range(2):
            self.fit('--data.num_dates_written=8', '--trainer.default_root_dir', str(root))
        for version in ('version_0', 'version_1'):
            run = root / 'dino' / version
            assert (run / 'config.yaml').is_file()
            assert list(run.glob('events*'))
            assert list(run.glob('checkpoints/*.ckpt'))
        assert not (tmp_path / 'logs').exists()

    @pytest.mark.parametrize('name', ['segmentation', 'change', 'classification'])
    def test_folders_and_checkpoints_bear_the_name_of_the_method(self, tmp_path, monkeypatch, name):
        monkeypatch.chdir(tmp_path)
        small = [arg for arg in TINY if 'prototypes' not in arg]
        small += ['--data.size=64', '--data.num_dates_written=8', '--data.patches.num_dates=4']
        main.main(['fit', '--config', f'conf/{name}.yaml', *small, '--model.model=tempcnn'])
        run = Path('logs') / name / 'version_0/checkpoints'
        assert (run / f'{name}-epoch=00.ckpt').is_file()

    def test_single_pixels_train_by_the_name_of_their_method(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        small = [arg for arg in TINY if 'prototypes' not in arg]
        small += ['--data.size=64', '--data.num_dates_written=8', '--model.views_kwargs.pixels=4']
        main.main(['fit', '--config', 'conf/pixels.yaml', *small])
        assert list(Path('logs/vicreg/version_0/checkpoints').glob('*.ckpt'))
        assert 'knn_f1_late' in capsys.readouterr().out

    @pytest.mark.parametrize(
        ('config', 'more'),
        [
            ('segmentation', []),
            ('vicreg', []),
            ('pixels', ['--model.model=null', '--model.model_kwargs=null']),
        ],
    )
    def test_weights_of_the_package_are_where_a_run_begins(
        self, tmp_path, monkeypatch, config, more
    ):
        monkeypatch.chdir(tmp_path)
        small = [arg for arg in TINY if 'prototypes' not in arg]
        small += ['--data.size=64', '--data.num_dates_written=8', '--data.patches.num_dates=4']
        weights = ['--model.weights=sits_s2_tiny', '--model.lr=1e-9']
        main.main(['fit', '--config', f'conf/{config}.yaml', *small, *weights, *more])
        [path] = Path('logs').rglob('*.ckpt')
        encoder, card = load_encoder(path)
        expected, _ = load_bare_encoder('sits_s2_tiny', bands=card['bands'])
        names = [key for key in encoder.state_dict() if key.endswith('time_stage.proj.weight')]
        torch.testing.assert_close(
            encoder.state_dict()[names[0]],
            expected.state_dict()['time_stage.proj.weight'],
            rtol=1e-3,
            atol=1e-5,
        )

    def test_the_last_checkpoint_of_a_run_to_come_is_refused(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        (tmp_path / 'logs/dino').mkdir(parents=True)
        (tmp_path / 'logs/dino/x.ckpt').touch()
        with pytest.raises(SystemExit):
            self.fit('--ckpt_path=last')
        assert 'give the path of a checkpoint, such as logs/dino/x.ckpt' in capsys.readouterr().err

    def test_a_barebones_run_has_nothing_but_steps(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        self.fit('--data.num_dates_written=8', '--trainer.barebones=true')
        assert not list(tmp_path.glob('logs/**/*.ckpt'))

    def test_logger_of_the_user_wins(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        self.fit(
            '--data.num_dates_written=8',
            '--trainer.logger=CSVLogger',
            '--trainer.logger.save_dir=mine',
        )
        assert list(tmp_path.glob('mine/**/metrics.csv'))
        assert list(tmp_path.glob('mine/**/*.ckpt'))
        assert not (tmp_path / 'logs').exists()
