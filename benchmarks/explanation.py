"""Do explanations name what a prediction rests on? Deletion and insertion against random orders.

    python -m benchmarks.explanation               # on the simulated series
    python -m benchmarks.explanation --data DIR    # on the real series wc_be_b in DIR, too

Small models are trained for about a minute each, with two seeds: PlanarViT and Deep-STaR's CNN,
for maps (SITSSegmentation) and for whole fields (SITSClassification on late features). For places
of the validation split, dates and pixels are ranked by each attribution, and the areas under the
deletion curve (small is good) and the insertion curve (large is good) of RISE (Petsiuk et al.
2018) are set beside those of random orders of the same dates or pixels. Only dates that are clear
at the place and pixels that the answer depends on take part, so that no order is good for knowing
just that. ``nearest`` ranks pixels by their distance from the place alone. Results go to
results/explanation.json.
"""

import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import seed_everything
from torch import Tensor

from torchgeo_sits.datamodules import (
    ImageOptions,
    LabelOptions,
    PatchOptions,
    SITSDataModule,
    SplitOptions,
    SyntheticSITSDataModule,
)
from torchgeo_sits.explaining import (
    Occluder,
    PlacePrediction,
    curve_area,
    date_occluder,
    occlusion,
    pixel_occluder,
    ranking_curves,
)
from torchgeo_sits.keys import Series
from torchgeo_sits.models import PlanarViT, semantic_map
from torchgeo_sits.tasks import SITSClassification, SITSSegmentation

from . import harness

THREADS = 1
SEEDS = 2
#: Places of each seed; random orders of each place; points of a curve; training steps.
PLACES, ORDERS, POINTS, STEPS = 6, 2, 10, 80
#: Side of a patch in pixels.
PATCH = 12
MODELS = {
    'planar_vit': {
        'model': 'planar_vit_tiny',
        'model_kwargs': {'embed_dim': 64, 'time_dim': 32, 'seasonal_queries': 6},
    },
    'deep_star': {'model': 'deep_star', 'model_kwargs': {'num_steps': 16}},
}
CLASSES = {
    1110: 'winter wheat',
    1200: 'maize',
    1500: 'barley',
    1510: 'winter barley',
    5100: 'potato',
    8100: 'sugar beet',
    9120: 'grass',
}


def data_module(folder: Path | None, by_field: bool) -> SITSDataModule:
    """The simulated series, or wc_be_b of a folder."""
    labels = LabelOptions(target='field' if by_field else 'pixel', supervised=True)
    options: dict[str, Any] = {
        'split': SplitOptions('fields' if by_field else 'space'),
        'patches': PatchOptions(PATCH, length=8 * STEPS, num_dates=24),
        'batch_size': 8,
    }
    if folder is None:
        return SyntheticSITSDataModule(size=96, num_dates_written=32, labels=labels, **options)
    root = folder / 'wc_be_b'
    return SITSDataModule(
        str(root / 's2'),
        images=ImageOptions(cloud_paths=str(root / 'scl'), clear_values=[2, 4, 5, 6, 7]),
        labels=replace(
            labels, paths=str(root / 'labels' / 'wc_be_b_CT_aligned_core.tif'), classes=CLASSES
        ),
        **options,
    )


def train(data: SITSDataModule, by_field: bool, model: dict[str, Any], seed: int) -> Any:
    """A task trained from scratch."""
    seed_everything(seed, verbose=False)
    kwargs = {**model, 'lr': 0.002}
    task = SITSClassification(depth='late', **kwargs) if by_field else SITSSegmentation(**kwargs)
    trainer = harness.quiet_trainer(max_epochs=1, limit_val_batches=0)
    trainer.fit(task, data)
    return task.eval()


def places(data: SITSDataModule, task: Any, seed: int) -> Iterator[tuple[PlacePrediction, bool]]:
    """Places of the validation split, and whether they are predicted as they are labelled."""
    generator = torch.Generator().manual_seed(seed)
    data.batch_size = 1
    samples = [data.aug(batch) for batch in data.val_dataloader()]
    middle = PATCH // 2
    for i in torch.randperm(len(samples), generator=generator).repeat(PLACES)[:PLACES].tolist():
        batch = samples[i]
        if 'label' in batch:
            place, label = PlacePrediction.of(task, batch, (middle, middle)), batch['label'][0]
        else:
            labelled = (batch['mask'][0] != data.unlabelled) & batch['mask_clear'][0].any(0)
            found = labelled.nonzero()
            if not len(found):
                continue
            y, x = found[torch.randint(len(found), (1,), generator=generator)][0].tolist()
            place, label = PlacePrediction.of(task, batch, (y, x)), batch['mask'][0, y, x]
        yield place, place.explained == int(label)


# -- attributions --------------------------------------------------------------------------------


def date_attributions(task: Any, place: PlacePrediction, dates: Occluder) -> dict[str, Tensor]:
    """Importance ``(U,)`` of the dates by each method."""
    inputs = place.image[None], place.times[None], place.valid[None]
    slope = torch.where(place.clear[:, None], place.gradient() * place.image, 0).sum((1, 2, 3))
    found = {
        'gradient x input': slope,
        'integrated gradients': integrated_gradients(place).sum((1, 2, 3)),
    }
    if isinstance(task.encoder, PlanarViT):
        weights = task.encoder.time_attention(Series(*inputs, place.clear[None]))[0].detach()
        row, column = place.pixel
        found['attention'] = weights[:, row, column] if place.dense else weights.mean((1, 2))
        found['attention x gradient'] = attention_gradient(task.encoder, place)
    found = {name: value[dates.units] for name, value in found.items()}
    return found | {'occlusion': occlusion(dates)}


def integrated_gradients(place: PlacePrediction, steps: int = 16) -> Tensor:
    """Share ``(T, C, H, W)`` of each clear value in the answer (Sundararajan et al. 2017, eq. 1).

    See https://arxiv.org/abs/1703.01365. The path starts from the mean of each band, 0 where
    images are normalised.
    """
    image = torch.where(place.clear[:, None], place.image, 0)
    total = torch.zeros_like(image)
    for i in range(steps):
        total += place.gradient(image * ((i + 0.5) / steps))
    return total / steps * image


def attention_gradient(encoder: PlanarViT, place: PlacePrediction) -> Tensor:
    """Slope ``(T,)`` of the answer by the logarithm of each date's weights in all queries.

    That is attention times its gradient (Chefer et al. 2021, https://arxiv.org/abs/2103.15679,
    eq. 5), summed over queries and pixels, less the mean that softmax takes off.
    """
    bias = torch.zeros(len(place.times), requires_grad=True)
    hook = encoder.prior.register_forward_hook(lambda _, args, prior: prior + bias[:, None])
    with torch.enable_grad():
        [slope] = torch.autograd.grad(place.log_odds(place.clear[None]).sum(), bias)
    hook.remove()
    return slope


def pixel_attributions(task: Any, place: PlacePrediction, pixels: Occluder) -> dict[str, Tensor]:
    """Importance ``(U,)`` of the pixels by each method."""
    slope = torch.where(place.clear[:, None], place.gradient() * place.image, 0).sum((0, 1))
    found = {
        'gradient x input': slope,
        'integrated gradients': integrated_gradients(place).sum((0, 1)),
    }
    if place.dense:
        y, x = torch.meshgrid(*(torch.arange(n) for n in slope.shape), indexing='ij')
        row, column = place.pixel
        found['nearest'] = -((y - row).abs() + (x - column).abs()).float()
        if isinstance(task.encoder, PlanarViT):
            found['attention rollout'] = rollout(task.encoder, place)
    else:
        inputs = place.image[None], place.times[None], place.valid[None]
        with torch.no_grad():
            maps = semantic_map(task.encoder, task.head, Series(*inputs, place.clear[None]))[0]
        # A score counts against the mean of the others: adding to all of them changes nothing.
        found['semantic map'] = maps[place.explained] - maps.mean(0)
    found = {name: value.flatten()[pixels.units] for name, value in found.items()}
    return found | {'occlusion': occlusion(pixels)}


@torch.no_grad()
def rollout(encoder: PlanarViT, place: PlacePrediction) -> Tensor:
    """Attention ``(H, W)`` of a place along its row and its column, through all path blocks.

    Attention rollout (Abnar & Zuidema 2020, https://arxiv.org/abs/2005.00928, eq. 1): the product
    of the blocks' matrices ``(A + I) / 2``, A the mean over the heads.
    """
    matrices: list[Tensor] = []

    def keep(block: Any, args: tuple[Tensor, ...], options: dict[str, Tensor]) -> None:
        attention, x = block.attn, block.norm1(args[0])
        qkv = attention.qkv(x).unflatten(-1, (3, attention.num_heads, -1))
        q, k, _ = qkv.permute(2, 0, 3, 1, 4)
        weights = (q * attention.scale) @ k.mT + options['attn_mask']
        matrices.append((weights.softmax(-1).mean(1) + torch.eye(x.shape[1])) / 2)

    blocks: Any = encoder.path_stage.blocks
    hooks = [block.register_forward_pre_hook(keep, with_kwargs=True) for block in blocks]
    place.log_odds(place.clear[None])
    for hook in hooks:
        hook.remove()
    out = torch.zeros(place.clear.shape[1:])
    # All rows go through the blocks, then all columns.
    for line, own in ((0, matrices[: len(blocks)]), (1, matrices[len(blocks) :])):
        product = own[0]
        for matrix in own[1:]:
            product = matrix @ product
        number, position = place.pixel[line], place.pixel[1 - line]
        part = out[number] if line == 0 else out[:, number]
        part += product[number, position] / 2
    return out


# -- figures -------------------------------------------------------------------------------------


def measure(game: Occluder, ranking: Tensor) -> tuple[float, float]:
    """Areas under the deletion and the insertion curve."""
    curves = ranking_curves(game, ranking, most=POINTS)
    return curve_area(curves.shares, curves.deletion), curve_area(curves.shares, curves.insertion)


def explain_all(data: SITSDataModule, task: Any, seed: int) -> dict[str, Any]:
    """Areas of all methods at the places of one trained model."""
    generator = torch.Generator().manual_seed(seed)
    areas: dict[str, dict[str, list[tuple[float, float]]]] = {'dates': {}, 'pixels': {}}
    right: list[bool] = []
    for place, is_right in places(data, task, seed):
        right.append(is_right)
        for kind, parts_of, attribute in (
            ('dates', date_occluder, date_attributions),
            ('pixels', pixel_occluder, pixel_attributions),
        ):
            game = parts_of(place)
            for name, ranking in attribute(task, place, game).items():
                areas[kind].setdefault(name, []).append(measure(game, ranking))
            orders = [torch.rand(len(game), generator=generator) for _ in range(ORDERS)]
            drawn = [measure(game, order) for order in orders]
            mean = tuple(statistics.mean(values) for values in zip(*drawn, strict=True))
            areas[kind].setdefault('random', []).append(mean)  # type: ignore[arg-type]
    return {'areas': areas, 'right': right}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over places and seeds, spread over both, and in how many places random is beaten."""
    out: dict[str, Any] = {'places predicted right': [sum(run['right']) for run in runs]}
    for kind in ('dates', 'pixels'):
        rows: dict[str, Any] = {}
        for name in runs[0]['areas'][kind]:
            own = torch.tensor([run['areas'][kind][name] for run in runs])
            base = torch.tensor([run['areas'][kind]['random'] for run in runs])
            gain = own[..., 1] - own[..., 0]
            better = gain > base[..., 1] - base[..., 0]
            rows[name] = {
                'deletion': round(float(own[..., 0].mean()), 3),
                'insertion': round(float(own[..., 1].mean()), 3),
                'insertion - deletion': round(float(gain.mean()), 3),
                'sd over places': round(float(gain.std(1).mean()), 3),
                'of each seed': [round(float(g), 3) for g in gain.mean(1)],
                'places better than random': f'{int(better.sum())}/{better.numel()}',
            }
        out[kind] = rows
    return out


def main() -> None:
    """Train, measure, print, and write the results."""
    parser = harness.parser(__doc__)
    parser.add_argument('--data', type=Path, help='folder that holds wc_be_b')
    parser.add_argument('--only', default='', help='runs whose name holds this; others are kept')
    arguments = parser.parse_args()
    folder = arguments.data
    torch.set_num_threads(THREADS)
    results = harness.describe(seeds=SEEDS, places_of_each_seed=PLACES, steps=STEPS)
    figures = harness.load('explanation').get('figures', {}) if arguments.only else {}
    series: dict[str, Path | None] = {'simulated': None}
    if folder is not None:
        series['wc_be_b'] = folder
    for name, root in series.items():
        for by_field in (False, True):
            for model, options in MODELS.items():
                title = f'{name}, {"series" if by_field else "pixels"}, {model}'
                if arguments.only not in title:
                    continue
                start = time.perf_counter()
                runs = []
                for seed in range(SEEDS):
                    data = data_module(root, by_field)
                    data.prepare_data()
                    task = train(data, by_field, options, seed)
                    runs.append(explain_all(data, task, seed))
                figures[title] = summary(runs)
                figures[title]['seconds'] = round(time.perf_counter() - start)
                print(title, json.dumps(figures[title], indent=1), flush=True)
                harness.save('explanation', results | {'figures': figures})


if __name__ == '__main__':
    main()
