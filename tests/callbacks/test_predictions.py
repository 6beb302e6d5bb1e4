"""Pictures of predictions in the log, and the k-NN probe beside a task with labels."""

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from torchgeo_sits.callbacks import KNNProbe
from torchgeo_sits.datamodules import LabelOptions, PatchOptions, SyntheticSITSDataModule
from torchgeo_sits.tasks import SITSChangeDate, SITSSegmentation

TINY = {'embed_dim': 16, 'depth': 1, 'num_heads': 2, 'time_dim': 16}


@pytest.mark.parametrize(
    ('task', 'labels'),
    [
        (lambda: SITSSegmentation(model_kwargs=TINY), 'class'),
        (lambda: SITSChangeDate(model_kwargs=TINY), 'change_date'),
    ],
    ids=['classes', 'dates'],
)
def test_validation_is_drawn_and_probed(tmp_path, task, labels):
    data = SyntheticSITSDataModule(
        str(tmp_path / 'data'),
        size=64,
        num_dates_written=8,
        labels=LabelOptions(labels, supervised=True),
        patches=PatchOptions(16, length=4),
        batch_size=4,
    )
    logger = TensorBoardLogger(tmp_path, name='log')
    trainer = Trainer(
        accelerator='cpu',
        max_epochs=1,
        logger=logger,
        callbacks=[KNNProbe()] if labels == 'class' else [],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    trainer.fit(task(), data)
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    assert {'prediction/0', 'prediction/1'} <= set(events.Tags()['images'])
    if labels == 'class':
        assert 0 <= trainer.callback_metrics['knn_f1_late'] <= 1
