"""Misspelt options and classes, and the names that they are nearest to."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from importlib import import_module
from inspect import isabstract
from typing import Any

from .line import chosen_class, configurations, flat, options

__all__ = ['did_you_mean', 'find_class', 'is_known', 'misspelt_class', 'misspelt_option']

#: Names this much alike are worth a question.
_ALIKE = 0.6


def did_you_mean(name: str, known: Iterable[str], *, dashes: str = '', separator: str = '.') -> str:
    """Ask for the names nearest to a wrong one.

    Names are compared as a whole and by what stands behind their last separator:
    ``--data.bands`` is meant to be ``--data.images.bands``.

    Args:
        name: The wrong name.
        known: The right ones.
        dashes: What to write before each.
        separator: What stands between the parts of a name.

    Returns:
        The question, with a colon before it, or nothing where no name is near.

    Examples:
        >>> from torchgeo_sits.commands.spelling import did_you_mean
        >>> did_you_mean('fitt', ['fit', 'test'])
        ': did you mean fit?'
        >>> did_you_mean('data.bands', ['data.images.bands', 'data.seed'], dashes='--')
        ': did you mean --data.images.bands?'
    """
    likeness = {other: _likeness(name.lower(), other.lower(), separator) for other in known}
    best = max(likeness.values(), default=0.0)
    near = [other for other, value in likeness.items() if value >= max(_ALIKE, best - 0.04)]
    near.sort(key=lambda other: -likeness[other])
    return f': did you mean {" or ".join(dashes + other for other in near[:3])}?' if near else ''


def _likeness(name: str, other: str, separator: str) -> float:
    """Share of two names that is the same, a little less where only their ends are alike."""
    whole = SequenceMatcher(None, name, other).ratio()
    ends = name.rpartition(separator)[2], other.rpartition(separator)[2]
    if ''.join(word[:1] for word in ends[0].split('_')) == ends[1]:
        return 0.9  # the learning rate is lr
    return max(whole, SequenceMatcher(None, *ends).ratio() - 0.1)


def is_known(name: str, known: Collection[str]) -> bool:
    """Say whether an option exists, or lies within one that takes a mapping or a class.

    Args:
        name: Dotted name, without dashes.
        known: All names of options.

    Returns:
        True where the parser has a place for it.

    Examples:
        >>> from torchgeo_sits.commands.spelling import is_known
        >>> known = ['data.split.by', 'model.model_kwargs']
        >>> is_known('data.split', known), is_known('model.model_kwargs.depth', known)
        (True, True)
        >>> is_known('data.split.bye', known)
        False
    """
    if name in known or any(other.startswith(f'{name}.') for other in known):
        return True
    parts = name.split('.')
    within = {'.'.join(parts[:end]) for end in range(1, len(parts))}
    return any(
        prefix in known and not any(other.startswith(f'{prefix}.') for other in known)
        for prefix in within
    )


def misspelt_option(args: Sequence[str], known: Collection[str]) -> str | None:
    """Find the first option that there is not, on a command line or in its configurations.

    Args:
        args: What is typed after the command.
        known: Names of all options, without dashes.

    Returns:
        What to say about it, or None.

    Examples:
        >>> from torchgeo_sits.commands.spelling import misspelt_option
        >>> misspelt_option(['--data.path', 'DIR'], ['data.paths', 'data.seed'])
        'there is no option --data.path: did you mean --data.paths?'
    """
    for typed, _ in options(args):
        # A list is added to by a plus at the end; classes go by a name of their own.
        name = typed.removeprefix('--').rstrip('+').replace('.init_args', '')
        name = name.removesuffix('.class_path').removesuffix('.help')
        if typed not in ('-c', '--') and not is_known(name, known):
            return f'there is no option {typed}{did_you_mean(name, known, dashes="--")}'
    for place, config in configurations(args):
        for name, _ in flat(config):
            if not is_known(name, known):
                return f'{place}: there is no option {name}{did_you_mean(name, known)}'
    return None


def _subclasses(base: type) -> dict[str, type]:
    """Classes that can be built of a kind, by their names."""
    found: dict[str, type] = {}
    kinds: list[type] = base.__subclasses__()
    for kind in kinds:
        found |= _subclasses(kind)
        if not isabstract(kind) and not kind.__name__.startswith('_'):
            found[kind.__name__] = kind
    return found


def find_class(name: str, base: type) -> Any:
    """Look a class up by its name or its dotted path.

    Args:
        name: As it is typed.
        base: What it is a kind of.

    Returns:
        The class, or None where there is none.
    """
    module, _, attribute = name.rpartition('.')
    if not module:
        return _subclasses(base).get(name)
    try:
        return getattr(import_module(module), attribute, None)
    except (ImportError, ValueError):
        return None


def misspelt_class(args: Sequence[str], bases: Mapping[str, type]) -> str | None:
    """Find a class of the data or of the model that there is not.

    Args:
        args: What is typed after the command.
        bases: What each is a kind of, by 'data' and 'model'.

    Returns:
        What to say about it, or None.
    """
    for key, base in bases.items():
        chosen = chosen_class(key, args)
        if chosen is None or re.search(r'[{\s]|\.(ya?ml|json)$', chosen[0]):
            continue
        name, place = chosen
        if find_class(name, base) is None:
            near = did_you_mean(name.rpartition('.')[2], _subclasses(base))
            own = '' if near else ': a class of your own goes by its dotted path'
            return f'{place}: there is no class {name}{near}{own}'
    return None
