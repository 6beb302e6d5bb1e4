"""Runs and their checkpoints: what one was started with, and what another says of itself."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from ..callbacks import CommandLine
from ..errors import SITSError
from ..models import CARD_KEY
from .line import chosen_class, configurations, flat, options, typed_value

__all__ = ['check_class', 'command_line', 'run_configuration']

#: Folders that hold the configurations of the package: of the wheel, and of a clone.
_PACKAGE = tuple(folder / 'conf' for folder in Path(__file__).resolve().parents[1:3])


#: Data modules whose data does not lie in folders that ``--data.paths`` could name.
_WITHOUT_FOLDERS = ('SyntheticSITSDataModule', 'PASTISDataModule', 'PublishedDataModule')


def command_line(args: Sequence[str]) -> CommandLine:
    """Keep what a run is started with, for the commands that it prints at its end.

    Args:
        args: What is typed after the command.

    Returns:
        The options; those of the data apart, without what configurations of the package set.

    Examples:
        >>> from torchgeo_sits.commands.runs import command_line
        >>> command_line(['--data', 'SITSDataModule', '--data.paths', 'DIR', '--seed', '1']).data
        {'data': 'SITSDataModule', 'data.paths': 'DIR'}
    """
    data: dict[str, str] = {}
    configs = []
    for place, config in configurations(args):
        ours = any(Path(place).resolve().is_relative_to(folder) for folder in _PACKAGE)
        section = config.get('data')
        if set(config) == {'data'} and Path(place).is_file():
            configs.append(_short(place))
            if isinstance(section, dict) and section.get('class_path') != data.get('data'):
                data.clear()  # of another class, which a task's configuration named
        elif isinstance(section, dict):
            for name, value in flat({'data': section}):
                # What the package sets for a task is not for the next one.
                if not ours or name in ('data', 'data.paths'):
                    data[name] = value if isinstance(value, str) else typed_value(value)
    for name, value in options(args):
        if name == '--data' or name.startswith('--data.'):
            key = name[2:].replace('.init_args', '').removesuffix('.class_path')
            data[key] = 'true' if value is None else value
    if data.get('data', '').rpartition('.')[2] == 'SyntheticSITSDataModule':
        del data['data']
    return CommandLine(tuple(_short(arg) for arg in args), data, tuple(configs))


def _short(path: str) -> str:
    """Name of a configuration of the package as it is typed; all else as it is."""
    option, equals, value = path.partition('=') if path.startswith('--') else ('', '', path)
    for folder in _PACKAGE:
        if value.endswith('.yaml') and Path(value).resolve().is_relative_to(folder):
            return f'{option}{equals}{Path(value).resolve().relative_to(folder.parent)}'
    return path


def run_configuration(path: str, command: str, args: Sequence[str]) -> list[str]:
    """Take task and data from a checkpoint and its run, where they are not typed.

    Args:
        path: The checkpoint.
        command: The command.
        args: What is typed after it.

    Returns:
        A configuration to go before what is typed; none where a task is typed.

    Raises:
        SITSError: If the checkpoint does not say its task, or nothing says what the data is.
    """
    if chosen_class('model', args) is not None:
        return []
    task = _task_of(path)
    if task is None:
        raise SITSError(f'{path} does not say which task it is of: add --model CLASS, or --config')
    check_class(task, path)
    found: dict[str, Any] = {'model': {'class_path': task}}
    chosen, given = chosen_class('data', args), dict(options(args))
    elsewhere = '--data.paths' in given or '--data.images.paths' in given
    section = _section_of_run(path, task)
    kind = '' if section is None else _name(section['class_path'])
    if section is not None and elsewhere:
        scored = command in ('validate', 'test')
        section = _elsewhere(section, leave=() if scored else ('labels', 'split'))
    # Data without folders has nothing to say of how others are read.
    apart = chosen is None and elsewhere and kind in _WITHOUT_FOLDERS
    if section is not None and not apart and (chosen is None or _name(chosen[0]) == kind):
        for name in _classes(section):
            check_class(name, path)
        found['data'] = section
    elif chosen is None and not elsewhere:
        raise SITSError(
            f'{path} says which task it is of, but no config.yaml of its run is beside it: add '
            '--data.paths DIR, or --config'
        )
    return ['--config', yaml.safe_dump(found)]


def check_class(name: str, path: str) -> None:
    """Refuse to import what a file names, but for the classes of this package and TorchGeo.

    Args:
        name: Dotted path of a class.
        path: The checkpoint, for the message.

    Raises:
        SITSError: If it is a class of others, which must be typed.

    Examples:
        >>> from torchgeo_sits.commands.runs import check_class
        >>> check_class('torchgeo_sits.tasks.SITSSegmentation', 'x.ckpt')
    """
    if name.partition('.')[0] not in ('torchgeo_sits', 'torchgeo') and '.' in name:
        raise SITSError(
            f'{path} or its run names {name}, a class of others, whose import could run any code: '
            'give it yourself, as --model, --data or --config'
        )


def _classes(section: Mapping[str, Any]) -> Iterator[str]:
    """Classes that options of the data name."""
    for name, value in section.items():
        if isinstance(value, dict):
            yield from _classes(value)
        elif name in ('class_path', 'dataset_class') and isinstance(value, str):
            yield value


def _task_of(path: str) -> str | None:
    """Class of the task of a checkpoint, which is read without running anything of it."""
    content = torch.load(path, map_location='cpu', weights_only=True)
    named = content.get('hyper_parameters', {}).get('_class_path')
    if named is None and 'task' in (card := content.get(CARD_KEY, {})):
        named = f'torchgeo_sits.tasks.{card["task"]}'
    return named


def _section_of_run(path: str, task: str) -> dict[str, Any] | None:
    """Options of the data of the run that wrote a checkpoint, from the folder of the run."""
    for folder in Path(path).resolve().parents[:2]:
        [*_, config] = [{}, *(c for _, c in configurations(['--config', f'{folder}/config.yaml']))]
        model, data = config.get('model'), config.get('data')
        if (
            isinstance(model, dict)
            and isinstance(data, dict)
            and _name(str(model.get('class_path'))) == _name(task)
            and data.get('class_path')
        ):
            return data
    return None


def _name(class_path: str) -> str:
    return class_path.rpartition('.')[2]


def _elsewhere(section: dict[str, Any], *, leave: Collection[str]) -> dict[str, Any]:
    """Options of the data without its files, and without groups that are of labels."""
    return {
        name: _elsewhere(value, leave=leave) if isinstance(value, dict) else value
        for name, value in section.items()
        if name not in leave and name != 'paths' and not str(name).endswith('_paths')
    }
