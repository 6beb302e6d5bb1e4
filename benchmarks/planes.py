"""Time planes and views against copies of the same bytes and Kornia's flips.

    python -m benchmarks.planes

Each figure is the median over interleaved rounds: in every round each contender runs once, so
that a slow phase of the machine hits all of them alike. Output goes to results/planes.json.
"""

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

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

ROUNDS = 25
B, T, C, H, W = 8, 32, 10, 64, 64
RESULTS = Path(__file__).parent / 'results' / 'planes.json'


def interleave(contenders: dict[str, Callable[[], object]]) -> dict[str, dict[str, float]]:
    """Run all contenders in turn; median and quartiles in milliseconds."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in range(ROUNDS + 2):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if round_ >= 2:  # two rounds of warm-up
                taken[name].append((time.perf_counter() - start) * 1e3)
    figures = {}
    for name, values in taken.items():
        low, median, high = statistics.quantiles(values, n=4)
        figures[name] = {'median_ms': median, 'q1_ms': low, 'q3_ms': high}
    return figures


def main() -> None:
    """Measure, print a table and write the JSON."""
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
    copies = interleave({'clone': image.clone, **planes})

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
    multi = interleave(
        {
            "Kornia's flips, image and mask_clear": lambda: flips(folded, masks),
            **views,
            'two views of all pixels and half of the dates': lambda: whole(batch),
        }
    )

    result = {
        'machine': {
            'processor': platform.processor() or platform.machine(),
            'cores': os.cpu_count(),
            'torch_threads': torch.get_num_threads(),
            'torch': torch.__version__,
            'python': platform.python_version(),
        },
        'commit': subprocess.run(
            ['git', 'rev-parse', '--short', 'HEAD'], capture_output=True, text=True, check=False
        ).stdout.strip(),
        'rounds': ROUNDS,
        'image': {'shape': [B, T, C, H, W], 'dtype': 'float32', 'mebibytes': image.nbytes / 2**20},
        'against_clone': copies,
        'against_flips': multi,
    }
    for part in (copies, multi):
        base = next(iter(part.values()))['median_ms']
        for name, figure in part.items():
            figure['ratio'] = figure['median_ms'] / base
            print(
                f'{name:48} {figure["median_ms"]:8.1f} ms  '
                f'[{figure["q1_ms"]:.1f}, {figure["q3_ms"]:.1f}]  x {figure["ratio"]:.2f}'
            )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + '\n')


if __name__ == '__main__':
    main()
