"""Encoders of satellite image time series, one protocol for all of them."""

from ..keys import Series
from .adapters import add_adapters
from .api import register_encoder, register_models
from .builders import (
    ENCODERS,
    build_encoder,
    factorised_small,
    factorised_tiny,
    olmoearth_v1_2_base,
    olmoearth_v1_2_small,
    olmoearth_v1_2_tiny,
    olmoearth_v1_base,
    olmoearth_v1_tiny,
    planar_vit_base,
    planar_vit_small,
    planar_vit_tiny,
    planar_vit_v2_tiny,
    takes_argument,
)
from .checkpoint import (
    CARD_KEY,
    CardDetails,
    EncoderCard,
    TrainingDates,
    encoder_card,
    load_bare_encoder,
    load_encoder,
    load_weights,
)
from .convlstm import ConvLSTM
from .dates import TemporalEncoding
from .deep_star import DeepSTaR
from .encoder import Depth, PlaneFeatures, SITSEncoder
from .factorised import FactorisedEncoder
from .frame_order import stable_order
from .galileo import Galileo, galileo_state
from .heads import DateDecoder, DenseHead, PairHead
from .hub import CARD_FILE, WEIGHTS_FILE, hub_host
from .ltae import LTAE
from .olmoearth import OlmoEarth, OlmoEarthEncoder, olmoearth_state
from .olmoearth_v1_2 import OlmoEarthV12, olmoearth_v1_2_state
from .planar_vit import PlanarViT
from .presto import Presto, presto_state
from .promises import check_encoder
from .published import (
    PUBLISHED,
    PublishedModel,
    load_published,
    statistics_in_units,
)
from .raw_values import RawValueEncoder
from .semantic_map import semantic_map
from .sits_s2 import SITSS2Tiny
from .tempcnn import TempCNN
from .tessera import Tessera, tessera_state
from .tsvit import TSViT
from .unet3d import UNet3D
from .utae import UTAE

__all__ = [
    'CARD_FILE',
    'CARD_KEY',
    'ENCODERS',
    'LTAE',
    'PUBLISHED',
    'UTAE',
    'WEIGHTS_FILE',
    'CardDetails',
    'ConvLSTM',
    'DateDecoder',
    'DeepSTaR',
    'DenseHead',
    'Depth',
    'EncoderCard',
    'FactorisedEncoder',
    'Galileo',
    'OlmoEarth',
    'OlmoEarthEncoder',
    'OlmoEarthV12',
    'PairHead',
    'PlanarViT',
    'PlaneFeatures',
    'Presto',
    'PublishedModel',
    'RawValueEncoder',
    'SITSEncoder',
    'SITSS2Tiny',
    'Series',
    'TSViT',
    'TempCNN',
    'TemporalEncoding',
    'Tessera',
    'TrainingDates',
    'UNet3D',
    'add_adapters',
    'build_encoder',
    'check_encoder',
    'encoder_card',
    'factorised_small',
    'factorised_tiny',
    'galileo_state',
    'hub_host',
    'load_bare_encoder',
    'load_encoder',
    'load_published',
    'load_weights',
    'olmoearth_state',
    'olmoearth_v1_2_base',
    'olmoearth_v1_2_small',
    'olmoearth_v1_2_state',
    'olmoearth_v1_2_tiny',
    'olmoearth_v1_base',
    'olmoearth_v1_tiny',
    'planar_vit_base',
    'planar_vit_small',
    'planar_vit_tiny',
    'planar_vit_v2_tiny',
    'presto_state',
    'register_encoder',
    'register_models',
    'semantic_map',
    'stable_order',
    'statistics_in_units',
    'takes_argument',
    'tessera_state',
]
