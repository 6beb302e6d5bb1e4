"""The k-NN probe against encoders whose score is known."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader

from torchgeo_sits.callbacks import KNNProbe
from torchgeo_sits.keys import ACQUISITION_TIMES, IMAGE, MASK, MASK_CLEAR, VALID, Series


class Planted:
    """An encoder whose features are the first frame: what it finds is what was planted."""

    stride = 1
    training = True

    def eval(self):
        self.training = False

    def train(self, mode=True):
        self.training = mode

    def feature_dim(self, depth):
        return 2

    def series_of(self, batch):
        return Series.from_batch(batch)

    def features(self, series, *, depth):
        assert not self.training
        image = series.image
        # Early features say the class, late ones nothing.
        return torch.cat([image[:, 0, :2], torch.ones_like(image[:, 0, :2])], dim=1)


def loader(classes, labels):
    """One patch of four pixels: features from *classes*, labels from *labels*."""
    codes = {1: (1.0, 0.0), 2: (0.0, 1.0)}
    pixels = torch.tensor([codes[c] for c in classes]).T.reshape(2, 2, 2)
    sample = {
        IMAGE: pixels[None],
        ACQUISITION_TIMES: torch.zeros(1, dtype=torch.long),
        VALID: torch.ones(1, dtype=torch.bool),
        MASK_CLEAR: torch.ones(1, 2, 2, dtype=torch.bool),
        MASK: torch.tensor(labels).reshape(2, 2),
    }
    return DataLoader([sample])


def score(bank, query, **kwargs):
    datamodule = SimpleNamespace(
        aug=lambda b: b,
        transfer_batch_to_device=lambda b, *_: b,
        probe_dataloaders=lambda: (bank, query),
    )
    module = SimpleNamespace(encoder=Planted(), device=torch.device('cpu'))
    found = KNNProbe(k=1, **kwargs).score(SimpleNamespace(datamodule=datamodule), module)
    assert module.encoder.training
    return found


def test_scores_the_query_against_the_bank():
    # One of three labelled query pixels is wrong: class 1 has F1 2/3, class 2 has 2/3.
    found = score(loader([1, 1, 2, 2], [1, 1, 2, 2]), loader([1, 2, 2, 1], [1, 2, 1, 0]))
    assert found['knn_f1_early'] == pytest.approx(2 / 3)


def test_unlabelled_pixels_are_neither_looked_up_nor_scored():
    # Looked up, the unlabelled pixels would teach the wrong class.
    found = score(loader([1, 1, 2, 2], [1, 0, 2, 0]), loader([1, 2, 1, 2], [1, 2, 0, 0]))
    assert found['knn_f1_early'] == 1


def test_features_that_say_nothing_score_as_chance():
    found = score(loader([1, 1, 2, 2], [1, 1, 1, 1 + 1]), loader([1, 2, 1, 2], [1, 2, 1, 2]))
    assert found['knn_f1_late'] < 0.5


def test_one_class_is_no_score():
    assert score(loader([1, 1, 2, 2], [1, 1, 1, 1]), loader([1, 2, 1, 2], [1, 1, 1, 1])) is None


def test_pixels_of_a_picture_take_the_class_of_their_neighbour():
    far = 3_301_010_000  # a code, for which no array of all numbers below it may be made
    bank = loader([1, 1, 2, 2], [1, 1, far, far])
    datamodule = SimpleNamespace(
        aug=lambda b: b,
        transfer_batch_to_device=lambda b, *_: b,
        probe_dataloaders=lambda: (bank, bank),
    )
    encoder = Planted()
    encoder.features = lambda series, *, depth: series.image[:, 0, :2]
    module = SimpleNamespace(encoder=encoder, device=torch.device('cpu'))
    probe, [batch] = KNNProbe(k=1, depths=('late',)), list(loader([2, 1, 1, 2], [0] * 4))
    encoder.feature_dim = lambda depth: 0  # all of the features are late ones
    found = probe.classify(SimpleNamespace(datamodule=datamodule), module, batch)
    assert found.tolist() == [[[far, 1], [1, far]]]


def test_data_without_labels_switch_the_probe_off():
    datamodule = SimpleNamespace(probe_dataloaders=lambda: None)
    assert KNNProbe().score(SimpleNamespace(datamodule=datamodule), SimpleNamespace()) is None
