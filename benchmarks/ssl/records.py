"""Scores of all runs, found again by what they are of."""

from collections import defaultdict
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Metric = Literal['f1', 'miou']
#: Site, budget, probe and depth of a score.
type Where = tuple[str, str, str, str]

#: How classic and trained contenders are scored, where frozen features are probed.
RAW: tuple[str, str] = ('raw', 'raw')
TRAINED: tuple[str, str] = ('trained', 'trained')


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
        """Whether there is any score."""
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
        """What the first has over the second, for equal seeds and draws ``(seeds, draws)``.

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
