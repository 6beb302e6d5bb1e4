"""Explanations of predictions: the dates and pixels that matter, and a measure of the ranking."""

from .explanation import (
    DateAttention,
    Explanation,
    RankingAreas,
    RankingCurves,
    curve_area,
    date_attention,
    explain_prediction,
    ranking_curves,
)
from .occlusion import (
    Occluder,
    PlacePrediction,
    ValueFunction,
    date_occluder,
    occlusion,
    pixel_occluder,
)
from .output import (
    importance_limit,
    plot_dates,
    plot_pixels,
    write_dates,
    write_importance,
)

__all__ = [
    'DateAttention',
    'Explanation',
    'Occluder',
    'PlacePrediction',
    'RankingAreas',
    'RankingCurves',
    'ValueFunction',
    'curve_area',
    'date_attention',
    'date_occluder',
    'explain_prediction',
    'importance_limit',
    'occlusion',
    'pixel_occluder',
    'plot_dates',
    'plot_pixels',
    'ranking_curves',
    'write_dates',
    'write_importance',
]
