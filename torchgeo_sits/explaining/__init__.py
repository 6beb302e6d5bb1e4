"""Why a model predicts what it does at a place: dates and pixels that matter, and the proof."""

from .attention import DateWeights, date_weights
from .curves import Curves, area, ranking_curves
from .dates_output import plot_dates, write_dates
from .explanation import Areas, Explanation, explain_place
from .location import Patch, locate, patch_around
from .occlusion import occlusion
from .parts import Game, Parts, dates_of, pixels_of
from .place import Place
from .raster import write_importance

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
