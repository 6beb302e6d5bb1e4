"""Transforms of batches: paths, planes, views and augmentations.

A sample is a cube of dates, bands, rows and columns. A *path* is an ordered list of its pixels, a
*plane* the image of time and path that is cut along it, and a *view* several planes on a random
subset of the dates.
"""

from .augmentations import (
    RandomCloudGaps,
    RandomDateDrop,
    RandomDateJitter,
    RandomFieldVariation,
    RandomGainOffset,
    SeriesAugmentation,
    SeriesGeometry,
    SeriesSequential,
)
from .batches import s1_of, seen_pixels
from .drawing import PATH_KINDS, NumDates, PathKind, ViewRegion
from .figure import plot_views
from .masking import MaskKind, RandomPlaneMask
from .normalize import Normalize, NormalizeS1
from .paths import (
    column_snake,
    columns,
    guided_walks,
    hilbert,
    random_walks,
    rows,
    snake,
    spiral,
)
from .planar import PATHS, PLANES, PLANES_S1, SIZE, from_planes, masks_to_planes, to_planes
from .random import integers, uniform
from .stacked import StackedSeries
from .superpixels import count_superpixels, superpixels
from .views import (
    MultiView,
    PixelMultiView,
    PlanarMultiView,
    RandomPlanarView,
    ResamplingMultiView,
    SensorMultiView,
    SensorPixelMultiView,
    View,
)

__all__ = [
    'PATHS',
    'PATH_KINDS',
    'PLANES',
    'PLANES_S1',
    'SIZE',
    'MaskKind',
    'MultiView',
    'Normalize',
    'NormalizeS1',
    'NumDates',
    'PathKind',
    'PixelMultiView',
    'PlanarMultiView',
    'RandomCloudGaps',
    'RandomDateDrop',
    'RandomDateJitter',
    'RandomFieldVariation',
    'RandomGainOffset',
    'RandomPlanarView',
    'RandomPlaneMask',
    'ResamplingMultiView',
    'SensorMultiView',
    'SensorPixelMultiView',
    'SeriesAugmentation',
    'SeriesGeometry',
    'SeriesSequential',
    'StackedSeries',
    'View',
    'ViewRegion',
    'column_snake',
    'columns',
    'count_superpixels',
    'from_planes',
    'guided_walks',
    'hilbert',
    'integers',
    'masks_to_planes',
    'plot_views',
    'random_walks',
    'rows',
    's1_of',
    'seen_pixels',
    'snake',
    'spiral',
    'superpixels',
    'to_planes',
    'uniform',
]
