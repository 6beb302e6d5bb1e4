"""Scores of classes against scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from torchgeo_sits.metrics import Confusion


def test_scores_are_those_of_scikit_learn():
    generator = np.random.default_rng(0)
    truth, found = generator.integers(0, 4, (2, 300))
    counts = confusion_matrix(truth, found).tolist()
    scores = Confusion(list('abcd'), counts).scores()
    expected = precision_recall_fscore_support(truth, found)
    columns = zip(*((s.precision, s.recall, s.f1, s.labels) for s in scores), strict=True)
    for own, other in zip(columns, expected, strict=True):
        assert own == pytest.approx(other)


def test_what_cannot_be_said_is_none():
    [never] = Confusion(['never'], [[0]]).scores()
    assert never.f1 is never.recall is never.precision is None
    absent, _ = Confusion(['absent', 'wheat'], [[0, 0], [2, 3]]).scores()
    assert (absent.f1, absent.precision, absent.recall) == (0, 0, None)
