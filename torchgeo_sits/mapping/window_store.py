"""What was predicted for the windows that are finished, on disk."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SITSError

__all__ = ['PartStore']


class PartStore:
    """A folder with one file for each finished window.

    A file gets its name when it is whole, so that a run that is stopped at any moment, the power
    cut included, leaves finished windows and nothing that looks like one.

    Args:
        folder: The folder; made by :meth:`begin`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, manifest: dict[str, Any]) -> None:
        """Begin a run, or go on with the one that was begun in this folder.

        Args:
            manifest: What the values hang on, in plain values.

        Raises:
            SITSError: If the folder holds windows of another run.
            OSError: If the folder cannot be written to.
        """
        manifest = json.loads(json.dumps(manifest))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refused(error) from error
        if not self.has_note('manifest'):
            self.note('manifest', manifest)
        begun = self.read_note('manifest')
        if begun != manifest:
            other = sorted(k for k in {*begun, *manifest} if begun.get(k) != manifest.get(k))
            raise SITSError(
                f'{self.folder} holds windows of a map that was begun with another '
                f'{", another ".join(other)}: give the options of that run to finish it, '
                'choose another folder, or delete this one'
            )

    def note(self, name: str, content: Any) -> None:
        """Keep plain values beside the windows."""
        try:
            self._save(self.folder / f'{name}.json', json.dumps(content).encode())
        except OSError as error:
            raise self._refused(error) from error

    def has_note(self, name: str) -> bool:
        """Whether there are values of this name."""
        return (self.folder / f'{name}.json').exists()

    def read_note(self, name: str) -> Any:
        """What :meth:`note` kept."""
        return json.loads((self.folder / f'{name}.json').read_text())

    def finished(self) -> set[int]:
        """Numbers of the windows that are finished."""
        return {int(path.stem) for path in self.folder.glob('*.npy')}

    def write(self, number: int, values: NDArray[np.float32]) -> None:
        """Keep the values ``(C, h, w)`` of a window.

        Raises:
            OSError: If there is no room, or the folder cannot be written to.
        """
        path = self._path(number)
        draft = path.with_suffix(f'.{os.getpid()}.draft')
        values = np.ascontiguousarray(values)
        try:
            with draft.open('wb') as file:
                # Not np.save: on a full disk it says how many bytes were written, and not why.
                header = np.lib.format.header_data_from_array_1_0(values)
                np.lib.format.write_array_header_1_0(file, header)
                file.write(values.data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise self._refused(error) from error

    def read(self, number: int) -> NDArray[np.float32]:
        """Values ``(C, h, w)`` of a finished window, mapped to memory."""
        values: NDArray[np.float32] = np.load(self._path(number), mmap_mode='r')
        return values

    def remove(self) -> None:
        """Delete the folder, when the map is there."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f'{number:08d}.npy'

    def _save(self, path: Path, content: bytes) -> None:
        """Write a file whole or not at all; several processes may write the same one."""
        draft = path.with_suffix(f'.{os.getpid()}.draft')
        draft.write_bytes(content)
        draft.replace(path)

    def _refused(self, error: OSError) -> OSError:
        """The error in words that say what to do."""
        number = error.errno or 0
        if number in (errno.ENOSPC, errno.EDQUOT):
            return OSError(
                number,
                f'no room left in {self.folder}: finished windows are kept there. Free some space '
                'and give the same command again, it goes on from there',
            )
        return OSError(
            number,
            f'cannot write to {self.folder} ({error.strerror}): choose another folder with '
            '--map.folder, or allow writing there',
        )
