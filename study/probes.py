"""Fields to label, pixels to score, and classifiers that tell classes apart from features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from .contenders import Contender
from .sites import SMALLEST, Site, elapsed_composite, season_composite

#: Pixels of a field that are used at most, so that large fields do not outweigh all others.
PER_FIELD = 12
DRAWS = 20
#: Pixels that are scored in a draw, at most.
MOST = 2000


# -- fields and pixels ----------------------------------------------------------------------


@dataclass(frozen=True)
class Pixels:
    """The labelled pixels of a site.

    Attributes:
        index: ``(P,)`` flat indices of the grid.
        classes: ``(P,)`` classes.
        fields: ``(P,)`` numbers of fields.
    """

    index: NDArray[np.int64]
    classes: NDArray[np.int64]
    fields: NDArray[np.int64]

    def of(self, fields: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Select the pixels ``(P,)`` that lie in one of *fields*."""
        return np.isin(self.fields, fields)


def labelled_pixels(site: Site, *, development: bool = False) -> Pixels:
    """The pixels of the fields that are tested, or of those that choices are made on.

    Tested are fields of at least ``SMALLEST`` pixels, of classes with two of them at least.

    Args:
        site: The site.
        development: Take the fields below that size instead.
    """
    rng = np.random.default_rng(0)
    sizes = np.bincount(site.fields.ravel())
    index, classes = [], []
    for field in np.flatnonzero(sizes):
        at = np.flatnonzero(site.fields == field) if field else []
        if field and (sizes[field] < SMALLEST) == development:
            index.append(rng.permutation(at)[:PER_FIELD])
            classes.append(site.classes.ravel()[at[0]])
    kinds, counts = np.unique(classes, return_counts=True)
    kept = [p for p, c in zip(index, classes, strict=True) if c in kinds[counts > 1]]
    joined = np.concatenate(kept)
    return Pixels(joined, site.classes.ravel()[joined], site.fields.ravel()[joined])


def draw_fields(pixels: Pixels, budget: str, draw: int) -> tuple[NDArray[np.int64], ...]:
    """Fields to train on and fields to test on.

    One field of each class at least is held out. Budgets take as many fields of a class as they
    say, or as there are ('all': two thirds). A share takes that part of all fields, of each
    class in proportion and at least one.

    Args:
        pixels: The pixels.
        budget: A number of fields per class, a share such as '5 %', or 'all'.
        draw: Number of the draw.

    Returns:
        Two arrays of numbers of fields.
    """
    rng = np.random.default_rng(draw)
    train, test = [], []
    for value in np.unique(pixels.classes):
        own = rng.permutation(np.unique(pixels.fields[pixels.classes == value]))
        if budget == 'all':
            number = round(len(own) * 2 / 3)
        elif budget.endswith('%'):
            number = max(1, round(len(own) * float(budget[:-1]) / 100))
        else:
            number = int(budget)
        number = min(number, len(own) - 1)
        train.append(own[:number])
        test.append(own[number:])
    return np.concatenate(train), np.concatenate(test)


# -- classifiers ----------------------------------------------------------------------------


def linear() -> Any:
    """Logistic regression on standardised features."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))


def nearest() -> Any:
    """Vote of the five nearest pixels by cosine."""
    return KNeighborsClassifier(5, metric='cosine', weights='distance')


PROBES = {'knn': nearest, 'linear': linear}


def classifier(contender: Contender, seed: int) -> Callable[[], Any]:
    """Return the function that builds the classifier of a contender."""

    def forest() -> RandomForestClassifier:
        return RandomForestClassifier(100, random_state=seed)

    return {'random forest': forest, 'logistic regression': linear}[contender.method]


def layers(contender: Contender, site: Site) -> Tensor:
    """Layers of the composite that a contender sees, as features ``(D, H, W)``."""
    composite = {'season': season_composite, 'elapsed': elapsed_composite}[contender.views]
    return composite(site).flatten(0, 1)


# -- scores ---------------------------------------------------------------------------------


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
        budget: See :func:`draw_fields`.
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
