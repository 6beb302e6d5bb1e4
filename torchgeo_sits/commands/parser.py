"""The parser of all commands: errors in one line, and descriptions as they are written."""

import ast
import re
from argparse import Action, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from jsonargparse import ArgumentParser, DefaultHelpFormatter

from .line import chosen_class, typed_value
from .pages import layout
from .spelling import find_class, misspelt_class, misspelt_option

__all__ = ['CommandParser']


class _HelpFormatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Help with types and defaults that keeps the lines of the description."""


class CommandParser(ArgumentParser):
    """Parser that says in one line what is wrong with the arguments.

    Other parsers print all options above that line: fifty lines for a training. A name that is
    misspelt is answered by the nearest one; names are never completed.

    Attributes:
        bases: Kinds of the classes that options name, such as ``{'data': BaseDataModule}``.

    Examples:
        >>> from torchgeo_sits.commands.parser import CommandParser
        >>> parser = CommandParser(prog='torchgeo-sits cube')
        >>> _ = parser.add_argument('--verify', action='store_true', help='compare afterwards')
        >>> parser.parse_args(['--verify']).verify
        True
    """

    bases: ClassVar[Mapping[str, type]] = {}

    def __init__(
        self,
        *args: Any,
        formatter_class: type[DefaultHelpFormatter] = _HelpFormatter,
        **kwargs: Any,
    ) -> None:
        """Initialize a new CommandParser instance.

        Args:
            *args: Arguments of :class:`jsonargparse.ArgumentParser`.
            formatter_class: Layout of the help.
            **kwargs: More arguments of :class:`jsonargparse.ArgumentParser`.
        """
        super().__init__(*args, formatter_class=formatter_class, allow_abbrev=False, **kwargs)
        self._typed: Sequence[str] = ()
        self._folder = Path()

    def parse_args(self, args: Any = None, *more: Any, **kwargs: Any) -> Any:
        """Parse the arguments, and keep them for what :meth:`error` says.

        Args:
            args: What is typed.
            *more: See :class:`jsonargparse.ArgumentParser`.
            **kwargs: See :class:`jsonargparse.ArgumentParser`.

        Returns:
            The values.
        """
        if 'defaults' in kwargs:  # jsonargparse, which hands an option of a class on
            args = [_as_yaml(arg) for arg in args]
        self._typed, self._folder = list(args or ()), Path.cwd()
        command = self._parser_of_command()
        if isinstance(command, CommandParser):
            command._typed, command._folder = self._typed, self._folder
            command._help_of_group(self._typed)
        return super().parse_args(args, *more, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the message in one line and exit with status 2.

        Args:
            message: What is wrong.
            ex: The exception that says so; it names the parser of the subcommand.
        """
        if not self.exit_on_error:
            super().error(message, ex)
        parser = self._parser_of_command()
        prog = parser.prog.replace(' [options]', '')
        text = parser.misspelt() or _plain(message)
        self.exit(2, f'torchgeo-sits: error: {text} (options: {prog} --help)\n')

    def misspelt(self) -> str | None:
        """Say what is wrong with a class or an option that there is not, if that is it."""
        with chdir(self._folder):  # jsonargparse is in the folder of a configuration it reads
            return misspelt_class(self._typed, self.bases) or misspelt_option(
                self._typed, [name[2:] for name in self._options()]
            )

    def _parser_of_command(self) -> 'CommandParser':
        """The parser of the subcommand that is typed, or this one where there is none."""
        for action in self._actions:
            choices = action.choices if isinstance(action.choices, dict) else {}
            found = choices.get(self._typed[0]) if self._typed else None
            if isinstance(found, CommandParser):
                return found
        return self

    def _options(self) -> dict[str, Action]:
        """All options, with those of the classes that are typed, by name."""
        parsers: list[ArgumentParser] = [self]
        for key, base in self.bases.items():
            chosen = chosen_class(key, self._typed)
            kind = chosen and find_class(chosen[0], base)
            if isinstance(kind, type):
                own = ArgumentParser(add_help=False)
                own.add_class_arguments(kind, key, fail_untyped=False, sub_configs=True)
                parsers.append(own)
        return {
            string: action
            for parser in parsers
            for action in parser._actions
            for string in action.option_strings
            if re.fullmatch(r'--\w+(\.(?!help$)\w+)*', string)
        }

    def _help_of_group(self, args: Sequence[str]) -> None:
        """Print the options of a group, where that is what is asked for, and exit.

        Classes are asked for by name, which is left to jsonargparse: ``--data.help NAME``.
        """
        for place, arg in enumerate(args):
            match = re.fullmatch(r'--(\w+(?:\.\w+)*)\.help', arg)
            named = args[place + 1 : place + 2]
            if match is None or (match[1] in self.bases and named and named[0][:1] != '-'):
                continue
            prefix = f'--{match[1]}.'
            found = {name: a for name, a in self._options().items() if name.startswith(prefix)}
            if found:
                print(f'options of {match[1]}:')
                for name, action in found.items():
                    given = '' if action.default is None else f' (default: {action.default})'
                    print(layout(name, f'{action.help or ""}{given}'))
                self.exit(0)


def _as_yaml(arg: str) -> str:
    """Write an option as YAML whose value is a list, a mapping or None as Python writes them.

    jsonargparse reads an option of a class twice, the second time as Python writes what it read
    first. Quotes of both kinds, line breaks and null are other things in YAML, or none.
    """
    name, _, value = arg.partition('=')
    try:
        found = ast.literal_eval(value)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return arg
    is_yaml = found is not None and not isinstance(found, dict | list)
    return arg if is_yaml else f'{name}={typed_value(found)}'


def _plain(message: str) -> str:
    """Say in one line what jsonargparse says of a wrong value in nine."""
    text = ' '.join(message.split())
    keys = re.findall(r'Parser key "([\w.]+)": (?!Parser key)', text)
    got = re.search(r'(?:Got|Given) value: (.*?)(?: - Expected an? | Given value type: |$)', text)
    wanted = re.findall(r"Expected an? (<class '[\w.]+'>|typing\.\w+\[.*?\])(?= |\.|$)", text)
    if not keys or not got or not wanted:
        return text
    # Within a class the key is that of the class, and what is expected last is None.
    inner = 'Problem with given class_path' in text
    name = '.'.join(keys) if inner else keys[-1]
    kinds = [re.sub(r"<class '(?:builtins\.)?([\w.]+)'>", r'\1', kind) for kind in wanted]
    if inner:
        kinds = kinds[:1]
    kinds = [
        kind.replace('NoneType', 'null').replace('typing.Literal', 'one of ') for kind in kinds
    ]
    return f'--{name}: expected {" or ".join(dict.fromkeys(kinds))}, got {got[1].strip()!r}'
