"""Classic baselines: classifiers on composites of the raw series."""

from collections.abc import Callable
from typing import Any

from sklearn.ensemble import RandomForestClassifier
from torch import Tensor

from .composites import elapsed_composite, season_composite
from .contenders import Contender
from .probes import linear
from .sites import Site


def layers(contender: Contender, site: Site) -> Tensor:
    """All layers of the composite that a contender sees, as features ``(D, H, W)``."""
    composite = {'season': season_composite, 'elapsed': elapsed_composite}[contender.views]
    return composite(site).flatten(0, 1)


def classifier(contender: Contender, seed: int) -> Callable[[], Any]:
    """What builds the classifier of a contender."""

    def forest() -> RandomForestClassifier:
        return RandomForestClassifier(100, random_state=seed)

    return {'random forest': forest, 'logistic regression': linear}[contender.method]
