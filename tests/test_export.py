"""Exported models: what the checkpoint says, on sizes that they were not traced with."""

import json
import pickle
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

import pandas as pd
import pytest
import torch

from torchgeo_sits.commands.export import export
from torchgeo_sits.datamodules import SITSDataModule
from torchgeo_sits.errors import SITSError
from torchgeo_sits.exporting import export_model, load_model, load_pt2, read_card
from torchgeo_sits.exporting.export import run_onnx
from torchgeo_sits.exporting.graph import example_series, inputs_of, trace
from torchgeo_sits.models import CARD_KEY, build_encoder, encoder_card
from torchgeo_sits.tasks import SITSChangeDetection, SITSClassification, SITSSegmentation

STATISTICS = {'mean': [500.0, 800.0], 'std': [200.0, 300.0]}
TINY_VIT = {
    'embed_dim': 16,
    'depth': 1,
    'num_heads': 2,
    'time_dim': 8,
    'seasonal_queries': 2,
    'num_queries': 1,
}
TINY_LTAE = {'embed_dim': 8, 'pixel_dim': 8, 'dim': 8, 'num_heads': 2, 'key_dim': 2}

#: Encoders beside PlanarViT, as small as they can be.
OTHERS = {
    'tsvit': {'dim': 8, 'num_heads': 1, 'temporal_depth': 1, 'spatial_depth': 1, 'num_tokens': 2},
    'unet3d': {'width': 1},
    'factorised_tiny': {
        'dim': 8,
        'num_heads': 1,
        'patch_size': 3,
        'spatial_depth': 1,
        'temporal_depth': 1,
    },
    'tempcnn': {'num_dates': 5, 'hidden_dim': 4, 'depth': 1, 'embed_dim': 8},
    'deep_star': {'num_steps': 16},
    'utae': {
        'encoder_widths': (4, 4),
        'decoder_widths': (4, 4),
        'num_heads': 2,
        'groups': 2,
        'dim': 8,
    },
}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.manual_seed(0)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def save_encoder(path, name, **kwargs):
    """A checkpoint as a pretraining writes it."""
    encoder = build_encoder(name, 2, **kwargs)
    state = {f'backbone.{k}': v for k, v in encoder.state_dict().items()}
    torch.save({'state_dict': state, CARD_KEY: encoder_card(name, encoder, **STATISTICS)}, path)
    return path


def save_task(path, kind, model='ltae', model_kwargs=TINY_LTAE, *, named=True, **kwargs):
    """A checkpoint as a task with labels writes it."""
    task = kind(model=model, in_channels=2, model_kwargs=model_kwargs, num_classes=3, **kwargs)
    task.configure_model()
    details = {'task': kind.__name__} if named else {}
    card = encoder_card(model, task.encoder, prefix='encoder', **STATISTICS, **details)
    content = {
        'state_dict': task.state_dict(),
        'hyper_parameters': dict(task.hparams),
        'pytorch-lightning_version': '2.6.0',
        CARD_KEY: card,
    }
    torch.save(content, path)
    return path


def raw_series(size, seed):
    """A series in the unit of the data; what was not seen is NaN."""
    series = example_series(2, size, seed=seed)
    mean, std = (torch.tensor(STATISTICS[k])[:, None, None] for k in ('mean', 'std'))
    image = torch.where(series.mask_clear[:, :, None], series.image * std + mean, torch.nan)
    return series._replace(image=image)


def largest_difference(checkpoint, path, sizes):
    """Largest absolute difference of any output between a file and its checkpoint."""
    eager, _ = load_model(checkpoint)
    worst = 0.0
    loaded = load_pt2(path, trust=True)[0] if path.suffix == '.pt2' else None
    for seed, size in enumerate(sizes, start=50):
        series = raw_series(size, seed)
        with torch.no_grad():
            wanted = eager(*series[:4])
            found = loaded(*series[:4]) if loaded else run_onnx(path, series)
        assert set(found) == set(wanted)
        for name, value in wanted.items():
            assert found[name].shape == value.shape
            assert value.isfinite().all()
            worst = max(worst, float((found[name] - value).abs().max()))
    return worst


CLOSE = {'rtol': 1e-5, 'atol': 1e-5}
SIZES = [(1, 1, 1, 1), (1, 2, 1, 5), (3, 7, 10, 11), (2, 24, 33, 6), (4, 3, 16, 16)]


@pytest.fixture(scope='module')
def segmentation(tmp_path_factory):
    """A checkpoint of a segmentation by PlanarViT."""
    folder = tmp_path_factory.mktemp('segmentation')
    labels = ['none', 'wheat', 'maize']
    return save_task(
        folder / 'x.ckpt',
        SITSSegmentation,
        'planar_vit_tiny',
        TINY_VIT,
        labels=labels,
        ignore_index=0,
    )


@pytest.fixture(scope='module')
def segmentation_onnx(segmentation):
    """Its ONNX file."""
    path = segmentation.with_name('model.onnx')
    export_model(segmentation, path, licence='CC-BY-4.0')
    return path


def test_segmentation_in_onnx(segmentation, segmentation_onnx):
    assert largest_difference(segmentation, segmentation_onnx, SIZES) < 1e-5


def test_onnx_names_inputs_outputs_and_sizes(segmentation_onnx):
    import onnx

    graph = onnx.load(segmentation_onnx).graph
    axes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert axes == {
        'image': ['batch', 'frames', 2, 'height', 'width'],
        'acquisition_times': ['batch', 'frames'],
        'valid': ['batch', 'frames'],
        'mask_clear': ['batch', 'frames', 'height', 'width'],
        'probabilities': ['batch', 3, 'height', 'width'],
    }


def test_onnx_carries_the_card(segmentation, segmentation_onnx):
    import onnxruntime

    card = read_card(segmentation_onnx)
    said = torch.load(segmentation, weights_only=True)[CARD_KEY]
    assert card == {**said, 'licence': 'CC-BY-4.0'}
    session = onnxruntime.InferenceSession(segmentation_onnx)
    assert json.loads(session.get_modelmeta().custom_metadata_map['sits']) == card


def test_segmentation_in_pt2_with_its_card_by_the_command(segmentation, tmp_path, capsys):
    path = tmp_path / 'model.pt2'
    export([str(segmentation), str(path), '--licence', 'MIT'])
    out = capsys.readouterr().out
    assert 'holds the SITSSegmentation of planar_vit_tiny' in out
    assert 'as they are read' in out
    assert [file.name for file in tmp_path.iterdir()] == ['model.pt2']
    assert largest_difference(segmentation, path, SIZES) < 1e-5
    said = torch.load(segmentation, weights_only=True)[CARD_KEY]
    assert read_card(path) == {**said, 'licence': 'MIT'}


def test_encoder_alone_gives_embeddings_and_dense_features(tmp_path):
    checkpoint = save_encoder(tmp_path / 'x.ckpt', 'ltae', **TINY_LTAE)
    path = tmp_path / 'encoder.onnx'
    export_model(checkpoint, path)
    series = raw_series((2, 4, 3, 5), 0)
    found = run_onnx(path, series)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        'embed': (2, 8),
        'early': (2, 8, 3, 5),
        'late': (2, 8, 3, 5),
    }
    assert largest_difference(checkpoint, path, SIZES) < 1e-4


@pytest.mark.parametrize('name', OTHERS)
def test_what_other_encoders_do_in_export_changes_nothing(name, monkeypatch):
    # Without tracing, which takes seconds for each.
    encoder = build_encoder(name, 2, **OTHERS[name]).eval()
    for seed, size in enumerate(SIZES):
        series = raw_series(size, seed)
        with torch.no_grad():
            wanted = encoder.encode_image(series), encoder.frame_features(series)
            with monkeypatch.context() as patch:
                patch.setattr(torch.compiler, 'is_exporting', lambda: True)
                found = (
                    encoder.encode_image(series),
                    encoder.frame_features(series),
                )
        assert torch.equal(found[0].seen, wanted[0].seen)
        for part in ('embed', 'early', 'late'):
            torch.testing.assert_close(getattr(found[0], part), getattr(wanted[0], part), **CLOSE)
        torch.testing.assert_close(found[1], wanted[1], **CLOSE)


@pytest.mark.parametrize(
    ('kind', 'options'),
    [
        (SITSChangeDetection, {}),
        (SITSClassification, {'model': 'tempcnn', 'model_kwargs': OTHERS['tempcnn']}),
    ],
)
def test_other_tasks_are_traced_with_all_sizes_open(kind, options, tmp_path):
    model, card = load_model(save_task(tmp_path / 'x.ckpt', kind, **options))
    graph = trace(model, name=card['model'], channels=2, cell=1).module(check_guards=False)
    for seed, size in enumerate(SIZES):
        series = raw_series(size, seed)
        with torch.no_grad():
            found, wanted = graph(*series[:4]), model(*series[:4])
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5)


def test_card_says_what_a_task_was_trained_on():
    dates = {'first': '2020-01-05', 'last': '2020-12-30', 'number': 24}
    data = {'dataset': 'SITSDataModule', 'paths': ['images'], 'dates': dates}
    task = SITSSegmentation(
        model='ltae', in_channels=2, model_kwargs=TINY_LTAE, num_classes=2, labels=['no', 'yes']
    )
    task._trainer = SimpleNamespace(
        datamodule=SimpleNamespace(card={'bands': ['B04', 'B08'], **STATISTICS}, training_data=data)
    )
    task.licence = 'CC-BY-4.0'
    checkpoint = {'state_dict': {}}
    task.on_save_checkpoint(checkpoint)
    details = {'task': 'SITSSegmentation', 'class_names': ['no', 'yes'], 'licence': 'CC-BY-4.0'}
    assert checkpoint[CARD_KEY].items() >= (data | details).items()


def test_data_module_says_names_and_not_places():
    days = pd.to_datetime(['2021-03-01', '2020-01-05', '2021-03-01'])
    index = pd.DataFrame(index=pd.IntervalIndex.from_arrays(days, days + pd.Timedelta('1h')))
    module = SITSDataModule(paths=['/home/somebody/a', 'b.tif'])
    assert module.training_data == {'dataset': 'SITSDataModule', 'paths': ['a', 'b.tif']}
    module.train_dataset = SimpleNamespace(index=index)
    found = module.training_data['dates']
    assert found == {'first': '2020-01-05', 'last': '2021-03-01', 'number': 2}


def test_loop_over_frames_is_refused_by_name(tmp_path):
    checkpoint = save_encoder(tmp_path / 'x.ckpt', 'convlstm', hidden_dim=2)
    with pytest.raises(ValueError, match=r'convlstm cannot be exported.*such as planar_vit_tiny'):
        export_model(checkpoint, tmp_path / 'model.onnx')
    assert not (tmp_path / 'model.onnx').exists()


def test_what_is_no_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='no checkpoint at'):
        export_model(tmp_path / 'none.ckpt', tmp_path / 'model.onnx')
    (tmp_path / 'notes.ckpt').write_text('not a checkpoint')
    with pytest.raises(ValueError, match=r'notes\.ckpt'):
        export_model(tmp_path / 'notes.ckpt', tmp_path / 'model.onnx')
    checkpoint = save_task(tmp_path / 'x.ckpt', SITSClassification, named=False)
    with pytest.raises(ValueError, match='task that it does not name, expected one of'):
        export_model(checkpoint, tmp_path / 'model.onnx')


def test_where_it_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match=r'ends with \.onnx or \.pt2'):
        export_model(tmp_path / 'x.ckpt', tmp_path / 'model.pth')
    with pytest.raises(FileNotFoundError, match=r'no folder .*make it first'):
        export_model(tmp_path / 'x.ckpt', tmp_path / 'nowhere' / 'model.onnx')


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(
        'torchgeo_sits.exporting.export.find_spec',
        lambda name: None if name == 'onnxscript' else name,
    )
    with pytest.raises(SITSError, match=r'onnxscript is not installed.*\[export\]'):
        export_model(tmp_path / 'x.ckpt', tmp_path / 'model.onnx')


def test_files_without_a_card(tmp_path):
    import onnx

    with pytest.raises(FileNotFoundError, match='no file at'):
        read_card(tmp_path / 'none.onnx')
    empty = onnx.helper.make_model(onnx.helper.make_graph([], 'empty', [], []))
    onnx.save(empty, tmp_path / 'other.onnx')
    with pytest.raises(ValueError, match='expected a card under'):
        read_card(tmp_path / 'other.onnx')
    (tmp_path / 'broken.pt2').write_bytes(b'\x00' * 64)
    with pytest.raises(ValueError, match='cannot be read'):
        read_card(tmp_path / 'broken.pt2')


class Touch:
    """What whoever unpickles it does: a file, by which a test sees that code ran."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize('ending', ['onnx', 'pt2'])
@pytest.mark.parametrize(
    'text',
    [
        '!!python/object/apply:pathlib.Path.touch [ran]',
        '{"model": ',
        '["card"]',
        '[' * 100_000,
        'PICKLE',
    ],
    ids=['yaml', 'cut', 'list', 'deep', 'pickle'],
)
def test_cards_that_are_none_run_nothing(tmp_path, monkeypatch, ending, text):
    import onnx

    monkeypatch.chdir(tmp_path)
    if text == 'PICKLE':  # of protocol 0, which is text
        text = pickle.dumps(Touch(Path('ran')), protocol=0).decode()
    path = Path(f'stranger.{ending}')
    if ending == 'onnx':
        model = onnx.helper.make_model(onnx.helper.make_graph([], 'stranger', [], []))
        onnx.helper.set_model_props(model, {CARD_KEY: text})
        onnx.save(model, path)
    else:
        with ZipFile(path, 'w') as archive:
            archive.writestr('stranger/extra/sits.json', text)
    with pytest.raises(SITSError, match=f'the card of stranger.{ending} is no'):
        read_card(path)
    assert not Path('ran').exists()


def test_nothing_of_a_pt2_file_is_unpickled_unless_it_is_trusted(tmp_path, monkeypatch):
    path = tmp_path / 'stranger.pt2'
    with ZipFile(path, 'w') as archive:
        archive.writestr('stranger/extra/sits.json', '{"bands": ["B04"]}')
        archive.writestr('stranger/data/weights/model.pt', b'cos\nsystem\n(S"exit 1"\ntR.')
    loaded = []
    monkeypatch.setattr(torch.export, 'load', loaded.append)
    monkeypatch.setattr(torch, 'load', loaded.append)
    assert read_card(path) == {'bands': ['B04']}
    with pytest.raises(SITSError, match='give trust=True'):
        load_pt2(path)
    assert not loaded


S1_STATISTICS = {'bands_s1': ['VV', 'VH'], 'mean_s1': [-11.0, -18.0], 'std_s1': [4.0, 3.0]}
WITH_S1 = {**OTHERS['factorised_tiny'], 's1_channels': 2}


@pytest.mark.parametrize('suffix', ['onnx', 'pt2'])
def test_s1_is_among_the_inputs_of_models_that_take_it(suffix, tmp_path):
    task = SITSSegmentation(
        model='factorised_tiny', in_channels=2, model_kwargs=WITH_S1, num_classes=3
    )
    card = encoder_card(
        'factorised_tiny',
        task.encoder,
        prefix='encoder',
        task='SITSSegmentation',
        **STATISTICS,
        **S1_STATISTICS,
    )
    content = {'state_dict': task.state_dict(), 'hyper_parameters': dict(task.hparams)}
    content |= {'pytorch-lightning_version': '2.6.0', CARD_KEY: card}
    torch.save(content, tmp_path / 'x.ckpt')
    path = tmp_path / f'model.{suffix}'
    export_model(tmp_path / 'x.ckpt', path)
    eager, _ = load_model(tmp_path / 'x.ckpt')
    loaded = load_pt2(path, trust=True)[0] if suffix == 'pt2' else None
    mean, std = (torch.tensor(S1_STATISTICS[k])[:, None, None] for k in ('mean_s1', 'std_s1'))
    for t, t_s1 in ((5, 7), (1, 3), (6, 1)):
        series, s1 = raw_series((2, t, 9, 11), t), raw_series((2, t_s1, 9, 11), 9)
        for valid in (True, False):
            seen = s1._replace(valid=s1.valid & valid)
            inputs = inputs_of(series._replace(s1=seen))
            with torch.no_grad():
                wanted = eager(**inputs)['probabilities']
                if loaded:
                    found = loaded(*inputs.values())['probabilities']
                else:
                    found = run_onnx(path, series._replace(s1=seen))['probabilities']
                torch.testing.assert_close(found, wanted, **CLOSE)
                # What the task says of normalised values.
                centre, spread = (
                    torch.tensor(STATISTICS[k])[:, None, None] for k in ('mean', 'std')
                )
                batch = inputs | {
                    'image': (inputs['image'] - centre) / spread,
                    'image_s1': (inputs['image_s1'] - mean) / std,
                }
                torch.testing.assert_close(task.eval().predict_step(batch, 0), wanted, **CLOSE)
                if not valid:
                    torch.testing.assert_close(eager(*series[:4])['probabilities'], wanted, **CLOSE)


def test_onnx_counts_the_frames_of_s1_apart(tmp_path):
    import onnx

    encoder = build_encoder('factorised_tiny', 2, **WITH_S1)
    state = {f'backbone.{k}': v for k, v in encoder.state_dict().items()}
    card = encoder_card('factorised_tiny', encoder, **STATISTICS, **S1_STATISTICS)
    torch.save({'state_dict': state, CARD_KEY: card}, tmp_path / 'x.ckpt')
    export_model(tmp_path / 'x.ckpt', tmp_path / 'x.onnx')
    graph = onnx.load(tmp_path / 'x.onnx').graph
    axes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in graph.input
    }
    assert axes['image_s1'] == ['batch', 'frames_s1', 2, 'height', 'width']
    assert list(axes)[4:] == ['image_s1', 'acquisition_times_s1', 'valid_s1', 'mask_clear_s1']
