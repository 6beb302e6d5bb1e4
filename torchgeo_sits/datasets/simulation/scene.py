"""A synthetic piece of farmland: its map, its events, and its image on any date."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .events import Event, apply_events, draw_events
from .landscape import Landscape, draw_landscape, smooth_noise
from .phenology import CLASSES, ENDMEMBERS, SURFACES, Growth, cover_fractions, draw_growth, mix
from .weather import MILD, Conditions, add_weather, observe

__all__ = ['Scene', 'draw_scene']

# Share of each class among the parcels, in the order of CLASSES.
_SHARES = (0.16, 0.09, 0.08, 0.15, 0.09, 0.09, 0.13, 0.06, 0.05, 0.03, 0.04, 0.03)
_WATER = CLASSES.index('water')
_CANOPY = [SURFACES.index(name) for name in ('leaf', 'broadleaf', 'needle')]
_CONTRAST = np.array(ENDMEMBERS['leaf']) - np.array(ENDMEMBERS['soil'])


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
        conditions: How well the land is seen.
    """

    landscape: Landscape
    unit: NDArray[np.int64]
    kind: NDArray[np.int64]
    growth: Growth
    events: tuple[Event, ...]
    days: NDArray[np.int64]
    difficulty: float
    conditions: Conditions = MILD

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
        apply_events(shares, self.events, self.days)
        spectra = mix(shares, self.growth.brightness)
        size = self.unit.shape
        dry = self.kind[self.unit] != _WATER
        texture = smooth_noise(size, 10, rng=rng, slope=1.6)
        soil_texture = smooth_noise(size, 30, rng=rng, slope=2.5)
        green = shares[..., _CANOPY].sum(-1)
        for index in range(len(self.days)):
            cover = green[index][self.unit]
            image = np.moveaxis(spectra[index][self.unit], -1, 0)
            # Gaps in a closed canopy and weeds on bare soil change cover least; half-grown
            # fields are patchy.
            rough = self.conditions.texture
            patchy = 0.10 * rough * self.difficulty * texture * (0.25 + 2.4 * cover * (1 - cover))
            image = image + _CONTRAST[:, None, None] * patchy * dry
            image = image * (1 + 0.06 * rough * soil_texture * (1 - cover) * dry)
            image = observe(image, rng=rng, difficulty=self.difficulty, conditions=self.conditions)
            yield add_weather(image, ~dry, rng=rng, conditions=self.conditions)


def draw_scene(
    size: tuple[int, int],
    *,
    days: NDArray[np.int64],
    parcel_pixels: int,
    changed: float,
    difficulty: float,
    rng: np.random.Generator,
    conditions: Conditions = MILD,
) -> Scene:
    """Draw the map, the classes, the growth and the events.

    Args:
        size: Height and width in pixels.
        days: Acquisition days since 1970-01-01, ascending, ``(T,)``.
        parcel_pixels: Mean area of a parcel in pixels.
        changed: Share of the parcels in which an event happens.
        difficulty: Factor on the spread within classes and on the noise.
        rng: Source of randomness.
        conditions: How well the land is seen.

    Returns:
        The scene.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.datasets.simulation import draw_scene
        >>> scene = draw_scene(
        ...     (32, 32),
        ...     days=np.array([18_600, 18_700]),
        ...     parcel_pixels=110,
        ...     changed=0.1,
        ...     difficulty=1.0,
        ...     rng=np.random.default_rng(0),
        ... )
        >>> [image.shape for image, classes in scene.frames(np.random.default_rng(1))]
        [(10, 32, 32), (10, 32, 32)]
    """
    land = draw_landscape(
        size, parcel_pixels=parcel_pixels, min_pixels=min(20, parcel_pixels // 2), rng=rng
    )
    classes = _draw_classes(land, size, rng)
    kind = np.concatenate([[-1, -1], classes])
    unit = np.where(land.parcel > 0, land.parcel + 1, land.line - 1)
    kind, unit, events = draw_events(kind, unit, days, changed, rng)

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
    growth = growth.take(origin)
    return Scene(land, unit, kind, growth, tuple(events), days, difficulty, conditions)


def _draw_classes(
    land: Landscape, size: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Class index of each parcel ``(P,)``: fixed shares, woods and villages loosely clustered."""
    parcels = len(land.centre)
    counts = np.round(np.array(_SHARES) * parcels).astype(int)
    counts = np.maximum(counts, min(6, parcels // len(_SHARES)))
    # Rounding and the least number are made up for by the most frequent classes.
    while counts.sum() != parcels:
        counts[counts.argmax()] += np.sign(parcels - counts.sum())
    labels = rng.permutation(np.repeat(np.arange(len(_SHARES)), counts))
    row, column = land.centre.astype(int).T
    lie = smooth_noise(size, max(size) / 2, rng=rng)[row, column] + rng.normal(0, 0.7, parcels)
    # Where each class likes to lie: woods high, villages low, the rest anywhere between.
    rank = np.where(np.isin(labels, (7, 8)), 2.0, np.where(labels == 10, -2.0, 0.0))
    rank = rank + rng.uniform(-0.5, 0.5, parcels)
    out = np.empty(parcels, int)
    out[np.argsort(lie)] = labels[np.argsort(rank)]
    return out
