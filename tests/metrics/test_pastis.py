"""Scores of PASTIS against what the authors publish, transcribed."""

import numpy as np
import pandas as pd
import pytest
import torch

from torchgeo_sits.metrics import PASTISScores, overall_score


def authors_miou_acc(truth, predicted, void=19):
    """get_miou_acc of utae-paps/src/learning/miou.py: one count over all pixels."""
    counts = np.zeros((20, 20))
    for t, p in zip(truth.ravel(), predicted.ravel(), strict=True):
        counts[t, p] += 1
    kept = counts.copy()
    kept[void, :] = kept[:, void] = 0
    hit = np.diag(kept)
    wrong = kept.sum(0) - hit
    missed = kept.sum(1) - hit
    with np.errstate(invalid='ignore'):
        iou = hit / (hit + wrong + missed)
    return counts, np.nanmean(iou), hit.sum() / kept.sum(), iou


def authors_overall(counts, void=19):
    """overall_performance of train_semantic.py: void is deleted, pandas skips NaN."""
    total = np.delete(np.delete(sum(counts), void, axis=0), void, axis=1)
    with np.errstate(invalid='ignore'):
        per_class = {
            j: total[j, j] / (total[j].sum() + total[:, j].sum() - total[j, j])
            for j in range(len(total))
        }
    return pd.Series(per_class).mean(), np.diag(total).sum() / total.sum()


def maps(fold, *, absent=()):
    """Truth and prediction, (4, 9, 11), where some classes do not occur."""
    generator = np.random.default_rng(fold)
    classes = [c for c in range(20) if c not in absent]
    truth = generator.choice(classes, (4, 9, 11))
    wrong = generator.choice(classes, truth.shape)
    return truth, np.where(generator.random(truth.shape) < 0.6, truth, wrong)


@pytest.mark.parametrize('absent', [(), (18,), (0, 7, 18)])
def test_equals_the_authors_count(absent):
    truth, predicted = maps(1, absent=absent)
    assert (truth == 19).any()
    assert ((predicted == 19) & (truth != 19)).any()
    _, miou, accuracy, iou = authors_miou_acc(truth, predicted)
    metric = PASTISScores()
    for start in (0, 2, 3):  # batches of two, one and one
        part = slice(start, {0: 2, 2: 3, 3: 4}[start])
        metric.update(torch.from_numpy(predicted[part]), torch.from_numpy(truth[part]))
    scores = metric.compute()
    assert scores['mIoU'].item() == pytest.approx(miou, abs=1e-9)
    assert scores['OA'].item() == pytest.approx(accuracy, abs=1e-9)
    np.testing.assert_allclose(scores['IoU'].numpy(), iou, atol=1e-9)
    assert scores['IoU'].isnan().nonzero()[:, 0].tolist() == [*absent, 19]


def test_a_class_that_is_predicted_but_never_true_counts_as_0():
    truth, predicted = torch.tensor([1, 1, 2]), torch.tensor([1, 3, 2])
    metric = PASTISScores()
    metric.update(predicted, truth)
    assert metric.compute()['mIoU'].item() == pytest.approx((1 / 2 + 1 + 0) / 3, abs=1e-9)


def test_takes_scores_of_classes():
    truth, predicted = maps(2)
    scores = torch.nn.functional.one_hot(torch.from_numpy(predicted), 20).movedim(-1, 1).float()
    by_scores, by_class = PASTISScores(), PASTISScores()
    by_scores.update(scores, torch.from_numpy(truth))
    by_class.update(torch.from_numpy(predicted), torch.from_numpy(truth))
    assert torch.equal(by_scores.confmat, by_class.confmat)


def test_overall_score_is_that_of_the_sum_over_folds():
    matrices, counts, scores = [], [], []
    for fold, absent in enumerate([(18,), (), (18, 4), (18,), (5,)]):
        truth, predicted = maps(fold, absent=absent)
        counts.append(authors_miou_acc(truth, predicted)[0])
        metric = PASTISScores()
        metric.update(torch.from_numpy(predicted), torch.from_numpy(truth))
        matrices.append(metric.confmat.clone())
        scores.append(metric.compute()['mIoU'].item())
    miou, accuracy = authors_overall(counts)
    overall = overall_score(matrices)
    assert overall['mIoU'].item() == pytest.approx(miou, abs=1e-9)
    assert overall['OA'].item() == pytest.approx(accuracy, abs=1e-9)
    assert abs(np.mean(scores) - miou) > 1e-4


def test_refuses_matrices_that_do_not_fit():
    with pytest.raises(ValueError, match='one shape'):
        overall_score([torch.zeros(20, 20), torch.zeros(19, 19)])
    with pytest.raises(ValueError, match='one per fold'):
        overall_score([])
