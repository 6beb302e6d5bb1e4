"""What embeddings of a large area cost by encoder: CPU hours and storage for 10,000 km2.

    python -m benchmarks.costs

Each encoder gives the features of a square of 128 x 128 pixels (slow ones of a smaller one) on 40
dates of a year with ten bands, a third of the values clouded, in CPU seconds of one thread, rounds
interleaved. 10,000 km2 are 100 million pixels of 10 m. Weights are random, for cost does not hang
on what was learned; Presto, Galileo, OlmoEarth and TESSERA are of the sizes that are published
(TESSERA's branch of Sentinel-2 alone). Reading and writing are not counted. Results go to
results/costs.json.
"""

import statistics
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch

from torchgeo_sits.keys import Series
from torchgeo_sits.models import PlanarViT, build_encoder

from . import harness

DATES, ROUNDS = 40, 3
BANDS = ['B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B11', 'B12']
#: Side of the square by encoder, so that each takes a second or a few.
SIDES = {
    'planar_vit_tiny': 128,
    'planar_vit_v2_tiny': 128,
    'planar_vit_small': 128,
    'tempcnn': 128,
    'ltae': 128,
    'utae': 128,
    'factorised_tiny': 64,
    'tsvit': 32,
    'presto': 32,
    'galileo_nano': 16,
    'olmoearth_v1_nano': 32,
    'tessera': 8,
}
#: Of published models, which are told the bands.
PUBLISHED = ('presto', 'galileo_nano', 'olmoearth_v1_nano', 'tessera')
#: Pixels of 10 m on 10,000 km2.
PIXELS = 10**8


def square(side: int) -> Series:
    """A series of that many pixels."""
    torch.manual_seed(0)
    times = 1_609_500_000 + torch.arange(DATES)[None] * (365 * 86_400 // DATES)
    image, valid = torch.randn(1, DATES, 10, side, side), torch.ones(1, DATES, dtype=torch.bool)
    return Series(image, times, valid, torch.rand(1, DATES, side, side) > 1 / 3)


def contenders() -> dict[str, tuple[Any, int, bool]]:
    """Encoders by name: each with the side of its square, and whether it runs in bfloat16."""
    found: dict[str, tuple[Any, int, bool]] = {}
    for name, side in SIDES.items():
        options = {'bands': BANDS} if name in PUBLISHED else {}
        encoder = build_encoder(name, 10, **options).eval()
        found[name] = encoder, side, False
        if isinstance(encoder, PlanarViT):
            short = build_encoder(name, 10).eval()
            assert isinstance(short, PlanarViT)
            short.keep_blocks(0)
            found[f'{name}, no path block, bfloat16'] = short, side, True
    return found


def features(encoder: Any, series: Series, *, half: bool) -> None:
    """Embed all pixels."""
    with torch.autocast('cpu', torch.bfloat16) if half else nullcontext():
        encoder.features(series)


@torch.no_grad()
def main() -> None:
    """Measure, and write the results."""
    harness.parser(__doc__).parse_args()
    torch.set_num_threads(1)
    results = harness.describe('timm', dates=DATES, rounds=ROUNDS, sides=SIDES)
    series = {side: square(side) for side in set(SIDES.values())}
    todo = contenders()
    taken: dict[str, list[float]] = {name: [] for name in todo}
    for turn in range(1 + ROUNDS):
        for name, (encoder, side, half) in todo.items():
            seconds = harness.cpu_seconds(partial(features, encoder, series[side], half=half))
            if turn:  # the first one warms up
                taken[name].append(seconds)
            print(turn, name, round(seconds, 2), flush=True)
    figures = {}
    for name, values in taken.items():
        encoder, side, _ = todo[name]
        rates = [side * side / value for value in values]
        rate = statistics.median(rates)
        figures[name] = {
            'pixels_per_cpu_s': round(rate, 1),
            'least': round(min(rates), 1),
            'most': round(max(rates), 1),
            'cpu_hours': round(PIXELS / rate / 3600, 2),
            'features': encoder.embed_dim,
            'gb_in_bytes': round(PIXELS / encoder.stride**2 * encoder.embed_dim / 1e9, 2),
            'million_parameters': round(sum(p.numel() for p in encoder.parameters()) / 1e6, 2),
        }
    harness.save('costs', results | {'figures': figures})


if __name__ == '__main__':
    main()
