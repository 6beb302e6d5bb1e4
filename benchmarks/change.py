"""Change detection on two real stacks, beside a threshold on the difference of yearly medians.

    python -m benchmarks.change DATA

DATA holds the folders ``tura`` and ``modis_dtwsat_mt``; results go to results/change.json.

* tura: Landsat NDVI. The reference is BFAST Monitor's map of breaks from 2009 on with a magnitude
  below -1000, the output of an algorithm: what is scored is agreement with it. A half of the area
  (the upper or the lower one, with six rows between them left out) trains, the other is scored.
* modis_dtwsat_mt: 175 points with a class in the seasons from September 2010 and from September
  2011; 77 change class. Blocks of 5 x 5 pixels are dealt to two parts in turn; one trains, the
  other is scored. Every point that changes was of one class before (soybean-maize) and no stable
  point was, so that a model need not compare the seasons to score well.

The model is ``SITSChangeDetection`` on ``planar_vit_tiny`` without pretraining, with
its default settings, 100 steps and three seeds. The threshold is the one with the best F1 in the
part that trains.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
import torch
from lightning.pytorch import LightningDataModule, seed_everything
from torch import Tensor
from torch.utils.data import DataLoader

from torchgeo_sits.collate import pad_time
from torchgeo_sits.datasets import RasterTimeSeries
from torchgeo_sits.tasks import SITSChangeDetection
from torchgeo_sits.tasks.change import parse_spans, two_windows

from . import harness

UNKNOWN = 255
SEEDS = range(3)
THREADS = 1


class Stack(NamedTuple):
    """A series, what changed between two windows of it, and which part trains."""

    sample: dict[str, Tensor]
    #: ``(H, W)``, 1 changed, 0 not, 255 unknown.
    change: Tensor
    windows: list[list[str]]
    #: Band whose yearly medians the threshold compares.
    band: int
    #: ``(H, W)``: 0 or 1, the part of each pixel, -1 for none.
    parts: Tensor
    #: Sides of a patch, patches and dates of a batch, and steps, for training.
    patch: int
    batch: int
    dates: int
    steps: int


def tura(folder: Path) -> Stack:
    """Landsat NDVI and BFAST Monitor's breaks."""
    series = RasterTimeSeries(str(folder / 'images'))
    with rasterio.open(folder / 'labels' / 'tura_change_mag1000.tif') as file:
        change = torch.from_numpy(file.read(1).astype(np.int64))
    rows = torch.arange(len(change))
    half = len(change) // 2
    part = torch.where(rows < half - 3, 0, torch.where(rows >= half + 3, 1, -1))
    parts = part[:, None].expand(change.shape)
    windows = [['1999-01-01', '2009-01-01'], ['2009-01-01', '2014-01-01']]
    return Stack(series[series.bounds], change, windows, 0, parts, 32, 4, 24, 100)


def modis(folder: Path) -> Stack:
    """MODIS bands and dated points, as maps of the classes of two seasons."""
    bands = ['blue', 'red', 'nir', 'mir', 'ndvi', 'evi']
    series = RasterTimeSeries(str(folder / 'images'), bands=bands)
    seasons = []
    for year in (2010, 2011):
        path = folder / 'labels' / f'modis_dtwsat_mt_points_{year}0901.tif'
        with rasterio.open(path) as file:
            seasons.append(torch.from_numpy(file.read(1).astype(np.int64)))
    known = (seasons[0] > 0) & (seasons[1] > 0)
    change = torch.where(known, (seasons[0] != seasons[1]).long(), UNKNOWN)
    y, x = torch.meshgrid(*(torch.arange(n) // 5 for n in change.shape), indexing='ij')
    windows = [['2010-09-01', '2011-09-01'], ['2011-09-01', '2012-09-01']]
    return Stack(series[series.bounds], change, windows, 4, (y + x) % 2, 16, 4, 20, 100)


def scores(found: Tensor, truth: Tensor) -> dict[str, float]:
    """F1 and IoU of change where the truth is known."""
    known = truth != UNKNOWN
    found, truth = found[known].bool(), truth[known].bool()
    hits, wrong = int((found & truth).sum()), int((found != truth).sum())
    return {'f1': 2 * hits / max(1, 2 * hits + wrong), 'iou': hits / max(1, hits + wrong)}


def median_difference(stack: Stack) -> Tensor:
    """Largest fall or rise ``(H, W)`` of a yearly median after from the median before."""
    batch = pad_time([stack.sample])
    before, after = two_windows(batch, parse_spans(stack.windows))

    def median(part: dict[str, Tensor], chosen: Tensor) -> Tensor:
        values = part['image'][0, chosen, stack.band]
        return values.masked_fill(~part['mask_clear'][0, chosen], torch.nan).nanmedian(0).values

    every = torch.ones_like(before['valid'][0])
    base = median(before, every)
    years = (after['acquisition_times'][0] / 86_400 / 365.25).long()
    yearly = torch.stack([median(after, years == year) for year in years.unique()])
    moves = (yearly - base).nan_to_num(0)
    return moves.gather(0, moves.abs().argmax(0, keepdim=True))[0]


def by_threshold(stack: Stack, train: Tensor, seed: int) -> Tensor:
    """Change where the medians differ by more than fits the part that trains best."""
    moves = median_difference(stack)
    truth = torch.where(train, stack.change, UNKNOWN)
    found: list[tuple[float, Tensor]] = []
    for sign in (-1, 1, 0):
        size = moves.abs() if sign == 0 else sign * moves
        for threshold in np.quantile(size[train].numpy(), np.linspace(0.02, 0.995, 196)):
            guess = size > float(threshold)
            found.append((scores(guess, truth)['f1'], guess))
    return max(found, key=lambda pair: pair[0])[1]


class Patches(LightningDataModule):
    """Random patches of the part that trains, on random dates; the whole stack to predict."""

    def __init__(self, stack: Stack, train: Tensor, seed: int) -> None:
        super().__init__()
        self.stack, self.train, self.seed = stack, train, seed
        seen = stack.sample['mask_clear'] & train
        pixels = stack.sample['image'].movedim(1, -1)[seen]
        mean, std = pixels.mean(0), pixels.std(0)
        self.image = (stack.sample['image'] - mean[:, None, None]) / std[:, None, None]
        self.mask = torch.where(train, stack.change, UNKNOWN)

    def patch(self, index: int) -> dict[str, Tensor]:
        """A patch around a labelled pixel."""
        rng = np.random.default_rng((self.seed, index))
        stack = self.stack
        labelled = (self.mask != UNKNOWN).nonzero().numpy()
        corner = rng.choice(labelled) - rng.integers(0, stack.patch, 2)
        most = np.array(self.mask.shape) - stack.patch
        y, x = np.clip(corner, 0, np.maximum(most, 0)).tolist()
        rows, columns = slice(y, y + stack.patch), slice(x, x + stack.patch)
        times = stack.sample['acquisition_times']
        frames: list[int] = []
        # As many dates of each window, in each of which there are some.
        for start, end in parse_spans(stack.windows):
            inside = ((times >= start) & (times < end)).nonzero()[:, 0].numpy()
            count = min(stack.dates // 2, len(inside))
            frames += sorted(rng.choice(inside, count, replace=False).tolist())
        return {
            'image': self.image[frames, :, rows, columns],
            'acquisition_times': times[frames],
            'valid': torch.ones(len(frames), dtype=torch.bool),
            'mask_clear': stack.sample['mask_clear'][frames, rows, columns],
            'mask': self.mask[rows, columns],
        }

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Batches of one epoch, which is the whole run."""
        count = self.stack.batch * self.stack.steps
        patches = [self.patch(i) for i in range(count)]
        return DataLoader(patches, self.stack.batch, collate_fn=pad_time)  # type: ignore[arg-type]


def by_model(stack: Stack, train: Tensor, seed: int) -> Tensor:
    """Change as PlanarViT finds it, trained from scratch on the part that trains."""
    seed_everything(seed, verbose=False)
    data = Patches(stack, train, seed)
    labels = data.mask[data.mask != UNKNOWN]
    task = SITSChangeDetection(
        in_channels=data.image.shape[1],
        windows=stack.windows,
        ignore_index=UNKNOWN,
        pos_weight=round(float((labels == 0).sum() / (labels == 1).sum()) ** 0.5, 3),
    )
    trainer = harness.quiet_trainer(max_epochs=1)
    trainer.fit(task, data)
    batch = pad_time([stack.sample | {'image': data.image}])
    with torch.no_grad():
        return task.eval().prediction(task(batch), batch)[0]


def main() -> None:
    """Measure, print and write the results."""
    parser = harness.parser(__doc__)
    parser.add_argument('data', type=Path)
    data = parser.parse_args().data
    torch.set_num_threads(THREADS)
    results = harness.describe(seeds=len(SEEDS))
    figures: dict[str, object] = {}
    contenders: dict[str, tuple[Callable[[Stack, Tensor, int], Tensor], range]] = {
        'threshold on yearly medians': (by_threshold, range(1)),
        'planar_vit_tiny from scratch': (by_model, SEEDS),
    }
    for name, load in (('tura', tura), ('modis_dtwsat_mt', modis)):
        stack = load(data / name)
        for contender, (method, seeds) in contenders.items():
            runs = []
            for part in (0, 1):
                train, test = stack.parts == part, stack.parts == 1 - part
                for seed in seeds:
                    start = time.perf_counter()
                    found = method(stack, train, seed)
                    truth = torch.where(test, stack.change, UNKNOWN)
                    seconds = round(time.perf_counter() - start, 1)
                    runs.append({'train': part, 'seed': seed, **scores(found, truth), 's': seconds})
            entry: dict[str, object] = {'runs': runs}
            for part in (0, 1):
                for score in ('f1', 'iou'):
                    values = [float(run[score]) for run in runs if run['train'] == part]
                    entry[f'{score}_trained_on_{part}'] = round(statistics.median(values), 3)
            figures[f'{name}: {contender}'] = entry
            print(name, contender, {k: v for k, v in entry.items() if k != 'runs'}, flush=True)
    harness.save('change', results | {'figures': figures})


if __name__ == '__main__':
    main()
