"""The simulator behind the synthetic series: land, growth, changes, sensor and weather."""

from .events import EVENTS, Event
from .phenology import BANDS, CLASSES
from .scene import Scene, draw_scene
from .weather import MEASURED, MILD, SCL, Conditions

__all__ = [
    'BANDS',
    'CLASSES',
    'EVENTS',
    'MEASURED',
    'MILD',
    'SCL',
    'Conditions',
    'Event',
    'Scene',
    'draw_scene',
]
