"""What the second version of PlanarViT was chosen by: untrained encoders on development data.

    uv run python -m study.choices --data DIR

Early features of encoders that were not trained, by the linear probe, means of two initialisations
and 20 draws: on points of Canada (``pts_can_dev``, monthly composites, classes of 15 points or
more, each point a field), on fields of ieda_mt that are too small to be tested, and on a simulated
world of another seed. No site or field of the test is read.
"""

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import ours
from .contenders import FIRST, SECOND, Architecture
from .probes import Pixels, labelled_pixels, linear, probe
from .report import rows
from .sites import Site, canada, mato_grosso, synthetic

#: Budgets of each site: fields per class, or a share of all.
BUDGETS = {'canada': ('1', '5', '20'), 'ieda_mt': ('1', '5'), 'synthetic': ('1', '5 %')}


def _windows(number: int, concentration: float) -> Architecture:
    """The second version with other windows of the season."""
    changed = {'seasonal_queries': number, 'concentration': concentration}
    return Architecture(SECOND.model, SECOND.arguments | changed)


ENCODERS = {
    'first version': FIRST,
    'second version, 12 windows, concentration 8': _windows(12, 8.0),
    'second version (16, 16)': SECOND,
    'second version, 24 windows, concentration 32': _windows(24, 32.0),
}


def pixels_of(site: Site) -> Pixels:
    """The pixels that choices are made on: points, small fields, or a whole simulated world."""
    return labelled_pixels(site, development=site.name != 'synthetic')


def score(architecture: Architecture, site: Site, *, seeds: int = 2) -> list[float]:
    """Macro F1 in points at each budget of a site, of untrained early features."""
    pixels, found = pixels_of(site), []
    for seed in range(seeds):
        torch.manual_seed(seed)
        encoder = ours.encoder(site.image.shape[1], architecture)
        values: Any = ours.features(encoder, site)['early'].flatten(1).T[pixels.index].numpy()
        budgets = BUDGETS[site.name]
        found.append([np.mean(probe(values, pixels, one, linear)['f1']) for one in budgets])
    return [round(100 * float(value), 1) for value in np.mean(found, 0)]


def main() -> None:
    """Print the scores of each encoder, and their mean."""
    parser = argparse.ArgumentParser(prog='python -m study.choices', description=__doc__)
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    parser.add_argument('--scratch', type=Path, default=Path('.benchmark/study'))
    arguments = parser.parse_args()
    # Of one point of each class scikit-learn asks whether classes are numbers.
    warnings.filterwarnings('ignore', 'The number of unique classes', UserWarning)
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    sites = [
        *canada(arguments.data),
        *mato_grosso(arguments.data),
        *synthetic(arguments.scratch, seed=1, size=256),
    ]
    head = [f'{site.name}, {budget}' for site in sites for budget in BUDGETS[site.name]]
    lines = []
    for name, architecture in ENCODERS.items():
        found = [value for site in sites for value in score(architecture, site)]
        lines.append([name, *map(str, found), f'{np.mean(found):.1f}'])
    print(rows(lines, ['encoder', *head, 'mean']))


if __name__ == '__main__':
    main()
