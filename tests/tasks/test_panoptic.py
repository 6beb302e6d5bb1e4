"""Parcels from scores, and the task on PASTIS in its published layout."""

import pytest
import torch

from torchgeo_sits import main
from torchgeo_sits.errors import SITSError
from torchgeo_sits.metrics import PanopticQuality
from torchgeo_sits.tasks import SITSPanoptic
from torchgeo_sits.tasks.panoptic import find_parcels, inside_of_parcels

from ..pastis_release import write_release

TINY = {'model': 'tempcnn', 'model_kwargs': {'hidden_dim': 8}, 'in_channels': 3}


def fields(size=24):
    """Six parcels side by side, two of which are of one class, one of them narrow."""
    parcels = torch.zeros(1, size, size, dtype=torch.long)
    parcels[:, :8, :8] = 20_000_001
    parcels[:, :8, 8:16] = 20_000_002
    parcels[:, 8:16, :12] = 20_000_003
    parcels[:, 18:20, 2:20] = 20_000_004  # two pixels wide
    kinds = torch.zeros(size, size, dtype=torch.long)
    for number, kind in ((1, 1), (2, 1), (3, 2), (4, 3)):
        kinds[parcels[0] == 20_000_000 + number] = kind
    return parcels, kinds[None]


def test_right_scores_give_the_parcels_back():
    parcels, kinds = fields()
    task = SITSPanoptic(**TINY, num_classes=4, grow=2)
    scores = torch.nn.functional.one_hot(kinds, 5).movedim(-1, 1).float() * 9
    scores[:, -1] = torch.where(inside_of_parcels(parcels), 1.0, -1.0)
    found, classes = task.find(scores)
    metric = PanopticQuality(4)
    metric.update(found, classes, parcels, kinds)
    assert metric.compute()['PQ'] == 1
    assert len(found.unique()) == 5


def test_each_parcel_has_an_inside_and_touches_no_other():
    parcels, _ = fields()
    inside = inside_of_parcels(parcels)
    assert set(parcels[inside].tolist()) == set(parcels.unique().tolist()) - {0}
    found = find_parcels(inside, parcels > 0, grow=0, min_pixels=1)
    for number in found.unique()[1:]:
        assert len(parcels[found == number].unique()) == 1


def test_small_parcels_are_left_out_and_patches_are_apart():
    inside = torch.zeros(2, 8, 8, dtype=torch.bool)
    inside[0, 0, 0] = inside[0, 4:7, 4:7] = inside[1, 2:5, 2:5] = True
    found = find_parcels(inside, torch.ones_like(inside), grow=0, min_pixels=4)
    assert (found > 0).flatten(1).sum(1).tolist() == [9, 9]
    grown = find_parcels(inside, torch.ones_like(inside), grow=1, min_pixels=6)
    assert (grown > 0).flatten(1).sum(1).tolist() == [25, 25]


def test_a_winding_parcel_is_one():
    inside = torch.zeros(1, 9, 30, dtype=torch.bool)
    inside[:, 1::2] = True
    for row in range(2, 8, 2):
        inside[:, row, 29 if row % 4 == 2 else 0] = True
    assert len(find_parcels(inside, inside, grow=0, min_pixels=1).unique()) == 2


def test_fits_pastis_from_the_command_line(tmp_path, monkeypatch, capsys):
    write_release(tmp_path / 'PASTIS-R')
    monkeypatch.chdir(tmp_path)
    options = ['--data.root', 'PASTIS-R', '--data.crop', '16', '--trainer.max_epochs', '1']
    options += ['--trainer.accelerator', 'cpu', '--trainer.enable_progress_bar', 'false']
    options += ['--model.model', 'tempcnn', '--model.model_kwargs', '{hidden_dim: 8}']
    main.main(['fit', '--config', 'conf/panoptic.yaml', *options])
    checkpoint = next(tmp_path.rglob('panoptic-epoch=00.ckpt'))
    main.main(['test', '--ckpt_path', str(checkpoint)])
    assert 'test_PQ' in capsys.readouterr().out


def test_what_does_not_fit_is_refused():
    with pytest.raises(SITSError, match='min_pixels'):
        SITSPanoptic(**TINY, num_classes=3, min_pixels=0)
    with pytest.raises(SITSError, match='multiclass'):
        SITSPanoptic(**TINY, num_classes=3, task='binary', loss='bce')
    task = SITSPanoptic(**TINY, num_classes=3)
    with pytest.raises(SITSError, match='instances=true'):
        task.auxiliary_loss({'mask': torch.zeros(1, 4, 4)}, torch.zeros(1, 4, 4, 4))
