"""Tasks: what to learn from a batch, as Lightning modules on TorchGeo's ``BaseTask``."""

from .dino import SITSDINO

__all__ = ['SITSDINO']
