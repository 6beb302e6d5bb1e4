"""Why a model predicts what it does at a place: dates and pixels that matter, and the proof."""

from .explanation import (
    Areas,
    Curves,
    DateWeights,
    Explanation,
    area,
    date_weights,
    explain_place,
    ranking_curves,
)
from .location import Patch, locate, patch_around
from .output import plot_dates, write_dates, write_importance
from .place import Game, Parts, Place, dates_of, occlusion, pixels_of

__all__ = [
    'Areas',
    'Curves',
    'DateWeights',
    'Explanation',
    'Game',
    'Parts',
    'Patch',
    'Place',
    'area',
    'date_weights',
    'dates_of',
    'explain_place',
    'locate',
    'occlusion',
    'patch_around',
    'pixels_of',
    'plot_dates',
    'ranking_curves',
    'write_dates',
    'write_importance',
]
