"""The simulator behind the synthetic series: land, growth, changes, sensor and weather."""

from .events import EVENTS, Event
from .phenology import BANDS, CLASSES
from .scene import Scene, draw_scene
from .weather import SCL

__all__ = ['BANDS', 'CLASSES', 'EVENTS', 'SCL', 'Event', 'Scene', 'draw_scene']
