"""Windows of a map that are finished, kept on disk until the map is drawn."""

import io
import json
import os
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from ..errors import SITSError
from ..whole_files import draft_file, is_full_disk, remove_at_once, remove_rests

__all__ = ['WindowStore']

#: Seconds in which other processes begin in the same folder.
_PATIENCE: Final = 300.0
#: Bytes of the checksum of a window.
_CHECKSUM: Final = 16


class WindowStore:
    """Folder with a file for each finished window of a run.

    A file gets its name when it is whole, so that a run that is stopped at any moment leaves
    finished windows and nothing that looks like one. Each ends with a checksum over the run, its
    number and its values: what a power cut emptied, or a disk spoilt, counts as not there, and
    windows are known for those of the run without any other file.

    Args:
        folder: The folder; made by :meth:`begin`.
        run: What tells this run from others, 64 bytes at most.

    Examples:
        >>> import numpy as np, tempfile
        >>> from pathlib import Path
        >>> from torchgeo_sits.mapping.window_store import WindowStore
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = WindowStore(Path(folder) / 'windows')
        ...     store.begin({'weights': 'a'})
        ...     store.write(3, np.zeros((2, 4, 4), np.float32))
        ...     store.finished(), store.read(3).shape
        ({3}, (2, 4, 4))
    """

    def __init__(self, folder: Path, run: str = '') -> None:
        self.folder = folder
        self._run = run.encode()

    def begin(self, manifest: dict[str, Any]) -> None:
        """Begin a run, go on with the one that was begun in this folder, or join it.

        Args:
            manifest: Everything that the values depend on, in plain values.

        Raises:
            SITSError: If the folder holds windows of another run.
            OSError: If the folder cannot be written to.
        """
        manifest = json.loads(json.dumps(manifest))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # One after the other: two runs that begin at once are one, or the second is refused.
            with FileLock(self.folder / '.lock', timeout=_PATIENCE):
                self._take(manifest)
        except OSError as error:
            raise self._refused(error) from error

    def _take(self, manifest: dict[str, Any]) -> None:
        """Say what the folder is of, and look at what is there."""
        remove_rests(self.folder)
        begun = self.read_note('manifest')
        if begun is not None and begun != manifest:
            other = sorted(k for k in {*begun, *manifest} if begun.get(k) != manifest.get(k))
            raise SITSError(
                f'{self.folder} holds windows of a map that was begun with another '
                f'{", another ".join(other)}: give the options of that run to finish it, '
                'choose another folder, or delete this one'
            )
        if begun is None:
            self.note('manifest', manifest)
        self.drop_spoilt()

    def drop_spoilt(self) -> None:
        """Delete windows that are not of this run, or not what was written."""
        for number in self._numbers():
            if not self._is_whole(number):
                self.drop(number)

    def note(self, name: str, content: dict[str, Any]) -> None:
        """Keep plain values beside the windows."""
        try:
            with draft_file(self.folder / f'{name}.json') as draft:
                draft.write_text(json.dumps(content))
        except OSError as error:
            raise self._refused(error) from error

    def read_note(self, name: str) -> dict[str, Any] | None:
        """Read the plain values that :meth:`note` kept; None where they are missing or broken."""
        try:
            content = json.loads((self.folder / f'{name}.json').read_text())
        except (FileNotFoundError, ValueError):  # or bytes that are no text
            return None
        return content if isinstance(content, dict) else None

    def finished(self) -> set[int]:
        """List the numbers of the finished windows."""
        return set(self._numbers())

    def has(self, number: int) -> bool:
        """Tell whether a window is finished."""
        return self._path(number).exists()

    def drop(self, number: int) -> None:
        """Delete a window, if it is there."""
        self._path(number).unlink(missing_ok=True)

    def write(self, number: int, values: NDArray[np.float32]) -> None:
        """Keep the values ``(C, h, w)`` of a window, or others of any shape.

        Raises:
            OSError: If there is no room, or the folder cannot be written to.
        """
        values = np.ascontiguousarray(values)
        # Not np.save: on a full disk it says how many bytes were written, and not why.
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(values))
        parts = head.getvalue(), values.data.cast('B')
        try:
            with draft_file(self._path(number)) as draft, draft.open('wb') as file:
                for part in (*parts, self._checksum(number, *parts)):
                    file.write(part)
        except OSError as error:
            raise self._refused(error) from error

    def read(self, number: int) -> NDArray[np.float32]:
        """Map the values ``(C, h, w)`` of a finished window to memory."""
        values: NDArray[np.float32] = np.load(self._path(number), mmap_mode='r', allow_pickle=False)
        return values

    def channels(self) -> int | None:
        """Count the channels of the windows; None where there is none."""
        number = min(self._numbers(), default=None)
        return None if number is None else len(self.read(number))

    def remove(self) -> None:
        """Delete the folder, when the map is there."""
        remove_at_once(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f'{number:08d}.npy'

    def _numbers(self) -> list[int]:
        """Numbers of all windows; files of other names are not of this package."""
        names = (path.name for path in self.folder.glob('*.npy'))
        return [int(name[:-4]) for name in names if name[:-4].isdecimal()]

    def _checksum(self, number: int, *parts: bytes | memoryview) -> bytes:
        digest = blake2b(digest_size=_CHECKSUM, key=self._run)
        digest.update(number.to_bytes(8))
        for part in parts:
            digest.update(part)
        return digest.digest()

    def _is_whole(self, number: int) -> bool:
        """Tell whether a window is of this run, and holds what was written."""
        content = memoryview(self._path(number).read_bytes())
        return content[-_CHECKSUM:] == self._checksum(number, content[:-_CHECKSUM])

    def _refused(self, error: OSError) -> OSError:
        """Reword an error so that it says what to do."""
        number = error.errno or 0
        if is_full_disk(error):
            return OSError(
                number,
                f'no room left in {self.folder}: finished windows are kept there. Free some space '
                'and give the same command again, it goes on from there',
            )
        reason = os.strerror(number) if number else error
        return OSError(
            number,
            f'cannot write to {self.folder} ({reason}): choose another folder with '
            '--map.folder, or allow writing there',
        )
