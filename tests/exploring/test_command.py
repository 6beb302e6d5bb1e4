"""The command from its arguments to what it writes, and what it refuses."""

import re
import socket

import numpy as np
import pytest
import rasterio
import torch
from lightning.pytorch import Trainer, seed_everything

from torchgeo_sits.commands.explore import _explorer
from torchgeo_sits.datamodules import ImageOptions, PatchOptions, SITSDataModule
from torchgeo_sits.exploring import LinearProbe, Session
from torchgeo_sits.keys import Series
from torchgeo_sits.main import main
from torchgeo_sits.models import load_encoder
from torchgeo_sits.tasks import SITSMAE


@pytest.fixture(scope='module')
def checkpoint(series_folder, tmp_path_factory):
    """A pretraining of one step."""
    folder = tmp_path_factory.mktemp('checkpoint')
    seed_everything(0, verbose=False)
    task = SITSMAE(model='tempcnn', model_kwargs={'hidden_dim': 8, 'embed_dim': 6})
    data = SITSDataModule(str(series_folder), patches=PatchOptions(16), batch_size=4)
    trainer = Trainer(
        accelerator='cpu', max_steps=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(task, datamodule=data)
    trainer.save_checkpoint(folder / 'X.ckpt')
    return folder / 'X.ckpt'


class Options:
    """What the parser gives."""

    embeddings = classes = weights = None
    maps = ()

    def __init__(self, **given):
        self.__dict__.update(given)


def test_weights_are_embedded_once_and_explain_the_probe(series_folder, checkpoint, tmp_path):
    images = ImageOptions(str(series_folder))
    session = Session(tmp_path / 's')
    explorer = _explorer(
        images, images.open(), session, Options(weights=str(checkpoint), classes='[a, b]')
    )
    [path] = session.folder.glob('embeddings_*/embedding.tif')
    for name, column, row in (('a', 3, 3), ('b', 30, 20), ('b', 33, 5)):
        explorer.add_label(name, {'type': 'Point', 'coordinates': [column, row]})
    found = explorer.importance(12, 17)
    # By hand: the patch of 8 x 8 from row 8 and column 13 on, with and without each date.
    encoder, _ = load_encoder(checkpoint)
    sample, pixel = explorer.images.sample(12, 17, 8)
    assert pixel == (4, 4)
    with rasterio.open(sorted(series_folder.iterdir())[0]) as file:
        np.testing.assert_array_equal(sample['image'][0], file.read()[:, 8:16, 13:21])
    probe, area = explorer._probe, explorer.area
    assert isinstance(probe, LinearProbe)

    def log_odds(clear):
        with torch.no_grad():
            features = encoder.features(
                Series(
                    sample['image'][None], sample['acquisition_times'][None],
                    sample['valid'][None], clear[None],
                )
            )[0, :, 4, 4].numpy()  # fmt: skip
        scores = probe.weight @ ((features - area.mean[:, 0, 0]) / area.std[:, 0, 0]) + probe.bias
        return scores[1] - scores[0]

    whole = log_odds(sample['mask_clear'])
    without = []
    for date in range(8):
        clear = sample['mask_clear'].clone()
        clear[date] = False
        without.append(log_odds(clear))
    sign = 1 if found['name'] == 'b' else -1
    assert (whole > 0) == (found['name'] == 'b')
    assert found['times'] == sample['acquisition_times'].tolist()
    np.testing.assert_allclose(found['lost'], sign * (whole - np.array(without)), atol=1e-3)
    explorer.close()
    made = path.stat().st_mtime_ns
    options = Options(weights=str(checkpoint))
    again = _explorer(images, images.open(), Session(tmp_path / 's'), options)
    assert path.stat().st_mtime_ns == made
    assert len(again.session.labels) == 3
    again.close()


def test_report_is_written_without_a_server(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [str(made.files.images), '--embeddings', str(made.embeddings)]
    main(['explore', *arguments, '--html', 'out.html'])
    assert "'out.html' needs no server" in capsys.readouterr().out
    assert (tmp_path / 'out.html').read_text().count('data:image/png') == 2
    main(['explore', *arguments[:1], '--html', 'again.html'])  # the session knows its embeddings
    assert (tmp_path / 'again.html').read_text().count('data:image/png') == 2


def test_a_series_that_is_not_there_leaves_no_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(['explore', 'none'])
    assert "'none' does not exist" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--weights', '{ckpt}', '--embeddings', '{own}'], 'give one of them'),
        (['--weights', '{ckpt}', '--bands', '[B1,B2]'], 'trained on 3 bands'),
        (['--weights', 'none.ckpt'], "no checkpoint at 'none.ckpt'"),
        (['--embeddings', '{other}'], 'have pixels of 10 x 10|are in EPSG|reach beyond'),
        (['--embeddings', 'none.tif'], "no embeddings 'none.tif'"),
        (['--embeddings', '{own}', '--maps', '[none.tif]'], "no map 'none.tif'"),
        (['--embeddings', '{own}', '--port', '{taken}'], 'is in use: give another with --port'),
        (['--embeddings', '{own}', '--host', '0.0.0.0'], 'all interfaces at once'),
        (['--embeddings', '{own}', '--classes', 'a,,b'], 'expected a name'),
        (['--embeding', '{own}'], 'did you mean --embeddings'),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(
    options, message, series_folder, checkpoint, made, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / 'own.tif'
    with rasterio.open(sorted(series_folder.iterdir())[0]) as file:
        profile = file.profile | {'dtype': 'float32', 'nodata': None}
        with rasterio.open(own, 'w', **profile) as copy:
            copy.write(file.read().astype('float32'))
    with socket.create_server(('127.0.0.1', 0)) as taken:
        places = {'ckpt': checkpoint, 'own': own, 'other': made.embeddings}
        places['taken'] = taken.getsockname()[1]
        typed = [option.format(**places) for option in options]
        with pytest.raises(SystemExit):
            main(['explore', str(series_folder), *typed])
    [line] = [x for x in capsys.readouterr().err.splitlines() if 'error: ' in x]
    assert re.search(message, line)
    # The session is left to others.
    Session(tmp_path / 'explored').close()
