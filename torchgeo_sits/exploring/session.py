"""The folder that keeps what was done on a page, and opens again."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout
from matplotlib import color_sequences
from matplotlib.colors import to_hex

from ..errors import SITSError
from ..grid import Grid
from ..whole_files import whole_file
from .labels import Label, read_labels, write_labels

__all__ = ['MapClass', 'Session']

_VERSION: Final = 1
#: Most classes of a map of one byte, and letters of a name.
_MOST_CLASSES: Final = 200
_MOST_LETTERS: Final = 80


@dataclass(frozen=True)
class MapClass:
    """Class of a map.

    Attributes:
        name: Its name.
        colour: Its colour, ``#rrggbb``.

    Examples:
        >>> from torchgeo_sits.exploring import MapClass
        >>> MapClass('maize', '#ffa90e').name
        'maize'
    """

    name: str
    colour: str


class Session:
    """Folder with the labels, classes and maps of a page: ``labels.gpkg``, ``session.json``, ...

    Each label is on the disk before the page is told of it, in a file that is whole or that of
    before: a closed tab, or a server that is killed, loses nothing. One server at a time works
    in a folder.

    Args:
        folder: The folder; made if it is not there.

    Attributes:
        folder: The folder.
        classes: Classes in the order in which they were made; they only become more.
        labels: The labels.
        embeddings: Raster of the embeddings that the session was opened with; None for none.

    Raises:
        SITSError: If another server works in it, or it holds no session that this version reads.
        OSError: If it cannot be read or written.

    Examples:
        >>> import tempfile
        >>> from torchgeo_sits.exploring import Session
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     session = Session(folder)
        ...     session.add_classes(['maize', 'grass'])
        ...     session.close()
        ...     again = Session(folder)
        ...     [one.name for one in again.classes]
        ['maize', 'grass']
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.classes: list[MapClass] = []
        self.labels: list[Label] = []
        self.embeddings: Path | None = None
        self._grid: Grid | None = None
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.folder / '.lock', timeout=0, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise SITSError(
                f"another torchgeo-sits explore has '{folder}' open: use its page, stop it, or "
                'give another folder with --session'
            ) from error
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    @property
    def labels_file(self) -> Path:
        """The labels, as a GeoPackage."""
        return self.folder / 'labels.gpkg'

    @property
    def map_file(self) -> Path:
        """The map of classes."""
        return self.folder / 'map.tif'

    def open_labels(self, grid: Grid) -> None:
        """Read the labels of before, and count their shapes in pixels from now on.

        Args:
            grid: The pixels.

        Raises:
            SITSError: If they are of another place.
            OSError: If they cannot be read.
        """
        self._grid = grid
        if self.labels_file.exists():
            self.labels = read_labels(self.labels_file, grid)
            self.add_classes([label.name for label in self.labels])

    def keep_labels(self, labels: Sequence[Label]) -> None:
        """Write the labels, and then take them over.

        Args:
            labels: All labels.

        Raises:
            OSError: If they cannot be written; those of before stay.
        """
        assert self._grid is not None  # open_labels comes first
        write_labels(self.labels_file, labels, self._grid)
        self.labels = list(labels)

    def add_classes(self, names: Sequence[str]) -> None:
        """Add classes, but for those that are there, each with a colour of its own.

        Args:
            names: Their names.

        Raises:
            SITSError: If a name is empty or too long, or there are too many.
        """
        classes = list(self.classes)
        for name in names:
            name = ' '.join(str(name).split())
            if not 0 < len(name) <= _MOST_LETTERS or not name.isprintable():
                raise SITSError(
                    f'expected a name of 1 to {_MOST_LETTERS} letters for a class, got {name!r}'
                )
            if name in [one.name for one in classes]:
                continue
            if len(classes) == _MOST_CLASSES:
                raise SITSError(f'there are {_MOST_CLASSES} classes, and no room for {name!r}')
            classes.append(MapClass(name, _colour(len(classes))))
        if classes != self.classes:
            self.classes = classes
            self.save()

    def set_embeddings(self, path: Path) -> None:
        """Note which embeddings the session is opened with."""
        self.embeddings = path.resolve()
        self.save()

    def save(self) -> None:
        """Write ``session.json``."""
        said = {
            'version': _VERSION,
            'classes': [asdict(one) for one in self.classes],
            'embeddings': None if self.embeddings is None else str(self.embeddings),
        }
        with whole_file(self.folder / 'session.json') as draft:
            draft.write_text(json.dumps(said, indent=2, ensure_ascii=False) + '\n', 'utf-8')

    def close(self) -> None:
        """Leave the folder to others."""
        self._lock.release(force=True)

    def _read(self) -> None:
        path = self.folder / 'session.json'
        if not path.exists():
            return
        again = 'move it away to begin anew, or give another folder with --session'
        try:
            said: Any = json.loads(path.read_text('utf-8'))
            version = said['version']
            self.classes = [MapClass(str(o['name']), to_hex(o['colour'])) for o in said['classes']]
            embeddings = said['embeddings']
            self.embeddings = None if embeddings is None else Path(embeddings)
        except (ValueError, KeyError, TypeError) as error:
            raise SITSError(f"'{path}' is no session of this command ({error}): {again}") from error
        if version != _VERSION:
            raise SITSError(f"'{path}' is of version {version}, not {_VERSION}: {again}")


def _colour(number: int) -> str:
    """Colour of a class by its number, from 0: it stays when others are added.

    The first ten are Petroff's, as in maps of ``predict``.
    """
    few, many = color_sequences['petroff10'], color_sequences['tab20b'] + color_sequences['tab20c']
    return to_hex(few[number] if number < len(few) else many[(number - len(few)) % len(many)])
