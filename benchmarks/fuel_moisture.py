"""Live fuel moisture by the published split: trained and published encoders, forest and ridge.

    python -m benchmarks.fuel_moisture DATA

DATA holds the folders ``pts_fuel_moisture``, a table of 2,313 series of three months at 153 sites,
and ``weights``, with ``presto.safetensors`` and ``galileo_nano.safetensors``; results go to
results/fuel_moisture.json. No site of the test is one of training. Each seed holds out a quarter of
the sites of training for validation, and begins all that is random anew; the test is scored once
for each seed.

All contenders see Sentinel-1, Sentinel-2 without B09, which the published models do not know,
weather and terrain. Those of scikit-learn are given the 48 values and the month in order, and a
second forest the place besides, which the published models take. Frozen features are the mean
of the tokens; a ridge or a forest learns from them. Rates, epochs and penalties are chosen on the
validation of a seed of its own (``TUNING``), with the best weights of none: training ends with its
last epoch.

Intervals are those of :func:`torchgeo_sits.metrics.conformal_half_width`, at 90 %, by the points
of the sites that are held out: ``SITSRegression`` learns it by itself, others get it likewise.
"""

import statistics
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import seed_everything
from numpy.typing import NDArray
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from torchgeo_sits.datamodules import (
    PointDataModule,
    PointLabelOptions,
    PointSplitOptions,
    TableOptions,
)
from torchgeo_sits.keys import LOCATION
from torchgeo_sits.metrics import conformal_half_width
from torchgeo_sits.models import load_published
from torchgeo_sits.models.monthly import STATISTICS
from torchgeo_sits.models.quantities import quantity
from torchgeo_sits.tasks import SITSRegression

from . import harness

SEEDS = range(5)
#: The seed of the validation that choices are made on.
TUNING = 100
THREADS = 1
COVERAGE = 0.9
BANDS = [
    'VV',
    'VH',
    'B2',
    'B3',
    'B4',
    'B5',
    'B6',
    'B7',
    'B8',
    'B8A',
    'B11',
    'B12',
    't2m',
    'tp',
    'elevation',
    'slope',
]
#: The table has months only. Any year will do: no contender is told it but by elapsed time.
YEAR = 2018

type Numbers = NDArray[np.float64]
type Found = dict[str, float]


@dataclass(frozen=True)
class Contender:
    """One line of the table.

    Attributes:
        kind: Who learns: 'mean', 'ridge', 'forest', or the task 'trained'.
        sees: What it learns from: 'values', 'values and place', or published weights, frozen.
        options: Arguments of the task.
        choices: Settings to choose from, the same keys in each.
    """

    kind: str
    sees: str = 'values'
    options: dict[str, Any] = field(default_factory=dict)
    choices: tuple[dict[str, Any], ...] = ({},)


RIDGE = tuple({'alpha': 10.0**i} for i in range(-1, 5))
SCRATCH = tuple({'lr': lr, 'epochs': 15} for lr in (1e-3, 4e-3))
TUNED = tuple({'lr': lr, 'epochs': 8, 'layer_decay': 0.5} for lr in (2e-4, 1e-3, 3e-3))
CONTENDERS = {
    'mean of training': Contender('mean'),
    'ridge': Contender('ridge', choices=RIDGE),
    'random forest': Contender('forest'),
    'random forest, with the place': Contender('forest', 'values and place'),
    'L-TAE': Contender('trained', options={'model': 'ltae'}, choices=SCRATCH),
    'factorised_tiny': Contender('trained', options={'model': 'factorised_tiny'}, choices=SCRATCH),
    'TempCNN': Contender('trained', options={'model': 'tempcnn'}, choices=SCRATCH),
    'Presto, frozen, ridge': Contender('ridge', 'presto', choices=RIDGE),
    'Presto, frozen, random forest': Contender('forest', 'presto'),
    'Presto, fine-tuned': Contender('trained', 'presto', choices=TUNED),
    'Galileo nano, frozen, ridge': Contender('ridge', 'galileo_nano', choices=RIDGE),
    'Galileo nano, frozen, random forest': Contender('forest', 'galileo_nano'),
}


class Points:
    """The table, split by a seed, and what each contender sees of it.

    Args:
        folder: The folder of all data.
        seed: Seed of the sites that are held out for validation.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        self.data = self.module()
        self.truth = self.data.points.labels.values.astype(np.float64)  # type: ignore[union-attr]
        self.parts = [getattr(self.data, f'{n}_dataset').points for n in ('train', 'val', 'test')]
        self._features: dict[str, Numbers] = {}

    def module(self) -> PointDataModule:
        """A data module of its own: a task may change how it normalises."""
        data = PointDataModule(
            str(self.folder / 'pts_fuel_moisture' / 'pts_fuel_moisture.csv'),
            table=TableOptions(point='id', date='month', year=YEAR, bands=BANDS),
            labels=PointLabelOptions('target', kind='value', supervised=True),
            # A site has a latitude of its own.
            split=PointSplitOptions(column='is_test', groups='lat'),
            seed=self.seed,
        )
        data.setup('fit')
        data.setup('test')
        return data

    def weights(self, name: str) -> str:
        """Published weights, as tasks take them."""
        return f'{name}:{self.folder / "weights" / f"{name}.safetensors"}'

    def features(self, what: str) -> Numbers:
        """Features ``(N, D)`` of all points."""
        if what not in self._features:
            make = self._values if what.startswith('values') else self._frozen
            self._features[what] = make(what)
        return self._features[what]

    def _values(self, what: str) -> Numbers:
        """Values of the months in order, and the first month as a point of a circle."""
        points = self.data.points
        batch = points.batch(np.arange(len(points)))
        parts = [batch['image'].flatten(1).numpy()]
        times = batch['acquisition_times'][:, 0].numpy().astype('datetime64[s]')
        angle = times.astype('datetime64[M]').astype(int)[:, None] % 12 * (np.pi / 6)
        parts += [np.sin(angle), np.cos(angle)]
        if what == 'values and place':
            parts.append(batch[LOCATION].numpy())
        return np.concatenate(parts, 1).astype(np.float64)

    @torch.no_grad()
    def _frozen(self, name: str) -> Numbers:
        """Mean of the tokens of a published encoder."""
        encoder = load_published(self.weights(name), bands=BANDS).eval()
        data = self.module()
        data.normalise_as(*zip(*(STATISTICS[str(quantity(band))] for band in BANDS), strict=True))
        batch = data.aug(data.points.batch(np.arange(len(data.points))))
        return encoder.embed(encoder.series_of(batch)).double().numpy()


def learner(kind: str, seed: int, chosen: dict[str, Any]) -> Any:
    """A regressor of scikit-learn."""
    if kind == 'mean':
        return DummyRegressor()
    if kind == 'ridge':
        return make_pipeline(StandardScaler(), Ridge(**chosen))
    return RandomForestRegressor(200, min_samples_leaf=2, max_features=0.33, random_state=seed)


def fitted(contender: Contender, points: Points, chosen: dict[str, Any]) -> tuple[Numbers, float]:
    """Train a contender.

    Args:
        contender: Who.
        points: What on.
        chosen: One of its choices.

    Returns:
        Predictions ``(N,)`` for all points, and how far their intervals reach.
    """
    train, val, _ = points.parts
    if contender.kind != 'trained':
        table = points.features(contender.sees)
        model = learner(contender.kind, points.seed, chosen)
        found = model.fit(table[train], points.truth[train]).predict(table)
        errors = torch.from_numpy(np.abs(found - points.truth)[val])
        return found, float(conformal_half_width(errors, COVERAGE))
    seed_everything(points.seed, verbose=False)
    options = dict(contender.options)
    if contender.sees != 'values':
        options['weights'] = points.weights(contender.sees)
    options |= {key: value for key, value in chosen.items() if key != 'epochs'}
    task = SITSRegression(**options, coverage=COVERAGE)
    epochs = chosen['epochs']
    data = points.module()
    # The intervals are those of the last epoch, as the weights are.
    trainer = harness.quiet_trainer(
        max_epochs=epochs, check_val_every_n_epoch=epochs, num_sanity_val_steps=0
    )
    trainer.fit(task, data)
    values = [batch['value'] for batch in trainer.predict(task, data)]  # type: ignore[union-attr]
    return torch.cat(values).double().numpy(), float(task.half_width)


def score(found: Numbers, truth: Numbers) -> Found:
    """RMSE and MAE in percent of dry mass, and R2."""
    return {
        'rmse': float(root_mean_squared_error(truth, found)),
        'mae': float(mean_absolute_error(truth, found)),
        'r2': float(r2_score(truth, found)),
    }


def tuned(contender: Contender, points: Points) -> dict[str, Any]:
    """The choice of the least RMSE of validation; no point of the test is looked at."""
    if len(contender.choices) == 1:
        return contender.choices[0]
    val = points.parts[1]

    def rmse(chosen: dict[str, Any]) -> float:
        found, _ = fitted(contender, points, chosen)
        return score(found[val], points.truth[val])['rmse']

    return min(contender.choices, key=rmse)


def measured(contender: Contender, points: Points, chosen: dict[str, Any]) -> Found:
    """Scores of the test, and the share of it that lies in its intervals."""
    start = time.perf_counter()
    found, half = fitted(contender, points, chosen)
    seconds = time.perf_counter() - start
    test = points.parts[2]
    inside = np.abs(found - points.truth)[test] <= half
    scores = score(found[test], points.truth[test])
    return scores | {'coverage': float(inside.mean()), 'width': 2 * half, 's': seconds}


def summary(runs: list[Found], chosen: dict[str, Any]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds."""
    figures: dict[str, Any] = {'chosen': chosen}
    for name in ('rmse', 'mae', 'r2', 'coverage', 'width'):
        values = [run[name] for run in runs]
        figures[f'{name}_mean'] = round(statistics.mean(values), 3)
        figures[f'{name}_sd'] = round(statistics.stdev(values), 3)
    figures['rmse_runs'] = [round(run['rmse'], 2) for run in runs]
    figures['seconds'] = round(statistics.median(run['s'] for run in runs), 1)
    return figures


def main() -> None:
    """Choose, measure, print and write the results."""
    parser = harness.parser(__doc__)
    parser.add_argument('data', type=Path)
    folder = parser.parse_args().data
    torch.set_num_threads(THREADS)
    warnings.filterwarnings('ignore')
    results = harness.describe('scikit-learn', seeds=len(SEEDS), coverage=COVERAGE, bands=BANDS)
    apart = Points(folder, TUNING)
    chosen = {name: tuned(contender, apart) for name, contender in CONTENDERS.items()}
    print(chosen, flush=True)
    splits = [Points(folder, seed) for seed in SEEDS]
    results['settings']['points'] = [len(part) for part in splits[0].parts]
    figures: dict[str, object] = {}
    for name, contender in CONTENDERS.items():
        runs = [measured(contender, points, chosen[name]) for points in splits]
        figures[name] = summary(runs, chosen[name])
        print(name, figures[name], flush=True)
        harness.save('fuel_moisture', results | {'figures': figures})


if __name__ == '__main__':
    main()
