"""Looking at a series and its embeddings in a browser, and labels that become a map at once."""

from .explorer import Explorer
from .features import EmbeddedArea
from .images import PixelSeries, SeriesImages
from .labels import Label, label_pixels, parse_shape, read_labels, write_labels
from .overlay import Overlay
from .probe import HeldOut, LinearProbe, held_out, next_place
from .pyramid import Pyramid, Tile
from .report import write_report
from .server import PageServer
from .session import MapClass, Session

__all__ = [
    'EmbeddedArea',
    'Explorer',
    'HeldOut',
    'Label',
    'LinearProbe',
    'MapClass',
    'Overlay',
    'PageServer',
    'PixelSeries',
    'Pyramid',
    'SeriesImages',
    'Session',
    'Tile',
    'held_out',
    'label_pixels',
    'next_place',
    'parse_shape',
    'read_labels',
    'write_labels',
    'write_report',
]
