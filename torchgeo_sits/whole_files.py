"""Files and folders that are there whole or not at all, whatever stops the process that writes."""

import errno
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from .errors import SITSError

__all__ = [
    'draft_file',
    'is_alive',
    'is_full_disk',
    'remove_at_once',
    'remove_rests',
    'whole_file',
]

#: Folders in which drafts lie are hidden, and say whose they are: host, process, and any letters.
_PREFIX: Final = '.torchgeo-sits-part.'
_OWNER: Final = re.compile(re.escape(_PREFIX) + r'(?P<host>.+)\.(?P<process>\d+)\.[^.]+')
#: Seconds after which a draft of another machine, whose processes are not seen, is left behind.
_OLD: Final = 24 * 3600
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED: Final = (errno.EROFS, errno.EACCES, errno.EPERM)
#: What libraries say of a full disk where the number of the error is lost.
_SAID: Final = (
    'No space left on device',
    'Disk quota exceeded',
    'PytorchStreamWriter failed writing',
    'unexpected pos',  # of the same writer of PyTorch, when it is closed
)
#: Bytes; with fewer free, what a library raises while it writes is put down to the disk.
_NONE_FREE: Final = 1 << 16


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file or a folder that gets its name when it is whole and on the disk.

    Files that are written beside the draft, such as a style, go with it. What processes that
    were killed left behind in the same folder is removed.

    Args:
        path: The file or folder; a file of this name is replaced, a folder must be empty.

    Yields:
        Where to write: a path of the same name in a hidden folder beside it.

    Raises:
        OSError: If there is no room, or the folder is missing or cannot be written to; in one
            line that says what to do.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from torchgeo_sits.whole_files import whole_file
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / 'table.csv'
        ...     with whole_file(path) as draft:
        ...         _ = draft.write_text('a,b')
        ...         print(path.exists())
        ...     [found.name for found in Path(folder).iterdir()]
        False
        ['table.csv']
    """
    remove_rests(Path(path).parent)
    with draft_file(path) as draft:
        yield draft


@contextmanager
def draft_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file as :func:`whole_file` does, without a look at the rest of its folder.

    Args:
        path: The file or folder.

    Yields:
        Where to write.

    Raises:
        OSError: If it cannot be written.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from torchgeo_sits.whole_files import draft_file
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with draft_file(Path(folder) / 'a.txt') as draft:
        ...         _ = draft.write_text('whole')
        ...     Path(folder, 'a.txt').read_text()
        'whole'
    """
    path = Path(path)
    owner = f'{_PREFIX}{socket.gethostname()}.{os.getpid()}.'
    folder = None
    try:
        folder = Path(mkdtemp(prefix=owner, dir=path.parent))
        yield (draft := folder / path.name)
        _sync(folder)
        for part in sorted(folder.iterdir(), key=lambda part: part == draft):
            part.replace(path.with_name(part.name))
        with suppress(OSError):  # not every file system can
            _sync_one(path.parent)
    except Exception as error:
        if (reworded := _reworded(error, path, folder)) is not None:
            raise reworded from error
        raise
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def remove_rests(folder: Path) -> None:
    """Remove the drafts of processes that are no more.

    Those of this machine are known by their process, those of others by their age: a day.

    Args:
        folder: Where to look, not below it.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from torchgeo_sits.whole_files import remove_rests
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / 'a.txt').touch()
        ...     remove_rests(Path(folder))
        ...     len(list(Path(folder).iterdir()))
        1
    """
    with suppress(OSError):  # no such folder, or one that is read only
        for entry in list(os.scandir(folder)):
            if (owner := _OWNER.fullmatch(entry.name)) is None:
                continue
            if owner['host'] == socket.gethostname():
                is_left = not is_alive(int(owner['process']))
            else:
                is_left = time.time() - entry.stat().st_mtime > _OLD
            if is_left:
                shutil.rmtree(entry.path, ignore_errors=True)


def remove_at_once(folder: Path) -> None:
    """Delete a folder, which loses its name first: nobody sees a half of it.

    Args:
        folder: The folder; one that is not there is no error.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from torchgeo_sits.whole_files import remove_at_once
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     folder = Path(parent) / 'a'
        ...     folder.mkdir()
        ...     remove_at_once(folder)
        ...     len(list(Path(parent).iterdir()))
        0
    """
    owner = f'{_PREFIX}{socket.gethostname()}.{os.getpid()}.'
    with suppress(FileNotFoundError):
        gone = Path(mkdtemp(prefix=owner, dir=folder.parent))
        try:
            folder.replace(gone / folder.name)
        finally:
            shutil.rmtree(gone, ignore_errors=True)


def is_full_disk(error: BaseException) -> bool:
    """Tell whether an error, or what caused it, comes of a disk or quota that is full.

    Args:
        error: Of any library.

    Returns:
        Whether it does.

    Examples:
        >>> from torchgeo_sits.whole_files import is_full_disk
        >>> is_full_disk(OSError(28, 'No space left on device'))
        True
        >>> is_full_disk(RuntimeError('PytorchStreamWriter failed writing file data.pkl'))
        True
        >>> is_full_disk(OSError(2, 'No such file or directory'))
        False
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno in _FULL:
            return True
        if any(said in str(found) for said in _SAID):
            return True
        found = found.__cause__ or found.__context__
    return False


def is_alive(process: int) -> bool:
    """Tell whether a process of this machine runs.

    Args:
        process: Its number.

    Returns:
        Whether it does; True where the system does not say.

    Examples:
        >>> import os
        >>> from torchgeo_sits.whole_files import is_alive
        >>> is_alive(os.getpid())
        True
    """
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user, or a system that does not say
        return True
    with suppress(OSError, IndexError):  # one that has ended is listed until its parent asks for it
        return Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    return True


def _reworded(error: Exception, path: Path, folder: Path | None) -> OSError | None:
    """Say what to do about an error of the disk; None for errors of another kind."""
    where = f"'{path.parent}'"
    if isinstance(error, SITSError):
        return None
    if is_full_disk(error) or (folder is not None and _none_free(folder)):
        return OSError(
            errno.ENOSPC,
            f'no room left in {where} for {path.name}: free some space and give the same command '
            'again. Nothing under that name was changed',
        )
    if not isinstance(error, OSError):
        return None
    # What the caller reads meanwhile is its own matter.
    of_draft = folder is None or (error.filename and Path(error.filename).is_relative_to(folder))
    if folder is None and isinstance(error, FileNotFoundError | NotADirectoryError):
        return OSError(error.errno, f'no folder {where} for {path.name}: make it first')
    if of_draft or error.filename is None:
        if error.errno in _REFUSED:
            return OSError(
                error.errno,
                f'cannot write {path.name} to {where} ({error.strerror}): allow writing there, or '
                'choose another folder',
            )
        if isinstance(error, IsADirectoryError) and path.is_dir():
            return OSError(error.errno, f"'{path}' is a folder: choose another name")
    return None


def _none_free(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _NONE_FREE
    except OSError:
        return False


def _sync(path: Path) -> None:
    """Wait until all that a folder holds is on the disk."""
    for folder, _, names in os.walk(path):
        for name in names:
            _sync_one(Path(folder) / name)


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
