"""The checkpoint that the package ships, and what it is worth where it has not been.

    uv run python -m study.checkpoint --data DIR            # half of the blocks of Canada held out
    uv run python -m study.checkpoint --data DIR --write    # trained on all, into the package

``sits_s2_tiny`` is pretrained without labels on points of Canada and on both stacks of Flanders, by
pixels of two sensors, with bands hidden in views of Sentinel-2, so that any of the ten will do.
Each step is of one place, or what tells places apart would be learned first.

Held out are blocks of one degree: the same is pretrained on the other blocks and on Flanders, and
scored by the linear probe on points of these, beside what is not trained, and beside a logistic
regression on composites.
"""

import argparse
import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import seed_everything
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from torchgeo_sits.models import SITSEncoder, build_encoder
from torchgeo_sits.models.quantities import OPTICAL, quantity
from torchgeo_sits.models.sits_s2 import WEIGHTS
from torchgeo_sits.tasks import SITSVICReg
from torchgeo_sits.transforms import SensorPixelMultiView

from . import ours
from .contenders import TWO_SENSORS
from .crops import SeriesCrops
from .pretraining import BATCH, pretrain
from .probes import Pixels, labelled_pixels, linear, probe
from .report import rows
from .sites import Site, belgium, canada, elapsed_composite

STEPS = 800
#: Steps on points of Canada, of each three: they show more fields than both stacks.
_CANADA = 2
#: Fewest points of a class in the blocks that are scored.
_FEWEST = 6
BUDGETS = ('1', '5', '20')
#: Bands that are scored: all that the points have, and what other products have of them.
SUBSETS = {
    'nine bands': OPTICAL[:7] + OPTICAL[8:],
    'blue, green, red, near infrared': ('blue', 'green', 'red', 'nir'),
    'red, near infrared': ('red', 'nir'),
}


class SomeBands(SensorPixelMultiView):
    """Pixels of two sensors, half of which lose up to nine tenths of their bands in a view.

    A band that is hidden has its mean, as one that a user's data has not. Where bands of all pixels
    are hidden, features of all ten and of few are worse.
    """

    def forward(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        """Draw the views, and hide bands, others of each sample."""
        views = super().forward(*args, **kwargs)
        for view in views:
            size, bands = len(view['image']), view['image'].shape[2]
            share = 0.9 * torch.rand(size, 1, 1, 1, 1) * (torch.rand(size, 1, 1, 1, 1) < 0.5)
            view['image'] = view['image'] * (torch.rand(size, 1, bands, 1, 1) > share)
        return views


class PlaceByPlace(SeriesCrops):
    """Samples of which those of a step are of one place, in turns."""

    def __init__(self, sites: list[Site], order: Sequence[int], number: int, seed: int) -> None:
        super().__init__(sites, ours.SIZE, number, seed, s1=True)
        self.order = order

    def _draw_site(self, index: int, rng: np.random.Generator) -> int:
        return self.order[index // BATCH % len(self.order)]


def places(data: Path) -> tuple[list[Site], tuple[Tensor, Tensor]]:
    """Points and stacks in the ten bands, normalised alike, and mean and deviation of these."""
    found = [*canada(data), *belgium(data)]
    images, seen = [], []
    for site in found:
        assert site.scale is not None
        mean, std = (values[:, None, None] for values in site.scale)
        image = torch.zeros(len(site.times), len(OPTICAL), *site.image.shape[2:])
        at = [OPTICAL.index(str(quantity(band))) for band in site.bands]
        image[:, at] = site.image * std + mean
        images.append(image)
        seen.append(at)
    mean, std = torch.zeros(len(OPTICAL)), torch.ones(len(OPTICAL))
    for band in range(len(OPTICAL)):
        values = [
            image[:, band][site.clear]
            for image, site, at in zip(images, found, seen, strict=True)
            if band in at
        ]
        mean[band], std[band] = torch.cat(values).mean(), torch.cat(values).std()
    sites = []
    for site, image, at in zip(found, images, seen, strict=True):
        known = torch.zeros(len(OPTICAL), 1, 1, dtype=torch.bool)
        known[at] = True
        values = (image - mean[:, None, None]) / std[:, None, None]
        shown = torch.where(site.clear[:, None] & known, values, 0.0)
        sites.append(replace(site, image=shown, bands=OPTICAL, scale=(mean, std)))
    return sites, (mean, std)


def trained(sites: list[Site], seed: int) -> SITSEncoder:
    """Pretrain the encoder on points, and on stacks in turns."""
    seed_everything(seed, verbose=False)
    arguments = TWO_SENSORS.options | {'views': SomeBands}
    task = SITSVICReg(model='sits_s2_tiny', in_channels=len(OPTICAL), **arguments)
    order = [one for stack in range(1, len(sites)) for one in (*[0] * _CANADA, stack)]
    samples = PlaceByPlace(sites, order, STEPS * BATCH, seed)
    pretrain(task, samples, STEPS, by_epoch=False)
    return task.encoder.eval()


# -- what it is worth -----------------------------------------------------------------------


def blocks(data: Path) -> NDArray[np.int64]:
    """The block of one degree of each point that is there, in the order of the points."""
    with np.load(data / 'pts_can_dev' / 'pts_can_dev.npz', allow_pickle=False) as file:
        codes, places = file['code'], np.stack([file['lon'], file['lat']], 1)
    kinds, counts = np.unique(codes[codes > 0], return_counts=True)
    kept = np.isin(codes, kinds[counts >= 15])
    _, found = np.unique(np.floor(places[kept]), axis=0, return_inverse=True)
    return found.ravel().astype(np.int64)


def held_out(site: Site, apart: NDArray[np.bool_]) -> tuple[Site, Pixels]:
    """The site without the points that are held out, and these.

    Args:
        site: Points of Canada.
        apart: ``(P,)``, which of them.
    """
    grid = np.zeros(site.classes.size, bool)
    grid[: len(apart)] = apart
    hidden = torch.from_numpy(grid.reshape(site.classes.shape))
    assert site.s1 is not None
    shown = replace(
        site,
        clear=site.clear & ~hidden,
        s1=site.s1._replace(clear=site.s1.clear & ~hidden),
    )
    pixels = labelled_pixels(site, development=True)
    chosen = grid[pixels.index]
    kinds, counts = np.unique(pixels.classes[chosen], return_counts=True)
    chosen &= np.isin(pixels.classes, kinds[counts >= _FEWEST])
    return shown, Pixels(pixels.index[chosen], pixels.classes[chosen], pixels.fields[chosen])


def scores(features: Tensor, pixels: Pixels) -> list[float]:
    """Macro F1 in points at each budget, of features ``(D, H, W)``."""
    values: Any = features.flatten(1).T[pixels.index].numpy()
    return [100 * float(np.mean(probe(values, pixels, one, linear)['f1'])) for one in BUDGETS]


def table(data: Path, draws: int) -> str:
    """Scores on blocks that are held out, means over draws of them."""
    sites, _ = places(data)
    found: dict[tuple[str, str], list[list[float]]] = {}
    for draw in range(draws):
        kinds = blocks(data)
        number = kinds.max() + 1
        apart = np.random.default_rng(draw).permutation(number)[: number // 2]
        shown, pixels = held_out(sites[0], np.isin(kinds, apart))
        torch.manual_seed(draw)
        untrained = build_encoder('sits_s2_tiny', len(OPTICAL)).eval()
        encoders = {
            'untrained': untrained,
            'all but these blocks': trained([shown, *sites[1:]], draw),
        }
        for subset, bands in SUBSETS.items():
            kept = torch.tensor([band in bands for band in OPTICAL])[:, None, None]
            site = replace(sites[0], image=sites[0].image * kept)
            whole = elapsed_composite(site).flatten(0, 1)
            found.setdefault((subset, 'logistic regression, composites'), []).append(
                scores(whole, pixels)
            )
            for name, encoder in encoders.items():
                for depth, values in ours.features(encoder, site).items():
                    row = subset, f'{name}, {depth}'
                    found.setdefault(row, []).append(scores(values, pixels))
    lines = [
        [*row, *(f'{value:.1f}' for value in np.mean(values, 0))] for row, values in found.items()
    ]
    return rows(lines, ['bands', 'features', *(f'{one} points a class' for one in BUDGETS)])


def write(data: Path) -> None:
    """Train on all, and write the weights and what they were normalised by."""
    sites, (mean, std) = places(data)
    encoder = trained(sites, 0)
    WEIGHTS.parent.mkdir(exist_ok=True)
    told = {
        'bands': OPTICAL,
        'mean': [round(value, 2) for value in mean.tolist()],
        'std': [round(value, 2) for value in std.tolist()],
    }
    state = {name: value.contiguous() for name, value in encoder.state_dict().items()}
    save_file(state, WEIGHTS, {name: json.dumps(value) for name, value in told.items()})
    print(f'{WEIGHTS}: {WEIGHTS.stat().st_size / 1e6:.2f} MB')


def main() -> None:
    """Print scores on blocks that are held out, or write the checkpoint."""
    parser = argparse.ArgumentParser(prog='python -m study.checkpoint', description=__doc__)
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    parser.add_argument('--draws', type=int, default=2, help='draws of the blocks held out')
    parser.add_argument('--write', action='store_true', help='train on all, into the package')
    arguments = parser.parse_args()
    # Of one point of each class scikit-learn asks whether classes are numbers.
    warnings.filterwarnings('ignore', 'The number of unique classes', UserWarning)
    if arguments.write:
        write(arguments.data)
    else:
        print(table(arguments.data, arguments.draws))


if __name__ == '__main__':
    main()
