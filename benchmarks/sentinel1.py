"""What Sentinel-1 adds to Sentinel-2 where few fields are labelled, on two real series.

    python -m benchmarks.sentinel1 DATA

DATA holds the folders ``wc_be_a`` and ``wc_be_b``, each with ``s2``, ``s1``, ``scl`` and
``labels``; results go to results/sentinel1.json. Half of the fields of each class are scored
(macro F1 of their pixels, over the classes that are there), one or five of each class of the other
half train; the choice differs by seed, and is the same for all contenders.

* linear: a logistic regression on the medians of each month, band by band.
* factorised_tiny: trained from scratch with ``SITSSegmentation``, as conf/segmentation.yaml does,
  on crops of 16 pixels around a pixel of each class in turn and 8 random dates of each sensor, 120
  steps of 4 crops: less than two minutes of one core. All dates are read when it is scored.

Both see Sentinel-2 alone or both sensors, the first Sentinel-1 alone too. Clouds are those of the
scene classification.
"""

import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, seed_everything
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.utils.data import DataLoader
from torchmetrics.functional.classification import multiclass_f1_score

from torchgeo_sits.collate import pad_time
from torchgeo_sits.datamodules import (
    ImageOptions,
    LabelOptions,
    Sentinel1Options,
    SITSFusionDataModule,
    SplitOptions,
)
from torchgeo_sits.keys import S1_KEYS
from torchgeo_sits.tasks import SITSSegmentation
from torchgeo_sits.transforms import s1_of

from . import harness

SERIES = ('wc_be_a', 'wc_be_b')
SHOTS = (1, 5)
SEEDS = range(3)
THREADS = 1
#: Classes of the scene classification that are clear: vegetation and bare soil.
CLEAR = [4, 5]
CROP, DATES, BATCH, STEPS = 16, 8, 4, 120


class FewFields(LightningDataModule):
    """A whole series in memory, labelled in few fields; random crops on random dates train.

    Args:
        folder: Folder of the series.
        shots: Labelled fields of each class.
        seed: Seed of the fields that are scored, of those that train, and of the crops.
    """

    unlabelled = 0

    def __init__(self, folder: Path, shots: int, seed: int) -> None:
        super().__init__()
        labels = folder / 'labels' / f'{folder.name}_CT_aligned_core.tif'
        data = SITSFusionDataModule(
            images=ImageOptions(
                str(folder / 's2'), cloud_paths=str(folder / 'scl'), clear_values=CLEAR
            ),
            s1=Sentinel1Options(str(folder / 's1')),
            labels=LabelOptions(str(labels), supervised=True, fields_per_class=shots),
            split=SplitOptions('fields', val_fraction=0.5),
            seed=seed,
        )
        data.setup('fit')
        splits = data.splits
        assert splits.labelled_train is not None
        assert splits.labelled_val is not None
        bounds = splits.series.bounds
        sample = splits.labelled_train[bounds]
        self.truth = splits.labelled_val[bounds]['mask']
        self.sample = {key: value[0] for key, value in data.aug(pad_time([sample])).items()}
        self.mask: Tensor = self.sample['mask']
        self.num_classes, self.class_names = data.num_classes, data.class_names
        self.bands, self.in_channels = data.bands, data.in_channels
        self.seed = seed

    def shown(self, sensors: str, sample: dict[str, Tensor]) -> dict[str, Tensor]:
        """A sample to a model that sees some sensors: no frame of the others is valid."""
        if 's1' not in sensors:
            return {key: v for key, v in sample.items() if key not in S1_KEYS.values()}
        if 's2' not in sensors:
            return sample | {'valid': torch.zeros_like(sample['valid'])}
        return sample

    def crop(self, sensors: str, index: int) -> dict[str, Tensor]:
        """A crop around a labelled pixel of any class, on some dates of each sensor."""
        rng = np.random.default_rng((self.seed, index))
        label = rng.choice(self.mask[self.mask > 0].unique().numpy())
        corner = rng.choice((self.mask == label).nonzero().numpy()) - rng.integers(0, CROP, 2)
        y, x = np.clip(corner, 0, np.array(self.mask.shape) - CROP).tolist()
        place = slice(y, y + CROP), slice(x, x + CROP)
        crop = {'mask': self.mask[place]}
        for end in ('', '_s1'):
            t = len(self.sample[f'image{end}'])
            frames = sorted(rng.choice(t, min(DATES, t), replace=False).tolist())
            for key in ('acquisition_times', 'valid'):
                crop[f'{key}{end}'] = self.sample[f'{key}{end}'][frames]
            crop[f'image{end}'] = self.sample[f'image{end}'][frames][..., *place]
            crop[f'mask_clear{end}'] = self.sample[f'mask_clear{end}'][frames][..., *place]
        return self.shown(sensors, crop)

    def use(self, sensors: str) -> 'FewFields':
        """Let crops show some sensors."""
        self.sensors = sensors
        return self

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Batches of one epoch, which is the whole run."""
        crops = [self.crop(self.sensors, i) for i in range(BATCH * STEPS)]
        return DataLoader(crops, BATCH, collate_fn=pad_time)  # type: ignore[arg-type]


def score(found: Tensor, data: FewFields) -> float:
    """Macro F1 of classes ``(H, W)`` over the fields that are scored."""
    known = data.truth > 0
    truth, guess = data.truth[known], found[known]
    assert data.num_classes is not None
    each = multiclass_f1_score(guess, truth, num_classes=data.num_classes, average='none')
    return float(each[truth.unique()].mean())


def medians(series: dict[str, Any]) -> NDArray[np.float32]:
    """Medians ``(H * W, M * C)`` of the clear values of each month; 0, the mean, where none is."""
    image = series['image'].masked_fill(~series['mask_clear'][:, None], torch.nan)
    days = series['acquisition_times'].numpy().astype('datetime64[s]').astype('datetime64[M]')
    months = [
        torch.nanmedian(image[torch.from_numpy(days == month)], 0).values
        for month in np.unique(days)
    ]
    return torch.cat(months).nan_to_num(0).flatten(1).T.numpy()


def linear(data: FewFields, sensors: str) -> Tensor:
    """Classes by a logistic regression on medians of months."""
    s1 = s1_of(data.sample)
    assert s1 is not None
    parts = {'s2': data.sample, 's1': s1}
    features = np.concatenate([medians(parts[name]) for name in sensors.split('+')], 1)
    known = (data.mask > 0).flatten().numpy()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(features[known], data.mask.flatten().numpy()[known])
    return torch.from_numpy(model.predict(features)).view_as(data.mask)


def fine_tuned(data: FewFields, sensors: str) -> Tensor:
    """Classes by factorised_tiny, trained from scratch."""
    seed_everything(data.seed, verbose=False)
    task = SITSSegmentation(
        model='factorised_tiny',
        model_kwargs={'s1_channels': 2 if 's1' in sensors else 0},
        lr=0.002,
    )
    trainer = harness.quiet_trainer(max_epochs=1)
    trainer.fit(task, data.use(sensors))
    batch = pad_time([data.shown(sensors, data.sample)])
    with torch.no_grad():
        return task.eval().prediction(task(batch), batch)[0]


def main() -> None:
    """Measure, print and write the results."""
    parser = harness.parser(__doc__)
    parser.add_argument('data', type=Path)
    folder = parser.parse_args().data
    torch.set_num_threads(THREADS)
    warnings.filterwarnings('ignore', 'the labels .* become classes')
    results = harness.describe(
        'scikit-learn', seeds=len(SEEDS), crop=CROP, dates=DATES, batch=BATCH, steps=STEPS
    )
    figures: dict[str, object] = {}
    contenders = {
        'linear': (linear, ('s2', 's1', 's2+s1')),
        'factorised_tiny': (fine_tuned, ('s2', 's2+s1')),
    }
    for name in SERIES:
        for shots in SHOTS:
            runs: dict[str, list[dict[str, float]]] = {}
            for seed in SEEDS:
                data = FewFields(folder / name, shots, seed)
                for contender, (method, shown) in contenders.items():
                    for sensors in shown:
                        start = time.perf_counter()
                        f1 = score(method(data, sensors), data)
                        run = {'seed': seed, 'f1': f1, 's': time.perf_counter() - start}
                        runs.setdefault(f'{contender}, {sensors}', []).append(run)
                        print(name, shots, contender, sensors, run, flush=True)
            for what, found in runs.items():
                values = [run['f1'] for run in found]
                figures[f'{name}, {shots} fields: {what}'] = {
                    'f1_mean': round(statistics.mean(values), 4),
                    'f1_runs': [round(value, 4) for value in values],
                    'seconds': round(statistics.median(run['s'] for run in found), 1),
                }
            harness.save('sentinel1', results | {'figures': figures})


if __name__ == '__main__':
    main()
