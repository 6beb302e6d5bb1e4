"""Files beside the images: arrays, lists and descriptions, of which none may run code."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from ...errors import SITSError

__all__ = ['find_paths', 'read_json', 'read_lines', 'read_npy', 'read_npz', 'told']


def find_paths(folder: Path, pattern: str) -> list[Path]:
    """Find the files and folders of a pattern, but those that systems and editors leave.

    Names that begin with a dot, or below one that does, are none of a data set's: copies of
    macOS (``._a.tif``), of editors and notebooks (``.ipynb_checkpoints``).

    Args:
        folder: Where to look.
        pattern: As for :meth:`pathlib.Path.glob`.

    Returns:
        The paths, in their order.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from torchgeo_sits.datasets.published.side_files import find_paths
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ('b.tif', '._b.tif', 'a.tif'):
        ...         (Path(folder) / name).touch()
        ...     [path.name for path in find_paths(Path(folder), '*.tif')]
        ['a.tif', 'b.tif']
    """
    found = folder.glob(pattern)
    return sorted(
        path for path in found if not any(n[0] == '.' for n in path.relative_to(folder).parts)
    )


def read_npy(path: Path) -> NDArray[Any]:
    """Open an array of a ``.npy`` file, of which only what is asked for is read.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is none.
        SITSError: If it is no such array, or holds objects.

    Examples:
        >>> import tempfile, numpy as np
        >>> from pathlib import Path
        >>> from torchgeo_sits.datasets.published.side_files import read_npy
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder) / 'a.npy', [[1, 2], [3, 4]])
        ...     read_npy(Path(folder) / 'a.npy')[1].tolist()
        [3, 4]
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode='r', allow_pickle=False)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, EOFError) as error:
        raise SITSError(f"'{path}' is no array that can be read ({error}): fetch it again") from (
            error
        )
    return array


def read_npz(path: Path, names: Sequence[str]) -> list[NDArray[Any]]:
    """Read arrays of an ``.npz`` file.

    Args:
        path: The file.
        names: Their names.

    Raises:
        FileNotFoundError: If there is none.
        SITSError: If it is no such file, lacks an array, or one holds objects.

    Examples:
        >>> import tempfile, numpy as np
        >>> from pathlib import Path
        >>> from torchgeo_sits.datasets.published.side_files import read_npz
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(Path(folder) / 'a.npz', x=[1, 2], y=[3])
        ...     [array.tolist() for array in read_npz(Path(folder) / 'a.npz', ['y', 'x'])]
        [[3], [1, 2]]
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = [file[name] for name in names]
    except FileNotFoundError:
        raise
    except (OSError, KeyError, TypeError, ValueError, EOFError, BadZipFile) as error:
        raise SITSError(
            f"'{path}' does not hold the arrays {list(names)} ({error}): fetch it again"
        ) from error
    if odd := {str(array.dtype) for array in arrays if array.dtype.kind not in 'biufM'}:
        raise SITSError(
            f"'{path}' holds arrays of {sorted(odd)}, expected numbers or dates: fetch it again"
        )
    return arrays


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Args:
        path: The file.

    Raises:
        SITSError: If there is none, or it is no JSON.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from torchgeo_sits.datasets.published.side_files import read_json
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / 'a.json').write_text('{"train": [1]}')
        ...     read_json(Path(folder) / 'a.json')
        {'train': [1]}
    """
    try:
        return json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise SITSError(f"'{path}' is no JSON ({error}): fetch it again") from error


def read_lines(path: Path) -> list[str]:
    r"""Read the lines of a text file that hold anything, without spaces around them.

    Args:
        path: The file.

    Raises:
        SITSError: If there is none, or it is no text.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from torchgeo_sits.datasets.published.side_files import read_lines
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / 'a.txt').write_text(' one\n\ntwo \n')
        ...     read_lines(Path(folder) / 'a.txt')
        ['one', 'two']
    """
    return [line.strip() for line in _text(path).splitlines() if line.strip()]


def told(error: Exception) -> str:
    r"""What an error says, in one line: those of libraries have several.

    Args:
        error: The error.

    Examples:
        >>> from torchgeo_sits.datasets.published.side_files import told
        >>> told(ValueError('row 3:\n  too long'))
        'row 3: too long'
    """
    return ' '.join(str(error).split())[:200]


def _text(path: Path) -> str:
    """The text of a file."""
    try:
        return path.read_text(encoding='utf-8-sig')
    except FileNotFoundError as error:
        raise SITSError(f"'{path}' does not exist: fetch it again") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SITSError(f"'{path}' is no text that can be read ({error}): fetch it again") from (
            error
        )
