"""Help of one screen for each command, from docstrings as they stand in the sources.

Nothing heavy is imported: what each option means is read from the file of its class.
"""

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ['PAGES', 'Page', 'layout', 'option_texts']

_PACKAGE = Path(__file__).resolve().parents[1]
_WIDTH = 100
_INDENT = 30


@dataclass(frozen=True)
class Page:
    """Help of a command.

    Attributes:
        text: What the command does.
        examples: What may be typed after the command.
        options: Groups of options: what goes before their names, the class or the method whose
            docstring tells them, as ``module:Class``, and their names.
        own: Texts of options that no docstring tells, by name.
        words: What is typed after the command, before its options.
        flags: Options without a value.
        more: Where the rest is told.
    """

    text: str
    examples: tuple[str, ...]
    options: tuple[tuple[str, str, str], ...]
    own: dict[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    more: tuple[str, ...] = ()

    def show(self, command: str) -> str:
        """Lay the page out.

        Args:
            command: Name of the command.

        Returns:
            The lines of the page.

        Examples:
            >>> from torchgeo_sits.commands.pages import PAGES
            >>> PAGES['export'].show('export').splitlines()[0]
            'usage: torchgeo-sits export X.ckpt MODEL [options]'
        """
        usage = ' '.join(['usage: torchgeo-sits', command, *self.words, '[options]'])
        lines = [usage, *textwrap.wrap(self.text, _WIDTH), '', 'examples:']
        lines += [f'  torchgeo-sits {command} {example}' for example in self.examples]
        lines += ['', 'options:']
        lines += [layout(f'--{name}', text, brief=True) for name, text in self.own.items()]
        for prefix, place, names in self.options:
            texts = option_texts(place)
            lines += [layout(f'--{prefix}{n}', texts[n], brief=True) for n in names.split()]
        return '\n'.join([*lines, '', *self.more, f'all: torchgeo-sits {command} --help all'])


def layout(name: str, text: str, *, brief: bool = False) -> str:
    """Lay an option out in two columns.

    Args:
        name: The option.
        text: What it means, as its docstring says it.
        brief: Give the first sentence only.

    Returns:
        One or more lines.

    Examples:
        >>> from torchgeo_sits.commands.pages import layout
        >>> layout('--year', 'Images of this year. None takes all.', brief=True)
        '  --year                      Images of this year'
    """
    text = re.sub(r':\w+:`~?(?:[\w.]+\.)?(\w+)`', r'\1', ' '.join(text.split()))
    text = text.replace('``', '').replace('*', '')
    if brief:
        text = re.split(r'(?<=[\w)\'}\]])\. |; |\.$', text, maxsplit=1)[0]
    lines = textwrap.wrap(text, _WIDTH - _INDENT) or ['']
    head = f'  {name}'
    if len(head) >= _INDENT:
        lines = [head, *(' ' * _INDENT + line for line in lines)]
    else:
        lines = [head.ljust(_INDENT) + lines[0], *(' ' * _INDENT + line for line in lines[1:])]
    return '\n'.join(line.rstrip() for line in lines)


@cache
def option_texts(place: str) -> dict[str, str]:
    """Read what the options of a class mean, without importing it.

    Args:
        place: Module below the package, and class or method, as ``module:Class.method``.

    Returns:
        Texts by name, in the order of the docstring.

    Examples:
        >>> from torchgeo_sits.commands.pages import option_texts
        >>> option_texts('callbacks.map_writer:MapWriter')['folder']
        'Folder of the maps.'
    """
    module, _, names = place.partition(':')
    node: Any = ast.parse(_PACKAGE.joinpath(*module.split('.')).with_suffix('.py').read_text())
    for name in names.split('.'):
        node = next(inner for inner in node.body if getattr(inner, 'name', None) == name)
    inits = [inner for inner in node.body if getattr(inner, 'name', None) == '__init__']
    return {
        name: text for told in (node, *inits) for name, text in _arguments(ast.get_docstring(told))
    }


def _arguments(docstring: str | None) -> Iterator[tuple[str, str]]:
    """Entries of the section ``Args`` of a docstring."""
    section = re.search(r'^Args:\n((?:[ ]+.*\n?|\n(?=[ ]))*)', docstring or '', re.MULTILINE)
    for entry in re.split(r'^ {4}(?=\S)', section[1] if section else '', flags=re.MULTILINE):
        name, _, text = entry.partition(': ')
        if name.isidentifier():
            yield name, ' '.join(text.split())


_SITS = 'datamodules.sits:SITSDataModule'
_IMAGES = 'datamodules.options:ImageOptions'
_LABELS = 'datamodules.options:LabelOptions'
_MAPS = 'callbacks.map_writer:MapWriter'
_TABLES = 'callbacks.table_writer:TableWriter'
_SERIES = 'datasets.raster_series:RasterTimeSeries'

_CONFIG = (
    'Configuration, such as conf/dino.yaml of the package or a file of your own; a later one wins'
)
_CKPT = 'Checkpoint of a run, which says what task it is of and, with its folder, of which data'
_TRAINER = {
    'trainer.accelerator': 'Where to compute: auto, cpu or gpu',
    'trainer.devices': 'Number of devices, or auto',
}
_IMAGE_GROUP = ('data.images.', _IMAGES, 'bands cloud_paths clear_values dataset_class crs res')
_LABEL_GROUP = ('data.labels.', _LABELS, 'paths column classes')
_CLASSES = (
    'of a group: torchgeo-sits {} --data SITSDataModule --data.images.help',
    'of a class: torchgeo-sits {} --data.help SITSDataModule, or --model.help SITSDINO',
)


def _scoring(what: str, split: str) -> Page:
    """Page of a command that scores a checkpoint."""
    return Page(
        f'Score a checkpoint of a task with labels on the {split} data of its run, or on others.',
        (
            '--ckpt_path X.ckpt',
            '--ckpt_path X.ckpt --data.paths DIR --data.labels.paths fields.gpkg \\\n'
            '      --data.labels.column crop',
        ),
        (
            ('data.', _SITS, 'paths'),
            _IMAGE_GROUP,
            _LABEL_GROUP,
            ('data.split.', 'datamodules.options:SplitOptions', 'by val_fraction test_fraction'),
            ('data.', _SITS, 'batch_size num_workers'),
        ),
        {'ckpt_path': _CKPT, 'config': _CONFIG, **_TRAINER},
        more=tuple(line.format(what) for line in _CLASSES),
    )


#: The page of each command.
PAGES = {
    'fit': Page(
        'Pretrain on image time series, or train with labels, as the configuration says. The end '
        'of a run prints the commands that come next.',
        (
            '--config conf/dino.yaml --data.paths DIR',
            '--config conf/segmentation.yaml --model.weights X.ckpt --data.paths DIR \\\n'
            '      --data.labels.paths fields.gpkg --data.labels.column crop '
            '--data.labels.supervised true',
        ),
        (
            ('data.', _SITS, 'paths'),
            ('data.images.', _IMAGES, 'bands cloud_paths dataset_class'),
            ('data.labels.', _LABELS, 'paths column classes supervised fields_per_class'),
            ('data.split.', 'datamodules.options:SplitOptions', 'by'),
            ('data.patches.', 'datamodules.options:PatchOptions', 'size num_dates'),
            ('data.', _SITS, 'batch_size num_workers'),
            ('model.', 'tasks.labelled:SITSLabelled', 'weights lr'),
        ),
        {
            'config': _CONFIG,
            'trainer.max_epochs': 'Number of epochs',
            'trainer.accelerator': _TRAINER['trainer.accelerator'],
            'trainer.default_root_dir': 'Folder of logs and checkpoints; logs by default',
            'ckpt_path': 'Checkpoint of a run that is to go on',
            'print_config': 'Print all options and their values as a configuration, and stop',
        },
        flags=('print_config',),
        more=tuple(line.format('fit') for line in _CLASSES),
    ),
    'validate': _scoring('validate', 'validation'),
    'test': _scoring('test', 'test'),
    'predict': Page(
        'Map a folder of dated rasters with a checkpoint of a task with labels, or write a table '
        'of predictions for points.',
        (
            '--ckpt_path X.ckpt --data.paths DIR',
            '--ckpt_path X.ckpt --data.paths DIR --map.folder maps/2021 --map.vectors gpkg',
            '--ckpt_path X.ckpt --data.paths points.csv --table.path predictions.parquet',
        ),
        (
            ('data.', _SITS, 'paths'),
            _IMAGE_GROUP,
            (
                'map.',
                _MAPS,
                'folder window overlap exact horizon values min_area vectors polygons quantise '
                'outputs',
            ),
            ('table.', _TABLES, 'path'),
        ),
        {'ckpt_path': _CKPT, 'config': _CONFIG, **_TRAINER},
        more=(
            *(line.format('predict') for line in _CLASSES),
            'of maps: torchgeo-sits predict --map.help',
        ),
    ),
    'views': Page(
        'Draw a sample, and the views that a pretraining makes of it, to a picture. Options are '
        'those of fit.',
        (
            '--config conf/dino.yaml --data.paths DIR',
            '--config conf/dino.yaml --data.paths DIR --sample 3 --output sample3.png',
        ),
        (
            ('', 'commands.views:_ViewsTrainer.views', 'output sample'),
            ('data.', _SITS, 'paths'),
            _IMAGE_GROUP,
            ('data.patches.', 'datamodules.options:PatchOptions', 'size num_dates'),
            ('model.', 'tasks.pretraining:SITSPretraining', 'views views_kwargs'),
        ),
        {'config': _CONFIG},
        more=tuple(line.format('views') for line in _CLASSES),
    ),
    'explain': Page(
        'Show which dates and pixels a prediction rests on, as a picture, tables and a map.',
        (
            '--ckpt_path X.ckpt --data.paths DIR --at 4.35,50.85',
            '--ckpt_path X.ckpt --data.paths DIR --at 600305,4999905 --output field7',
        ),
        (
            ('', 'commands.explain:_Explainer.explain', 'at output'),
            ('data.', _SITS, 'paths'),
            _IMAGE_GROUP,
            ('data.patches.', 'datamodules.options:PatchOptions', 'size'),
        ),
        {'ckpt_path': _CKPT, 'config': _CONFIG, **_TRAINER},
        more=tuple(line.format('explain') for line in _CLASSES),
    ),
    'embed': Page(
        'Embed each pixel of a folder of dated rasters with the encoder of a checkpoint: a GeoTIFF '
        'with a band for each feature, for k-NN maps, clustering, or a classifier of your own. Of '
        'a table of points (.csv or .parquet) a table of features is written. A run that was '
        'stopped goes on where it was when the same command is given again.',
        (
            'X.ckpt DIR --year 2021',
            'X.ckpt DIR --start 2021-03-01 --stop 2021-06-30',
            'X.ckpt DIR --year 2021 --every 14d --map.stack true',
            'X.ckpt DIR --every 1M --over 3M --polygons fields.gpkg',
            'X.ckpt DIR --bands [B02,B03,B04,B08] --map.folder embeddings --map.quantise true',
            'X.ckpt points.csv --table.path embeddings.parquet',
        ),
        (
            ('', _IMAGES, 'bands cloud_paths clear_values quality dataset_class crs res nodata'),
            ('map.', _MAPS, 'folder window exact quantise stack'),
            ('table.', _TABLES, 'path'),
        ),
        {
            'year': 'Images of this year only',
            'start': 'First day of the images, as YYYY-MM-DD',
            'stop': 'Last day of the images, as YYYY-MM-DD',
            'every': 'Embed the days up to each step: 14d, 2w, 1M, season or 1y',
            'over': 'With every, embed the last days of each step alone: 90d, 3M, 1y',
            'at': 'File of points, such as CSV with lon and lat, to write a table of',
            'polygons': 'File of polygons, such as fields, to write a table with a row for each; '
            'as for points, only the windows that they touch are computed',
            'bounds': 'West, south, east and north edge of the region, in the CRS of the data',
            's1': 'Folder of Sentinel-1 images, for a checkpoint that takes these',
            'num_workers': 'Number of processes that read',
            'depth': 'Features: late, early (what the dates of a pixel say), or joined',
            'blocks': 'Path blocks of a planar encoder to run; 0 embeds each pixel by itself, at '
            'less than half the cost',
            'precision': 'bf16-mixed computes in half precision, which many processors have',
        },
        words=('X.ckpt', 'DIR'),
        more=('of points: torchgeo-sits embed X.ckpt points.csv --help all',),
    ),
    'explore': Page(
        'Open a page in the browser: look at the images of a series date by date and at its '
        'embeddings, ask any pixel for its series and what is like it, label a few pixels or '
        'polygons, and get a map at once. Labels are saved as they are made, in a folder that '
        'opens again; nothing is reachable from other machines.',
        (
            'DIR --embeddings embeddings/embedding.tif --classes maize,wheat,grass',
            'DIR --weights X.ckpt --cloud_paths SCL',
            'DIR --session explored --html report.html',
        ),
        (('', _IMAGES, 'bands cloud_paths clear_values quality dataset_class crs res nodata'),),
        {
            'embeddings': 'Raster of embeddings of these images, as embed writes it; that of the '
            'session by default',
            'weights': 'Checkpoint to embed the images with first, into the folder of the session',
            'classes': 'Names of classes to begin with, with commas between them',
            'session': 'Folder of labels and maps; explored by default',
            'maps': 'List of other maps to show, such as [maps/class.tif]',
            'html': 'Write images, map and series of the labels as one file, and stop',
            'port': 'Port of the server; any that is free by default',
            'host': 'Address of the interface; that of this machine alone by default',
        },
        words=('DIR',),
        more=('of a published model: --weights presto',),
    ),
    'export': Page(
        "Write the model of a checkpoint as a graph that needs none of this package's code: ONNX, "
        'or the .pt2 of torch.export. It takes series of any number of dates and any size as they '
        'are read, and normalises them itself. A task with labels gives probabilities (for dates '
        'of change the date, too), the encoder of a pretraining embeddings and dense features. The '
        'file is held against the checkpoint before it is kept.',
        ('X.ckpt model.onnx', 'X.ckpt model.pt2 --licence CC-BY-4.0'),
        (),
        {'licence': 'Licence of the weights, to be stated on the card'},
        words=('X.ckpt', 'MODEL'),
        more=(
            'then, in Python:',
            "  onnxruntime.InferenceSession('model.onnx')",
            "  torchgeo_sits.exporting.load_pt2('model.pt2', trust=True)  # it can run code",
            "  torchgeo_sits.exporting.read_card('model.onnx')  # bands, classes, training data",
            '',
        ),
    ),
    'compare': Page(
        'Map what changed between two embeddings of one place, without labels: how far the '
        'features of each pixel are apart, beside how far they are where nothing changed.',
        (
            '2019/embedding.tif 2021/embedding.tif --output change.tif',
            '2019/embedding.tif 2021/embedding.tif --stable 2018/embedding.tif 2019/embedding.tif',
        ),
        (),
        {
            'stable': 'Two embeddings between which nothing changed; by default most pixels of the '
            'pair itself are taken to be unchanged',
            'output': 'Cloud-Optimised GeoTIFF to write (default: change.tif)',
        },
        words=('BEFORE.tif', 'AFTER.tif'),
        more=('make the embeddings: torchgeo-sits embed X.ckpt DIR --year 2019 --map.folder 2019',),
    ),
    'push': Page(
        'Put the encoder of a checkpoint on the Hub of Hugging Face, or into a folder: the weights '
        'as safetensors, the card as JSON, and a page of the model that says what the card does. '
        'All that takes a checkpoint to start from takes hf://ORG/REPO, or the folder.',
        (
            'X.ckpt hf://ORG/REPO --licence CC-BY-4.0',
            'X.ckpt hf://ORG/REPO@BRANCH --private',
            'X.ckpt FOLDER',
        ),
        (),
        {
            'private': 'Make a new repository private',
            'licence': 'Licence of the weights; that of the card by default, if it states one',
        },
        words=('X.ckpt', 'TARGET'),
        flags=('private',),
        more=(
            'log in first: hf auth login, or a token in HF_TOKEN',
            "then, in Python: torchgeo_sits.models.load_encoder('hf://ORG/REPO')",
        ),
    ),
    'data': Page(
        'List the published data sets of image time series, check that one is whole (all files '
        'are there, splits are complete, some samples are read), or show what it holds. A sample '
        'is drawn to a picture.',
        ('list', 'check breizhcrops DIR', 'show dynamicearthnet DIR --output month.png'),
        (),
        {
            'dataset_kwargs': 'Arguments of the data set, such as {level: L2A}',
            'samples': 'Number of samples of each part to read',
            'output': 'Picture to write; NAME.png by default',
        },
        words=('list|check|show',),
        more=('to train: torchgeo-sits fit --config conf/dino.yaml --config conf/data/NAME.yaml',),
    ),
    'cube': Page(
        'Convert dated rasters, NetCDF files or other Zarr stores to a cube: a Zarr store in which '
        'all dates of a place lie side by side, so that patches are read several times as fast. '
        'xarray opens it too. A conversion that was stopped in any way goes on where it was when '
        'the same command is given again. What is converted is only read.',
        (
            'images series.zarr',
            "images series.zarr --cloud_paths scl --clear_values '[2,4,5,6,7]' --verify",
            'SAFE_2021 SAFE_2022 series.zarr --dataset_class Sentinel2TimeSeries',
            "cube.nc series.zarr --cloud_variable SCL --clear_values '[2,4,5,6,7]'",
        ),
        (
            ('', _SERIES, 'res bands cloud_paths clear_values quality nodata filename_regex'),
            ('', _SERIES, 'date_format group_by unreadable'),
            ('', 'datasets.cf_series:CFTimeSeries', 'cloud_variable'),
        ),
        {
            'verify': 'Read everything again and compare the cube with the source bit for bit',
            'dataset_class': 'Kind of series, such as Sentinel2TimeSeries. RasterTimeSeries by '
            'default, CFTimeSeries for NetCDF and Zarr. Its own options are shown with it',
            'crs': 'Coordinate reference system to warp to, such as EPSG:32631; by default that '
            'of the first file',
        },
        words=('SRC', 'DST'),
        flags=('verify',),
        more=(
            "then, in Python: torchgeo_sits.datasets.ZarrTimeSeries('series.zarr')",
            'of a kind: torchgeo-sits cube --dataset_class Sentinel2TimeSeries --help all',
        ),
    ),
}
