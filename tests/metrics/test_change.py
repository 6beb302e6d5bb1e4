"""Scores of change against transcribed references."""

import numpy as np
import pytest
import torch

from torchgeo_sits.metrics import ChangeDateScores, ChangeScores, SemanticChangeScores


def reference(predicted, target, valid, classes, ignored):
    """SCS as its authors' evaluation counts it, and with absent classes as 0, pixel by pixel."""
    binary = np.zeros((2, 2))
    semantic = np.zeros((classes, classes))
    for guess, truth, real in zip(predicted, target, valid, strict=True):
        guess, truth = guess[real], truth[real]
        for t in range(1, len(truth)):
            for i in np.ndindex(*truth.shape[1:]):
                before, after = truth[t - 1][i], truth[t][i]
                if ignored in (before, after):
                    continue
                changed, said = before != after, guess[t - 1][i] != guess[t][i]
                binary[int(changed), int(said)] += 1
                if changed:
                    semantic[after, guess[t][i]] += 1
    bc = binary[1, 1] / (binary[1, 1] + binary[0, 1] + binary[1, 0])
    ious, present = [], []
    for k in range(classes):
        if k == ignored:
            continue
        union = semantic[k].sum() + semantic[:, k].sum() - semantic[k, k]
        ious.append(semantic[k, k] / union if union else 0.0)
        present.append(semantic[k].sum() > 0)
    sc_present = sum(iou for iou, p in zip(ious, present, strict=True) if p) / sum(present)
    sc_all = sum(ious) / len(ious)
    return {
        'BC': bc,
        'ChangeF1': 2 * bc / (1 + bc),  # of one confusion matrix
        'SC_present': sc_present,
        'SCS_present': (bc + sc_present) / 2,
        'SC_all': sc_all,
        'SCS_all': (bc + sc_all) / 2,
    }


@pytest.mark.parametrize('ignored', [None, 0, 255])
def test_semantic_change_equals_the_transcribed_reference(ignored):
    rng = np.random.default_rng(0)
    target = rng.integers(0, 4, (3, 5, 6, 7))
    if ignored == 255:
        target[rng.random(target.shape) < 0.2] = 255
    # Class 5 is never there, class 4 only predicted: the two variants differ.
    predicted = np.where(rng.random(target.shape) < 0.6, target % 255, rng.integers(0, 5, 1))
    valid = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 1, 1, 0]], dtype=bool)
    metric = SemanticChangeScores(6, ignore_index=ignored)
    for part in (slice(0, 1), slice(1, 3)):  # accumulation over batches
        metric.update(*(torch.from_numpy(x[part]) for x in (predicted, target, valid)))
    found = metric.compute()
    expected = reference(predicted, target, valid, 6, ignored)
    assert expected['SC_all'] < expected['SC_present']
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value, abs=1e-9), name


def test_by_hand():
    # Three pixels over two dates: one changes to 2 and is told, one changes to 1 and is told to
    # change to 2, one stays and is told to change.
    target = torch.tensor([[[[0, 0, 1]], [[2, 1, 1]]]])
    predicted = torch.tensor([[[[0, 0, 1]], [[2, 2, 0]]]])
    metric = SemanticChangeScores(3)
    metric.update(predicted, target, torch.ones(1, 2, dtype=torch.bool))
    found = {name: value.item() for name, value in metric.compute().items()}
    assert found['BC'] == pytest.approx(2 / 3)
    assert found['SC_present'] == pytest.approx((0.5 + 0) / 2)
    assert found['SC_all'] == pytest.approx(0.5 / 3)


def test_series_in_which_nothing_changes_has_no_score():
    metric = SemanticChangeScores(3)
    still = torch.ones(1, 4, 2, 2, dtype=torch.long)
    metric.update(still, still, torch.ones(1, 4, dtype=torch.bool))
    assert all(value.isnan() for value in metric.compute().values())


def test_change_scores_equal_scikit_learn():
    from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

    rng = np.random.default_rng(1)
    truth, guess = rng.random(500) < 0.2, rng.random(500) < 0.3
    metric = ChangeScores()
    for part in np.array_split(np.arange(500), 3):
        metric.update(torch.from_numpy(guess[part]), torch.from_numpy(truth[part]))
    found = metric.compute()
    for name, function in (
        ('ChangeIoU', jaccard_score),
        ('ChangeF1', f1_score),
        ('ChangePrecision', precision_score),
        ('ChangeRecall', recall_score),
    ):
        assert found[name].item() == pytest.approx(function(truth, guess), abs=1e-9)


def test_dates_by_hand():
    metric = ChangeDateScores(days=(10, 30))
    # Told 5 days late, 20 days early, not at all, and where nothing changed.
    truth = torch.tensor([100, 200, 300, 0])
    found = torch.tensor([105, 180, 0, 50])
    metric.update(found, truth)
    scores = metric.compute()
    assert scores['DateMAE'] == pytest.approx(12.5)
    assert scores['DateWithin10'] == pytest.approx(1 / 3)
    assert scores['DateWithin30'] == pytest.approx(2 / 3)
