"""The parser of all commands: errors in one line, and descriptions as they are written."""

from argparse import RawDescriptionHelpFormatter
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, DefaultHelpFormatter

__all__ = ['CommandParser']


class _HelpFormatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Help with types and defaults that keeps the lines of the description."""


class CommandParser(ArgumentParser):
    """Parser that says in one line what is wrong with the arguments.

    Other parsers print all options above that line: fifty lines for a training.

    Examples:
        >>> from torchgeo_sits.commands.parser import CommandParser
        >>> parser = CommandParser(prog='torchgeo-sits cube')
        >>> _ = parser.add_argument('--verify', action='store_true', help='compare afterwards')
        >>> parser.parse_args(['--verify']).verify
        True
    """

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
        super().__init__(*args, formatter_class=formatter_class, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the message in one line and exit with status 2.

        Args:
            message: What is wrong.
            ex: The exception that says so; it names the parser of the subcommand.
        """
        if not self.exit_on_error:
            super().error(message, ex)
        parser = getattr(ex, 'subcommand_parser', None) or self
        prog = parser.prog.replace(' [options]', '')
        text = ' '.join(message.split())
        self.exit(2, f'torchgeo-sits: error: {text} (options: {prog} --help)\n')
