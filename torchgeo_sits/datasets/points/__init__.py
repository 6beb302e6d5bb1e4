"""Series of points from tables: reading, layouts, labels, and the data set."""

from .labels import PointLabels
from .series import PointSeries

__all__ = ['PointLabels', 'PointSeries']
