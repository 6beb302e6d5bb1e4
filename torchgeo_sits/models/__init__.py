"""Encoders of satellite image time series, one protocol for all of them."""

from .encoder import Depth, PlaneFeatures, SITSEncoder
from .planar_vit import PlanarViT, planar_vit_base, planar_vit_small, planar_vit_tiny
from .temporal_encoding import TemporalEncoding

__all__ = [
    'Depth',
    'PlanarViT',
    'PlaneFeatures',
    'SITSEncoder',
    'TemporalEncoding',
    'planar_vit_base',
    'planar_vit_small',
    'planar_vit_tiny',
]
