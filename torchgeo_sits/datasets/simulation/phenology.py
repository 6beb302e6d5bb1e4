"""Growth of the land covers of the synthetic series through the year."""

from dataclasses import astuple, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    'BANDS',
    'CLASSES',
    'CROPS',
    'ENDMEMBERS',
    'SURFACES',
    'Crop',
    'Growth',
    'cover_fractions',
    'draw_growth',
    'mix',
]

#: Sentinel-2 bands of the synthetic series, in file order.
BANDS: Final = ('B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B11', 'B12')

#: Reflectance (0 to 1) of pure surfaces in :data:`BANDS`. Own rounded numbers, with the shapes
#: of soil, leaf, litter, water and urban spectra as in the USGS spectral library (Kokaly et
#: al. 2017): chlorophyll dip at 665 nm, red edge 705 to 783 nm, water absorption in the SWIR.
ENDMEMBERS: Final = {
    'soil': (0.075, 0.100, 0.130, 0.150, 0.170, 0.185, 0.200, 0.215, 0.300, 0.255),
    'leaf': (0.022, 0.052, 0.026, 0.095, 0.330, 0.430, 0.460, 0.480, 0.210, 0.095),
    'straw': (0.085, 0.125, 0.180, 0.215, 0.245, 0.265, 0.290, 0.310, 0.390, 0.290),
    'flower': (0.045, 0.155, 0.140, 0.190, 0.370, 0.440, 0.470, 0.480, 0.240, 0.120),
    'broadleaf': (0.018, 0.042, 0.022, 0.082, 0.280, 0.370, 0.400, 0.410, 0.185, 0.078),
    'needle': (0.016, 0.030, 0.020, 0.052, 0.165, 0.210, 0.225, 0.235, 0.105, 0.048),
    'litter': (0.035, 0.048, 0.062, 0.085, 0.120, 0.140, 0.160, 0.172, 0.200, 0.135),
    'water': (0.042, 0.048, 0.032, 0.026, 0.020, 0.018, 0.016, 0.014, 0.009, 0.007),
    'roof': (0.125, 0.145, 0.165, 0.175, 0.185, 0.195, 0.205, 0.210, 0.235, 0.215),
    'asphalt': (0.075, 0.085, 0.095, 0.102, 0.110, 0.115, 0.120, 0.123, 0.145, 0.132),
    'char': (0.032, 0.038, 0.044, 0.050, 0.060, 0.066, 0.072, 0.080, 0.120, 0.130),
}

#: Names of the endmembers: the order of the last axis of all arrays of shares.
SURFACES: Final = tuple(ENDMEMBERS)


def mix(shares: NDArray[np.float64], brightness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mix the spectra linearly.

    Args:
        shares: Share of each surface, ``(T, N, E)``.
        brightness: Factor on soil, straw and built-up surfaces of each unit, ``(N,)``.

    Returns:
        Reflectance from 0 to 1, ``(T, N, C)``.
    """
    ground = np.isin(SURFACES, ('soil', 'straw', 'roof', 'asphalt'))
    factor = np.where(ground, brightness[:, None], 1.0)
    return (shares * factor) @ np.array(list(ENDMEMBERS.values()))


#: Class names; the label in the files is the index plus 1, and 0 is unlabelled.
CLASSES: Final = (
    'winter wheat',
    'winter barley',
    'rapeseed',
    'maize',
    'sugar beet',
    'potato',
    'grassland',
    'deciduous forest',
    'conifer forest',
    'water',
    'built-up',
    'bare soil',
)

#: Number of classes, at the head of :data:`CLASSES`, that are sown each year and rotate.
CROPS: Final = 6

(_SOIL, _LEAF, _STRAW, _FLOWER, _BROAD, _NEEDLE, _LITTER, _WATER, _ROOF, _ASPHALT) = (
    SURFACES.index(name)
    for name in (
        'soil',
        'leaf',
        'straw',
        'flower',
        'broadleaf',
        'needle',
        'litter',
        'water',
        'roof',
        'asphalt',
    )
)


@dataclass(frozen=True)
class Crop:
    """Calendar of an annual crop, in days of the harvest year (negative: the year before).

    Args:
        sowing: Day on which the crop closes half of its autumn cover (spring crops: unused).
        overwinter: Green cover reached before winter, 0 for spring crops.
        rise: Day of half the spring growth (S of Beck et al.).
        rise_days: Time scale of that growth in days (1 / mS).
        fall: Day of half the senescence (A).
        fall_days: Time scale of the senescence in days (1 / mA).
        peak: Highest green cover.
        harvest: Day of harvest; straw stands before and stubble lies after it.
        flower: Day and strength of the flowering, or no strength.
    """

    sowing: float
    overwinter: float
    rise: float
    rise_days: float
    fall: float
    fall_days: float
    peak: float
    harvest: float
    flower: tuple[float, float] = (0.0, 0.0)


_CALENDAR: Final = (
    Crop(-55, 0.25, 92, 13, 180, 8, 0.93, 206),
    Crop(-72, 0.33, 86, 13, 164, 8, 0.92, 188),
    Crop(-105, 0.50, 82, 12, 172, 9, 0.94, 200, (121, 0.75)),
    Crop(0, 0.0, 172, 8, 262, 10, 0.92, 276),
    Crop(0, 0.0, 160, 10, 310, 14, 0.95, 298),
    Crop(0, 0.0, 158, 8, 242, 9, 0.93, 262),
)

# Permanent covers, as shares of the endmembers before vegetation is drawn over them.
_GRASS, _DECIDUOUS, _CONIFER, _WATERBODY, _BUILT, _BARE = range(CROPS, len(CLASSES))


@dataclass(frozen=True)
class Growth:
    """Traits in which N units of land (parcels, or pieces cut off them) differ within a class.

    Args:
        cover: Class index of each unit and calendar year, ``(N, Y)`` int.
        first_year: Calendar year of the first column of *cover*.
        shift: Shift of the whole calendar in days, ``(N, Y)``.
        stretch: Extra shift of senescence and harvest in days, ``(N, Y)``.
        vigour: Factor on the peak green cover, ``(N, Y)``.
        stubble: Days until stubble is ploughed under, ``(N, Y)``.
        catch_crop: Green cover of a catch crop in autumn, 0 for none, ``(N, Y)``.
        mowing: Days since the epoch of the cuts of grass, ``(N, M)``; NaN for none.
        share: Share of a second surface (gardens, understorey, sediment), 0 to 1, ``(N,)``.
        brightness: Factor on soil and built-up reflectance, ``(N,)``.
    """

    cover: NDArray[np.int64]
    first_year: int
    shift: NDArray[np.float64]
    stretch: NDArray[np.float64]
    vigour: NDArray[np.float64]
    stubble: NDArray[np.float64]
    catch_crop: NDArray[np.float64]
    mowing: NDArray[np.float64]
    share: NDArray[np.float64]
    brightness: NDArray[np.float64]

    def take(self, units: NDArray[np.int64]) -> 'Growth':
        """Growth of units that grow like others.

        Args:
            units: Which unit each new one is like, ``(M,)``.

        Returns:
            Growth of the M units.
        """
        return Growth(
            cover=self.cover[units],
            first_year=self.first_year,
            shift=self.shift[units],
            stretch=self.stretch[units],
            vigour=self.vigour[units],
            stubble=self.stubble[units],
            catch_crop=self.catch_crop[units],
            mowing=self.mowing[units],
            share=self.share[units],
            brightness=self.brightness[units],
        )


def draw_growth(
    classes: NDArray[np.int64],
    years: tuple[int, int],
    label_year: int,
    *,
    difficulty: float,
    rng: np.random.Generator,
) -> Growth:
    """Draw the calendar, vigour, soil and rotation of each unit.

    Args:
        classes: Class index of each unit in *label_year*, ``(N,)``; crops rotate at random in
            the other years, permanent covers stay.
        years: First and last calendar year of harvest that the series can see.
        label_year: The year that *classes* describes.
        difficulty: Factor on every spread within a class.
        rng: Source of randomness.

    Returns:
        The growth of all units.
    """
    n, y = len(classes), years[1] - years[0] + 1
    rotation = rng.integers(0, CROPS, (n, y))
    column = np.arange(years[0], years[1] + 1) == label_year
    cover = np.where(column | (classes[:, None] >= CROPS), classes[:, None], rotation)
    epochs = (np.datetime64(str(years[0]), 'D') - np.datetime64('1970-01-01')).astype(float)
    cuts = epochs + 365.25 * np.arange(y)[:, None] + np.array([135.0, 180, 225, 270])
    mowing = cuts.reshape(1, -1) + rng.normal(0, 18, (n, cuts.size))
    mowing[rng.random((n, cuts.size)) < rng.random((n, 1))] = np.nan
    return Growth(
        cover=cover,
        first_year=years[0],
        shift=rng.normal(0, 9 * difficulty, (n, y)),
        stretch=rng.normal(0, 6 * difficulty, (n, y)),
        vigour=np.clip(rng.normal(0.93, 0.12 * difficulty, (n, y)), 0.35, 1.08),
        stubble=rng.gamma(2.0, 14.0, (n, y)),
        catch_crop=rng.uniform(0.2, 0.75, (n, y)) * (rng.random((n, y)) < 0.4),
        mowing=mowing,
        share=rng.beta(1.6, 3.0, n) * min(difficulty, 1.5),
        brightness=np.exp(rng.normal(0, 0.22 * difficulty, n)),
    )


def cover_fractions(growth: Growth, days: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of each endmember in each unit of land on each day.

    Annual crops follow the double logistic of Beck et al. (2006, Remote Sensing of Environment
    100, 321-334), on green cover instead of NDVI:
    ``w + (m - w) (1/(1+exp(-mS(t-S))) + 1/(1+exp(mA(t-A))) - 1)``. Here the two logistics are
    multiplied, which is the same wherever one of them is near 1 and never falls below 0; the
    autumn growth of winter crops is a third one under the same senescence. The dates are own
    estimates for Western Europe.

    Args:
        growth: The N units.
        days: Days since 1970-01-01, ``(T,)``.

    Returns:
        Shares ``(T, N, E)`` in the order of :data:`~.phenology.SURFACES`; they sum to 1.
    """
    t, n = len(days), len(growth.share)
    out = np.zeros((t, n, len(SURFACES)))
    _grow_crops(out, growth, days)
    year = np.datetime64('1970-01-01', 'D') + np.round(days).astype('timedelta64[D]')
    doy = (year - year.astype('datetime64[Y]')).astype(float)[:, None] + 1
    kind = growth.cover[:, 0]

    grass = kind == _GRASS
    season = _rise(doy, 85 + growth.shift[:, 0], 18) * _rise(-doy, -305 + growth.shift[:, 0], 20)
    green = (0.55 + 0.37 * season) * np.clip(growth.vigour[:, 0], 0.5, 1.0)
    since = days[:, None, None] - growth.mowing[None]
    cut = np.where(since >= 0, np.exp(-since / 16.0), 0.0)
    green = green * (1 - 0.6 * np.nan_to_num(cut).max(axis=-1))
    out[:, grass, _LEAF] = green[:, grass]
    out[:, grass, _STRAW] = (0.6 * (1 - green))[:, grass]

    wood = kind == _DECIDUOUS
    leafy = _rise(doy, 112 + growth.shift[:, 0], 7) * _rise(-doy, -296 + growth.shift[:, 0], 9)
    out[:, wood, _BROAD] = (0.90 * leafy * growth.vigour[:, 0].clip(0.7, 1))[:, wood]
    out[:, wood, _NEEDLE] = (0.45 * growth.share * (1 - 0.7 * leafy))[:, wood]
    out[:, wood, _LITTER] = 1 - out[:, wood].sum(-1)

    wood = kind == _CONIFER
    out[:, wood, _NEEDLE] = 0.94 - 0.5 * growth.share[wood]
    out[:, wood, _BROAD] = (0.5 * growth.share * leafy)[:, wood]
    out[:, wood, _LITTER] = 1 - out[:, wood].sum(-1)

    water = kind == _WATERBODY
    out[:, water, _SOIL] = 0.15 * growth.share[water]
    out[:, water, _LEAF] = (0.08 * growth.share * season)[:, water]
    out[:, water, _WATER] = 1 - out[:, water].sum(-1)

    town = kind == _BUILT
    out[:, town, _LEAF] = (0.7 * growth.share * (0.5 + 0.5 * season))[:, town]
    rest = 1 - out[:, town].sum(-1)
    roofs = growth.vigour[town, 0].clip(0.3, 1) ** 2
    out[:, town, _ROOF], out[:, town, _ASPHALT] = rest * roofs, rest * (1 - roofs)

    bare = kind == _BARE
    out[:, bare, _LEAF] = (0.45 * growth.share * season)[:, bare]
    out[:, bare, _STRAW] = 0.3 * growth.share[bare] * (1 - out[:, bare, _LEAF])

    out[..., _SOIL] += np.clip(1 - out.sum(-1), 0, None)
    return out / out.sum(-1, keepdims=True)


def _rise(
    t: NDArray[np.float64], middle: NDArray[np.float64] | float, days: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Logistic from 0 to 1 around *middle*, with the time scale *days*."""
    return 1 / (1 + np.exp(-np.clip((t - middle) / days, -50, 50)))


def _grow_crops(out: NDArray[np.float64], growth: Growth, days: NDArray[np.float64]) -> None:
    """Add green, flowering and dead cover of every year's crop to ``out`` ``(T, N, E)``."""
    table = np.array([(*astuple(c)[:-1], *c.flower) for c in _CALENDAR])
    crop = growth.cover[:, 0] < CROPS
    for column in range(growth.cover.shape[1]):
        january = np.datetime64(str(growth.first_year + column), 'D').astype(float)
        cover = np.where(crop, growth.cover[:, column], 0)
        sow, winter, rise, rise_days, fall, fall_days, peak, harvest, bloom, strength = table[
            cover
        ].T
        t = (days - january)[:, None] - growth.shift[:, column]
        late = growth.stretch[:, column]
        fall, harvest = fall + late, harvest + late
        standing = _rise(-t, -fall, fall_days)
        autumn = winter * _rise(t, sow, 9.0)
        spring = (peak - winter) * _rise(t, rise, rise_days)
        # A harvest takes the green crop too: sugar beet is lifted while it is green.
        green = (autumn + spring) * standing * growth.vigour[:, column] * (t < harvest)
        dead = 0.85 * growth.vigour[:, column] * _rise(t, fall, fall_days)
        ploughed = _rise(t, harvest + growth.stubble[:, column], 2.0)
        # Root crops and maize leave little straw; cereals and rapeseed a closed stubble.
        dead *= np.where(cover >= 4, 0.25, 1.0) * (1 - ploughed)
        # Winter crops are sown into the tilled field in the year before.
        dead *= t > -120
        catch = growth.catch_crop[:, column] * _rise(t, harvest + 45, 9.0)
        catch = catch * ploughed * (t < 345)
        open_flowers = strength * np.exp(-(((t - bloom) / 11.0) ** 2)) * (cover == 2)
        free = np.clip(1 - out.sum(-1), 0, 1) * crop
        green = np.minimum(np.maximum(green, catch), free)
        out[..., _LEAF] += green * (1 - open_flowers)
        out[..., _FLOWER] += green * open_flowers
        out[..., _STRAW] += np.clip(np.minimum(dead, free - green), 0, None)
