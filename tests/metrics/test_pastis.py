"""Scores of PASTIS against what the authors publish, transcribed."""

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from torchgeo_sits.metrics import overall_score
from torchgeo_sits.tasks import SITSSegmentation


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


def as_run(truth, predicted):
    """The confusion matrix and what SITSSegmentation logs of a test with these maps."""
    torch.manual_seed(0)
    task = SITSSegmentation(model='tempcnn', in_channels=2, num_classes=20, ignore_index=19)
    task.scores = lambda batch: torch.nn.functional.one_hot(batch['said'], 20).movedim(-1, 1) * 9.0
    both = {'mask': torch.from_numpy(truth), 'said': torch.from_numpy(predicted)}
    batches = [  # of two, one and one
        {key: value[part] for key, value in (both | {'image': torch.zeros(4, 1)}).items()}
        for part in (slice(2), slice(2, 3), slice(3, 4))
    ]
    trainer = Trainer(accelerator='cpu', logger=False, enable_progress_bar=False)
    trainer.test(task, DataLoader(batches, batch_size=None), verbose=False)
    return task.test_confusion, {k: v.item() for k, v in trainer.callback_metrics.items()}


@pytest.mark.parametrize('absent', [(), (18,), (0, 7, 18)])
def test_a_run_logs_the_authors_scores(absent):
    truth, predicted = maps(1, absent=absent)
    # A run never predicts void, see below for the confusion matrix of who does.
    predicted = np.where(predicted == 19, 1, predicted)
    assert (truth == 19).any()
    counts, miou, accuracy, iou = authors_miou_acc(truth, predicted)
    confusion, logged = as_run(truth, predicted)
    assert logged['test_AverageJaccardIndex'] == pytest.approx(miou, abs=1e-9)
    assert logged['test_OverallAccuracy'] == pytest.approx(accuracy, abs=1e-9)
    scores = overall_score([confusion])
    assert scores['mIoU'].item() == pytest.approx(miou, abs=1e-9)
    assert scores['OA'].item() == pytest.approx(accuracy, abs=1e-9)
    np.testing.assert_allclose(scores['IoU'].numpy(), iou, atol=1e-9)
    assert scores['IoU'].isnan().nonzero()[:, 0].tolist() == [*absent, 19]
    # Where void is the truth nothing is counted.
    counts[19] = 0
    np.testing.assert_array_equal(confusion.numpy(), counts)


def test_a_run_never_predicts_void():
    truth, predicted = maps(1)
    assert ((predicted == 19) & (truth != 19)).any()
    confusion, _ = as_run(truth, predicted)
    assert confusion[:, 19].sum() == 0
    assert confusion.sum() == (truth != 19).sum()


def test_overall_score_is_that_of_the_sum_over_folds():
    matrices, counts, scores = [], [], []
    for fold, absent in enumerate([(18,), (), (18, 4), (18,), (5,)]):
        truth, predicted = maps(fold, absent=absent)
        # As authors of other models have them, with void among the predictions.
        matrix = authors_miou_acc(truth, predicted)[0]
        assert matrix[:19, 19].any()
        counts.append(matrix)
        matrices.append(torch.from_numpy(matrix).long())
        scores.append(overall_score(matrices[-1:])['mIoU'].item())
        assert scores[-1] == pytest.approx(authors_miou_acc(truth, predicted)[1], abs=1e-9)
    miou, accuracy = authors_overall(counts)
    overall = overall_score(matrices)
    assert overall['mIoU'].item() == pytest.approx(miou, abs=1e-9)
    assert overall['OA'].item() == pytest.approx(accuracy, abs=1e-9)
    assert abs(np.mean(scores) - miou) > 1e-4


def test_a_class_that_is_predicted_but_never_true_counts_as_0():
    confusion = torch.zeros(20, 20, dtype=torch.int64)
    confusion[1, 1] = confusion[1, 3] = confusion[2, 2] = 1
    expected = pytest.approx((1 / 2 + 1 + 0) / 3, abs=1e-9)
    assert overall_score([confusion])['mIoU'].item() == expected


def test_refuses_matrices_that_do_not_fit():
    with pytest.raises(ValueError, match='one shape'):
        overall_score([torch.zeros(20, 20), torch.zeros(19, 19)])
    with pytest.raises(ValueError, match='one per fold'):
        overall_score([])
