"""What is said of a command line before anything heavy is imported."""

import json
import os
import re
from collections.abc import Collection, Sequence
from glob import glob, has_magic
from pathlib import Path

import yaml

from ..errors import SITSError
from ..weight_names import find_on_hub, find_published
from .line import chosen_class, configurations, options
from .pages import PAGES, option_texts
from .spelling import did_you_mean, is_known

__all__ = [
    'as_words',
    'check_files',
    'check_names',
    'check_words',
    'expand_home',
    'help_page',
]

#: Checkpoints that Lightning looks up itself.
_LOOKED_UP = ('best', 'last', 'hpc', 'registry')
#: Commands that do nothing without a checkpoint.
_OF_CHECKPOINTS = ('predict', 'explain', 'validate', 'test')
#: Classes whose options the commands without configurations take.
_CLASSES = {
    'embed': (
        ('', 'datamodules.options:ImageOptions'),
        ('', 'datamodules.points:TableOptions'),
        ('map.', 'callbacks.map_writer:MapWriter'),
        ('table.', 'callbacks.table_writer:TableWriter'),
    ),
    'explore': (('', 'datamodules.options:ImageOptions'),),
    'export': (),
    'push': (),
    'compare': (),
    'data': (),
    'cube': (
        ('', 'datasets.raster_series:RasterTimeSeries'),
        ('', 'datasets.sentinel2:Sentinel2TimeSeries'),
        ('', 'datasets.landsat:LandsatTimeSeries'),
        ('', 'datasets.cf_series:CFTimeSeries'),
        ('', 'datasets.stac_series:StacTimeSeries'),
        ('', 'datasets.zarr_series:ZarrTimeSeries'),
    ),
}


def help_page(command: str, args: Sequence[str]) -> tuple[str | None, list[str]]:
    """Answer a question for help, unless all options are asked for.

    Args:
        command: The command.
        args: What is typed after it.

    Returns:
        The page, or None; and what is left to the parser, for which ``--help all`` is ``--help``.

    Examples:
        >>> from torchgeo_sits.commands.checks import help_page
        >>> help_page('cube', ['--help', 'all'])
        (None, ['--help'])
    """
    rest = ['--help' if arg in ('-h', '--help=all') else arg for arg in args]
    if '--help' not in rest:
        return None, rest
    place = rest.index('--help')
    if '--help=all' in args:
        return None, rest
    if rest[place + 1 : place + 2] == ['all']:
        return None, [*rest[: place + 1], *rest[place + 2 :]]
    return PAGES[command].show(command), rest


def expand_home(args: Sequence[str]) -> list[str]:
    """Write ``~`` out, which shells leave as it is in quotes and behind ``=``.

    Args:
        args: What is typed.

    Returns:
        The same, with the folder of the user in its place at the start of each value.

    Examples:
        >>> import os
        >>> from torchgeo_sits.commands.checks import expand_home
        >>> expand_home(['--data.paths=~/x']) == [f'--data.paths={os.path.expanduser("~/x")}']
        True
    """
    found = []
    for arg in args:
        name, equals, value = arg.partition('=') if arg.startswith('--') else ('', '', arg)
        if value[:1] == '[' and value[-1:] == ']':
            items = [item.strip() for item in value[1:-1].split(',')]
            if any(item.strip('\'"')[:2] == '~/' for item in items):
                value = json.dumps([os.path.expanduser(item.strip('\'"')) for item in items])
        elif value == '~' or value[:2] == '~/':
            value = os.path.expanduser(value)
        found.append(f'{name}{equals}{value}')
    return found


def as_words(args: Sequence[str]) -> list[str]:
    """Understand the options of ``embed`` as they are typed for other commands.

    Args:
        args: What is typed after ``embed``.

    Returns:
        Checkpoint and folders, then options without ``--data.`` and the name of its group.

    Examples:
        >>> from torchgeo_sits.commands.checks import as_words
        >>> as_words(['--ckpt_path', 'X.ckpt', '--data.paths=DIR', '--data.images.bands', '[B04]'])
        ['X.ckpt', 'DIR', '--bands', '[B04]']
    """
    words = _words('embed', args)
    paths: list[str] = []
    rest: list[str] = []
    for name, value in options(args):
        option = re.sub(r'^--data\.(init_args\.)?(?:(?:images|table)\.)?', '--', name)
        if name == '--ckpt_path' and value is not None:
            words.insert(0, value)
        elif option == '--paths' and value is not None:
            found = yaml.safe_load(value) if value[:1] == '[' else [value]
            paths += map(str, found)
        elif name not in ('--data', '--data.class_path'):
            rest += [option] if value is None else [option, value]
    return [*words, *paths, *rest]


def check_files(command: str, args: Sequence[str], configs: Collection[str]) -> None:
    """Refuse checkpoints and configurations that are not there, or not given.

    Args:
        command: The command.
        args: What is typed after it.
        configs: Configurations that come with the package.

    Raises:
        SITSError: If a checkpoint is needed, or a configuration, and none is given.
        FileNotFoundError: If there is no such file.
    """
    given = options(args)
    for name, value in given:
        if value is None:
            continue
        # YAML as text is a configuration, too.
        is_path = name in ('--config', '-c') and not re.search(r'[{\n]|: ', value)
        if is_path and not Path(value).is_file():
            near = did_you_mean(value, {*configs, *_beside(value, 'yaml')}, separator='/')
            raise FileNotFoundError(f"--config: there is no file '{value}'{near}")
        weights = ('--ckpt_path', '--model.weights', '--model.init_args.weights', '--weights')
        if name in weights:
            _check_checkpoint(value, name)
    if command in ('embed', 'export', 'push') and (words := _words(command, args)):
        _check_checkpoint(words[0], command)
    names = {name for name, _ in given}
    loaded = [config for _, config in configurations(args)]
    if any(name.startswith('--print_config') or name.endswith('help') for name in names):
        return
    has_checkpoint = '--ckpt_path' in names or any(config.get('ckpt_path') for config in loaded)
    if command in _OF_CHECKPOINTS and not has_checkpoint:
        raise SITSError(
            f'{command} needs the checkpoint of a run: add --ckpt_path X.ckpt, such as '
            'logs/segmentation/version_0/checkpoints/segmentation-epoch=07.ckpt'
        )
    if command in ('fit', 'views') and chosen_class('model', args) is None:
        raise SITSError(
            f'{command} needs a configuration that says what to train: add '
            '--config conf/dino.yaml, or another of conf/'
        )


def _check_checkpoint(path: str, name: str) -> None:
    """Refuse a checkpoint that is not there; those of the Hub are looked up later."""
    published = find_published(path)
    if published is None and name != '--ckpt_path' and find_on_hub(path) is not None:
        return
    if published is not None:
        named, file = published
        if file is not None and find_on_hub(file) is None and not os.path.exists(file):
            raise FileNotFoundError(f"{name}: there is no file '{file}' of the weights of {named}")
        return
    if path.startswith(_LOOKED_UP) or '://' in path or path in ('null', ''):
        return
    if not os.path.exists(path):
        near = did_you_mean(path, _beside(path, 'ckpt'), separator='/')
        raise FileNotFoundError(
            f"{name}: no checkpoint at '{path}'{near or ': give the path of a .ckpt file'}"
        )


def _beside(path: str, suffix: str) -> list[str]:
    """Files of a kind in the folder of a path, and of any run in logs."""
    folder = glob(f'{os.path.dirname(path) or "."}/*.{suffix}') if not has_magic(path) else []
    return [os.path.normpath(p) for p in [*folder, *glob(f'logs/*/*/checkpoints/*.{suffix}')]]


def check_names(command: str, args: Sequence[str]) -> None:
    """Refuse options that there are not, of commands without configurations.

    Args:
        command: The command.
        args: What is typed after it.

    Raises:
        NameError: If there is no such option.
    """
    if command not in _CLASSES:
        return
    given = dict(options(args))
    if '.' in str(given.get('--dataset_class', '')):
        return  # a class of one's own, with options of its own
    known = ['help', 'config', 'print_config', 'dataset_class', *PAGES[command].own]
    for prefix, place in _CLASSES[command]:
        known += [f'{prefix}{name}' for name in option_texts(place)]
    for typed in given:
        name = typed.removeprefix('--').rstrip('+').removesuffix('.help')
        if not is_known(name, known):
            raise NameError(f'there is no option {typed}{did_you_mean(name, known, dashes="--")}')


def check_words(command: str, args: Sequence[str]) -> None:
    """Refuse a command that lacks what is typed before its options.

    Args:
        command: The command.
        args: What is typed after it.

    Raises:
        NameError: If a word is missing.
    """
    wanted = PAGES[command].words
    missing = wanted[len(_words(command, args)) :]
    asks = any(name.endswith(('help', 'print_config')) for name, _ in options(args))
    if missing and not asks:
        usage = f'torchgeo-sits {command} {" ".join(wanted)}'
        raise NameError(f'{" and ".join(missing)} missing: expected {usage}')


def _words(command: str, args: Sequence[str]) -> list[str]:
    """What is typed beside the options and their values."""
    flags = [f'--{name}' for name in PAGES[command].flags]
    words, is_value = [], False
    for arg in args:
        if arg.startswith('--'):
            is_value = '=' not in arg and arg not in flags
        elif not is_value:
            words.append(arg)
        else:
            is_value = False
    return words
