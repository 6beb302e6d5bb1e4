"""Time planes and views against copies of the same bytes and Kornia's flips.

    python -m benchmarks.planes

Each figure is the median over interleaved rounds: in every round each contender runs once, so
that a slow phase of the machine hits all of them alike. Output goes to results/planes.json.
"""

import kornia.augmentation as K
import torch

from torchgeo_sits.transforms import (
    PathKind,
    PlanarMultiView,
    columns,
    from_planes,
    guided_walks,
    hilbert,
    random_walks,
    rows,
    snake,
    spiral,
    to_planes,
)

from . import harness

ROUNDS = 25
B, T, C, H, W = 8, 32, 10, 64, 64


def main() -> None:
    """Measure, print a table and write the JSON."""
    harness.parser(__doc__).parse_args()
    results = harness.describe('kornia', rounds=ROUNDS, image=[B, T, C, H, W])
    torch.manual_seed(0)
    image = torch.rand(B, T, C, H, W)
    clear = torch.rand(B, T, H, W) < 0.7
    batch = {
        'image': image,
        'acquisition_times': torch.arange(T).expand(B, T) * 432_000 + 1_500_000_000,
        'valid': torch.ones(B, T, dtype=torch.bool),
        'mask_clear': clear,
    }
    walks = random_walks(H, W, H, W, batch=B)
    guided = guided_walks(image, H, W, mask_clear=clear)
    snake_planes = to_planes(image, snake(H, W))
    walk_planes = to_planes(image, walks)
    shared = {
        'rows': rows(H, W),
        'columns': columns(H, W),
        'snake': snake(H, W),
        'spiral': spiral(H, W),
        'hilbert': hilbert(H, W),
    }
    planes = {
        f'to_planes {name}': lambda p=path: to_planes(image, p) for name, path in shared.items()
    }
    planes |= {
        'to_planes walks, per sample': lambda: to_planes(image, walks),
        'to_planes guided walks, per sample': lambda: to_planes(image, guided),
        'from_planes snake': lambda: from_planes(snake_planes, snake(H, W), (H, W)),
        'from_planes walks, per sample': lambda: from_planes(walk_planes, walks, (H, W)),
    }
    copies = harness.interleave({'clone': image.clone, **planes}, ROUNDS, warm_up=2)

    flips = K.AugmentationSequential(
        K.RandomHorizontalFlip(p=0.5), K.RandomVerticalFlip(p=0.5), data_keys=['input', 'mask']
    )
    folded, masks = image.flatten(1, 2), clear.float()
    kinds: tuple[PathKind, ...] = ('rows', 'hilbert', 'walk', 'mixed', 'guided')
    multi_views = {kind: PlanarMultiView(kind=kind) for kind in kinds}
    views = {
        f'multi-view DINO, {kind}': lambda view=view: view(batch)
        for kind, view in multi_views.items()
    }
    whole = PlanarMultiView(
        kind='hilbert', num_paths=64, length=64, region=64, dates=(0.5, 0.5), local_views=0
    )
    multi = harness.interleave(
        {
            "Kornia's flips, image and mask_clear": lambda: flips(folded, masks),
            **views,
            'two views of all pixels and half of the dates': lambda: whole(batch),
        },
        ROUNDS,
        warm_up=2,
    )

    figures = {}
    for title, times in (('against_clone', copies), ('against_flips', multi)):
        found = {name: harness.spread(seconds, 'ms') for name, seconds in times.items()}
        base = next(iter(found.values()))['median_ms']
        figures[title] = {name: f | {'ratio': f['median_ms'] / base} for name, f in found.items()}
        for name, figure in figures[title].items():
            print(
                f'{name:48} {figure["median_ms"]:8.1f} ms  '
                f'[{figure["q1_ms"]:.1f}, {figure["q3_ms"]:.1f}]  x {figure["ratio"]:.2f}'
            )
    harness.save('planes', results | {'figures': figures})


if __name__ == '__main__':
    main()
