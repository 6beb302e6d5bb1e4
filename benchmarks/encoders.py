"""Time and memory of the encoders on one patch of the size of PASTIS, in one run.

    python -m benchmarks.encoders

The patch has 43 dates, 10 bands and 128 x 128 pixels, of which 30 % are unclear. Features of all
pixels are computed without gradients in interleaved rounds after a warm-up; of PlanarViT those of
the early depth, too, which leaves the path layers out. A training step (forward, backward) runs
in a process of its own, whose peak memory above that of the inputs is given. With other work
beside, only the least says much: the load at the start is stored. Results go to
results/encoders.json.
"""

import time
from collections.abc import Callable

import torch

from torchgeo_sits.keys import Series
from torchgeo_sits.models import build_encoder

from . import harness

THREADS = 2
ROUNDS = 2
NAMES = (
    'planar_vit_tiny',
    'planar_vit_small',
    'utae',
    'tsvit',
    'ltae',
    'tempcnn',
    'unet3d',
    'convlstm',
)
#: Encoders whose early features are timed, too.
PLANAR = ('planar_vit_tiny', 'planar_vit_small')


def patch() -> Series:
    """Image, dates over a year, validity and clear pixels."""
    times = 1_500_000_000 + torch.arange(43)[None] * 8 * 86_400
    image = torch.randn(1, 43, 10, 128, 128)
    valid = torch.ones(1, 43, dtype=torch.bool)
    return Series(image, times, valid, torch.rand(1, 43, 128, 128) > 0.3)


def training_step(name: str) -> dict[str, float]:
    """Time and peak memory of a training step; for a process of its own."""
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    encoder, batch = build_encoder(name, 10), patch()
    before = harness.resident_mib()
    start = time.perf_counter()
    encoder.features(batch).square().mean().backward()
    seconds = time.perf_counter() - start
    return {'step_s': round(seconds, 2), 'peak_mib': round(harness.resident_mib() - before)}


@torch.no_grad()
def map_times() -> dict[str, dict[str, float]]:
    """Times of the features of a patch, by name of the encoder."""
    batch = patch()
    contenders: dict[str, Callable[[], object]] = {}
    for name in NAMES:
        encoder = build_encoder(name, 10).eval()
        contenders[name] = lambda encoder=encoder: encoder.features(batch)
        if name in PLANAR:
            early = lambda encoder=encoder: encoder.features(batch, depth='early')  # noqa: E731
            contenders[f'{name}, early'] = early
    times = harness.interleave(contenders, ROUNDS)
    return {name: harness.spread(seconds) for name, seconds in times.items()}


def main() -> None:
    """Measure, print and write the results."""
    harness.parser(__doc__).parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    results = harness.describe(rounds=ROUNDS, patch=[1, 43, 10, 128, 128])
    figures: dict[str, dict[str, object]] = {}
    for name, times in map_times().items():
        figures[name] = {'map': times}
        if name in NAMES:
            figures[name]['parameters'] = sum(
                p.numel() for p in build_encoder(name, 10).parameters()
            )
            figures[name]['train'] = harness.in_new_process(training_step, name)
        print(name, figures[name], flush=True)
    harness.save('encoders', results | {'figures': figures})


if __name__ == '__main__':
    main()
