"""The report of a run: what stands in it, when it is written, and how a browser sees it."""

import json
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from matplotlib import pyplot as plt
from torch.utils.data import DataLoader

from torchgeo_sits.callbacks import KNNProbe, RunReport, ScoreTable
from torchgeo_sits.callbacks.report import _Curve

HOSTILE = '<script>console.error("run")</script>"\'><img src=http://127.0.0.1:9/x> $_{'


class Watch(Callback):
    """Log at each step, after the model."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        pl_module.log('embedding_rank', float(trainer.global_step))


class Line(LightningModule):
    """A line through points, which logs what it is told to."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch).mean()
        self.log_dict({'train_loss': loss, HOSTILE: 1.0})
        return loss

    def validation_step(self, batch, batch_idx):
        self.log('val_loss', 0.5)

    def configure_callbacks(self):
        return [Watch()]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Stop(Callback):
    """Stop in the second epoch, as from the keyboard."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch:
            raise KeyboardInterrupt


class Scored(ScoreTable):
    """Scores of classes with hostile names."""

    def on_validation_end(self, trainer, pl_module):
        self.best = {
            'epoch': 1,
            'scores': {'val_F1': 0.25},
            'confusion': {
                'names': ['wheat', HOSTILE],
                'counts': [[3, 1], [0, 1234]],
                'unit': 'pixels',
                'fields': [2, 7],
            },
        }


def fit(folder, report, *callbacks, path=None, version=None, **options):
    """Train for two epochs of three steps, and give the folder of the run."""
    logger = CSVLogger(folder, 'line', version)
    trainer = Trainer(
        accelerator='cpu',
        max_epochs=2,
        logger=logger,
        callbacks=[report, *callbacks],
        enable_model_summary=False,
        enable_progress_bar=False,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        **options,
    )
    loader = DataLoader(torch.rand(3, 1))
    trainer.fit(Line(), loader, loader, ckpt_path=path, weights_only=True)
    return trainer


class Reader(HTMLParser):
    """Tags of a page, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ''
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def page(tmp_path, capsys):
    probe = KNNProbe(every_n_epochs=0)
    probe.history = {0: {'knn_f1_late': 0.5}, 2: {'knn_f1_late': 0.75}}
    folder = tmp_path / 'line' / 'version_0'
    folder.mkdir(parents=True)
    figure, _ = plt.subplots()
    figure.savefig(folder / 'learned.png')
    plt.close(figure)
    (folder / 'config.yaml').write_text(f'labels: </pre>{HOSTILE}')
    fit(tmp_path, RunReport(f'torchgeo-sits fit {HOSTILE}'), Scored(), probe, version=0)
    [path] = tmp_path.rglob('report.html')
    assert f'Report: {path}' in capsys.readouterr().out
    return path


def test_report_tells_all_and_escapes_it(page):
    read = Reader(page.read_text())
    assert 'script' not in {tag for tag, _ in read.tags}
    pictures = [attrs['src'] for tag, attrs in read.tags if tag == 'img']
    # The picture, and curves of losses, rank, and the hostile score.
    assert len(pictures) == 4
    assert all(source.startswith('data:image/') for source in pictures)
    torch_version = torch.__version__.partition('+')[0]
    for text in (
        f'torchgeo-sits fit {HOSTILE}', f'labels: </pre>{HOSTILE}', '1,234', '0.750', 'pixels',
        'Best validation, of epoch 1', f'torch {torch_version}', '2 epochs, 6 steps',
    ):  # fmt: skip
        assert text in read.text
    assert read.text.count(HOSTILE) == 5  # command, configuration, two tables and their head


@pytest.mark.parametrize('width', [1200, 400])
def test_browser_shows_the_report_without_network_or_errors(page, tmp_path, width):
    browser = shutil.which('chromium') or shutil.which('google-chrome')
    if browser is None:
        pytest.skip('no chromium')
    # What the page asks for is refused, and said on the console, by its own policy.
    script = """<script>addEventListener('load', () => {
        const images = [...document.images].map(i => i.naturalWidth * i.naturalHeight)
        const wide = document.documentElement.scrollWidth
        document.body.textContent = JSON.stringify({images, wide}) })</script></body>"""
    text = page.read_text().replace(
        "default-src 'none'", "default-src 'none'; script-src 'unsafe-inline'"
    )
    probe = tmp_path / 'probe.html'
    probe.write_text(text.replace('</body>', script))
    found = {}
    for path in (page, probe):
        done = subprocess.run(
            [browser, '--headless', '--no-sandbox', '--disable-gpu', '--enable-logging=stderr',
             f'--user-data-dir={tmp_path / "browser"}', f'--window-size={width},900',
             '--disable-background-networking', '--dump-dom', path.as_uri()],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        found[path] = done.stdout
        if path == page:
            assert 'CONSOLE' not in done.stderr
    state = json.loads(Reader(found[probe].partition('<body>')[2]).text)
    assert len(state['images']) == 4
    assert min(state['images']) > 0
    assert state['wide'] <= max(width, 500)  # the least width of a window


def test_stopped_run_is_reported(tmp_path):
    with pytest.raises(SystemExit):
        fit(tmp_path, RunReport(), Stop())
    [path] = tmp_path.rglob('report.html')
    assert 'Stopped in epoch 1: KeyboardInterrupt, 3 steps.' in path.read_text()


def test_resumed_run_reports_the_curves_of_the_whole(tmp_path):
    with pytest.raises(SystemExit):
        fit(tmp_path, RunReport(), Stop(), enable_checkpointing=True)
    [checkpoint] = tmp_path.rglob('*.ckpt')
    resumed = RunReport()
    fit(tmp_path, resumed, path=checkpoint)
    assert [step for step, _ in resumed.curves['train_loss'].points] == [1, 2, 3, 4, 5, 6]
    # A watch of the task is asked before the report.
    assert resumed.curves['embedding_rank'].points == [(i, i) for i in range(1, 7)]
    assert [step for step, _ in resumed.curves['val_loss'].points] == [3, 6]


def test_run_does_not_fail_by_its_report(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError('No space left\non device')

    monkeypatch.setattr(RunReport, '_render', full)
    with pytest.warns(UserWarning, match='report.html was not written: .*No space left on device'):
        fit(tmp_path, RunReport())
    assert not list(tmp_path.rglob('*.html'))


def test_run_without_a_folder_has_no_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer = Trainer(
        accelerator='cpu', logger=False, max_steps=1, callbacks=[RunReport()],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Line(), DataLoader(torch.rand(3, 1)))
    assert not list(tmp_path.iterdir())


def test_long_curves_keep_their_course_in_few_points():
    curve = _Curve(1, [])
    for step in range(100_000):
        curve.add(step, step / 1000)
    assert 100 < len(curve.points) <= 400
    for step, value in curve.points:
        assert value == pytest.approx(step / 1000, abs=0.3)
