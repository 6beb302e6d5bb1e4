"""The probe against scikit-learn, its score, and where it asks for labels."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict

from torchgeo_sits.exploring import LinearProbe, held_out, next_place


@pytest.fixture(scope='module')
def labelled():
    """Twenty labels of three classes, of one to five pixels each."""
    generator = np.random.default_rng(0)
    owners = np.repeat(np.arange(20), generator.integers(1, 6, 20))
    labels = np.array([2, 5, 9])[owners % 3]
    centres = generator.normal(0, 0.7, (10, 6))
    features = (centres[labels] + generator.normal(size=(len(owners), 6))).astype(np.float16)
    weights = 1 / np.bincount(owners)[owners]
    return features, labels, weights, owners


def test_probabilities_are_those_of_scikit_learn(labelled):
    features, labels, weights, _ = labelled
    probe = LinearProbe.fit(features, labels, weights)
    reference = LogisticRegression(C=1, tol=1e-8, max_iter=1000)
    reference.fit(features.astype(float), labels, sample_weight=weights)
    found = probe.probabilities(features.T.reshape(6, -1, 1))[..., 0].T
    np.testing.assert_allclose(found, reference.predict_proba(features.astype(float)), atol=2e-4)
    assert probe.classes.tolist() == [2, 5, 9]


def test_places_that_were_not_observed_have_no_probability(labelled):
    probe = LinearProbe.fit(*labelled[:3])
    found = probe.probabilities(np.full((6, 2, 2), np.nan, np.float16))
    assert np.isnan(found).all()


def test_held_out_labels_are_scored_as_by_leaving_out_groups(labelled):
    features, labels, _, owners = labelled
    first = np.unique(owners, return_index=True)[1][:10]  # ten labels of a pixel: one at a time
    x, y, groups = features[first], labels[first], owners[first]
    reference = cross_val_predict(
        LogisticRegression(C=1, tol=1e-8, max_iter=1000), x.astype(float), y, groups=groups,
        cv=LeaveOneGroupOut(),
    )  # fmt: skip
    found = held_out(x, y, np.ones(10), groups)
    assert (found.right, found.asked) == (int((reference == y).sum()), 10)


def test_pixels_of_a_polygon_are_left_out_together():
    # Two polygons of each class far apart: pixels of one would tell of its other pixels.
    features = np.array([[-3], [-3], [3], [3], [3.1], [3.1], [-3.1], [-3.1]], np.float16)
    labels, owners = np.array([1, 1, 1, 1, 2, 2, 2, 2]), np.repeat(np.arange(4), 2)
    assert held_out(features, labels, np.full(8, 0.5), owners).right == 0


def test_a_class_with_one_label_is_not_asked_for():
    features = np.array([[-1.0], [-0.9], [1.0]], np.float16)
    found = held_out(features, np.array([1, 1, 2]), np.ones(3), np.arange(3))
    assert found.asked == 2


def test_next_place_is_in_the_field_that_is_in_doubt_and_not_on_a_border():
    overview = np.full((1, 12, 12), -1, np.float16)
    overview[0, :, 6:] = 1
    overview[0, :, 6] = 0  # a border of mixed pixels: doubtful, and one pixel wide
    overview[0, 4:9, 8:12] = 0.1  # a field between the two classes
    overview[0, 0, 0] = np.nan
    probe = LinearProbe(
        np.array([[-3.0], [3.0]], np.float32), np.zeros(2, np.float32), np.array([0, 1])
    )
    taken = np.zeros((12, 12), bool)
    row, column = next_place(overview, probe, np.zeros((2, 1), np.float16), taken)
    assert 5 <= row <= 7
    assert column >= 9
    taken[4:9, 7:] = True
    assert next_place(overview, probe, np.zeros((2, 1), np.float16), taken)[1] < 8
    assert next_place(overview, probe, np.zeros((2, 1), np.float16), ~np.zeros_like(taken)) is None
