"""The claims of the second round, see docs/claims.md, and how far they hold."""

from collections import Counter
from collections.abc import Iterator, Sequence

from . import contenders
from .claims import REAL, Finding, scored_as, strongest
from .contenders import (
    BY_FAMILY,
    CLASSIC,
    CONTENDERS,
    LENGTHS,
    PUBLISHED,
    SECOND_LONGER,
    UNTRAINED_SECOND,
    at_length,
)
from .records import TRAINED, Records, Where, bootstrap
from .tuning import depth

PLANAR, RESAMPLING = 'second version, planar', 'second version, resampling'
SINGLE, SENSORS, ONE_SENSOR = (
    one.name for one in (contenders.SINGLE, contenders.TWO_SENSORS, contenders.ONE_SENSOR)
)
PLANES, PIXELS = 'family of planes, planar', 'family of pixels, planar'
#: Two families of images: a U-TAE, and a transformer whose frames are cut into patches.
IMAGES, FRAMES = 'family of images, resampling', 'family of frames, resampling'
FINE_TUNED = 'fine-tuned, over the best trained from scratch'
#: Sites and budget of what families are held against each other on.
PLACES = (
    ('real stacks', REAL, '1'),
    *((site, (site,), '1') for site in REAL),
    ('stacks with Sentinel-1', ('wc_be_a', 'wc_be_b'), '1'),
    ('synthetic', ('synthetic',), '1'),
    ('synthetic', ('synthetic',), '1 %'),
    ('synthetic', ('synthetic',), '5 %'),
    ('realistic', ('realistic',), '1'),
    ('realistic', ('realistic',), '1 %'),
    ('realistic', ('realistic',), '5 %'),
)
#: What carries over is asked to reach a score, not to be ahead of somebody.
ACROSS = (
    ('wc_be_a to wc_be_b', 'all', 0.98),
    ('wc_be_a to wc_be_b', '1', 0.88),
    ('wc_be_b to wc_be_a', 'all', 0.92),
)


def where(name: str, site: str, budget: str) -> Where:
    """Find the probe and depth by which a contender is scored in this round."""
    contender = CONTENDERS[name]
    place = scored_as(name, site, budget)
    tuned = {one.name for one in (*BY_FAMILY, contenders.SINGLE, *contenders.RADAR)}
    if tuned & {name, contender.changes}:
        return *place[:3], depth(name)
    return place


def findings(records: Records, longer: int = 1) -> list[Finding]:
    """Find the differences of all claims, at all places where both sides were run.

    Args:
        records: All records.
        longer: Factor on the optimiser steps of what is pretrained here.
    """
    found = []
    planar, single, sensors, one_sensor, resampling, planes, pixels, images, frames = (
        at_length(name, longer)
        for name in (
            PLANAR,
            SINGLE,
            SENSORS,
            ONE_SENSOR,
            RESAMPLING,
            PLANES,
            PIXELS,
            IMAGES,
            FRAMES,
        )
    )
    if planar not in CONTENDERS:
        return []
    for place, sites, budget in PLACES:
        classic = strongest(records, 'classic', sites, budget)
        scratch = strongest(records, 'supervised', sites, budget)
        pairs: list[tuple[str, str, str | None, float]] = [
            ('planes over images, at equal operations', planes, images, 0.02),
            ('planes over images, at equal operations', planes, frames, 0.02),
            ('planes over pixels, at equal operations', planes, pixels, 0.02),
            ('over resampled views', planar, resampling, 0.0),
            ('single pixels over planar views', single, planar, 0.02),
            ('two sensors over planar views', sensors, planar, 0.02),
            ('two sensors over one', sensors, one_sensor, 0.02),
            ('one sensor over planar views', one_sensor, planar, 0.02),
            ('one sensor over single pixels of vigour and soil', one_sensor, single, 0.0),
        ]
        kinds = (
            ('', planar),
            ('single pixels, ', single),
            ('two sensors, ', sensors),
            ('one sensor, ', one_sensor),
        )
        for name, ours in kinds:
            pairs += [
                (f'{name}over the strongest classic', ours, classic, 0.0),
                (f'{name}over the untrained second version', ours, UNTRAINED_SECOND.name, 0.0),
                (f'{name}{FINE_TUNED}', ours, scratch, 0.05),
            ]
            if sites in (('wc_be_a',), ('wc_be_b',)):
                claim = f'{name}over a published model'
                pairs += [(claim, ours, one.name, 0.02) for one in PUBLISHED]
        for claim, ours, theirs, goal in pairs:
            if theirs is None or not {ours, theirs} <= CONTENDERS.keys():
                continue
            tuned = claim.endswith(FINE_TUNED)
            at = [(s, budget, *TRAINED) if tuned else where(ours, s, budget) for s in sites]
            other = [where(theirs, s, budget) for s in sites]
            places = list(zip(at, other, strict=True))
            if all(records.has(ours, a) and records.has(theirs, b) for a, b in places):
                tables = [records.difference(ours, a, theirs, b) for a, b in places]
                # Where no initialisation was scored on both sides there is nothing to say.
                if all(map(len, tables)):
                    found.append(Finding(claim, place, budget, theirs, goal, bootstrap(tables)))
    return found


def steps(records: Records, times: int) -> str:
    """Say how many initialisations of the second version have so many times the steps, by site."""
    told = [f'{times} x the steps, initialisations of the second version']
    for name in (
        at_length(one, times) for one in (PLANAR, SINGLE, SENSORS, ONE_SENSOR, RESAMPLING)
    ):
        runs = [run for run in records.runs if run['contender'] == name]
        sets = Counter(run['set'] for run in runs)
        if sets:
            counts = ', '.join(f'{number} on {one}' for one, number in sets.items())
            told.append(f'{name.split(", ")[1]}: {counts}')
    return '; '.join(told)


def scores(records: Records) -> Iterator[Sequence[str]]:
    """Lines of the means of each contender, at the depth by which it is scored, and across sites.

    Yields:
        Name, depth, and the score in points at each of :data:`COLUMNS`, empty where not run.
    """
    names = [PLANAR, SINGLE, SENSORS, ONE_SENSOR, RESAMPLING, UNTRAINED_SECOND.name]
    names += [one.name for one in (*SECOND_LONGER, *BY_FAMILY, *PUBLISHED, *CLASSIC)]
    for name in names:
        places = [where(name, *column) for column in COLUMNS]
        cells = [
            f'{100 * records.table(name, place).mean():.1f}' if records.has(name, place) else ''
            for place in places
        ]
        if any(cells):
            yield [name, places[0][3], *cells]


#: Site and budget of each column of :func:`scores`.
COLUMNS = (
    *((site, '1') for site in REAL),
    ('ieda_mt', '5'),
    *((one, b) for one in ('synthetic', 'realistic') for b in ('1', '1 %', '5 %')),
    *(column[:2] for column in ACROSS),
)


def carried_over(records: Records) -> Iterator[Sequence[str]]:
    """Lines of what is asked for across sites: contender, where, labels, goal, found, met."""
    for name in (
        at_length(one, times) for one in (PLANAR, SINGLE, SENSORS, ONE_SENSOR) for times in LENGTHS
    ):
        for site, budget, goal in ACROSS:
            if name not in CONTENDERS or not records.has(name, where(name, site, budget)):
                continue
            found = bootstrap([records.table(name, where(name, site, budget))])
            yield [
                name,
                site,
                budget,
                f'{100 * goal:.0f}',
                f'{100 * found.mean:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]',
                'yes' if found.mean >= goal else 'no',
            ]
