"""Old names of options, understood for one release.

Without this file, ``take_old_names`` above the data modules and ``translate_arguments`` in the
command line, old names are errors; nothing else knows them.
"""

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

__all__ = [
    'CHANGE_TASKS',
    'PASTIS_OPTIONS',
    'SITS_OPTIONS',
    'take_old_names',
    'translate_arguments',
    'translate_config',
]

#: Options of SITSDataModule and its subclasses: where each is now.
SITS_OPTIONS = {
    'dataset_class': 'images.dataset_class',
    'bands': 'images.bands',
    'crs': 'images.crs',
    'res': 'images.res',
    'nodata': 'images.nodata',
    'cloud_paths': 'images.cloud_paths',
    'clear_values': 'images.clear_values',
    'min_clear': 'images.min_clear',
    'filename_regex': 'images.filename_regex',
    'date_format': 'images.date_format',
    'group_by': 'images.group_by',
    'unreadable': 'images.unreadable',
    'mean': 'images.mean',
    'std': 'images.std',
    'dataset_kwargs': 'images.options',
    'mask_paths': 'labels.paths',
    'classes': 'labels.classes',
    'num_classes': 'labels.num_classes',
    'unlabelled': 'labels.unlabelled',
    'mask_per_frame': 'labels.per_frame',
    'supervised': 'labels.supervised',
    'target': 'labels.target',
    'field_paths': 'labels.field_paths',
    'fields_per_class': 'labels.fields_per_class',
    'label_fraction': 'labels.fraction',
    'min_field_pixels': 'labels.min_field_pixels',
    'val_fraction': 'split.val_fraction',
    'test_fraction': 'split.test_fraction',
    'patch_size': 'patches.size',
    'length': 'patches.length',
    'num_dates': 'patches.num_dates',
    'by_block': 'patches.by_block',
    's1_paths': 's1.paths',
    's1_bands': 's1.bands',
    's1_nodata': 's1.nodata',
    's1_mean': 's1.mean',
    's1_std': 's1.std',
}

#: Options of PASTISDataModule: where each is now.
PASTIS_OPTIONS = {
    'target': 'labels.target',
    'fields_per_class': 'labels.fields_per_class',
    'label_fraction': 'labels.fraction',
}

#: Groups that were plain values, such as ``split='fields'``: where the value is now.
_PLAIN = {'labels': 'labels.paths', 'split': 'split.by'}

#: Values of ``mode`` of SITSChangeDetection: the task of each now.
CHANGE_TASKS = {
    'pair': 'SITSChangeDetection',
    'series': 'SITSChangeSeries',
    'date': 'SITSChangeDate',
}


def take_old_names[**P](
    table: Mapping[str, str], **groups: type[Any]
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Let ``__init__`` of a class with options in groups take their old names too.

    Args:
        table: Where the option of each old name is now, as ``group.option``.
        **groups: Dataclass of each group that the class takes.

    Returns:
        A decorator of ``__init__``.

    Examples:
        >>> import warnings
        >>> from torchgeo_sits.datamodules import SITSDataModule
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter('always')
        ...     data = SITSDataModule(patch_size=16)
        >>> data.patches.size, caught[0].category.__name__
        (16, 'FutureWarning')
    """
    table = {old: new for old, new in table.items() if new.partition('.')[0] in groups}
    plain = {group: new for group, new in _PLAIN.items() if group in groups}

    def decorate(init: Callable[P, None]) -> Callable[P, None]:
        @wraps(init)
        def wrapper(*args: Any, **kwargs: Any) -> None:
            old = {name: kwargs.pop(name) for name in table if name in kwargs}
            old |= {
                name: kwargs.pop(name)
                for name in plain
                if isinstance(kwargs.get(name), str | list | tuple)
            }
            given: dict[str, dict[str, Any]] = {}
            for name, value in old.items():
                group, _, option = (table | plain)[name].partition('.')
                given.setdefault(group, {})[option] = value
            for group, options in given.items():
                kwargs[group] = replace(kwargs.get(group, groups[group]()), **options)
            if old:
                now = ', '.join(
                    f'{group}={groups[group].__name__}({", ".join(f"{o}=..." for o in options)})'
                    for group, options in given.items()
                )
                warnings.warn(
                    f'{type(args[0]).__name__}: old names of options, {", ".join(old)}, will not '
                    f'be understood in the next release: write {now}',
                    FutureWarning,
                    stacklevel=2,
                )
            init(*args, **kwargs)

        wrapper.old_names = table | plain  # type: ignore[attr-defined]
        return wrapper

    return decorate


def translate_arguments(args: Sequence[str]) -> list[str]:
    """Translate old names on a command line, and in the configurations that it names.

    Args:
        args: Arguments without the name of the program; configurations as paths.

    Returns:
        The arguments in new names. A configuration with old names is replaced by its text.

    Examples:
        >>> from torchgeo_sits.renamed import translate_arguments
        >>> import warnings
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter('ignore')
        ...     translate_arguments(['fit', '--data', 'SITSDataModule', '--data.patch_size=16'])
        ['fit', '--data', 'SITSDataModule', '--data.patches.size=16']
    """
    args = list(args)
    if args[:1] == ['embed']:
        return [re.sub(r'^--dataset_kwargs\b', '--options', arg) for arg in args]
    configs = [i for i, (name, _) in enumerate(_pairs(args)) if name in ('--config', '-c')]
    loaded = [_load(_pairs(args)[i][1]) for i in configs]
    data = _last_class(args, 'data', loaded)
    model = _last_class(args, 'model', loaded)
    for i in configs:
        name, path = _pairs(args)[i]
        text = translate_config(path, data, model)
        if args[i] == name:
            args[i + 1] = text
        else:
            args[i] = f'{name}={text}'
    args, renamed = _rename_data(args, _old_names(data))
    if model.rpartition('.')[2] == 'SITSChangeDetection':
        args, moved = _move_mode(args, model)
        renamed |= moved
    if renamed:
        _warn('the command line', renamed)
    return args


def translate_config(path: str, data: str = '', model: str = '') -> str:
    """Translate the old names in a configuration.

    Args:
        path: The YAML file.
        data: Class of the data module where the file names none.
        model: Class of the task where the file names none.

    Returns:
        *path* where there are no old names in it, else the text of the configuration in new
        names, which ``--config`` takes as well.

    Examples:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import warnings
        >>> from torchgeo_sits.renamed import translate_config
        >>> old = 'data: {class_path: SITSDataModule, init_args: {patch_size: 16}}'
        >>> with TemporaryDirectory() as folder, warnings.catch_warnings():
        ...     warnings.simplefilter('ignore')
        ...     path = Path(folder) / 'old.yaml'
        ...     _ = path.write_text(old)
        ...     print(translate_config(str(path)).strip())
        data:
          class_path: SITSDataModule
          init_args:
            patches:
              size: 16
    """
    config = _load(path)
    renamed: dict[str, str] = {}
    section = config.get('data')
    if isinstance(section, dict):
        table = _old_names(section.get('class_path') or data)
        options = section.get('init_args', section)
        names = list(options) if isinstance(options, dict) else []
        # A plain value first: its group is a mapping as soon as another option is in it.
        for name in sorted(names, key=lambda name: name not in _PLAIN):
            group, _, option = table.get(name, '').partition('.')
            if not group or (
                name == group and (options[name] is None or isinstance(options[name], dict))
            ):
                continue
            value = options.pop(name)
            if not isinstance(options.get(group), dict):
                options.pop(group, None)
            options.setdefault(group, {})[option] = value
            renamed[f'data.{name}'] = f'data.{group}.{option}'
    section = config.get('model')
    if isinstance(section, dict):
        task = section.get('class_path') or model
        options = section.get('init_args', section)
        if task.rpartition('.')[2] == 'SITSChangeDetection' and options.get('mode') in CHANGE_TASKS:
            now = CHANGE_TASKS[mode := options.pop('mode')]
            section['class_path'] = task.replace('SITSChangeDetection', now)
            renamed[f'model.mode: {mode}'] = f'model.class_path: {section["class_path"]}'
    if not renamed:
        return path
    _warn(path, renamed)
    return str(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def _warn(place: str, renamed: Mapping[str, str]) -> None:
    """Name all old names of a place at once."""
    now = '; '.join(f'{old} is now {new}' for old, new in renamed.items())
    warnings.warn(
        f'old names in {place} will not be understood in the next release: {now}',
        FutureWarning,
        stacklevel=4,
    )


def _pairs(args: Sequence[str]) -> list[tuple[str, str]]:
    """Name and value of each argument, ``--name=value`` or ``--name value``."""
    pairs = []
    for arg, following in zip(args, [*args[1:], ''], strict=True):
        name, equals, value = arg.partition('=')
        pairs.append((name, value if equals else following))
    return pairs


def _load(path: str) -> dict[str, Any]:
    """A configuration; empty where it is none, which the parser says better."""
    try:
        found = yaml.safe_load(Path(path).read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _last_class(args: Sequence[str], key: str, configs: Sequence[Mapping[str, Any]]) -> str:
    """Class of the data or the model: the last on the command line, else in a configuration."""
    found = ''
    for config in configs:
        section = config.get(key)
        if isinstance(section, dict) and section.get('class_path'):
            found = str(section['class_path'])
    for name, value in _pairs(args):
        if name in (f'--{key}', f'--{key}.class_path'):
            found = value
    return found


def _old_names(class_path: str) -> dict[str, str]:
    """Old names that a class takes by :func:`take_old_names`, or a class that it is made of."""
    module, _, name = class_path.rpartition('.')
    try:
        found = getattr(import_module(module or 'torchgeo_sits.datamodules'), name)
    except (ImportError, AttributeError, ValueError):
        return {}
    table: dict[str, str] = {}
    for base in reversed(getattr(found, '__mro__', ())):
        table |= getattr(vars(base).get('__init__'), 'old_names', {})
    return table


def _rename_data(args: Sequence[str], table: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Arguments with old names of the data replaced, and the replacements."""
    found, renamed = list(args), {}
    for i, (name, value) in enumerate(_pairs(args)):
        match = re.fullmatch(r'--data\.(?:init_args\.)?(\w+)(\+?)((?:\..+)?)', name)
        if match is None or (new := table.get(match[1])) is None:
            continue
        # A group as a mapping or a file of its own is no plain value.
        plain = match[1] in _PLAIN
        if plain and (match[3] or value.startswith('{') or value.endswith(('.yaml', '.json'))):
            continue
        now = f'--data.{new}{match[2]}{match[3]}'
        found[i] = now + args[i][len(name) :]
        renamed[name] = now
    return found, renamed


def _move_mode(args: Sequence[str], model: str) -> tuple[list[str], dict[str, str]]:
    """Arguments that name the class in place of ``--model.mode``, and the replacements."""
    for i, (name, mode) in enumerate(_pairs(args)):
        if name not in ('--model.mode', '--model.init_args.mode') or mode not in CHANGE_TASKS:
            continue
        now = model.replace('SITSChangeDetection', CHANGE_TASKS[mode])
        rest = [*args[:i], *args[i + (2 if args[i] == name else 1) :]]
        swapped = [arg.replace(model, now) if arg == model else arg for arg in rest]
        if swapped == rest and model != now:
            swapped[i:i] = ['--model', now]
        return swapped, {f'{name} {mode}': f'--model {now}'}
    return list(args), {}
