"""The errors that this package raises on purpose."""

__all__ = ['SITSError', 'SITSIndexError']


class SITSError(ValueError):
    """A refusal: input, options or files that cannot work, and what to do about them.

    Everything that this package refuses is one of these, or an :class:`OSError` where a file is
    missing or broken. The command line prints their message alone; any other error is a fault
    and comes with its traceback.

    Examples:
        >>> from torchgeo_sits.errors import SITSError
        >>> from torchgeo_sits.transforms import rows
        >>> try:
        ...     rows(0, 4)
        ... except SITSError as error:
        ...     print('refused:', isinstance(error, ValueError))
        refused: True
    """


class SITSIndexError(SITSError, IndexError):
    """A window or a number that a data set has nothing for."""
