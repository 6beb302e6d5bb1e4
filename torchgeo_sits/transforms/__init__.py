"""Transforms of batches: paths, planes, views and augmentations."""

from .base import SeriesAugmentation, SeriesSequential
from .clouds import RandomCloudGaps
from .date_augmentations import RandomDateDrop, RandomDateJitter
from .figure import plot_views
from .geometry import SeriesGeometry
from .guided import guided_walks
from .masking import MaskKind, RandomPlaneMask
from .paths import column_snake, columns, hilbert, random_walks, rows, snake, spiral, windows
from .planar import (
    PATHS,
    PLANES,
    SIZE,
    from_planes,
    masks_to_planes,
    to_planes,
)
from .planar_views import PlanarMultiView, RandomPlanarView
from .radiometric import Normalize, RandomGainOffset
from .resampled_views import ResamplingMultiView
from .sentinel1 import PLANES_S1, NormalizeS1, s1_of
from .stacked import StackedSeries
from .superpixels import count_superpixels, superpixels

__all__ = [
    'PATHS',
    'PLANES',
    'PLANES_S1',
    'SIZE',
    'MaskKind',
    'Normalize',
    'NormalizeS1',
    'PlanarMultiView',
    'RandomCloudGaps',
    'RandomDateDrop',
    'RandomDateJitter',
    'RandomGainOffset',
    'RandomPlanarView',
    'RandomPlaneMask',
    'ResamplingMultiView',
    'SeriesAugmentation',
    'SeriesGeometry',
    'SeriesSequential',
    'StackedSeries',
    'column_snake',
    'columns',
    'count_superpixels',
    'from_planes',
    'guided_walks',
    'hilbert',
    'masks_to_planes',
    'plot_views',
    'random_walks',
    'rows',
    's1_of',
    'snake',
    'spiral',
    'superpixels',
    'to_planes',
    'windows',
]
