"""The claims, and how far they hold: differences with their intervals."""

from dataclasses import dataclass

from . import contenders
from .contenders import CONTENDERS, at_length
from .records import RAW, TRAINED, Interval, Records, Where, bootstrap

#: How frozen features are probed in the claims; chosen on development data.
HEADLINE = ('linear', 'joined')
#: The planar contender that the claims are about, and its twin without planes.
PLANAR, RESAMPLING = contenders.PLANAR.name, contenders.RESAMPLING.name
SCRATCH, UNTRAINED = 'planar_vit from scratch', 'untrained PlanarViT'
FINE_TUNED = 'fine-tuned, over training from scratch'
#: Features after the path layers alone, which joined ones hold few of.
LATE = 'late features, over resampling views'
REAL = ('wc_be_a', 'wc_be_b', 'ieda_mt')
#: Sites and budget of each line of the claims.
PLACES = (
    ('real stacks', REAL, '1'),
    *((site, (site,), '1') for site in REAL),
    ('synthetic', ('synthetic',), '1'),
    ('synthetic', ('synthetic',), '1 %'),
    ('synthetic', ('synthetic',), '5 %'),
)


#: Site and budget of each place at which contenders are shown side by side.
COLUMNS = (
    ('wc_be_a', '1'),
    ('wc_be_b', '1'),
    ('ieda_mt', '1'),
    ('ieda_mt', '5'),
    ('synthetic', '1 %'),
    ('synthetic', '5 %'),
)


@dataclass(frozen=True)
class Finding:
    """One claim at one place.

    Attributes:
        claim: What is compared.
        place: Where.
        budget: Labels.
        other: Whom it is held against.
        goal: Difference that was asked for.
        found: Difference that was found.
    """

    claim: str
    place: str
    budget: str
    other: str
    goal: float
    found: Interval

    @property
    def met(self) -> bool:
        """True if the difference is as large as the goal, and its interval is above 0."""
        return self.found.mean >= self.goal and self.found.low > 0


def scored_as(name: str, site: str, budget: str) -> Where:
    """Find the probe and depth by which a contender is scored."""
    group = CONTENDERS[name].group
    how = {'classic': RAW, 'supervised': TRAINED}.get(group, HEADLINE)
    if group in ('random', 'published'):
        how = HEADLINE[0], 'late'
    return site, budget, *how


def strongest(
    records: Records, group: str, sites: tuple[str, ...], budget: str, longer: int = 1
) -> str | None:
    """The contender of a group, and of so many steps, with the highest mean: this flatters it."""
    found = {}
    for name in records.contenders:
        if (CONTENDERS[name].group, CONTENDERS[name].longer) != (group, longer):
            continue
        places = [scored_as(name, site, budget) for site in sites]
        if all(records.has(name, where) for where in places):
            tables = [records.table(name, where).mean() for where in places]
            found[name] = sum(tables) / len(tables)
    return max(found, key=lambda name: found[name]) if found else None


def compare(
    records: Records,
    ours: str,
    theirs: str,
    sites: tuple[str, ...],
    budget: str,
    *,
    tuned: bool = False,
    depth: str | None = None,
) -> Interval | None:
    """Mean difference over sites; None where either was not run, or they share no initialisation.

    Args:
        records: All records.
        ours: The first contender.
        theirs: The second one.
        sites: The sites.
        budget: Labels.
        tuned: Take the first one as it is when fine-tuned, not its frozen features.
        depth: Take features of this depth of both, not those of the claims.
    """
    tables = []
    for site in sites:
        at = (site, budget, *TRAINED) if tuned else scored_as(ours, site, budget)
        places = at, scored_as(theirs, site, budget)
        if depth is not None:
            places = ((site, budget, HEADLINE[0], depth),) * 2
        if not (records.has(ours, places[0]) and records.has(theirs, places[1])):
            return None
        tables.append(records.difference(ours, places[0], theirs, places[1]))
    # Where no initialisation was scored on both sides there is nothing to say.
    return bootstrap(tables) if all(map(len, tables)) else None


def findings(records: Records, longer: int = 1) -> list[Finding]:
    """Find the differences of all claims, at all places where both sides were run.

    Args:
        records: All records.
        longer: Factor on the optimiser steps of what is pretrained.
    """
    found = []
    planar = at_length(PLANAR, longer)
    if planar not in CONTENDERS:
        return found
    for place, sites, budget in PLACES:
        theirs = strongest(records, 'torchgeo', sites, budget, longer)
        rivals: list[tuple[str, str | None, float]] = [
            ('over training from scratch', SCRATCH, 0.03),
            (FINE_TUNED, SCRATCH, 0.03),
            ('over the untrained encoder', UNTRAINED, 0.03),
            ('over resampling views', at_length(RESAMPLING, longer), 0.01),
            (LATE, at_length(RESAMPLING, longer), 0.01),
            ("over TorchGeo's best", theirs, 0.05),
            ('over the strongest classic', strongest(records, 'classic', sites, budget), 0.0),
        ]
        for claim, other, goal in rivals:
            if other is None:
                continue
            tuned, depth = claim == FINE_TUNED, 'late' if claim == LATE else None
            interval = compare(records, planar, other, sites, budget, tuned=tuned, depth=depth)
            if interval is not None:
                found.append(Finding(claim, place, budget, other, goal, interval))
    return found
