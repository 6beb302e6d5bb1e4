"""Map of the entropy of class probabilities: large where a model cannot decide."""

import numpy as np

from torchgeo_sits.mapping import MapOutput


class Entropy(MapOutput):
    """Entropy of the probabilities in nats, 0 where one class is certain."""

    def __init__(self, name: str = 'entropy', key: str = 'probabilities') -> None:
        super().__init__(name, key)

    def bands(self, channels: int) -> list[str]:
        return ['entropy in nats']

    def draw(self, values: np.ndarray) -> np.ndarray:
        return -(values * np.log(values.clip(1e-12))).sum(0, keepdims=True)
