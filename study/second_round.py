"""The claims of the second round, see docs/claims.md, and how far they hold."""

from collections.abc import Iterator, Sequence

from .claims import REAL, Finding, scored_as, strongest
from .contenders import BY_FAMILY, CLASSIC, CONTENDERS, PUBLISHED, UNTRAINED_SECOND
from .records import Records, Where, bootstrap
from .tuning import depth

PLANAR = 'second version, planar'
PLANES, PIXELS = 'family of planes, planar', 'family of pixels, planar'
IMAGES = 'family of images, resampling'
#: Sites and budget of what families are held against each other on.
PLACES = (
    ('real stacks', REAL, '1'),
    *((site, (site,), '1') for site in REAL),
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
    place = scored_as(name, site, budget)
    if CONTENDERS[name] in BY_FAMILY:
        return *place[:3], depth(name)
    return place


def findings(records: Records) -> list[Finding]:
    """Find the differences of all claims, at all places where both sides were run."""
    found = []
    for place, sites, budget in PLACES:
        classic = strongest(records, 'classic', sites, budget)
        rivals: list[tuple[str, str, str | None, float]] = [
            ('planes over images, at equal operations', PLANES, IMAGES, 0.02),
            ('planes over pixels, at equal operations', PLANES, PIXELS, 0.02),
            ('over the strongest classic', PLANAR, classic, 0.0),
            ('over the untrained second version', PLANAR, UNTRAINED_SECOND.name, 0.0),
            ('over resampled views', PLANAR, 'second version, resampling', 0.0),
        ]
        if sites in (('wc_be_a',), ('wc_be_b',)):
            rivals += [('over a published model', PLANAR, one.name, 0.02) for one in PUBLISHED]
        for claim, ours, theirs, goal in rivals:
            if theirs is None:
                continue
            pairs = [(where(ours, s, budget), where(theirs, s, budget)) for s in sites]
            if all(records.has(ours, a) and records.has(theirs, b) for a, b in pairs):
                tables = [records.difference(ours, a, theirs, b) for a, b in pairs]
                found.append(Finding(claim, place, budget, theirs, goal, bootstrap(tables)))
    return found


def scores(records: Records) -> Iterator[Sequence[str]]:
    """Lines of the means of each contender, at the depth by which it is scored, and across sites.

    Yields:
        Name, depth, and the score in points at each of :data:`COLUMNS`, empty where not run.
    """
    names = [PLANAR, 'second version, resampling', UNTRAINED_SECOND.name]
    names += [one.name for one in (*BY_FAMILY, *PUBLISHED, *CLASSIC)]
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
    """Lines of what is asked for across sites: where, labels, goal, found, met."""
    for site, budget, goal in ACROSS:
        place = where(PLANAR, site, budget)
        if records.has(PLANAR, place):
            found = bootstrap([records.table(PLANAR, place)])
            yield [
                site,
                budget,
                f'{100 * goal:.0f}',
                f'{100 * found.mean:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]',
                'yes' if found.mean >= goal else 'no',
            ]
