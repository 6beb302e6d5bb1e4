"""Trained models as files that need none of this package's code."""

from .export import TOLERANCE, export_model, load_pt2, read_card
from .graph import RawSeriesModel, load_model
from .push import push_encoder

__all__ = [
    'TOLERANCE',
    'RawSeriesModel',
    'export_model',
    'load_model',
    'load_pt2',
    'push_encoder',
    'read_card',
]
