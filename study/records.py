"""Records of runs: kept in compressed files, found again, and averaged with intervals."""

import gzip
import json
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Folder of the published records, tables and plots.
RESULTS = Path(__file__).parent / 'results'
Metric = Literal['f1', 'miou']
#: Site, budget, probe and depth of a score.
type Where = tuple[str, str, str, str]

#: How classic and trained contenders are scored, where frozen features are probed.
RAW: tuple[str, str] = ('raw', 'raw')
TRAINED: tuple[str, str] = ('trained', 'trained')

#: Bootstrap samples of an interval.
RESAMPLES = 2000


# -- files ----------------------------------------------------------------------------------


def read(path: Path) -> list[dict[str, Any]]:
    """Read all complete records of a file, without one that a kill cut off.

    Args:
        path: A gzip file of one or many members, each of whole lines of JSON. It may be missing.
    """
    if not path.exists():
        return []
    return [
        json.loads(line)
        for lines, _ in _members(path.read_bytes())
        for line in lines.decode().splitlines()
    ]


def append(path: Path, record: dict[str, Any]) -> None:
    """Add a record to a file, as a gzip member of its own.

    A member that a kill cut off would hide all that come after it, and is removed first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(record, separators=(',', ':')) + '\n'
    with path.open('a+b') as file:
        file.seek(0)
        file.truncate(max((end for _, end in _members(file.read())), default=0))
        file.write(gzip.compress(line.encode(), mtime=0))


def _members(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Unpack the complete gzip members of a file: the content and the end of each."""
    end = 0
    while end < len(data):
        unzip = zlib.decompressobj(wbits=31)  # 31: with the header of gzip
        try:
            content = unzip.decompress(data[end:])
        except zlib.error:
            return
        if not unzip.eof:
            return
        end = len(data) - len(unzip.unused_data)
        yield content, end


# -- lookup ---------------------------------------------------------------------------------


class Records:
    """Tables of scores: rows are initialisations, columns draws of fields.

    Args:
        runs: Records as they are stored.
    """

    def __init__(self, runs: list[dict[str, Any]]) -> None:
        self.runs = runs
        self._rows: dict[tuple[str, Where], dict[int, dict[str, Any]]] = defaultdict(dict)
        for run in runs:
            for score in run['scores']:
                where = score['site'], score['budget'], score['probe'], score['depth']
                self._rows[run['contender'], where][run['seed']] = score

    @property
    def contenders(self) -> list[str]:
        """Names of those that were run, in the order in which they appear."""
        return list(dict.fromkeys(run['contender'] for run in self.runs))

    def seeds(self, contender: str) -> int:
        """Number of initialisations of a contender that are through on all sets."""
        runs = [run for run in self.runs if run['contender'] == contender]
        sets = {run['set'] for run in runs}
        return min(len({r['seed'] for r in runs if r['set'] == one}) for one in sets)

    def has(self, contender: str, where: Where) -> bool:
        """True if there is any score."""
        return (contender, where) in self._rows

    def table(self, contender: str, where: Where, metric: Metric = 'f1') -> NDArray[np.float64]:
        """Scores ``(seeds, draws)`` of a contender, from 0 to 1.

        Raises:
            KeyError: If there are none.
        """
        rows = self._rows.get((contender, where))
        if not rows:
            raise KeyError(f'no scores of {contender!r} for {where}')
        return np.array([rows[seed][metric] for seed in sorted(rows)]) / 1000

    def difference(self, ours: str, at: Where, theirs: str, other: Where) -> NDArray[np.float64]:
        """Difference of the first and the second, for equal seeds and draws ``(seeds, draws)``.

        A contender that was trained with labels saw some draws of each seed: of the other, the
        same are taken.
        """
        first, second = self._rows[ours, at], self._rows[theirs, other]
        rows = []
        for seed in sorted(first.keys() & second.keys()):
            a, b = first[seed], second[seed]
            draws = a.get('draws') or b.get('draws')
            taken = [
                np.array(r['f1'])[slice(None) if 'draws' in r or not draws else draws]
                for r in (a, b)
            ]
            rows.append((taken[0] - taken[1]) / 1000)
        return np.array(rows)


# -- intervals ------------------------------------------------------------------------------


class Interval(NamedTuple):
    """A mean with its 95 % confidence interval."""

    mean: float
    low: float
    high: float


def bootstrap(sites: Sequence[NDArray[np.float64]]) -> Interval:
    """Mean over sites, and its interval over initialisations and draws of fields.

    Both axes of a site's table are drawn anew with replacement, as in the two-way bootstrap of
    crossed designs; sites with as many rows share the draw of rows, since a row is one
    pretraining. Given differences of two contenders that shared seeds and fields, it is paired.

    Args:
        sites: For each site a table ``(seeds, draws)``.
    """
    rng = np.random.default_rng(0)
    mean = float(np.mean([table.mean() for table in sites]))
    means = np.zeros(RESAMPLES)
    draws = rng.random((RESAMPLES, max(len(table) for table in sites)))
    for table in sites:
        rows = (draws[:, : len(table)] * len(table)).astype(np.int64)
        columns = rng.integers(0, table.shape[1], (RESAMPLES, table.shape[1]))
        picked = table[rows[:, :, None], columns[:, None, :]]
        means += picked.mean((1, 2)) / len(sites)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(mean, float(low), float(high))
