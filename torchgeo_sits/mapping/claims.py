"""Units of work that processes of one or several machines share through a folder."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from ..whole_files import is_alive

__all__ = ['SharedWork']

#: Seconds between two signs of life.
_BEAT: Final = 5.0
#: Seconds without one after which a process of another machine counts as gone.
_LEASE: Final = 60.0
#: Seconds between two looks at what others do.
_LOOK: Final = 0.2
#: A unit is taken from a process that needs so many times as long as this one's slowest did, and
#: so many seconds at least.
_SLOW: Final = 3.0
_LEAST: Final = 10.0


class SharedWork:
    """Units that are claimed by files, so that each is done by one process.

    A process claims a unit by making a file of its name, which one only can. It shows that it is
    alive by touching a file of its own. Claims of a process that is gone are taken over: at
    once on the same machine, on others when it was silent for a minute by the clock of the
    folder. So are those of one that is much slower than this one, when nothing else is left. A
    claim that is lost is no harm: units give the same whoever does them, are written as a whole,
    and at worst one is done twice.

    Args:
        folder: A folder that all processes see.

    Attributes:
        name: Name of this process: its host, its number, and any letters.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from torchgeo_sits.mapping.claims import SharedWork
        >>> done = set()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     mine, others = SharedWork(Path(folder)), SharedWork(Path(folder))
        ...     mine.join()
        ...     others.join()
        ...     first = mine.free('window', range(4), done.__contains__)
        ...     print(next(first), list(others.free('window', range(4), done.__contains__)))
        ...     mine.leave()  # and what it had claimed is free again
        ...     print(next(others.rest('window', range(4), {1, 2, 3}.__contains__)))
        ...     others.leave()
        0 [1, 2, 3]
        0
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f'{socket.gethostname()}.{os.getpid()}.{uuid4().hex[:8]}'
        self._mine: set[Path] = set()
        self._slowest = 0.0
        self._left = threading.Event()
        self._heart: threading.Thread | None = None

    def join(self) -> None:
        """Show signs of life, until :meth:`leave`.

        Raises:
            OSError: If the folder cannot be written to.
        """
        if self._heart is not None:
            return
        for name in ('members', 'claims'):
            (self.folder / name).mkdir(exist_ok=True)
        self._member(self.name).touch()
        self._left.clear()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()

    def leave(self) -> None:
        """Leave to others what is claimed and was not done."""
        if self._heart is None:
            return
        self._left.set()
        self._heart.join()
        self._heart = None
        for path in self._mine:
            if _owner(path) == self.name:
                path.unlink(missing_ok=True)
        self._mine.clear()
        self._member(self.name).unlink(missing_ok=True)

    def free(
        self, kind: str, numbers: Sequence[int], is_done: Callable[[int], bool]
    ) -> Iterator[int]:
        """Claim units that nobody is at, each when it is asked for; never waits.

        Args:
            kind: Name of the kind of unit.
            numbers: Numbers of the units.
            is_done: Tells whether one is done.

        Yields:
            Units that this process is to do.
        """
        for number in numbers:
            path = self._claim(kind, number)
            if not is_done(number) and (self._make(path) or self._takes_over(path)):
                yield from self._timed(number)

    def rest(
        self,
        kind: str,
        numbers: Sequence[int],
        is_done: Callable[[int], bool],
        *,
        from_slow: bool = True,
    ) -> Iterator[int]:
        """Wait until all units are done, and claim those of processes that are gone or slow.

        A unit must be done when the next one is asked for.

        Args:
            kind: Name of the kind of unit.
            numbers: Numbers of the units.
            is_done: Tells whether one is done.
            from_slow: Whether units are taken from processes that are alive.

        Yields:
            Units that this process is to do.
        """
        while missing := [number for number in numbers if not is_done(number)]:
            for number in missing:
                path = self._claim(kind, number)
                if self._make(path) or self._takes_over(path, from_slow=from_slow):
                    yield from self._timed(number)
                    break
            else:
                time.sleep(_LOOK)

    def _timed(self, number: int) -> Iterator[int]:
        begun = time.monotonic()
        yield number
        self._slowest = max(self._slowest, time.monotonic() - begun)

    def _make(self, path: Path) -> bool:
        """Claim a unit that has no claim."""
        # Without the folder another process is through, and all is done.
        with suppress(FileExistsError, FileNotFoundError), path.open('x') as file:
            file.write(self.name)
            self._mine.add(path)
            return True
        return False

    def _takes_over(self, path: Path, *, from_slow: bool = False) -> bool:
        """Claim a unit of a process that is gone, or if *from_slow* of one that is slow."""
        owner = _owner(path)
        if owner == self.name or not (
            self._is_gone(owner, path) or (from_slow and self._is_slow(path))
        ):
            return False
        draft = path.with_name(f'{path.name}.{self.name}')
        with suppress(FileNotFoundError):
            draft.write_text(self.name)
            draft.replace(path)
            self._mine.add(path)
            return True
        return False

    def _is_gone(self, owner: str | None, path: Path) -> bool:
        """Tell whether the owner of a claim is no more."""
        if not owner:  # the name is still being written
            return self._age(path) > _LEASE
        host, process, _ = owner.rsplit('.', 2)
        if host == socket.gethostname() and not is_alive(int(process)):
            return True
        member = self._member(owner)
        return not member.exists() or self._age(member) > _LEASE

    def _is_slow(self, path: Path) -> bool:
        """Tell whether a unit takes another process far longer than this one would need."""
        return self._age(path) > max(_LEAST, _SLOW * self._slowest)

    def _age(self, path: Path) -> float:
        """Seconds since a file was touched, by the clock of the folder; 0 where it is gone."""
        with suppress(FileNotFoundError):
            own = self._member(self.name)
            own.touch()
            return own.stat().st_mtime - path.stat().st_mtime
        return 0.0

    def _beat(self) -> None:
        while not self._left.wait(_BEAT):
            with suppress(OSError):  # The folder is deleted when the map is there.
                os.utime(self._member(self.name))

    def _member(self, name: str) -> Path:
        return self.folder / 'members' / name

    def _claim(self, kind: str, number: int) -> Path:
        return self.folder / 'claims' / f'{kind}-{number}'


def _owner(path: Path) -> str | None:
    """Name of the process that has claimed a unit; empty while it is written, None if none has."""
    with suppress(FileNotFoundError):
        return path.read_text()
    return None
