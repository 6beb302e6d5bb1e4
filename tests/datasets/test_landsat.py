"""Landsat by its quality bits, and the hooks of data sets of rasters that it is made of."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

from tests.recipes.landsat_qa import LandsatQA
from torchgeo_sits import main
from torchgeo_sits.datasets import (
    LandsatTimeSeries,
    RasterTimeSeries,
    Sentinel2TimeSeries,
    ZarrTimeSeries,
)

#: Values of QA_PIXEL by the USGS's guide: clear land, clear water, cloud, cirrus, shadow, snow,
#: dilated cloud, fill.
QUALITY = np.array([21824, 21952, 22280, 54596, 23888, 30048, 21826, 1], 'uint16')
CLEAR = [True, True, False, False, False, True, False, False]
DAYS = ('20200601', '20200617')


def write(path: Path, data: np.ndarray, nodata: float | None = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = {'count': 1, 'height': data.shape[0], 'width': data.shape[1], 'dtype': data.dtype}
    where = {'crs': 'EPSG:32632', 'transform': from_origin(600_000, 5_000_000, 30, 30)}
    with rasterio.open(path, 'w', driver='GTiff', nodata=nodata, **where, **size) as file:
        file.write(data, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two dates of red, near infrared and temperature, with QA_PIXEL beside."""
    folder = tmp_path / 'landsat'
    for i, day in enumerate(DAYS):
        scene = f'LC08_L2SP_198025_{day}_20200831_02_T1'
        for band, value in (('SR_B4', 9000), ('SR_B5', 20000), ('ST_B10', 44000)):
            data = np.full((8, 4), value + 100 * i, 'uint16')
            data[0, 0] = 0
            write(folder / f'{scene}_{band}.TIF', data)
        write(folder / f'{scene}_QA_PIXEL.TIF', QUALITY[:, None].repeat(4, 1), nodata=1)
    return folder


def whole(series: Any) -> dict[str, torch.Tensor]:
    sample: dict[str, torch.Tensor] = series[series.bounds]
    return sample


def test_dates_values_and_bits(folder: Path) -> None:
    series = LandsatTimeSeries(folder)
    assert series.bands == ('SR_B4', 'SR_B5')
    sample = whole(series)
    days = [np.datetime64(f'{day[:4]}-{day[4:6]}-{day[6:]}', 's').astype(int) for day in DAYS]
    assert sample['acquisition_times'].tolist() == days
    # By hand: 9000 x 0.0000275 - 0.2 and so on, and 0 where DN 0 says that there is no data.
    expected = [[0.0475, 0.35], [0.05025, 0.35275]]
    assert np.allclose(sample['image'][:, :, 3, 2], expected, atol=1e-6)
    assert not sample['image'][:, :, 0, 0].any()
    assert sample['mask_clear'][0, :, 1].tolist() == CLEAR
    assert not sample['mask_clear'][:, 0, 0].any()
    with rasterio.open(series.cloud_files[1]) as file:
        bits = file.read(1) & 0b11111
    seen = sample['image'].any(dim=1)
    assert torch.equal(sample['mask_clear'][1], torch.from_numpy(bits == 0) & seen[1])
    assert len(series.source_files) == 4
    assert len(series.cloud_files) == 2


def test_temperature_has_a_scale_of_its_own(folder: Path) -> None:
    sample = whole(LandsatTimeSeries(folder, bands=['st_b10']))
    assert sample['image'][0, 0, 3, 2].item() == pytest.approx(44000 * 0.00341802 + 149, abs=1e-3)
    with pytest.raises(ValueError, match='no scale in common'):
        LandsatTimeSeries(folder, bands=['SR_B4', 'ST_B10'])


def test_sensors_whose_bands_differ_are_refused(folder: Path) -> None:
    for band in ('SR_B4', 'SR_B5'):
        write(
            folder / f'LT05_L2SP_198025_20100601_20200824_02_T1_{band}.TIF',
            np.full((8, 4), 9000, 'uint16'),
        )
    with pytest.raises(ValueError, match=r'not the same light.*LT05.*LC08'):
        LandsatTimeSeries(folder)


def test_masks_elsewhere_and_values_of_the_user_win(folder: Path, tmp_path: Path) -> None:
    masks = tmp_path / 'masks'
    masks.mkdir()
    for path in folder.glob('*QA_PIXEL.TIF'):
        path.rename(masks / path.name)
    assert whole(LandsatTimeSeries(folder))['mask_clear'][0, 1:].all()  # there is no mask
    found = whole(LandsatTimeSeries(folder, cloud_paths=masks))
    assert found['mask_clear'][0, :, 1].tolist() == CLEAR
    water = whole(LandsatTimeSeries(folder, cloud_paths=masks, clear_values=[21952]))
    assert water['mask_clear'][0, :, 1].nonzero().tolist() == [[1]]
    with pytest.raises(ValueError, match='needs cloud_paths'):
        LandsatTimeSeries(folder, clear_values=[21952])


def test_recipe_is_short_and_agrees_with_the_product(folder: Path) -> None:
    ours, theirs = (
        whole(LandsatTimeSeries(folder)),
        whole(LandsatQA(folder, bands=['SR_B4', 'SR_B5'])),
    )
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    source = Path(__file__).parents[1] / 'recipes' / 'landsat_qa.py'
    assert len([line for line in source.read_text().splitlines() if line]) <= 24


def test_recipe_is_trained_on_by_its_path_in_a_configuration(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / 'landsat.yaml'
    config.write_text(f"""\
data:
  class_path: torchgeo_sits.datamodules.SITSDataModule
  init_args:
    images:
      paths: {folder}
      dataset_class: tests.recipes.landsat_qa.LandsatQA
      bands: [SR_B4, SR_B5]
    patches: {{size: 4, length: 2}}
    batch_size: 2
""")
    monkeypatch.chdir(tmp_path)
    args = ['--config', 'conf/simclr.yaml', '--config', str(config)]
    args += ['--model.model=tempcnn', '--model.views_kwargs={kind: walk}']
    main.main(['fit', *args, '--trainer.accelerator=cpu', '--trainer.max_steps=1'])
    [checkpoint] = tmp_path.rglob('*.ckpt')
    card = torch.load(checkpoint, weights_only=True)['sits']
    assert card['bands'] == ['SR_B4', 'SR_B5']
    # In reflectance: by the scale of the recipe.
    assert 0 < card['mean'][0] < 0.1 < 0.3 < card['mean'][1] < 0.4


def test_hooks_survive_a_pickle(folder: Path) -> None:
    series = LandsatTimeSeries(folder)
    copied = pickle.loads(pickle.dumps(series))
    assert torch.equal(whole(copied)['mask_clear'], whole(series)['mask_clear'])


def test_quality_layer_that_nothing_decodes_is_refused(folder: Path) -> None:
    class Mine(RasterTimeSeries):
        quality_band = 'ST_B10'

    with pytest.raises(ValueError, match=r'layer ST_B10\) needs clear_values or cloud_bits'):
        Mine(folder, bands=['SR_B4'])
    series = Mine(folder, bands=['SR_B4'], clear_values=[44000])
    assert whole(series)['mask_clear'].sum(dim=(1, 2)).tolist() == [31, 0]


class Handed(Sentinel2TimeSeries):
    """A subclass that names no option of its parents."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.made_with = kwargs


class Gain(LandsatTimeSeries):
    """A subclass with an option of its own."""

    def __init__(self, *args: Any, gain: float = 1.0, **kwargs: Any) -> None:
        """Open the files.

        Args:
            *args: Handed on.
            gain: Factor on the reflectance.
            **kwargs: Handed on.
        """
        super().__init__(*args, **kwargs)
        self.scale *= gain


def test_class_without_positional_arguments_converts(folder: Path, tmp_path: Path) -> None:
    for day in DAYS:
        write(tmp_path / 's2' / f'T31UES_{day}T105031_B04.tif', np.full((4, 4), 900, 'uint16'))
    path = tmp_path / 'c.zarr'
    name = f'{__name__}.Handed'
    args = ['--dataset_class', name, '--scale', '0.01', '--crs', 'EPSG:32632']
    main.main(['cube', str(tmp_path / 's2'), str(path), *args])
    assert whole(ZarrTimeSeries(path))['image'].unique().tolist() == [9]


def test_subclasses_hand_options_on(folder: Path, tmp_path: Path) -> None:
    sample = whole(Gain(folder, gain=2, bands=['SR_B5']))
    assert sample['image'][0, 0, 3, 2].item() == pytest.approx(0.7, abs=1e-6)
    with pytest.raises(TypeError, match='unexpected keyword argument'):
        Gain(folder, loss=3)
    path = tmp_path / 'c.zarr'
    name = f'{__name__}.Gain'
    main.main(['cube', str(folder), str(path), '--dataset_class', name, '--gain', '2', '--verify'])
    cube = whole(ZarrTimeSeries(path))
    series = whole(Gain(folder, gain=2))
    assert all(torch.equal(cube[key], series[key]) for key in ('image', 'mask_clear'))


def test_cubes_refuse_options_of_their_conversion(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / 'c.zarr'
    main.main(['cube', str(folder), str(path), '--bands', '[SR_B4]', '--clear_values', 'null'])
    opened = ZarrTimeSeries(path, nodata=None, cloud_paths=None, unreadable='raise')
    assert opened.bands == ('SR_B4',)
    with pytest.raises(ValueError, match=r'nodata is no argument of ZarrTimeSeries.*sits cube'):
        ZarrTimeSeries(path, nodata=0)
    with pytest.raises(ValueError, match='unreadable is no argument'):
        ZarrTimeSeries(path, unreadable='skip')
    with pytest.raises(TypeError, match='unexpected keyword argument'):
        ZarrTimeSeries(path, gain=2)
