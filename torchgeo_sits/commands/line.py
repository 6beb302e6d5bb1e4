"""What is typed on a command line: options with their values, and configurations."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

__all__ = ['chosen_class', 'configurations', 'flat', 'options', 'typed_value']


def options(args: Sequence[str]) -> list[tuple[str, str | None]]:
    """Split a command line into its options.

    Args:
        args: What is typed after the command.

    Returns:
        Name, with its dashes, and value of each option; None where none follows.

    Examples:
        >>> from torchgeo_sits.commands.line import options
        >>> options(['--config', 'a.yaml', '--data.paths=DIR', '--verify'])
        [('--config', 'a.yaml'), ('--data.paths', 'DIR'), ('--verify', None)]
    """
    found: list[tuple[str, str | None]] = []
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        if not arg.startswith('--') and arg != '-c':
            continue
        name, equals, value = arg.partition('=')
        if equals:
            found.append((name, value))
        elif rest and not rest[0].startswith('--'):
            found.append((name, rest.pop(0)))
        else:
            found.append((name, None))
    return found


def configurations(args: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Load the configurations that a command line names.

    Args:
        args: What is typed after the command; ``--config`` takes a path, or YAML as text.

    Returns:
        Path and content of each, in their order; those that are none, which the parser says
        better, are left out.

    Examples:
        >>> from torchgeo_sits.commands.line import configurations
        >>> configurations(['--config', 'data: {class_path: SITSDataModule}'])
        [('the configuration', {'data': {'class_path': 'SITSDataModule'}})]
    """
    found = []
    for name, value in options(args):
        if name not in ('--config', '-c') or value is None:
            continue
        try:
            is_file = Path(value).is_file()
            content = yaml.safe_load(Path(value).read_text() if is_file else value)
        except (OSError, ValueError, yaml.YAMLError):
            continue
        if isinstance(content, dict):
            found.append((value if is_file else 'the configuration', content))
    return found


def chosen_class(key: str, args: Sequence[str]) -> tuple[str, str] | None:
    """Find the class of the data or of the model: the last that is named.

    Args:
        key: Either 'data' or 'model'.
        args: What is typed after the command.

    Returns:
        The class, and the option or the configuration that names it; None where none does.

    Examples:
        >>> from torchgeo_sits.commands.line import chosen_class
        >>> chosen_class('data', ['--data', 'SITSDataModule', '--data.paths', 'DIR'])
        ('SITSDataModule', '--data')
    """
    found = None
    for place, config in configurations(args):
        section = config.get(key)
        if isinstance(section, dict) and isinstance(section.get('class_path'), str):
            found = section['class_path'], place
    for name, value in options(args):
        if name in (f'--{key}', f'--{key}.class_path') and value is not None:
            found = value, name
    return found


def flat(config: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Give the values of a configuration under the names of their options.

    Args:
        config: A section, or all of it.
        prefix: What goes before each name.

    Yields:
        Dotted name, without ``init_args`` and ``class_path``, and value. Mappings whose keys are no
        names of options, such as numbers of classes, are values.

    Examples:
        >>> from torchgeo_sits.commands.line import flat
        >>> list(flat({'data': {'class_path': 'X', 'init_args': {'split': {'by': 'time'}}}}))
        [('data', 'X'), ('data.split.by', 'time')]
    """
    for key, value in config.items():
        name = f'{prefix}{key}'
        if key == 'class_path' and prefix:
            yield prefix[:-1], value
        elif key in ('init_args', 'dict_kwargs') and isinstance(value, dict):
            yield from flat(value, prefix)
        elif isinstance(value, dict) and value and all(map(_is_name, value)):
            yield from flat(value, f'{name}.')
        else:
            yield name, value


def _is_name(key: Any) -> bool:
    """Tell whether a key may be the name of an option, if a misspelt one."""
    return isinstance(key, str) and re.fullmatch(r'[A-Za-z_][\w-]*', key) is not None


def typed_value(value: Any) -> str:
    """Write a value as it is typed on a command line: as YAML, in one line.

    Args:
        value: Plain values, lists or mappings of them.

    Returns:
        The text; a shell wants it quoted.

    Examples:
        >>> from torchgeo_sits.commands.line import typed_value
        >>> typed_value({1: 'wheat', 2: None})
        '{1: wheat, 2: null}'
    """
    text: str = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True
    )
    return text.removesuffix('\n').removesuffix('\n...')
