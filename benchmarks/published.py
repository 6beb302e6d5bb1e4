"""Published models as encoders: the outputs of their authors, and what they cost.

    python -m benchmarks.published WEIGHTS [--galileo single_file_galileo.py]

WEIGHTS holds ``presto.safetensors`` and ``galileo_nano.safetensors``. Parity is that of embeddings
of pixels of 12 months without gaps, with Sentinel-1, Sentinel-2 and the place: Presto's with
:class:`torchgeo.models.Presto`, Galileo's with the authors' own file, where it is given
(https://github.com/nasaharvest/galileo, ``single_file_galileo.py``, which is run). Cost is in
pixels per CPU second of one thread: 32 x 32 pixels, 40 dates of a year, ten bands, a third of them
clouded, in rounds beside ``planar_vit_tiny``. Results go to results/published.json.
"""

import importlib.util
import time
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import torch
from safetensors.torch import load_file
from torch import Tensor
from torchgeo.models import presto

from torchgeo_sits.models import Series, SITSEncoder, build_encoder, load_bare_encoder
from torchgeo_sits.models.galileo import Galileo
from torchgeo_sits.models.monthly import STATISTICS
from torchgeo_sits.models.presto import Presto
from torchgeo_sits.models.quantities import OPTICAL

from . import harness

BANDS = ['B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B11', 'B12']
MONTHS, PIXELS, ROUNDS = 12, 64, 3
SIDE, DATES = 32, 40


def encoder_of(weights: Path, name: str, **arguments: object) -> SITSEncoder:
    """Load published weights for the ten bands."""
    return load_bare_encoder(f'{name}:{weights}/{name}.safetensors', bands=BANDS, **arguments)[0]


def normalised(values: Tensor, kind: type[Presto | Galileo], names: tuple[str, ...]) -> Tensor:
    """Turn values that a model's authors have scaled into those that a data module gives."""
    own = torch.tensor([kind.scales[name] for name in names])
    known = torch.tensor([STATISTICS[name] for name in names])
    return (values * own[:, 1] + own[:, 0] - known[:, 0]) / known[:, 1]


def months() -> Tensor:
    """The middles of 12 months from April on ``(1, 12)``."""
    days = [datetime(2021 + (i + 3) // 12, (i + 3) % 12 + 1, 15, tzinfo=UTC) for i in range(MONTHS)]
    return torch.tensor([[int(day.timestamp()) for day in days]])


def parity(
    encoder: SITSEncoder,
    kind: type[Presto | Galileo],
    optical: Tensor,
    radar: Tensor,
    place: Tensor,
) -> Tensor:
    """Embed pixels ``(P, 12, C)`` of values that the authors have scaled."""
    valid = torch.ones(len(optical), MONTHS, dtype=torch.bool)
    times = months().expand(len(optical), -1)
    image = normalised(optical, kind, OPTICAL)[..., None, None]
    s1 = normalised(radar, kind, ('VV', 'VH'))[..., None, None]
    return encoder(Series(image, times, valid, s1=Series(s1, times, valid), location=place))


def presto_parity(weights: Path) -> float:
    """Largest difference from TorchGeo's Presto, over pixels and channels."""
    theirs = presto().eval()
    theirs.load_state_dict(load_file(weights / 'presto.safetensors'))
    optical, radar = 0.1 + 0.4 * torch.rand(PIXELS, MONTHS, 10), torch.rand(PIXELS, MONTHS, 2)
    place = torch.rand(PIXELS, 2) * 60
    x = torch.zeros(PIXELS, MONTHS, 17)
    x[..., :2], x[..., 2:12] = radar, optical
    x[..., 16] = (x[..., 8] - x[..., 4]) / (x[..., 8] + x[..., 4])
    mask = torch.zeros_like(x)
    mask[..., 12:16] = 1
    seen: list[Tensor] = []
    theirs.encoder.norm.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    theirs.encoder(x, torch.full((PIXELS, MONTHS), 9), place, mask=mask, month=3)
    expected = theirs.encoder.norm(seen[0].mean(1))
    ours = parity(encoder_of(weights, 'presto', s1_channels=2), Presto, optical, radar, place)
    return (ours - expected).abs().max().item()


def galileo_parity(weights: Path, code: ModuleType) -> float:
    """Largest difference from the authors' Galileo at patches of one pixel."""
    theirs = code.Encoder(
        embedding_size=128, depth=4, num_heads=8, mlp_ratio=4, max_sequence_length=24,
        max_patch_size=8,
    ).eval()  # fmt: skip
    theirs.load_state_dict(load_file(weights / 'galileo_nano.safetensors'))
    optical, radar = 0.2 + 0.4 * torch.rand(PIXELS, MONTHS, 10), torch.rand(PIXELS, MONTHS, 2)
    place = torch.rand(PIXELS, 2) * 60
    scales = torch.tensor([Galileo.scales[name] for name in OPTICAL])
    raw = optical * scales[:, 1] + scales[:, 0]
    ndvi = (raw[..., 6] - raw[..., 2]) / (raw[..., 6] + raw[..., 2])
    space_time = torch.cat([radar, optical, ndvi[..., None]], -1)[:, None, None]
    latitude, longitude = place.deg2rad().unbind(1)
    static = torch.zeros(PIXELS, 18)
    static[:, 1] = latitude.cos() * longitude.cos()
    static[:, 2] = latitude.cos() * longitude.sin()
    static[:, 3] = latitude.sin()
    static_mask = torch.ones(PIXELS, 4)
    static_mask[:, 1] = 0
    found = theirs(
        space_time,
        torch.zeros(PIXELS, 1, 1, 16),
        torch.zeros(PIXELS, MONTHS, 6),
        static,
        torch.zeros(PIXELS, 1, 1, MONTHS, 7),
        torch.ones(PIXELS, 1, 1, 3),
        torch.ones(PIXELS, MONTHS, 3),
        static_mask,
        torch.tensor([[(3 + i) % 12 for i in range(MONTHS)]] * PIXELS),
        patch_size=1,
    )
    expected = theirs.average_tokens(*found[:-1])
    ours = parity(
        encoder_of(weights, 'galileo_nano', s1_channels=2), Galileo, optical, radar, place
    )
    return (ours - expected).abs().max().item()


def speed(encoder: SITSEncoder, series: Series) -> float:
    """Pixels that are encoded in a CPU second."""
    start = time.process_time()
    encoder.features(series)
    return SIDE * SIDE / (time.process_time() - start)


@torch.no_grad()
def main() -> None:
    """Measure, and write the results."""
    parser = harness.parser(__doc__)
    parser.add_argument('weights', type=Path)
    parser.add_argument('--galileo', type=Path, help="the authors' single_file_galileo.py")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    results = harness.describe(
        'torchgeo', 'timm', months=MONTHS, pixels=PIXELS, side=SIDE, dates=DATES, rounds=ROUNDS
    )
    figures = {'presto: largest difference': presto_parity(arguments.weights)}
    if arguments.galileo is not None:
        spec = importlib.util.spec_from_file_location('galileo', arguments.galileo)
        assert spec is not None
        assert spec.loader is not None
        code = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(code)
        figures['galileo_nano: largest difference'] = galileo_parity(arguments.weights, code)
    times = 1_609_500_000 + torch.arange(DATES)[None] * (365 * 86_400 // DATES)
    series = Series(
        torch.randn(1, DATES, 10, SIDE, SIDE), times, torch.ones(1, DATES, dtype=torch.bool)
    )
    series = series._replace(mask_clear=torch.rand(1, DATES, SIDE, SIDE) > 1 / 3)
    contenders = {
        'presto': encoder_of(arguments.weights, 'presto'),
        'galileo_nano': encoder_of(arguments.weights, 'galileo_nano'),
        'planar_vit_tiny': build_encoder('planar_vit_tiny', 10).eval(),
    }
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, encoder in contenders.items():
            found[name].append(speed(encoder, series))
    for name, values in found.items():
        figures[f'{name}: pixels per CPU second'] = round(sorted(values)[len(values) // 2], 1)
    print(figures)
    harness.save('published', results | {'figures': figures})


if __name__ == '__main__':
    main()
