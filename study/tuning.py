"""Choices made on development data: another simulated series, and fields too small to be tested."""

from collections import defaultdict
from functools import cache
from pathlib import Path
from statistics import mean

from .contenders import BY_FAMILY, CONTENDERS, FAMILIES, MAIN, RADAR, SECOND_ROUND, SINGLE, Job
from .records import RESULTS, read

#: Records of the runs.
PATH = RESULTS / 'tuning.jsonl.gz'
#: Records of single pixels on points of Canada.
CANADA = RESULTS / 'two_sensors.jsonl.gz'
STEPS = 100
#: Learning rates of our methods, and of TorchGeo's: LARS takes larger ones than Adam, and 4.8 is
#: what TorchGeo's SimCLR takes by itself.
OURS = (5e-4, 2e-3)
ADAM = (1e-4, 1e-3, 4e-3)
LARS = (0.02, 0.1, 0.5, 4.8)
SETS = ('mato_grosso', 'synthetic')
#: Encoders that are tuned on their own.
IMAGES = (FAMILIES['images'], FAMILIES['frames'])


def candidates(name: str) -> tuple[float, ...]:
    """Learning rates that are tried for a contender, none where it takes that of another."""
    contender = CONTENDERS[name]
    if contender in SECOND_ROUND:
        if contender == SINGLE:
            return (SINGLE.options['lr'],)
        if contender not in BY_FAMILY:
            return ()
        # PlanarViT takes the rate that was chosen for it.
        return OURS if contender.encoder in IMAGES else (max(OURS),)
    if contender.longer > 1:
        return ()
    if contender in MAIN and contender.kind == 'mixed':
        return OURS
    if contender.group == 'torchgeo':
        return LARS if contender.method == 'SimCLR' else ADAM
    return ()


def jobs(data: Path, scratch: Path) -> list[Job]:
    """One run for each contender, rate and set of development data."""
    return [
        Job(CONTENDERS[name], one, 0, STEPS, lr, data, scratch, development=True)
        for name in CONTENDERS
        for one in SETS
        for lr in candidates(name)
    ]


def _means(path: Path | None = None) -> dict[tuple[str, float], dict[str, float]]:
    """Macro F1 by contender and rate: over sets and budgets, by probe and depth."""
    values: dict[tuple[str, float], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in read(path or PATH):
        for score in record['scores']:
            key = f'{score["probe"]}, {score["depth"]}'
            values[record['contender'], record.get('lr', 0.0)][key].append(mean(score['f1']) / 1000)
    return {key: {k: mean(v) for k, v in found.items()} for key, found in values.items()}


@cache
def depth(name: str) -> str:
    """Features by which a contender of the second round is scored: joined ones, or late ones.

    For a family of encoders it is what the linear probe prefers on development data, over both
    kinds of view, and so for single pixels; for those of two sensors, and of one held against
    them, it is so on points of Canada. All else keeps the joined ones of the first round.
    """
    contender = CONTENDERS[name]
    if contender.longer > 1:
        contender = CONTENDERS[contender.changes]
    kin = [c for c in BY_FAMILY if c.encoder == contender.encoder]
    names = [c.name for c in ([contender] if contender in (SINGLE, *RADAR) else kin)]
    path = CANADA if contender in RADAR else PATH
    found = [means for (other, _), means in _means(path).items() if other in names]
    if contender.name not in names or not found:
        return 'joined'
    return max(('joined', 'late'), key=lambda d: mean(one[f'linear, {d}'] for one in found))


def _chosen_by(name: str) -> str:
    """What the rate of a contender is kept under: its method, or itself."""
    contender = CONTENDERS[name]
    alone = contender in BY_FAMILY and len(candidates(name)) > 1
    return contender.method if contender.group == 'ours' and not alone else name


def rates() -> dict[str, float]:
    """The best learning rate of each method of ours and of each contender of TorchGeo.

    Best is what the linear probe on joined features says.
    """
    best: dict[str, tuple[float, float]] = {}
    for (name, lr), found in _means().items():
        if CONTENDERS[name] in SECOND_ROUND and len(candidates(name)) < 2:
            continue  # it takes the rate of its method
        key = _chosen_by(name)
        best[key] = max(best.get(key, (0.0, 0.0)), (found['linear, joined'], lr))
    return {key: lr for key, (_, lr) in best.items()}


def table() -> str:
    """Learning rates that were tried, as Markdown."""
    chosen = rates()
    lines = ['| contender | learning rate | linear, joined | chosen |', '|---|---|---|---|']
    for (name, lr), found in sorted(_means().items()):
        mark = 'yes' if chosen[_chosen_by(name)] == lr else ''
        lines.append(f'| {name} | {lr:g} | {found["linear, joined"]:.3f} | {mark} |')
    return '\n'.join(lines)
