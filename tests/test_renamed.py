"""Old names of options still work, say what is new, and leave other classes alone."""

import json

import pytest
import yaml
from lightning.pytorch.cli import LightningArgumentParser

from torchgeo_sits.datamodules import (
    ImageOptions,
    LabelOptions,
    PASTISDataModule,
    PatchOptions,
    Sentinel1Options,
    SITSDataModule,
    SITSFusionDataModule,
    SplitOptions,
    SyntheticSITSDataModule,
)
from torchgeo_sits.datasets import Sentinel2TimeSeries
from torchgeo_sits.renamed import (
    PASTIS_OPTIONS,
    SITS_OPTIONS,
    translate_arguments,
    translate_config,
)

#: All options of SITSDataModule as they were, none with its default.
OLD = {
    'mask_paths': 'labels.tif',
    'cloud_paths': 'scl',
    'clear_values': [4, 5],
    'bands': ['B02', 'B03'],
    'dataset_class': 'torchgeo_sits.datasets.Sentinel2TimeSeries',
    'patch_size': 16,
    'length': 40,
    'num_dates': 3,
    'by_block': True,
    'supervised': True,
    'classes': {1: 'a', 2: 'b'},
    'unlabelled': 9,
    'mask_per_frame': True,
    'field_paths': 'fields.tif',
    'label_fraction': 0.5,
    'min_field_pixels': 4,
    'split': 'time',
    'val_fraction': 0.2,
    'test_fraction': 0.1,
    'mean': [0.0, 0.0],
    'std': [1.0, 1.0],
    'crs': 'EPSG:32631',
    'res': 20.0,
    'nodata': -1.0,
    'min_clear': 0.1,
    'filename_regex': '(?P<date>.*)',
    'date_format': '%Y',
    'group_by': 'time',
    'unreadable': 'skip',
    'dataset_kwargs': {'scale': 0.5},
}
NEW = {
    'images': ImageOptions(
        'DIR',
        dataset_class=Sentinel2TimeSeries,
        bands=['B02', 'B03'],
        crs='EPSG:32631',
        res=20.0,
        nodata=-1.0,
        cloud_paths='scl',
        clear_values=[4, 5],
        min_clear=0.1,
        filename_regex='(?P<date>.*)',
        date_format='%Y',
        group_by='time',
        unreadable='skip',
        mean=[0.0, 0.0],
        std=[1.0, 1.0],
        options={'scale': 0.5},
    ),
    'labels': LabelOptions(
        'labels.tif',
        classes={1: 'a', 2: 'b'},
        unlabelled=9,
        per_frame=True,
        supervised=True,
        field_paths='fields.tif',
        fraction=0.5,
        min_field_pixels=4,
    ),
    'split': SplitOptions('time', val_fraction=0.2, test_fraction=0.1),
    'patches': PatchOptions(16, length=40, num_dates=3, by_block=True),
}


def groups(made):
    return {name: getattr(made, name) for name in NEW}


def parsed(args):
    """The data module that a command line gives."""
    parser = LightningArgumentParser()
    parser.add_argument('--config', action='config')
    parser.add_lightning_class_args(SITSDataModule, 'data', subclass_mode=True, required=False)
    return parser.instantiate_classes(parser.parse_args(args)).data


def as_arguments(options):
    return [
        f'--data.{name}={value if isinstance(value, str) else json.dumps(value)}'
        for name, value in options.items()
    ]


def test_keywords():
    with pytest.warns(FutureWarning, match=r'mask_paths.*LabelOptions\(paths=') as caught:
        made = SITSDataModule('DIR', **OLD | {'dataset_class': Sentinel2TimeSeries})
    assert groups(made) == NEW
    assert len([w for w in caught if w.category is FutureWarning]) == 1
    assert caught[0].filename == __file__


def test_keywords_join_the_groups_that_are_given():
    with pytest.warns(FutureWarning):
        made = SITSDataModule('DIR', labels=LabelOptions('l.tif'), num_classes=3)
    assert made.labels == LabelOptions('l.tif', num_classes=3)


def test_keywords_of_the_other_data_modules(tmp_path):
    with pytest.warns(FutureWarning) as caught:
        made = SyntheticSITSDataModule(str(tmp_path), labels='change', supervised=True)
    assert made.unlabelled == 255
    assert made.labels.supervised
    with pytest.warns(FutureWarning) as more:
        fusion = SITSFusionDataModule('DIR', s1_paths='S1', s1_bands=['VV'], patch_size=8)
    assert (fusion.s1.paths, fusion.s1.bands, fusion.patches.size) == ('S1', ['VV'], 8)
    assert len(caught) == len(more) == 1
    with pytest.warns(FutureWarning):
        pastis = PASTISDataModule('DIR', label_fraction=0.1, target='field')
    assert pastis.labels == LabelOptions(fraction=0.1, target='field')


def test_names_that_never_were_are_refused():
    with pytest.raises(TypeError, match='patch_sizes'):
        SITSDataModule('DIR', patch_sizes=16)


@pytest.mark.parametrize('equals', [True, False])
def test_command_line(equals):
    args = ['--data', 'SITSDataModule', '--data.paths=DIR', *as_arguments(OLD)]
    if not equals:
        args = args[:2] + [part for arg in args[2:] for part in arg.split('=', 1)]
    with pytest.warns(FutureWarning, match=r'--data\.mask_paths is now --data\.labels\.paths'):
        new = translate_arguments(args)
    assert groups(parsed(new)) == NEW


def test_command_line_with_parts_of_options():
    args = ['--data', 'SITSDataModule', '--data.dataset_kwargs.scale', '2', '--data.bands+=B02']
    with pytest.warns(FutureWarning):
        new = translate_arguments(args)
    assert new[2:] == ['--data.images.options.scale', '2', '--data.images.bands+=B02']


@pytest.mark.parametrize('full', [True, False])
def test_configuration_of_a_user(tmp_path, full):
    data = {'class_path': 'torchgeo_sits.datamodules.SITSDataModule', 'init_args': {'paths': 'DIR'}}
    data['init_args'] |= OLD if full else {'patch_size': 16, 'patches': {'length': 40}}
    path = tmp_path / 'old.yaml'
    path.write_text(yaml.safe_dump({'data': data}))
    with pytest.warns(FutureWarning, match=r'old\.yaml.*data\.patch_size is now data\.patches'):
        args = translate_arguments(['fit', f'--config={path}', '--data.batch_size=3'])
    made = parsed(args[1:])
    assert made.batch_size == 3
    assert groups(made) == NEW if full else made.patches == PatchOptions(16, length=40)


@pytest.mark.parametrize('names', [('labels', 'supervised'), ('supervised', 'labels')])
def test_plain_value_of_a_group_joins_its_other_options(tmp_path, names):
    values = {'labels': 'change', 'supervised': True}
    path = tmp_path / 'old.yaml'
    options = {name: values[name] for name in names}
    data = {'class_path': 'SyntheticSITSDataModule', 'init_args': options}
    path.write_text(yaml.safe_dump({'data': data}, sort_keys=False))
    with pytest.warns(FutureWarning):
        new = yaml.safe_load(translate_config(str(path)))['data']['init_args']
    assert new == {'labels': {'paths': 'change', 'supervised': True}}


def test_new_names_are_left_as_they_are(tmp_path, recwarn):
    path = tmp_path / 'new.yaml'
    text = 'data: {class_path: SITSDataModule, init_args: {labels: {paths: l.tif}, split: null}}'
    path.write_text(text)
    args = ['fit', '--config', str(path), '--data.labels.paths', 'm.tif', '--data.patches.size=8']
    args += ['--data.split', 'split.yaml', '--data.labels={"paths": "n.tif"}']
    assert translate_arguments(args) == args
    assert translate_config(str(path)) == str(path)
    assert not recwarn


@pytest.mark.parametrize(
    'data', ['EuroSATDataModule', 'torchgeo.datamodules.NAIPChesapeakeDataModule', 'no.such.Class']
)
def test_data_modules_of_others_are_left_alone(data, recwarn):
    args = ['fit', '--data', data, '--data.patch_size=8', '--data.split', 'train']
    assert translate_arguments(args) == args
    assert not [w for w in recwarn if w.category is FutureWarning]


def test_the_class_is_that_of_the_last_configuration(tmp_path):
    for name in ('SyntheticSITSDataModule', 'PASTISDataModule'):
        (tmp_path / f'{name}.yaml').write_text(f'data: {{class_path: {name}}}')
    first = str(tmp_path / 'SyntheticSITSDataModule.yaml')
    second = str(tmp_path / 'PASTISDataModule.yaml')
    with pytest.warns(FutureWarning):
        new = translate_arguments(['-c', first, '-c', second, '--data.label_fraction=0.1'])
    assert new[-1] == '--data.labels.fraction=0.1'
    args = ['-c', first, '-c', second, '--data.patch_size=8']
    assert translate_arguments(args) == args  # PASTIS never had one


def test_modes_of_change_detection_are_tasks(tmp_path):
    path = tmp_path / 'change.yaml'
    task = 'torchgeo_sits.tasks.SITSChangeDetection'
    path.write_text(f'model: {{class_path: {task}, init_args: {{lr: 0.1}}}}')
    with pytest.warns(FutureWarning, match='--model.mode date is now'):
        new = translate_arguments(['fit', '--config', str(path), '--model.mode', 'date'])
    assert new == ['fit', '--config', str(path), '--model', 'torchgeo_sits.tasks.SITSChangeDate']
    args = ['fit', '--model', 'SITSChangeDetection', '--model.mode=series', '--model.lr=1']
    with pytest.warns(FutureWarning):
        assert translate_arguments(args) == ['fit', '--model', 'SITSChangeSeries', '--model.lr=1']
    path.write_text(f'model: {{class_path: {task}, init_args: {{lr: 0.1, mode: series}}}}')
    with pytest.warns(FutureWarning):
        model = yaml.safe_load(translate_config(str(path)))['model']
    assert model == {
        'class_path': 'torchgeo_sits.tasks.SITSChangeSeries',
        'init_args': {'lr': 0.1},
    }


def test_option_of_embed():
    args = ['embed', 'X.ckpt', 'DIR', '--dataset_kwargs', '{scale: 1}']
    assert translate_arguments(args)[3:] == ['--options', '{scale: 1}']


@pytest.mark.parametrize('table', [SITS_OPTIONS, PASTIS_OPTIONS])
def test_tables_name_options_that_there_are(table):
    kinds = {
        'images': ImageOptions,
        'labels': LabelOptions,
        'split': SplitOptions,
        'patches': PatchOptions,
        's1': Sentinel1Options,
    }
    for new in table.values():
        group, _, option = new.partition('.')
        assert hasattr(kinds[group], option)
