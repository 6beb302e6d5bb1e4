"""Scores by the dates known so far, against predictions of series that were cut by hand."""

import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.metrics import f1_score

from torchgeo_sits.callbacks import EarlySeason
from torchgeo_sits.collate import pad_time
from torchgeo_sits.errors import SITSError
from torchgeo_sits.tasks import SITSMAE, SITSSegmentation

from .labelled_data import LabelledData


def trainer_of(*callbacks):
    return Trainer(
        accelerator='cpu',
        max_epochs=15,
        enable_checkpointing=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )


def cut_before(sample, stop):
    keep = sample['acquisition_times'] < stop
    if not keep.any():
        return sample | {'valid': keep}
    frames = ('image', 'acquisition_times', 'valid', 'mask_clear')
    return sample | {name: sample[name][keep] for name in frames}


def test_scores_are_those_of_series_that_end_on_each_day(tmp_path, capsys):
    torch.manual_seed(0)
    task = SITSSegmentation(
        model='tempcnn', in_channels=2, num_classes=4, ignore_index=0, lr=1e-2,
        model_kwargs={'embed_dim': 8},
    )  # fmt: skip
    data = LabelledData()
    trainer_of().fit(task, data)  # untrained it says one class whatever it is given
    trainer = trainer_of(EarlySeason('1M', str(tmp_path / 'early.csv')))
    [tested] = trainer.test(task, data, verbose=False)
    table = pd.read_csv(tmp_path / 'early.csv')
    # From the 1st of January 2020 on, a frame a month.
    assert table['until'].tolist()[:2] == ['2020-01-31', '2020-02-29']
    assert table['until'].iloc[-1] == 'all dates'
    assert len(table) >= 6
    for until, f1, count in table.itertuples(index=False):
        stop = pd.Timestamp('2030' if until == 'all dates' else until) + pd.Timedelta(days=1)
        cut = [cut_before(sample, stop.timestamp()) for sample in data.samples]
        batch = pad_time(cut)
        with torch.no_grad():
            found = task.eval()(batch).argmax(1)
        known = batch['mask'] > 0
        assert count == known.sum()
        expected = f1_score(batch['mask'][known], found[known], average='macro', labels=[1, 2, 3])
        assert f1 == pytest.approx(expected, abs=2e-3)
    assert table['macro_f1'].iloc[-1] == pytest.approx(tested['test_AverageF1Score'], abs=1e-5)
    assert table['macro_f1'].nunique() > 2
    assert (tmp_path / 'early.png').stat().st_size > 1000
    assert 'Macro F1 by the last date known' in capsys.readouterr().out


def test_tasks_without_classes_and_other_tables_are_refused(tmp_path):
    early = EarlySeason()
    with pytest.raises(SITSError, match='SITSMAE has none'):
        early.setup(trainer_of(early), SITSMAE(model='tempcnn', in_channels=2), 'test')
    with pytest.raises(SITSError, match=r'ends with \.csv'):
        EarlySeason(path='early.xlsx')
    with pytest.raises(SITSError, match='expected every as a number of days'):
        EarlySeason(every='often')
