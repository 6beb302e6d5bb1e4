"""Stamps of files: whether they are still those that an earlier run read."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ['Stamp', 'stamps']

#: Files beside a raster from which GDAL takes a part of its header: metadata, world files,
#: projections. They follow the whole name or stand in place of its ending.
_COMPANIONS = ('.aux.xml', '.aux', '.hdr', '.prj', '.tab', '.tfw', '.tifw', '.wld', '.j2w')

#: Rasters on a server. A query or a user's name may hold a secret: such paths are left out.
_REMOTE = re.compile(
    r'(?:(?:^|\+)(?:https?|ftp|s3|gs|az|oss|swift)://'
    r'|/vsi(?:curl|s3|gs|az|adls|oss|swift|webhdfs|hdfs)(?:_streaming)?/)[^?@]*$'
)


class Stamp(NamedTuple):
    """State of a file on disk, by which a later run knows it again.

    Attributes:
        size: Bytes, -1 for a file on a server.
        mtime_ns: Last change of the content, nanoseconds since 1970; as the writer may set it.
        ctime_ns: Last change of the file or a companion in any way, nanoseconds since 1970 (on
            Windows its creation): tells a file that was put in place with the time of another.
        companions: The same of the files beside it that belong to its header, as text.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    companions: str

    def settled(self, now_ns: int) -> bool:
        """Tell whether changes after *now_ns* will show: clocks of file systems tick up to 2 s."""
        return max(self.mtime_ns, self.ctime_ns) < now_ns - 3_000_000_000


def stamps(files: Iterable[str]) -> dict[str, Stamp]:
    """Look at the state of many files.

    Args:
        files: Paths as GDAL takes them.

    Returns:
        Their stamps. Files on servers have one that never changes: asking for each would take
        as long as reading it. Files that are missing, in memory, in archives, or whose paths
        may hold a secret have none.
    """
    found: dict[str, Stamp] = {}
    by_folder: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path in files:
        if _REMOTE.search(path):
            found[path] = Stamp(-1, 0, 0, '')
        elif '://' not in path and not path.startswith('/vsi'):
            folder, name = os.path.split(path)
            by_folder[folder].append((name, path))
    for folder, names in by_folder.items():
        try:
            with os.scandir(folder or '.') as listing:
                entries = {entry.name: entry for entry in listing}
            companions = {n.lower(): n for n in entries if n.lower().endswith(_COMPANIONS)}
            for name, path in names:
                if name in entries:
                    found[path] = _stamp(entries[name], entries, companions)
        except OSError:  # changes at this moment, or may not be listed
            continue
    return found


def _stamp(
    entry: os.DirEntry[str], entries: dict[str, os.DirEntry[str]], companions: dict[str, str]
) -> Stamp:
    """The stamp of one file; *companions* maps names in small letters to *entries*."""
    state = entry.stat()
    mtime, ctime, beside = state.st_mtime_ns, state.st_ctime_ns, ''
    if companions:
        name = entry.name.lower()
        for start in (name, name.rpartition('.')[0]):
            for ending in _COMPANIONS:
                own = companions.get(start + ending)
                if own is None:
                    continue
                other = entries[own].stat()
                beside += f'{own}:{other.st_size}:{other.st_mtime_ns}:{other.st_ctime_ns};'
                ctime = max(ctime, other.st_mtime_ns, other.st_ctime_ns)
    return Stamp(state.st_size, mtime, ctime, beside)
