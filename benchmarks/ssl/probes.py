"""How well classes are told apart from frozen features, over draws of labelled fields."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .splits import Pixels, draw_fields

DRAWS = 20
#: Pixels that are scored in a draw, at most.
MOST = 2000


def linear() -> Any:
    """Logistic regression on standardised features."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))


def nearest() -> Any:
    """Vote of the five nearest pixels by cosine."""
    return KNeighborsClassifier(5, metric='cosine', weights='distance')


PROBES = {'knn': nearest, 'linear': linear}


def scores(truth: NDArray[Any], found: NDArray[Any]) -> tuple[float, float]:
    """Macro F1 and mean IoU over the classes in *truth*."""
    kinds = np.unique(truth)
    table = confusion_matrix(truth, found, labels=np.union1d(kinds, found))
    hit, wanted, given = np.diag(table), table.sum(1), table.sum(0)
    known = wanted > 0
    f1 = 2 * hit / np.maximum(wanted + given, 1)
    iou = hit / np.maximum(wanted + given - hit, 1)
    return float(f1[known].mean()), float(iou[known].mean())


def by_draw(found: list[tuple[float, float]]) -> dict[str, list[float]]:
    """Scores of :func:`scores`, draw by draw, under their names."""
    return {'f1': [f1 for f1, _ in found], 'miou': [iou for _, iou in found]}


def tested(test: NDArray[np.bool_], draw: int) -> NDArray[np.int64]:
    """Indices of the pixels to score, the same for all contenders."""
    return np.random.default_rng(draw).permutation(np.flatnonzero(test))[:MOST]


def _told(
    classifier: Any,
    known: NDArray[Any],
    classes: NDArray[Any],
    unknown: NDArray[Any],
    truth: NDArray[Any],
) -> tuple[float, float]:
    """Scores of a classifier that is trained on known pixels."""
    return scores(truth, classifier().fit(known, classes).predict(unknown))


def probe(
    features: NDArray[Any],
    pixels: Pixels,
    budget: str,
    classifier: Any,
    draws: Sequence[int] = range(DRAWS),
) -> dict[str, list[float]]:
    """Train on the labelled fields of each draw, and score the pixels of all others.

    Args:
        features: ``(P, D)``.
        pixels: The P pixels.
        budget: See :func:`.splits.draw_fields`.
        classifier: Builds a classifier of scikit-learn.
        draws: Numbers of the draws.

    Returns:
        ``f1`` and ``miou`` by draw.
    """
    found = []
    for draw in draws:
        train, test = (pixels.of(fields) for fields in draw_fields(pixels, budget, draw))
        at = tested(test, draw)
        known = features[train], pixels.classes[train]
        found.append(_told(classifier, *known, features[at], pixels.classes[at]))
    return by_draw(found)


def probe_across(
    source: NDArray[Any],
    source_pixels: Pixels,
    target: NDArray[Any],
    target_pixels: Pixels,
    budget: str,
    classifier: Any,
) -> dict[str, list[float]]:
    """Train on labelled fields of one site, and score all fields of common classes of another."""
    common = np.intersect1d(source_pixels.classes, target_pixels.classes)
    test = np.isin(target_pixels.classes, common)
    found = []
    for draw in range(DRAWS):
        fields, _ = draw_fields(source_pixels, budget, draw)
        train = source_pixels.of(fields) & np.isin(source_pixels.classes, common)
        known = source[train], source_pixels.classes[train]
        found.append(_told(classifier, *known, target[test], target_pixels.classes[test]))
    return by_draw(found)
