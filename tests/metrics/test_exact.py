"""Scores of tasks, which scikit-learn computes in 64 bits, to 1e-9."""

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    f1_score,
    jaccard_score,
    mean_absolute_error,
    precision_score,
    r2_score,
    recall_score,
    root_mean_squared_error,
)

from torchgeo_sits.metrics import (
    MultilabelScores,
    RegressionScores,
    binary_scores,
    multiclass_scores,
)

EXACT = {'abs': 1e-9, 'rel': 0}
SCORES = {
    'Precision': precision_score,
    'Recall': recall_score,
    'F1Score': f1_score,
    'JaccardIndex': jaccard_score,
}


@pytest.mark.parametrize('name', SCORES)
def test_scores_of_classes(name):
    generator = np.random.default_rng(0)
    truth = generator.choice(6, 5000, p=[0.5, 0.3, 0.15, 0.049, 0.001, 0])
    found = np.where(generator.random(5000) < 0.7, truth, generator.integers(0, 6, 5000))
    assert (found == 5).any()  # without a label
    scores = multiclass_scores(torch.from_numpy(confusion_matrix(truth, found)))
    labels = {'labels': range(6), 'zero_division': 0}
    function = SCORES[name]
    for i, value in enumerate(function(truth, found, average=None, **labels)):
        assert scores[f'Classwise{name}_{i}'].item() == pytest.approx(value, **EXACT)
    macro = function(truth, found, average='macro', **labels | {'labels': range(5)})
    assert scores[f'Average{name}'].item() == pytest.approx(macro, **EXACT)
    micro = function(truth, found, average='micro', **labels)
    assert scores[f'Overall{name}'].item() == pytest.approx(micro, **EXACT)
    truth, found = truth > 1, found > 1
    two = binary_scores(torch.from_numpy(confusion_matrix(truth, found)))
    assert two[f'Overall{name}'].item() == pytest.approx(function(truth, found), **EXACT)
    assert two['OverallAccuracy'].item() == pytest.approx(accuracy_score(truth, found), **EXACT)


def test_counts_that_32_bits_do_not_tell_apart():
    matrix = torch.tensor([[2**30, 1], [3, 2**30]])
    expected = (2**31) / (2**31 + 4)
    assert multiclass_scores(matrix)['OverallAccuracy'].item() == pytest.approx(expected, **EXACT)


def test_scores_of_series_of_several_classes():
    generator = np.random.default_rng(1)
    truth = generator.random((301, 7)) < np.linspace(0.02, 0.8, 7)
    truth[:, 3] = False  # a class that does not occur
    found = np.clip(truth * 0.3 + generator.random(truth.shape), 0, 1).round(2).astype(np.float32)
    metric = MultilabelScores([str(i) for i in range(7)])
    for rows in (slice(0, 200), slice(200, 201), slice(201, None)):
        metric.update(torch.from_numpy(found[rows]), torch.from_numpy(truth[rows]).long())
    scores, said = metric.compute(), found > 0.5
    for name, average in (('Weighted', 'weighted'), ('Average', 'macro'), ('Overall', 'micro')):
        expected = f1_score(truth, said, average=average, zero_division=0)
        assert scores[f'{name}F1Score'].item() == pytest.approx(expected, **EXACT)
    assert scores['OverallPrecision'].item() == pytest.approx(
        precision_score(truth, said, average='micro'), **EXACT
    )
    assert scores['OverallRecall'].item() == pytest.approx(
        recall_score(truth, said, average='micro'), **EXACT
    )
    there = [0, 1, 2, 4, 5, 6]
    assert scores['AveragePrecision'].item() == pytest.approx(
        average_precision_score(truth[:, there], found[:, there], average='macro'), **EXACT
    )


@pytest.mark.parametrize(('mean', 'spread'), [(0, 0.001), (300, 40), (4000, 0.5)])
def test_scores_of_measured_values(mean, spread):
    generator = np.random.default_rng(2)
    truth = (mean + spread * generator.standard_normal(20_000)).astype(np.float32)
    found = (truth + 0.2 * spread * generator.standard_normal(20_000)).astype(np.float32)
    metric = RegressionScores()
    for part in np.array_split(np.arange(20_000), 13):
        values = torch.from_numpy(found[part]), torch.from_numpy(truth[part])
        metric.update(*values, torch.tensor(float(mean)))
    scores = {name: value.item() for name, value in metric.compute().items()}
    truth, found = truth.astype(float), found.astype(float)
    assert scores['RMSE'] == pytest.approx(root_mean_squared_error(truth, found), **EXACT)
    assert scores['MAE'] == pytest.approx(mean_absolute_error(truth, found), **EXACT)
    assert scores['R2'] == pytest.approx(r2_score(truth, found), **EXACT)


def test_one_value_alone_has_no_deviation_to_explain():
    metric = RegressionScores()
    metric.update(torch.full((9,), 0.1), torch.full((9,), 0.3))
    assert metric.compute()['R2'].isnan()
    assert metric.compute()['RMSE'].item() == pytest.approx(0.2)
