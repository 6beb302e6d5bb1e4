"""Change between two windows, in a series of maps, and its date."""

import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import lightning
import pytest
import torch
from torchgeo.main import main as torchgeo_main
from torchgeo.tasks import ChangeDetection

from torchgeo_sits import main
from torchgeo_sits.collate import pad_time
from torchgeo_sits.models import CARD_KEY
from torchgeo_sits.tasks import SITSChangeDate, SITSChangeDetection, SITSChangeSeries, load_task
from torchgeo_sits.tasks.change import parse_spans, two_windows
from torchgeo_sits.tasks.change_date import change_point_scores, first_frame_after
from torchgeo_sits.tasks.change_series import frame_at

from .labelled_data import DAY, LabelledData
from .test_supervised import TINY, trainer

FRAMES, SIZE = 8, 8


def changing(seed, *, per_frame=False, dated=False):
    """A series in which a block of pixels drops from 1 to -1 at some frame; 255 is unknown."""
    generator = torch.Generator().manual_seed(seed)
    frame = int(torch.randint(1, FRAMES, (1,), generator=generator))
    if not dated and not per_frame:
        frame = FRAMES // 2
    where = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    where[2 : 2 + seed % 4 + 1, 1:6] = True
    state = torch.ones(FRAMES, SIZE, SIZE)
    state[frame:, where] = -1
    image = state[:, None] + 0.2 * torch.randn(FRAMES, 2, SIZE, SIZE, generator=generator)
    times = (18_262 + torch.arange(FRAMES) * 30) * DAY
    clear = torch.rand(FRAMES, SIZE, SIZE, generator=generator) > 0.1
    if per_frame:
        mask = (state < 0).long()
    elif dated:
        mask = where.long() * (times[frame] // DAY - 3)
    else:
        mask = where.long()
        mask[0, 0] = 255
    return {
        'image': image,
        'acquisition_times': times,
        'valid': torch.ones(FRAMES, dtype=torch.bool),
        'mask_clear': clear,
        'mask': mask,
    }


def data(unlabelled, **kwargs):
    module = LabelledData(count=0)
    module.samples = module.val_samples = [changing(i, **kwargs) for i in range(8)]
    module.num_classes = module.class_names = None
    module.unlabelled = unlabelled
    return module


def fit(tmp_path, task, module, epochs=15):
    torch.manual_seed(0)
    run = trainer(tmp_path, max_epochs=epochs)
    run.fit(task, module)
    return run.callback_metrics


def test_two_halves_of_a_series_are_compared(tmp_path):
    task = SITSChangeDetection(model_kwargs=TINY, hidden_dim=16, lr=1e-2)
    metrics = fit(tmp_path, task, data(255))
    assert metrics['val_ChangeIoU'] > 0.9
    assert metrics['val_OverallF1Score'] == pytest.approx(metrics['val_ChangeF1'].item(), abs=1e-9)


def test_windows_leave_out_what_lies_between(tmp_path):
    windows = [['2020-01-01', '2020-03-01'], ['2020-06-01', '2020-12-31']]
    task = SITSChangeDetection(
        model_kwargs=TINY, in_channels=2, ignore_index=255, windows=windows
    ).eval()
    series = pad_time([changing(0), changing(1)])
    # 2020-01-01 and every 30 days: the frames 2 to 4 lie in no window.
    other = {**series, 'image': series['image'].clone()}
    other['image'][:, 2:5] = 9.0
    with torch.no_grad():
        assert torch.equal(task(series), task(other))


def test_maps_of_a_series_and_the_change_between_two_dates(tmp_path):
    task = SITSChangeSeries(task='multiclass', loss='ce', num_classes=2, model_kwargs=TINY, lr=1e-2)
    module = data(255, per_frame=True)
    module.class_names = ['standing', 'felled']
    metrics = fit(tmp_path, task, module)
    assert metrics['val_OverallAccuracy'] > 0.95
    assert {'val_BC', 'val_ChangeF1', 'val_SC_present', 'val_SCS_all'} <= metrics.keys()
    sample = changing(3, per_frame=True)
    sample['mask_clear'][:] = True
    with torch.no_grad():
        changed = task.eval().change_between(pad_time([sample]), '2020-01-01', '2020-12-31')
    agreement = (changed[0] == (sample['mask'][0] != sample['mask'][-1])).float().mean()
    assert agreement > 0.95


def test_last_labels_of_both_windows_make_a_map_of_change():
    task = SITSChangeDetection(in_channels=2, ignore_index=255, model_kwargs=TINY)
    sample = changing(1, per_frame=True)
    sample['mask'][FRAMES - 1, 7, 7] = 255
    series = pad_time([sample])
    expected = (sample['mask'][3] != sample['mask'][-1]).long()
    expected[7, 7] = 255
    assert torch.equal(task.target(series)[0], expected)


def test_dates_of_change(tmp_path):
    task = SITSChangeDate(model_kwargs=TINY, hidden_dim=16, lr=1e-2)
    metrics = fit(tmp_path, task, data(-1, dated=True), epochs=30)
    assert metrics['val_ChangeF1'] > 0.9
    # Changes lie 3 days before the first frame that could show them; some of those are cloudy.
    assert metrics['val_DateMAE'] < 12
    assert metrics['val_DateWithin90'] > 0.9
    found = task.predict_step(pad_time([changing(0, dated=True)]), 0)
    assert found['date'].shape == found['probability'].shape == (1, SIZE, SIZE)


def test_scores_of_change_points_are_log_likelihood_ratios():
    torch.manual_seed(0)
    evidence, times = torch.randn(1, 5, 1, 1), torch.tensor([[30, 10, 50, 20, 40]])
    seen = torch.ones(1, 5, 1, 1, dtype=torch.bool)
    seen[0, 3] = False  # the frame at 20
    found = change_point_scores(evidence, times, seen)[0, :, 0, 0]
    by_time = dict(zip(times[0].tolist(), evidence[0, :, 0, 0].tolist(), strict=True))
    kept = [10, 30, 40, 50]

    def log_likelihood(first_after):
        total = 0.0
        for t in kept:
            p = torch.tensor(by_time[t]).sigmoid()
            total += (p if first_after is not None and t >= first_after else 1 - p).log()
        return total

    none = log_likelihood(None)
    for i, t in enumerate(times[0].tolist()):
        if t in (10, 20):  # the first frame shows no change yet, the cloudy one nothing
            assert found[i] == -1e4
        else:
            torch.testing.assert_close(found[i], log_likelihood(t) - none)
    assert found[-1] == 0


def test_first_frame_after_a_date():
    times = torch.tensor([[10, 20, 30, 40]])
    seen = torch.ones(1, 4, 1, 5, dtype=torch.bool)
    seen[0, 2, 0, 1] = False
    # Between 20 and 30; the same with 30 cloudy; none; before all; after all.
    date = torch.tensor([[[25, 25, 0, 5, 45]]])
    assert first_frame_after(date, times, seen)[0, 0].tolist() == [2, 3, 4, 4, 4]


def test_windows_of_two_frames_are_one_each_whatever_their_order():
    series = pad_time([changing(0), changing(1)])
    pair = {
        key: value[:, [6, 1]]
        for key, value in series.items()
        if key in ('image', 'acquisition_times', 'valid', 'mask_clear')
    }
    before, after = two_windows(pair)
    for part, frame in ((before, 1), (after, 6)):
        assert part['valid'].sum(1).tolist() == [1, 1]
        shown = part['image'][part['valid']]
        assert torch.equal(shown, series['image'][:, frame])


def test_frame_at_a_date():
    times = torch.tensor([[30, 10, 20, 0]])
    valid = torch.tensor([[True, True, True, False]])
    assert [frame_at(times, valid, d).item() for d in (5, 10, 29, 99)] == [1, 1, 2, 0]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'windows': [['2020-01-01', '2021-01-01']]}, 'expected two windows'),
        ({'windows': [['2020-01-01', '2019-01-01']] * 2}, 'ends after it starts'),
        ({'windows': [['1.1.2020', '2021-01-01']] * 2}, "date YYYY-MM-DD, got '1.1.2020'"),
        ({'mode': 'date', 'windows': [['2020-01-01', '2021-01-01']] * 2}, 'windows are for SITSCh'),
        ({'mode': 'dates'}, "one of .*'series', 'date'.*got 'dates'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SITSChangeDetection(in_channels=2, **options)


def test_dates_have_no_classes_and_no_other_mode():
    with pytest.raises(ValueError, match="set task to 'binary'"):
        SITSChangeDate(in_channels=2, task='multiclass', loss='ce')
    with pytest.raises(ValueError, match=r"mode='series' is SITSChangeSeries now.*SITSChangeDate"):
        SITSChangeDate(in_channels=2, mode='series')


def test_spans_are_in_seconds():
    assert parse_spans([['1970-01-02', '1970-01-03'], ['1970-01-03', '1970-01-05']]) == (
        (DAY, 2 * DAY),
        (2 * DAY, 4 * DAY),
    )


@pytest.mark.parametrize('kind', [SITSChangeDetection, SITSChangeDate])
def test_unchanged_pixels_that_count_as_unlabelled_are_refused(kind):
    task = kind(in_channels=2, model_kwargs=TINY, ignore_index=0)
    with pytest.raises(ValueError, match=r'set labels\.unlabelled of the data to another value'):
        task.compare(pad_time([changing(0)]))


def test_series_need_a_map_for_each_frame():
    task = SITSChangeSeries(in_channels=2, model_kwargs=TINY)
    with pytest.raises(ValueError, match=r'set labels\.per_frame=true'):
        task.compare(pad_time([changing(0)]))


@pytest.mark.parametrize('model', ['fcsiamdiff', 'fcsiamconc'])
def test_torchgeos_change_detection_takes_our_batches_of_two_frames(model):
    samples = [changing(i) for i in range(2)]
    for s in samples:
        s['image'] = torch.nn.functional.interpolate(s['image'][[0, -1]], 32)
        s['mask'] = torch.zeros(1, 32, 32)
        for key in ('acquisition_times', 'valid'):
            s[key] = s[key][[0, -1]]
        s['mask_clear'] = torch.ones(2, 32, 32, dtype=torch.bool)
    task = ChangeDetection(model=model, backbone='resnet18', in_channels=2)
    task.log = lambda *args, **kwargs: None
    assert task.training_step(pad_time(samples), 0).isfinite()


MODES = {'pair': SITSChangeDetection, 'series': SITSChangeSeries, 'date': SITSChangeDate}


@pytest.mark.parametrize('mode', MODES)
def test_former_modes_are_the_tasks_of_today(mode):
    with pytest.warns(FutureWarning, match=rf"mode='{mode}'\) is {MODES[mode].__name__} now"):
        task = SITSChangeDetection(mode=mode, in_channels=2, model_kwargs=TINY)
    expected = MODES[mode](in_channels=2, model_kwargs=TINY)
    assert type(task) is MODES[mode]
    assert dict(task.hparams) == dict(expected.hparams)
    assert task.state_dict().keys() == expected.state_dict().keys()


def checkpoint_of(task):
    task._trainer = SimpleNamespace()
    content = {
        'state_dict': task.state_dict(),
        'hyper_parameters': dict(task.hparams),
        'pytorch-lightning_version': lightning.__version__,
    }
    task.on_save_checkpoint(content)
    return content


def former_checkpoint(path, mode):
    """A checkpoint as it was written while SITSChangeDetection had modes, and its task."""
    torch.manual_seed(0)
    task = MODES[mode](in_channels=2, model_kwargs=TINY)
    content = checkpoint_of(task)
    content[CARD_KEY]['task'] = 'SITSChangeDetection'
    content['hyper_parameters'] |= {'mode': mode, 'windows': None}
    torch.save(content, path)
    return task


@pytest.mark.parametrize('mode', MODES)
def test_checkpoints_of_former_modes_load_into_their_tasks(tmp_path, mode):
    path = tmp_path / 'old.ckpt'
    wanted = former_checkpoint(path, mode)
    with warnings.catch_warnings():
        warnings.simplefilter('error', FutureWarning)
        found, _ = load_task(path)
    with pytest.warns(FutureWarning, match=MODES[mode].__name__):
        direct = MODES[mode].load_from_checkpoint(path, weights_only=True)
    for task in (found, direct):
        assert type(task) is MODES[mode]
        assert dict(task.hparams) == dict(wanted.hparams)
        assert all(torch.equal(v, wanted.state_dict()[k]) for k, v in task.state_dict().items())


@pytest.mark.parametrize('through', ['torchgeo-sits', 'torchgeo'])
def test_command_line_reads_checkpoints_of_former_modes(tmp_path, monkeypatch, through):
    folder = Path(main.__file__).parents[1]
    path = tmp_path / 'old.ckpt'
    torch.manual_seed(0)
    task = SITSChangeDate(in_channels=10, num_classes=2, model='tempcnn')
    content = checkpoint_of(task)
    content['hyper_parameters'] |= {
        'mode': 'date', 'windows': None, '_class_path': 'torchgeo_sits.tasks.SITSChangeDetection'
    }  # fmt: skip
    torch.save(content, path)
    monkeypatch.chdir(tmp_path)
    options = ['predict', '--config', str(folder / 'conf/change.yaml'), '--ckpt_path', str(path)]
    options += ['--data.size', '64', '--data.num_dates_written', '8']
    monkeypatch.setattr(sys, 'argv', ['torchgeo', *options])
    run = (lambda: main.main(options)) if through == 'torchgeo-sits' else torchgeo_main
    with pytest.warns(FutureWarning, match='SITSChangeDate now'):
        run()
    assert (through == 'torchgeo') or (tmp_path / 'maps' / 'change_date.tif').is_file()
