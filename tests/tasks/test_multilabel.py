"""Multi-label classification, held against scikit-learn and plain formulas."""

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from sklearn.metrics import average_precision_score, f1_score
from torch.utils.data import DataLoader

from torchgeo_sits.collate import pad_time
from torchgeo_sits.errors import SITSError
from torchgeo_sits.tasks import SITSMultilabel, load_task

NAMES = ['oak', 'pine', 'fir']
TINY = {'model': 'tempcnn', 'model_kwargs': {'hidden_dim': 8}, 'in_channels': 3}


class Patches(LightningDataModule):
    """Series whose mean of a band says whether a class is there; one of them is not labelled."""

    class_names = NAMES
    in_channels = 3

    def __init__(self, number=24):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.samples = []
        for i in range(number):
            label = (torch.rand(3, generator=generator) < 0.5).float()
            image = torch.randn(4, 3, 6, 6, generator=generator) * 0.1 + label[None, :, None, None]
            self.samples.append(
                {
                    'image': image,
                    'acquisition_times': 86_400 * torch.arange(4),
                    'valid': torch.ones(4, dtype=torch.bool),
                    'label': label if i else torch.full((3,), torch.nan),
                }
            )

    def loader(self):
        return DataLoader(self.samples, batch_size=5, collate_fn=pad_time)

    train_dataloader = val_dataloader = test_dataloader = loader


def run(tmp_path, epochs):
    torch.manual_seed(1)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator='cpu',
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        default_root_dir=tmp_path,
        num_sanity_val_steps=0,
    )
    task = SITSMultilabel(**TINY, lr=0.01)
    data = Patches()
    trainer.fit(task, datamodule=data)
    return trainer, task, data


def test_scores_are_those_of_scikit_learn(tmp_path):
    trainer, task, data = run(tmp_path, 1)
    scores = trainer.test(task, datamodule=data, verbose=False)[0]
    task.eval()
    with torch.no_grad():
        found = torch.cat([task.predict_step(batch, 0) for batch in data.loader()])[1:].numpy()
    truth = np.stack([sample['label'].numpy() for sample in data.samples[1:]])
    for name, average in (('Weighted', 'weighted'), ('Average', 'macro'), ('Overall', 'micro')):
        expected = f1_score(truth, found > 0.5, average=average, zero_division=0)
        assert scores[f'test_{name}F1Score'] == pytest.approx(expected, abs=1e-9)
    assert scores['test_AveragePrecision'] == pytest.approx(
        average_precision_score(truth, found, average='macro'), abs=1e-9
    )
    assert scores['test_ClasswiseF1Score_pine'] == pytest.approx(
        f1_score(truth[:, 1], found[:, 1] > 0.5), abs=1e-9
    )
    bce = -(truth * np.log(found) + (1 - truth) * np.log(1 - found)).mean()
    assert scores['test_loss'] == pytest.approx(bce, rel=1e-4)


def test_learns_each_class_and_loads_again(tmp_path):
    trainer, task, data = run(tmp_path, 40)
    assert trainer.callback_metrics['val_WeightedF1Score'] > 0.95
    trainer.save_checkpoint(tmp_path / 'a.ckpt')
    loaded, _ = load_task(tmp_path / 'a.ckpt')
    batch = next(iter(data.loader()))
    with torch.no_grad():
        assert torch.equal(loaded.eval()(batch), task.eval()(batch))
    assert [output.classes for output in loaded.table_outputs()] == [NAMES]


def test_a_batch_without_labels_has_no_loss_and_no_share(tmp_path):
    _, task, data = run(tmp_path, 1)
    batch = next(iter(data.loader()))
    batch['label'] = torch.full_like(batch['label'], torch.nan)
    _, scores, labels = task.compare(batch)
    assert len(labels) == 0
    loss = task.loss_of(scores, labels)
    loss.backward()
    assert loss == 0


def test_what_does_not_fit_is_refused():
    task = SITSMultilabel(**TINY, labels=NAMES)
    series = {'label': torch.zeros(2, dtype=torch.long)}
    with pytest.raises(SITSError, match='SITSClassification'):
        task.target(series)
    with pytest.raises(SITSError, match='expected labels'):
        task.select(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(SITSError, match='pos_weight'):
        SITSMultilabel(**TINY, labels=NAMES, pos_weight=[1.0])
    with pytest.raises(SITSError, match='SITSSegmentation'):
        task.map_outputs()

    class Other:
        class_names = NAMES[::-1]

    with pytest.raises(SITSError, match='in the same order'):
        task.learn_of_data(Other())
    with pytest.raises(SITSError, match='classes are unknown'):
        SITSMultilabel(**TINY).learn_of_data(None)
