"""Dated changes of the synthetic land: clearing, burning, building."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .phenology import CLASSES, CROPS, SURFACES

__all__ = ['EVENTS', 'Event', 'apply_events', 'draw_events']

#: Change events; the code in the files is the index plus 1, and 0 is no change.
EVENTS: Final = ('clearing', 'burning', 'building')


@dataclass(frozen=True)
class Event:
    """Dated change of a unit of land.

    Args:
        kind: Index in :data:`EVENTS`.
        day: Days since 1970-01-01.
        unit: Number of the unit of land that changes.
        parcel: Number of the parcel that the unit was a part of.
    """

    kind: int
    day: int
    unit: int
    parcel: int


def draw_events(
    kind: NDArray[np.int64],
    unit: NDArray[np.int64],
    days: NDArray[np.int64],
    changed: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[Event]]:
    """Cut parts off parcels and draw what happens there, and when.

    Args:
        kind: Class index of each unit, ``(N,)``; -1 for the two units of lines, then parcels.
        unit: Unit of each pixel, ``(H, W)``.
        days: Acquisition days since 1970-01-01, ascending, ``(T,)``.
        changed: Share of the parcels in which an event happens.
        rng: Source of randomness.

    Returns:
        Class index of the units, new ones last; the new map of units; the events.
    """
    name = np.array([*CLASSES, 'line'])[kind]
    candidates = (
        np.flatnonzero(np.char.endswith(name, 'forest')),
        np.flatnonzero(np.isin(name, ('grassland', 'conifer forest', 'winter wheat'))),
        np.flatnonzero((kind >= 0) & (kind <= CROPS) | (kind == CLASSES.index('bare soil'))),
    )
    number = round(changed * (len(kind) - 2))
    unit = unit.copy()
    events: list[Event] = []
    taken: set[int] = set()
    # Sooner than a fifth or later than four fifths of the series a change is hardly seen.
    first, last = np.quantile(days, [0.2, 0.8]).astype(int)
    for index in range(number):
        code = index % len(EVENTS)
        free = [u for u in candidates[code] if u not in taken]
        if not free:
            continue
        parcel = int(rng.choice(free))
        taken.add(parcel)
        row, column = np.nonzero(unit == parcel)
        angle = rng.uniform(0, 2 * np.pi)
        position = row * np.cos(angle) + column * np.sin(angle)
        part = position <= np.quantile(position, rng.uniform(0.4, 1.0))
        new = len(kind) + len(events)
        unit[row[part], column[part]] = new
        events.append(Event(code, int(rng.integers(first, last + 1)), new, parcel - 1))
    kind = np.concatenate([kind, [kind[event.parcel + 1] for event in events]]).astype(int)
    return kind, unit, events


def apply_events(
    shares: NDArray[np.float64], events: tuple[Event, ...], days: NDArray[np.int64]
) -> None:
    """Change the shares of the surfaces from the day of each event on, in place.

    Args:
        shares: Share of each surface, ``(T, N, E)``.
        events: The changes.
        days: Days since 1970-01-01, ``(T,)``.
    """
    for event in events:
        since = (days - event.day).astype(float)
        after = since >= 0
        old = shares[after, event.unit]
        elapsed = since[after, None]
        new = np.zeros_like(old)
        if EVENTS[event.kind] == 'clearing':
            # Slash and soil at once, weeds within a year.
            weeds = 0.35 * (1 - np.exp(-elapsed / 200))
            new += np.where(_is('leaf'), weeds, 0)
            new += np.where(_is('straw'), 0.25 * (1 - weeds), 0)
            new += np.where(_is('soil'), 0.75 * (1 - weeds), 0)
        elif EVENTS[event.kind] == 'burning':
            # Char fades in months; three quarters of the former cover come back.
            burnt = 0.25 + 0.65 * np.exp(-elapsed / 70)
            ash = burnt * np.exp(-elapsed / 120)
            new += old * (1 - burnt) + np.where(_is('char'), ash, 0)
            new += np.where(_is('soil'), burnt - ash, 0)
        else:
            # A building pit for weeks, then roofs and asphalt.
            built = 0.85 * np.clip(elapsed / 120, 0, 1)
            new += np.where(_is('roof'), 0.6 * built, 0) + np.where(_is('asphalt'), 0.4 * built, 0)
            new += np.where(_is('soil'), 1 - built, 0)
        shares[after, event.unit] = new


def _is(name: str) -> NDArray[np.bool_]:
    """Mark one endmember, ``(E,)``."""
    return np.arange(len(SURFACES)) == SURFACES.index(name)
