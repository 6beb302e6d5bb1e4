"""Panoptic quality, held against what the authors' code does, step by step."""

import numpy as np
import pytest
import torch

from torchgeo_sits.metrics import PanopticQuality

CLASSES, BACKGROUND, VOID = 6, 0, 5


def reference(batches):
    """SQ, RQ and PQ by loops over parcels, in the order of the authors' meter."""
    counts = {kind: [0, 0, 0, 0.0] for kind in range(CLASSES) if kind not in (BACKGROUND, VOID)}
    for found, found_classes, parcels, classes in batches:
        found, found_classes = found.copy(), found_classes.copy()
        for void in np.unique(parcels[classes == VOID]):
            area = ((parcels == void) & (classes == VOID)).sum()
            for one in np.unique(found):
                shared = ((parcels == void) & (found == one)).sum()
                if void and one and shared / (area + (found == one).sum() - shared) > 0.5:
                    found[found == one] = 0
        found[classes == VOID] = 0
        found_classes[classes == VOID] = 0
        for kind, count in counts.items():
            true = [i for i in np.unique(parcels[classes == kind]) if i]
            predicted = [i for i in np.unique(found[found_classes == kind]) if i]
            hits = 0
            for one in true:
                for two in predicted:
                    shared = ((parcels == one) & (found == two)).sum()
                    areas = ((parcels == one) & (classes == kind)).sum()
                    areas += ((found == two) & (found_classes == kind)).sum()
                    overlap = shared / (areas - shared)
                    if overlap > 0.5:
                        hits += 1
                        count[3] += overlap
            count[0] += hits
            count[1] += len(predicted) - hits
            count[2] += len(true) - hits
    qualities = []
    for right, wrong, missed, overlap in counts.values():
        if right + wrong + missed:
            quality = overlap / right if right else 0.0
            recognition = right / (right + wrong / 2 + missed / 2)
            qualities.append((quality, recognition, quality * recognition))
    return np.mean(qualities, axis=0)


def draw(generator, size=24):
    """Parcels of a patch, squares that cover each other, each of one class."""
    parcels = np.zeros((size, size), np.int64)
    classes = np.zeros((size, size), np.int64)
    for number in range(1, 15):
        row, column = generator.integers(0, size - 4, 2)
        tall, wide = generator.integers(3, 10, 2)
        window = slice(row, row + tall), slice(column, column + wide)
        parcels[window] = 10**9 + number  # more than float32 tells apart
        classes[window] = generator.integers(1, CLASSES)
    return parcels, classes


def disturb(generator, parcels, classes):
    """A prediction that is near the truth: shifted, some classes wrong, some parcels gone."""
    shift = generator.integers(-1, 2, 2)
    found = np.roll(parcels, shift, (0, 1))
    kinds = np.roll(classes, shift, (0, 1))
    for number in np.unique(found)[1:]:
        if generator.random() < 0.2:
            kinds[found == number] = generator.integers(1, VOID)
        elif generator.random() < 0.2:
            kinds[found == number] = 0
            found[found == number] = 0
    kinds[kinds == VOID] = 1
    return found, kinds


@pytest.mark.parametrize('seed', range(8))
def test_is_that_of_the_authors(seed):
    generator = np.random.default_rng(seed)
    batches = []
    for _ in range(4):
        parcels, classes = draw(generator)
        batches.append((*disturb(generator, parcels, classes), parcels, classes))
    metric = PanopticQuality(CLASSES, background=BACKGROUND, void=VOID)
    for pair in (batches[:1], batches[1:]):
        metric.update(*(torch.from_numpy(np.stack(values)) for values in zip(*pair, strict=True)))
    scores = metric.compute()
    found = [scores[name].item() for name in ('SQ', 'RQ', 'PQ')]
    assert found == pytest.approx(reference(batches).tolist(), abs=1e-9)
    assert 0 < scores['PQ'] < 1


def test_a_parcel_found_on_a_void_one_is_no_mistake():
    parcels = torch.tensor([[[1, 1, 1, 0], [2, 2, 2, 0]]])
    classes = torch.tensor([[[1, 1, 1, 0], [VOID, VOID, VOID, 0]]])
    kinds = torch.tensor([[[1, 1, 1, 0], [1, 1, 1, 1]]])
    found = torch.tensor([[[1, 1, 1, 0], [7, 7, 7, 7]]])
    metric = PanopticQuality(CLASSES, void=VOID)
    metric.update(found, kinds, parcels, classes)
    assert metric.compute()['PQ'] == 1


def test_nothing_at_all_has_no_quality():
    metric = PanopticQuality(CLASSES, void=VOID)
    none = torch.zeros(1, 4, 4, dtype=torch.long)
    metric.update(none, none, none, none)
    assert metric.compute()['PQ'].isnan()


def test_one_parcel_that_fills_a_patch_counts():
    metric = PanopticQuality(CLASSES)
    one = torch.ones(1, 4, 4, dtype=torch.long)
    metric.update(one, one, one, one)
    assert metric.compute()['PQ'] == 1
