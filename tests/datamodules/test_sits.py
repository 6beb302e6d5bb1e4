"""SITSDataModule on a folder: batches by the contract, splits, statistics, refusals."""

import numpy as np
import pytest
import rasterio
import shapely
import torch
from lightning.pytorch import LightningModule, Trainer
from rasterio.transform import from_origin

from torchgeo_sits.datamodules import ImageOptions, LabelOptions, PatchOptions, SITSDataModule
from torchgeo_sits.datasets import Sentinel2TimeSeries
from torchgeo_sits.errors import SITSError
from torchgeo_sits.keys import FRAME_KEYS

from .grouped import grouped


@pytest.fixture
def labels(tmp_path, series_folder):
    """Labels 1 to 3 on the grid of the series: stripes that every block of 8 pixels meets."""
    with rasterio.open(next(iter(sorted(series_folder.iterdir())))) as image:
        profile = {**image.profile, 'count': 1, 'dtype': 'uint8'}
    mask = np.tile(np.arange(40) % 3 + 1, (32, 1)).astype('uint8')
    with rasterio.open(tmp_path / 'labels.tif', 'w', **profile) as file:
        file.write(mask[None])
    return tmp_path / 'labels.tif'


def module(series_folder, **kwargs):
    options = {'patches__size': 8, 'batch_size': 4, 'patches__length': 8, **kwargs}
    made = SITSDataModule(str(series_folder), **grouped(**options))
    made.setup('fit')
    return made


def test_batches_keep_the_contract(series_folder):
    batch = next(iter(module(series_folder).train_dataloader()))
    shapes = {key: tuple(batch[key].shape) for key in FRAME_KEYS}
    assert shapes == {
        'image': (4, 8, 3, 8, 8),
        'acquisition_times': (4, 8),
        'valid': (4, 8),
        'mask_clear': (4, 8, 8, 8),
    }
    assert (batch['acquisition_times'].diff(dim=1) > 0).all()
    assert batch['valid'].all()


def test_series_is_all_that_training_needs(series_folder):
    made = module(series_folder)
    assert made.in_channels == 3
    assert made.probe_dataloaders() is None
    # Nothing can be validated, so nothing is held out.
    assert made.train_dataset.index.union_all().area == 32 * 40 * 100


def test_statistics_equal_those_of_the_files(series_folder):
    made = module(series_folder)
    pixels = []
    for path in series_folder.glob('*.tif'):
        with rasterio.open(path) as file:
            pixels.append(file.read().reshape(3, -1))
    pixels = np.concatenate(pixels, axis=1).astype('float64')
    np.testing.assert_allclose(made.statistics[0], pixels.mean(1), rtol=1e-5)
    np.testing.assert_allclose(made.statistics[1], pixels.std(1), rtol=1e-4)
    batch = made.aug(next(iter(made.train_dataloader())))
    assert batch['image'].mean().abs() < 0.2


def test_number_of_dates_is_kept(series_folder):
    batch = next(iter(module(series_folder, patches__num_dates=3).train_dataloader()))
    assert batch['image'].shape[1] == 3


def test_probe_splits_labelled_places(series_folder, labels):
    made = module(series_folder, labels__paths=str(labels), labels__num_classes=4)
    bank, query = made.probe_dataloaders()
    pixels = [sum((batch['mask'] > 0).sum().item() for batch in loader) for loader in (bank, query)]
    assert sum(pixels) == 32 * 40
    assert pixels[1] == pytest.approx(0.25 * 32 * 40, rel=0.1)
    for loader in (bank, query):
        for batch in loader:
            assert batch['mask'].shape[1:] == batch['image'].shape[-2:]


def test_supervised_training_gives_masks_that_move_with_the_image(tmp_path, series_folder):
    # Labels that follow from the pixels, wherever a flip or a turn may take them.
    with rasterio.open(min(series_folder.iterdir())) as image:
        profile = {**image.profile, 'count': 1, 'dtype': 'uint8'}
        ground = image.read(1)
    with rasterio.open(tmp_path / 'labels.tif', 'w', **profile) as file:
        file.write((ground % 3 + 1).astype('uint8')[None])
    made = module(
        series_folder,
        labels__paths=str(tmp_path / 'labels.tif'),
        labels__supervised=True,
        patches__length=32,
        images__mean=[0.0] * 3,
        images__std=[1.0] * 3,
    )
    turned = 0
    for batch in made.train_dataloader():
        before = batch['mask'].clone()
        after = made.train_aug(batch)
        first = after['image'][:, 0, 0].round().long()  # the first date holds the ground itself
        assert torch.equal(after['mask'], first % 3 + 1)
        turned += (after['mask'] != before).any().item()
    assert turned


def test_splits_are_free_of_what_holds_the_data_module(series_folder, labels):
    # A data module in a trainer holds models; splitters copy data sets with all they hold.
    class Uncopied:
        def __deepcopy__(self, memo):
            raise AssertionError('the data module was copied with a data set')

    made = SITSDataModule(
        str(series_folder),
        **grouped(
            labels__paths=str(labels),
            labels__num_classes=4,
            labels__supervised=True,
            patches__size=8,
            batch_size=4,
            patches__length=8,
        ),
    )
    made.held = Uncopied()
    for part in ('fit', 'test'):
        made.setup(part)
    assert next(iter(made.train_dataloader()))['mask'].max() == 3


def windows(sampler):
    """Union of the patches that a sampler gives."""
    return shapely.union_all(
        [shapely.box(x.start, y.start, x.stop, y.stop) for x, y, *_ in sampler]
    )


def test_a_series_of_one_date_is_announced(tmp_path):
    write(tmp_path / 's' / 's_20200101.tif', (40, 40))
    with pytest.warns(UserWarning, match='holds one date only, 2020-01-01'):
        module(tmp_path / 's', images__mean=[0.0], images__std=[1.0])


@pytest.mark.parametrize('shift', [0, 13, 7.5])
@pytest.mark.parametrize('supervised', [False, True])
def test_no_patch_reaches_what_is_held_out(tmp_path, monkeypatch, shift, supervised):
    # Labels inside the series, off its patches and by half a pixel off its grid.
    write(tmp_path / 's' / 's_20200101.tif', (110, 110))
    write(tmp_path / 'l' / 'l.tif', (90, 84), shift=shift)
    for seed in range(4):
        made = module(
            tmp_path / 's',
            labels__paths=str(tmp_path / 'l'),
            labels__supervised=supervised,
            labels__num_classes=2,
            patches__length=300,
            patches__size=16,
            seed=seed,
            images__mean=[0.0],
            images__std=[1.0],
        )
        held_out = made.val_dataset.index.union_all()
        assert held_out.area > 0.15 * 90 * 84 * 100
        bank, query = made.probe_dataloaders()
        assert windows(query.sampler).difference(held_out).area < 1e-3
        assert windows(bank.sampler).intersection(held_out).area < 1e-3
        assert windows(made.train_sampler).intersection(held_out).area < 1e-3
        measured = []
        monkeypatch.setattr(
            'torchgeo_sits.datamodules.sits.band_statistics',
            lambda samples, seen=measured: seen.extend(samples),
        )
        made._measure()
        read = [slice(*s['bounds'][[0, 1]].tolist()) for s in measured]
        rows = [slice(*s['bounds'][[3, 4]].tolist()) for s in measured]
        assert measured
        assert windows(zip(read, rows, strict=True)).intersection(held_out).area < 1e-3


def write(path, shape, *, shift=0.0, value=1):
    """A band of one value, moved by so many pixels to the right and down."""
    path.parent.mkdir(exist_ok=True)
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        height=shape[0],
        width=shape[1],
        count=1,
        dtype='uint16',
        crs='EPSG:32631',
        transform=from_origin(600000 + 10 * shift, 5000000 - 10 * shift, 10, 10),
    ) as file:
        file.write(np.full((1, *shape), value, 'uint16'))


def test_dates_are_counted_as_the_series_groups_them(tmp_path):
    for day in (1, 2):
        for hour in (8, 9, 10):
            write(tmp_path / f's_2020010{day}T{hour:02d}0000.tif', (16, 16), value=hour)
    for group_by, count in (('time', 4), ('day', 2)):
        made = module(tmp_path, patches__num_dates=4, images__group_by=group_by)
        batch = next(iter(made.train_dataloader()))
        assert batch['image'].shape[1] == count


def test_a_resumed_run_draws_what_the_run_would_have_drawn(series_folder, tmp_path):
    class Model(LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))
            self.seen = []

        def training_step(self, batch, index):
            self.seen.append(batch['bounds'][:, [0, 3, 6]].tolist())
            return self.weight

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def fit(epochs, resume=None, workers=0):
        model = Model()
        data = module(series_folder, patches__num_dates=3, num_workers=workers, seed=1)
        trainer = Trainer(
            accelerator='cpu',
            max_epochs=epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, data, ckpt_path=resume, weights_only=False if resume else None)
        trainer.save_checkpoint(tmp_path / 'last.ckpt')
        return model.seen

    whole = fit(3)
    assert len({str(batch) for batch in whole}) == len(whole) == 6
    assert fit(2) == whole[:4]
    # Workers fetch the first batches before Lightning tells the sampler its epoch.
    assert fit(3, resume=tmp_path / 'last.ckpt', workers=1) == whole[4:]


@pytest.mark.parametrize(
    'options', [{'split__by': 'time'}, {'split__val_fraction': 0.1}, {'split__test_fraction': 0.1}]
)
def test_splits_without_labels_are_said_to_have_no_effect(series_folder, options):
    with pytest.warns(UserWarning, match='has no effect without labels.*Give labels.paths'):
        SITSDataModule(str(series_folder), **grouped(**options))


def test_options_of_the_series_are_passed_on(series_folder):
    options = {
        'images__dataset_class': Sentinel2TimeSeries,
        'images__bands': ['B02', 'B03', 'B04'],
        'images__mean': [0.0] * 3,
        'images__std': [1.0] * 3,
    }
    with pytest.raises(ValueError, match=r"does not fit Sentinel2TimeSeries.*'gain'"):
        module(series_folder, images__options={'gain': 2}, **options)
    # What the data module has a name for is given by that name.
    with pytest.raises(ValueError, match=r"\['res'\]"):
        module(series_folder, images__options={'res': 20}, **options)
    made = SITSDataModule(str(series_folder), **grouped(images__options={'scale': 0.5}, **options))
    assert made.kwargs['scale'] == 0.5


def test_label_beyond_num_classes_names_file_and_value(series_folder, labels):
    made = module(series_folder, labels__paths=str(labels), labels__num_classes=3)
    with pytest.raises(ValueError, match=r'labels\.tif.*label 3.*num_classes=3'):
        list(made.probe_dataloaders()[0])


def test_split_by_time_validates_on_the_last_dates(series_folder, labels):
    made = module(
        series_folder, labels__paths=str(labels), split__by='time', split__val_fraction=0.25
    )
    train = next(iter(made.train_dataloader()))
    val = next(iter(made.val_dataloader()))
    assert train['image'].shape[1] == 6
    assert val['image'].shape[1] == 2
    assert train['acquisition_times'].max() < val['acquisition_times'].min()


def test_statistics_travel_with_the_state(series_folder):
    first = module(series_folder, images__mean=[1.0, 2.0, 3.0], images__std=[1.0, 2.0, 3.0])
    second = module(series_folder)
    second.load_state_dict(first.state_dict())
    assert second.statistics[0].tolist() == [1.0, 2.0, 3.0]
    assert second.aug.mean.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'images__mean': [1.0]}, 'both images.mean and images.std'),
        ({'images__mean': [1.0], 'images__std': [1.0]}, '1 and 1 values.*3 bands'),
        ({'split__val_fraction': 0.7, 'split__test_fraction': 0.3}, 'leave something for training'),
        ({'labels__supervised': True}, 'labels.paths'),
        ({'patches__num_dates': 0}, 'num_dates'),
        ({'images__bands': ['B1', 'B9']}, 'B9'),
    ],
)
def test_refusals_name_the_value(series_folder, options, message):
    with pytest.raises(ValueError, match=message):
        module(series_folder, **options)


def test_checkpoint_of_other_bands_is_refused(series_folder):
    made = module(series_folder)
    state = {'bands': ['B02'], 'mean': [0.0], 'std': [1.0]}
    with pytest.raises(ValueError, match=r"\['B02'\].*choose `bands`"):
        made.load_state_dict(state)


def test_stacks_of_two_places_and_lengths_share_a_batch(shared_data):
    made = SITSDataModule(
        [str(shared_data / f'wc_be_{x}' / 's2') for x in 'ab'],
        **grouped(
            images__cloud_paths=[str(shared_data / f'wc_be_{x}' / 'scl') for x in 'ab'],
            images__clear_values=[2, 4, 5, 6, 7],
            batch_size=12,
            patches__length=12,
            images__mean=[0.0] * 10,
            images__std=[1.0] * 10,
        ),
    )
    made.setup('fit')
    batch = next(iter(made.train_dataloader()))
    assert set(batch['length'].tolist()) == {118, 72}
    assert torch.equal(batch['valid'].sum(1), batch['length'])
    assert not batch['mask_clear'][~batch['valid']].any()
    assert 0.1 < batch['mask_clear'][batch['valid']].float().mean() < 0.9


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'patches__length': 3}, 'length=3 .*batch_size=4'),
        ({'batch_size': 0}, 'batch_size must be at least 1, got 0'),
        ({'num_workers': -1}, 'num_workers'),
        ({'images__clear_values': [4]}, r'clear_values=\[4\] needs cloud_paths'),
        ({'images__crs': 'EPSG:nowhere'}, "crs='EPSG:nowhere'"),
        ({'images__filename_regex': 'own(('}, 'no regular expression'),
        (
            {'images__filename_regex': 'own_.*'},
            "filename_regex='own_.*' finds no date.*own_20210115",
        ),
    ],
)
def test_options_that_cannot_work_are_refused(series_folder, options, message):
    with pytest.raises(ValueError, match=message):
        module(series_folder, **options)


def test_patches_larger_than_the_imagery_are_announced(series_folder):
    with pytest.warns(UserWarning, match=r'patches.size=64 is larger.*\(32, 40\)'):
        module(series_folder, patches__size=64)


def write_labels(path, labels, values, **profile):
    with rasterio.open(labels) as file:
        profile = {**file.profile, **profile, 'count': len(values)}
    with rasterio.open(path, 'w', **profile) as file:
        file.write(values.astype(profile['dtype']))
    return str(path)


def test_no_data_of_labels_is_no_class(series_folder, labels, tmp_path):
    with rasterio.open(labels) as file:
        values = file.read().astype('float32')
    for no_data in (255, np.nan):
        marked = np.where(values == 3, no_data, values)
        path = write_labels(tmp_path / 'm.tif', labels, marked, nodata=no_data, dtype='float32')
        made = module(series_folder, labels__paths=path, labels__num_classes=3)
        masks = torch.cat([batch['mask'].flatten() for batch in made.probe_dataloaders()[0]])
        assert masks.dtype == torch.int64
        assert set(masks.tolist()) == {0, 1, 2}


def test_rasters_that_are_no_labels_are_named(series_folder, labels, tmp_path):
    halves = write_labels(tmp_path / 'h.tif', labels, np.full((1, 32, 40), 1.5), dtype='float32')
    with pytest.raises(ValueError, match=r'h\.tif.*label 1\.5'):
        list(module(series_folder, labels__paths=halves).probe_dataloaders()[0])
    with pytest.raises(ValueError, match=r'own_20210115\.tif.*3 bands'):
        module(series_folder, labels__paths=str(series_folder))
    with pytest.raises(FileNotFoundError, match=r'nowhere.*`labels.paths`'):
        module(series_folder, labels__paths=str(tmp_path / 'nowhere.tif'))
    (tmp_path / 'text.tif').write_text('no raster')
    with pytest.raises(OSError, match=r'text\.tif.*cannot be opened'):
        module(series_folder, labels__paths=str(tmp_path / 'text.tif'))
    far = rasterio.transform.from_origin(900000, 5000000, 10, 10)
    far = write_labels(tmp_path / 'far.tif', labels, np.ones((1, 32, 40)), transform=far)
    with pytest.raises(SITSError, match=r'far\.tif.*lie nowhere on the images.*900000'):
        module(series_folder, labels__paths=far)


def test_copies_of_the_data_sets_leave_the_data_module_out(series_folder, labels):
    # TorchGeo's splitters copy data sets; a trainer with a model of weight norm cannot be.
    made = SITSDataModule(
        str(series_folder), labels=LabelOptions(str(labels)), patches=PatchOptions(8), batch_size=4
    )
    made.trainer = (torch.ones(1, requires_grad=True) * 2,)
    made.setup('fit')
    assert made.probe_dataloaders() is not None


def test_patches_by_block_are_read_once_a_block(series_folder, monkeypatch):
    module = SITSDataModule(
        str(series_folder),
        **grouped(
            patches__size=8,
            batch_size=4,
            patches__length=24,
            patches__num_dates=3,
            patches__by_block=True,
        ),
    )
    module.setup('fit')
    reads = []
    series = module.train_dataset
    read = series.read_frames
    monkeypatch.setattr(series, 'read_frames', lambda *a: reads.append(1) or read(*a))
    batches = list(module.train_dataloader())
    assert len(batches) == 6
    assert all(batch['image'].shape == (4, 3, 3, 8, 8) for batch in batches)
    assert 0 < len(reads) <= 8


def test_options_that_a_kind_of_series_does_not_take_are_named():
    from torchgeo_sits.datasets import ZarrTimeSeries

    with pytest.raises(ValueError, match='nodata is no argument of ZarrTimeSeries'):
        ImageOptions('cube.zarr', dataset_class=ZarrTimeSeries, nodata=0).open()
    module = SITSDataModule(
        'cube.zarr', **grouped(images__dataset_class=ZarrTimeSeries, images__min_clear=0.5)
    )
    assert 'cloud_paths' not in module.kwargs
    assert module.kwargs['min_clear'] == 0.5
