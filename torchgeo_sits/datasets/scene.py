"""A synthetic piece of farmland: its map, its events, and its image on any date."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .landscape import Landscape, draw_landscape, smooth_noise
from .phenology import BANDS, CLASSES, CROPS, ENDMEMBERS, Growth, cover_fractions, draw_growth
from .weather import CLOUD_REFLECTANCE, SCL, draw_clouds, draw_observed

__all__ = ['EVENTS', 'Event', 'Scene', 'draw_scene']

#: Change events; the code in the files is the index plus 1, and 0 is no change.
EVENTS: Final = ('clearing', 'burning', 'building')

# Share of each class among the parcels, in the order of CLASSES.
_SHARES = (0.16, 0.09, 0.08, 0.15, 0.09, 0.09, 0.13, 0.06, 0.05, 0.03, 0.04, 0.03)
# Spectra as a matrix; and the bands that Sentinel-2 takes at 20 m instead of 10 m.
_SPECTRA = np.array(list(ENDMEMBERS.values()))
_NAMES = list(ENDMEMBERS)
_COARSE = [BANDS.index(band) for band in ('B05', 'B06', 'B07', 'B8A', 'B11', 'B12')]


@dataclass(frozen=True)
class Event:
    """One dated change.

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


@dataclass(frozen=True)
class Scene:
    """The land and all that is drawn once for it.

    Args:
        landscape: Parcels and lines.
        unit: Unit of land of each pixel, ``(H, W)``: 0 road, 1 hedge, parcels from 2, then the
            parts of parcels that change.
        kind: Class index of each unit, ``(N,)``; -1 for roads and hedges.
        growth: Growth of each unit.
        events: The changes.
        days: Acquisition days since 1970-01-01, ascending, ``(T,)``.
        difficulty: Factor on the noise.
    """

    landscape: Landscape
    unit: NDArray[np.int64]
    kind: NDArray[np.int64]
    growth: Growth
    events: tuple[Event, ...]
    days: NDArray[np.int64]
    difficulty: float

    def class_map(self) -> NDArray[np.uint8]:
        """Labels ``(H, W)``: 0 on lines, then the index in :data:`CLASSES` plus 1."""
        return (self.kind + 1)[self.unit].astype(np.uint8)

    def change_maps(self) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
        """Event code and day of the event since 1970-01-01, both ``(H, W)``, 0 for none."""
        code = np.zeros(len(self.kind), np.uint8)
        day = np.zeros(len(self.kind), np.uint16)
        for event in self.events:
            code[event.unit], day[event.unit] = event.kind + 1, event.day
        return code[self.unit], day[self.unit]

    def frames(
        self, rng: np.random.Generator
    ) -> Iterator[tuple[NDArray[np.uint16], NDArray[np.uint8]]]:
        """Image the land on each day.

        Args:
            rng: Source of randomness of weather, texture and noise.

        Yields:
            Reflectance x 10000 ``(C, H, W)`` with 0 for nodata, and the scene
            classification ``(H, W)``.
        """
        shares = cover_fractions(self.growth, self.days.astype(float))
        _apply_events(shares, self.events, self.days)
        spectra = _mix(shares, self.growth.brightness)
        size = self.unit.shape
        texture = smooth_noise(size, 10, rng=rng, slope=1.6)
        soil_texture = smooth_noise(size, 30, rng=rng, slope=2.5)
        green = shares[..., [_NAMES.index(n) for n in ('leaf', 'broadleaf', 'needle')]].sum(-1)
        for index in range(len(self.days)):
            cover = green[index][self.unit]
            image = np.moveaxis(spectra[index][self.unit], -1, 0)
            # Gaps in a closed canopy and weeds on bare soil change cover least; half-grown
            # fields are patchy.
            patchy = 0.10 * self.difficulty * texture * (0.25 + 2.4 * cover * (1 - cover))
            contrast = _SPECTRA[_NAMES.index('leaf')] - _SPECTRA[_NAMES.index('soil')]
            dry = self.kind[self.unit] != CLASSES.index('water')
            image = image + contrast[:, None, None] * patchy * dry
            image = image * (1 + 0.06 * soil_texture * (1 - cover) * dry)
            image = _see(image, rng=rng, difficulty=self.difficulty)
            yield _weather(image, self.kind[self.unit], rng=rng)


def draw_scene(
    size: tuple[int, int],
    *,
    days: NDArray[np.int64],
    parcel_pixels: int,
    changed: float,
    difficulty: float,
    rng: np.random.Generator,
) -> Scene:
    """Draw the map, the classes, the growth and the events.

    Args:
        size: Height and width in pixels.
        days: Acquisition days since 1970-01-01, ascending, ``(T,)``.
        parcel_pixels: Mean area of a parcel in pixels.
        changed: Share of the parcels in which an event happens.
        difficulty: Factor on the spread within classes and on the noise.
        rng: Source of randomness.

    Returns:
        The scene.
    """
    land = draw_landscape(
        size, parcel_pixels=parcel_pixels, min_pixels=min(20, parcel_pixels // 2), rng=rng
    )
    classes = _draw_classes(land, size, rng)
    kind = np.concatenate([[-1, -1], classes])
    unit = np.where(land.parcel > 0, land.parcel + 1, land.line - 1)
    kind, unit, events = _draw_events(kind, unit, days, changed, rng)

    year = np.array(days[[0, -1]], 'datetime64[D]').astype('datetime64[Y]').astype(int) + 1970
    middle = np.array((days[0] + days[-1]) // 2, 'datetime64[D]').astype('datetime64[Y]')
    # Roads are seen as built-up land and hedges as deciduous wood; both stay unlabelled.
    surface = kind.copy()
    surface[:2] = CLASSES.index('built-up'), CLASSES.index('deciduous forest')
    growth = draw_growth(
        surface,
        (int(year[0]), int(year[1]) + 1),
        int(middle.astype(int)) + 1970,
        difficulty=difficulty,
        rng=rng,
    )
    # The part of a parcel that changes is like the rest of it until then.
    origin = np.arange(len(kind))
    for event in events:
        origin[event.unit] = event.parcel + 1
    growth = replace(
        growth,
        **{
            name: value[origin]
            for name, value in vars(growth).items()
            if isinstance(value, np.ndarray)
        },
    )
    return Scene(land, unit, kind, growth, tuple(events), days, difficulty)


def _draw_classes(
    land: Landscape, size: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Class index of each parcel ``(P,)``: fixed shares, woods and villages loosely clustered."""
    parcels = len(land.centre)
    counts = np.maximum(np.round(np.array(_SHARES) * parcels), min(6, parcels // len(_SHARES)))
    labels = np.repeat(np.arange(len(_SHARES)), counts.astype(int))
    labels = rng.permutation(labels)[:parcels]
    labels = np.concatenate([labels, rng.integers(0, CROPS, parcels - len(labels))])
    row, column = land.centre.astype(int).T
    lie = smooth_noise(size, max(size) / 2, rng=rng)[row, column] + rng.normal(0, 0.7, parcels)
    # Where each class likes to lie: woods high, villages low, the rest anywhere between.
    rank = np.where(np.isin(labels, (7, 8)), 2.0, np.where(labels == 10, -2.0, 0.0))
    rank = rank + rng.uniform(-0.5, 0.5, parcels)
    out = np.empty(parcels, int)
    out[np.argsort(lie)] = labels[np.argsort(rank)]
    return out


def _draw_events(
    kind: NDArray[np.int64],
    unit: NDArray[np.int64],
    days: NDArray[np.int64],
    changed: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[Event]]:
    """Cut parts off parcels for events; extended ``kind`` ``(N,)``, new ``unit`` map, events."""
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


def _apply_events(
    shares: NDArray[np.float64], events: tuple[Event, ...], days: NDArray[np.int64]
) -> None:
    """Change the endmember shares ``(T, N, E)`` from the day of each event on, in place."""
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
    """True at one endmember, ``(E,)``."""
    return np.arange(len(_NAMES)) == _NAMES.index(name)


def _mix(shares: NDArray[np.float64], brightness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear mixture of the spectra, ``(T, N, C)``; each unit has its own ground."""
    ground = np.isin(_NAMES, ('soil', 'straw', 'roof', 'asphalt'))
    factor = np.where(ground, brightness[:, None], 1.0)
    return (shares * factor) @ _SPECTRA


def _see(
    image: NDArray[np.float64], *, rng: np.random.Generator, difficulty: float
) -> NDArray[np.float64]:
    """Sensor and illumination: point spread, 20 m bands, gain, haze and noise, ``(C, H, W)``."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)), mode='edge')
    rows = 0.15 * padded[:, :-2] + 0.7 * padded[:, 1:-1] + 0.15 * padded[:, 2:]
    image = 0.15 * rows[..., :-2] + 0.7 * rows[..., 1:-1] + 0.15 * rows[..., 2:]
    _, h, w = image.shape
    half = np.pad(image[_COARSE], ((0, 0), (0, h % 2), (0, w % 2)), mode='edge')
    half = half.reshape(len(_COARSE), (h + 1) // 2, 2, (w + 1) // 2, 2).mean((2, 4))
    image[_COARSE] = half.repeat(2, 1).repeat(2, 2)[:, :h, :w]
    channels = len(image)
    gain = 1 + rng.normal(0, 0.04) + rng.normal(0, 0.012, channels)
    haze = rng.gamma(1.5, 0.004) * np.linspace(1.4, 0.2, channels)
    noise = rng.standard_normal(image.shape) * (0.0025 + 0.012 * image) * difficulty
    return image * gain[:, None, None] + haze[:, None, None] + noise


def _weather(
    image: NDArray[np.float64], kind: NDArray[np.int64], *, rng: np.random.Generator
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Put clouds, shadows and the swath border over an image, and classify the scene."""
    size = kind.shape
    opacity, shadow = draw_clouds(size, rng=rng)
    observed = draw_observed(size, rng=rng)
    red, nir = image[BANDS.index('B04')], image[BANDS.index('B08')]
    ndvi = (nir - red) / np.maximum(nir + red, 1e-6)
    scl = np.where(ndvi > 0.45, SCL['vegetation'], SCL['bare'])
    scl[(kind == CLASSES.index('water')) & (ndvi < 0.1)] = SCL['water']
    # The classifier misses the thinnest haze, as the real one does.
    scl[shadow > 0.18] = SCL['shadow']
    scl[opacity > 0.08] = SCL['cirrus']
    scl[opacity > 0.3] = SCL['cloud_medium']
    scl[opacity > 0.7] = SCL['cloud_high']
    cloud = np.array(CLOUD_REFLECTANCE)[:, None, None] * (
        1 + 0.15 * smooth_noise(size, 30, rng=rng)
    )
    image = image * (1 - shadow) * (1 - opacity) + cloud * opacity
    scl[~observed] = SCL['nodata']
    # 1 is the darkest value: 0 means that nothing was observed.
    digital = np.clip(np.round(image * 10_000), 1, 20_000) * observed
    return digital.astype(np.uint16), scl.astype(np.uint8)
