"""A linear probe on embeddings, from a few labels, and what it says of places without any."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from ..errors import SITSError

__all__ = ['HeldOut', 'LinearProbe', 'held_out', 'next_place']

#: Inverse strength of the penalty on weights, scikit-learn's default for ``C``.
_STRENGTH: Final = 1.0
_STEPS: Final = 200
#: Most times that a probe is fitted without some of the labels.
_FOLDS: Final = 10


@dataclass(frozen=True)
class LinearProbe:
    """Multinomial logistic regression on standardised features.

    Minimised is half the sum of squares of the weights plus the weighted cross-entropies, as
    :class:`sklearn.linear_model.LogisticRegression` does with ``C=1``.

    Attributes:
        weight: ``(K, D)`` float32.
        bias: ``(K,)`` float32.
        classes: ``(K,)`` int64, numbers of the classes, ascending.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.exploring import LinearProbe
        >>> features = np.array([[-1.0, 0.0], [1.0, 0.0]], np.float16)
        >>> probe = LinearProbe.fit(features, np.array([3, 7]), np.ones(2))
        >>> probe.classes[probe.probabilities(features.T).argmax(0)].tolist()
        [3, 7]
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    classes: NDArray[np.int64]

    @classmethod
    def fit(
        cls,
        features: NDArray[np.float16],
        labels: NDArray[np.int64],
        weights: NDArray[np.float64],
    ) -> 'LinearProbe':
        """Fit the probe.

        Args:
            features: ``(N, D)``, standardised.
            labels: ``(N,)``, numbers of the classes.
            weights: ``(N,)``, how much each counts.

        Returns:
            The probe.

        Raises:
            SITSError: If the labels are of fewer than two classes.
        """
        classes, target = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise SITSError('a map needs labels of two classes at least: label another class')
        inputs = torch.from_numpy(features.astype(np.float64))
        truth, counts = torch.from_numpy(target), torch.from_numpy(weights)
        weight = torch.zeros(len(classes), inputs.shape[1], dtype=torch.float64, requires_grad=True)
        bias = torch.zeros(len(classes), dtype=torch.float64, requires_grad=True)
        solver = torch.optim.LBFGS(
            [weight, bias], max_iter=_STEPS, tolerance_grad=1e-5, line_search_fn='strong_wolfe'
        )

        def loss() -> torch.Tensor:
            solver.zero_grad()
            errors = F.cross_entropy(inputs @ weight.T + bias, truth, reduction='none')
            total = weight.square().sum() / 2 + _STRENGTH * (counts * errors).sum()
            total.backward()
            return total

        with torch.enable_grad():
            solver.step(loss)
        weights_found, bias_found = (v.detach().numpy().astype(np.float32) for v in (weight, bias))
        return cls(weights_found, bias_found, classes.astype(np.int64))

    def probabilities(self, features: NDArray[Any]) -> NDArray[np.float32]:
        """Compute the probabilities of the classes.

        Args:
            features: ``(D, ...)``, standardised; NaN where nothing was observed.

        Returns:
            ``(K, ...)`` float32, NaN where nothing was observed.
        """
        flat = features.reshape(len(features), -1).astype(np.float32)
        scores = self.weight @ flat + self.bias[:, None]
        scores -= scores.max(0)
        np.exp(scores, out=scores)
        scores /= scores.sum(0)
        return scores.reshape(len(self.bias), *features.shape[1:])


@dataclass(frozen=True)
class HeldOut:
    """How many labels a probe gets right that did not see them.

    Attributes:
        right: Number of labels that it gets right.
        asked: Number of labels that were asked for: those of classes with two labels at least.

    Examples:
        >>> from torchgeo_sits.exploring import HeldOut
        >>> HeldOut(right=7, asked=8).right
        7
    """

    right: int
    asked: int


def held_out(
    features: NDArray[np.float16],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    owners: NDArray[np.int64],
) -> HeldOut:
    """Score probes on labels that they did not see.

    Labels are left out whole, a click or a polygon at a time, or a tenth of them where there are
    more than ten. One is right where the largest weight of its pixels is. Labels of a class
    that has no other are not asked for. Clicks next to each other, as in one field, are as good
    as seen: the figure tells of the clicks, not of the area.

    Args:
        features: ``(N, D)``, standardised.
        labels: ``(N,)``, numbers of the classes.
        weights: ``(N,)``, how much each counts.
        owners: ``(N,)``, number of the label that each belongs to.

    Returns:
        The score; of no label where there are no two of any class.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.exploring import held_out
        >>> features = np.array([[-1.0], [-0.9], [0.9], [1.0], [0.0]], np.float16)
        >>> held_out(features, np.array([1, 1, 2, 2, 3]), np.ones(5), np.arange(5))
        HeldOut(right=4, asked=4)
    """
    numbers, first = np.unique(owners, return_index=True)
    truth = labels[first]
    several = np.isin(truth, [c for c in np.unique(truth) if (truth == c).sum() > 1])
    numbers, truth = numbers[several], truth[several]
    # Labels of a class are dealt out one by one, so that each is left some.
    order = np.argsort(truth, kind='stable')
    fold_of = np.empty(len(numbers), np.int64)
    fold_of[order] = np.arange(len(numbers)) % min(_FOLDS, max(len(numbers), 1))
    right = 0
    for fold in np.unique(fold_of):
        left_out = np.isin(owners, numbers[fold_of == fold])
        if len(np.unique(labels[~left_out])) < 2:
            continue
        probe = LinearProbe.fit(features[~left_out], labels[~left_out], weights[~left_out])
        for number, label in zip(numbers[fold_of == fold], truth[fold_of == fold], strict=True):
            own = owners == number
            votes = probe.probabilities(features[own].T) @ weights[own]
            right += int(probe.classes[votes.argmax()] == label)
    return HeldOut(right, len(numbers) if len(np.unique(labels)) > 1 else 0)


def next_place(
    overview: NDArray[np.float16],
    probe: LinearProbe | None,
    known: NDArray[np.float16],
    taken: NDArray[np.bool_],
) -> tuple[int, int] | None:
    """Find the place of which a label would tell most.

    With a probe it is where the two most probable classes are closest, on average of the pixels
    around it: borders of fields, which are uncertain whatever is labelled, are thinner than that.
    Without one it is the place that is least like any label so far, or like the middle of all.

    Args:
        overview: Standardised features ``(D, h, w)``, NaN where nothing was observed.
        probe: The probe; None while there are no two classes.
        known: Standardised features ``(N, D)`` of what is labelled.
        taken: ``(h, w)`` bool, places that are not asked for again.

    Returns:
        Row and column in the overview; None where none is left.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.exploring import next_place
        >>> overview = np.array([[[0.0, 0.1, 0.0, 5.0]]], np.float16)
        >>> next_place(overview, None, np.zeros((0, 1), np.float16), np.zeros((1, 4), bool))
        (0, 3)
    """
    seen = np.isfinite(overview).all(0) & ~taken
    if not seen.any():
        return None
    if probe is None:
        middle = np.zeros((1, len(overview)), np.float16)
        others = torch.from_numpy((known if len(known) else middle).astype(np.float32))
        places = torch.from_numpy(overview[:, seen].T.astype(np.float32))
        score = np.full(seen.shape, -np.inf, np.float32)
        score[seen] = torch.cdist(places, others).min(1).values.numpy()
    else:
        second, first = np.partition(probe.probabilities(overview), -2, axis=0)[-2:]
        doubt = torch.from_numpy(np.nan_to_num(1 - (first - second)))[None, None]
        around = F.avg_pool2d(doubt, 3, stride=1, padding=1, count_include_pad=False)
        score = np.where(seen, around[0, 0].numpy(), -np.inf)
    row, column = np.unravel_index(int(score.argmax()), score.shape)
    return int(row), int(column)
