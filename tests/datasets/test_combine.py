"""Series with labels, series with series, and what TorchGeo does with them."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import torch
from rasterio.transform import from_origin
from torch.utils.data import DataLoader
from torchgeo.datasets import (
    GeoDataset,
    IntersectionDataset,
    RasterDataset,
    VectorDataset,
    random_bbox_assignment,
    random_bbox_splitting,
    random_grid_cell_assignment,
    roi_split,
    time_series_split,
)
from torchgeo.samplers import (
    GriddedPatchSampler,
    RandomPatchSampler,
    RandomTimedeltaSampler,
    RandomTimestampSampler,
    SequentialPeriodSampler,
    SequentialTimedeltaSampler,
    SequentialTimestampSampler,
)

from torchgeo_sits.datasets import RasterTimeSeries, merge_series

X0, Y0 = 500_000.0, 5_600_000.0
DAY = 86_400


def write(
    path: Path,
    data: np.ndarray,
    *,
    x: float = X0,
    y: float = Y0,
    res: float = 10,
    **profile: Any,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        count=len(data),
        height=data.shape[1],
        width=data.shape[2],
        dtype=data.dtype,
        crs='EPSG:32631',
        nodata=0,
        transform=from_origin(x, y, res, res),
        **profile,
    ) as file:
        file.write(data)


def frames(folder: Path, dates: list[str], value: int = 0, **options: Any) -> RasterTimeSeries:
    """Two bands that tell column and date."""
    for i, date in enumerate(dates):
        data = np.empty((2, 32, 32), 'uint16')
        data[0] = np.arange(1, 33) + value
        data[1] = i + 1 + value
        write(folder / f'a_{date}.tif', data, **options)
    return RasterTimeSeries(folder)


DATES = ['20200101', '20200111', '20200121', '20200131', '20200210']


class Labels(RasterDataset):
    filename_regex = r'.*_(?P<date>\d{4})'
    date_format = '%Y'
    is_image = False


@pytest.mark.parametrize('unions', [False, True])
def test_labels_join_by_place(tmp_path: Path, unions: bool) -> None:
    series: GeoDataset = frames(tmp_path / 'a', DATES)
    if unions:
        series = series | frames(tmp_path / 'b', DATES[:2], 50, x=X0 + 320)
    classes = np.arange(1, 1025, dtype='int32').reshape(1, 32, 32)
    write(tmp_path / 'labels/l_2015.tif', classes)  # another year
    labelled = series & Labels(tmp_path / 'labels')
    window = (slice(X0 + 40, X0 + 80), slice(Y0 - 200, Y0 - 100))
    sample = labelled[window]
    assert sample['mask'].dtype == torch.int64
    assert np.array_equal(sample['mask'], classes[0, 10:20, 4:8])
    assert sample['image'][0, 0, 0].tolist() == [5, 6, 7, 8]  # the very same pixels
    assert sample['bounds'].shape == sample['transform'].shape == (9,)
    assert len(labelled) == 5
    assert labelled.index.total_bounds.tolist() == [X0, Y0 - 320, X0 + 320, Y0]


def test_labels_stay_on_pixels_that_moved(tmp_path: Path) -> None:
    series = frames(tmp_path / 'a', DATES[:1], x=X0 + 4)  # off the multiples of 10 m
    classes = np.tile(np.arange(1, 33, dtype='int32'), (1, 32, 1))
    write(tmp_path / 'labels/l_2020.tif', classes, x=X0 + 4)
    labelled = series & Labels(tmp_path / 'labels')
    for left in (X0 + 20, X0 + 26, X0 + 28.9, X0 + 31):
        sample = labelled[left : left + 50, Y0 - 100 : Y0 - 50]
        assert sample['mask'][0].tolist() == sample['image'][0, 0, 0].tolist()


def test_real_labels_lie_on_the_frames(shared_data: Path) -> None:
    series = RasterTimeSeries(shared_data / 'wc_be_a/s2')
    path = shared_data / 'wc_be_a/labels/wc_be_a_CT.tif'

    class Crops(RasterDataset):
        is_image = False

    x, y, _ = series.bounds
    part = slice(x.start + 100, x.start + 400), slice(y.start + 200, y.start + 500)
    sample = (series & Crops(path))[part]
    with rasterio.open(path) as source:
        window = source.window(part[0].start, part[1].start, part[0].stop, part[1].stop)
        expected = source.read(1, window=window)
    assert np.array_equal(sample['mask'], expected)
    assert len(sample['image']) == 118


def test_labels_are_right_in_workers_after_the_parent_read(tmp_path: Path) -> None:
    # Many small blocks: workers that share a file offset soon decode one at a wrong place.
    drawn = np.random.default_rng(0).integers(1, 200, (1, 768, 768)).astype('uint8')
    blocks = {'tiled': True, 'blockxsize': 32, 'blockysize': 32, 'compress': 'deflate'}
    write(tmp_path / 'l' / 'l_2020.tif', drawn, **blocks)
    write(tmp_path / 'a' / 'a_20200101.tif', np.ones((1, 768, 768), 'uint8'))
    dataset = RasterTimeSeries(tmp_path / 'a') & Labels(tmp_path / 'l')
    windows = list(GriddedPatchSampler(dataset, size=32))
    assert dataset[windows[0]]['mask'].shape == (32, 32)
    loader = DataLoader(
        dataset,
        sampler=windows,
        batch_size=None,
        num_workers=2,
        multiprocessing_context='fork',
    )
    wrong = 0
    for sample in loader:
        left, _, _, _, top, _ = sample['bounds'][:6].tolist()
        column, row = round((left - X0) / 10), round((Y0 - top) / 10)
        expected = drawn[0, row : row + 32, column : column + 32]
        wrong += not np.array_equal(sample['mask'].numpy(), expected)
    assert wrong == 0


def test_vector_labels(tmp_path: Path) -> None:
    series = frames(tmp_path / 'a', DATES)
    field = shapely.box(X0, Y0 - 50, X0 + 100, Y0)
    fields = gpd.GeoDataFrame({'crop': [3]}, geometry=[field], crs='EPSG:32631')
    fields.to_file(tmp_path / 'fields.geojson')
    labels = VectorDataset(tmp_path / 'fields.geojson', label_name='crop')
    mask = (series & labels)[X0 : X0 + 200, Y0 - 100 : Y0]['mask']
    expected = np.zeros((10, 20))
    expected[:5, :10] = 3
    assert np.array_equal(mask, expected)


def test_images_intersect_as_in_torchgeo(tmp_path: Path) -> None:
    both = frames(tmp_path / 'a', DATES) & frames(tmp_path / 'b', DATES)
    assert type(both) is IntersectionDataset
    assert len(both) == len(DATES)


def test_disjoint_places_in_one_union(tmp_path: Path) -> None:
    a = frames(tmp_path / 'a', DATES)
    b = frames(tmp_path / 'b', DATES[:2], 100, x=X0 + 5000)
    both = a | b
    assert len(both[X0 : X0 + 100, Y0 - 100 : Y0]['image']) == 5
    sample = both[X0 + 5000 : X0 + 5100, Y0 - 100 : Y0]
    assert sample['image'][:, 1, 0, 0].tolist() == [101, 102]
    assert sample['length'] == 2
    three = both | frames(tmp_path / 'c', DATES[:3], 200, x=X0 + 9000)
    assert len(three[X0 + 9000 : X0 + 9100, Y0 - 100 : Y0]['image']) == 3


def test_overlapping_series_merge_in_time(tmp_path: Path) -> None:
    a = frames(tmp_path / 'a', ['20200101', '20200121'])
    hole = np.full((2, 32, 32), 90, 'uint16')
    hole[0, :16] = 0
    write(tmp_path / 'b/b_20200111.tif', hole)
    write(tmp_path / 'b/b_20200121.tif', np.full((2, 32, 32), 70, 'uint16'))
    both = a | RasterTimeSeries(tmp_path / 'b')
    sample = both[both.bounds]
    days = pd.to_datetime(sample['acquisition_times'].numpy(), unit='s').day.tolist()
    assert days == [1, 11, 21]
    assert sample['image'][:, 1, 31, 0].tolist() == [1, 90, 2]  # the first series wins
    assert sample['mask_clear'][:, 0, 0].tolist() == [True, False, True]
    assert sample['image'][1, :, 0, 0].tolist() == [0, 0]
    assert sample['valid'].tolist() == [True] * 3
    assert sample['length'] == 3


def test_merge_takes_what_was_seen() -> None:
    def one(values: list[float], clear: list[bool], time: int) -> dict[str, torch.Tensor]:
        return {
            'image': torch.tensor(values).view(1, 1, 1, 3),
            'mask_clear': torch.tensor(clear).view(1, 1, 3),
            'acquisition_times': torch.tensor([time]),
            'valid': torch.ones(1, dtype=torch.bool),
            'length': torch.tensor(1),
        }

    # Seen by the first; cloudy in the first, seen by the second; a gap, cloudy in the second.
    first = one([1, 2, 0], [True, False, False], 10 * DAY + 60)
    second = one([4, 5, 6], [True, True, False], 10 * DAY)
    merged = merge_series([first, second])
    assert merged['image'].flatten().tolist() == [1, 5, 6]
    assert merged['mask_clear'].flatten().tolist() == [True, True, False]
    assert merged['acquisition_times'].tolist() == [10 * DAY]
    passes = merge_series([first, second], group_by='time')
    assert passes['image'][:, 0, 0, 0].tolist() == [4, 1]
    second['image'] = second['image'].expand(1, 2, 1, 3)
    with pytest.raises(ValueError, match='cannot be merged'):
        merge_series([first, second])
    with pytest.raises(ValueError, match='no samples'):
        merge_series([])


def read_all(series: GeoDataset, days: int) -> None:
    """Each interval of the index finds its frame: samplers of single dates draw just these."""
    index = series.index
    assert len(index) > 0
    seen = set()
    for (_, row), interval in zip(index.iterrows(), index.index, strict=True):
        left, bottom, right, top = row.geometry.bounds
        sample = series[left:right, bottom:top, interval.left : interval.right]
        assert len(sample['image']) == 1
        assert interval.left.timestamp() <= sample['acquisition_times'][0]
        seen.add(int(sample['acquisition_times'][0]))
    assert len(seen) <= days


def test_splitters(tmp_path: Path) -> None:
    series = frames(tmp_path, DATES)
    half = X0 + 160
    _, _, t = series.bounds
    early = pd.Timedelta(days=20, hours=13)  # in the middle of the third date
    rois = [shapely.box(X0, Y0 - 320, half, Y0), shapely.box(half, Y0 - 320, X0 + 320, Y0)]
    splits = {
        'roi': roi_split(series, rois),
        'bbox': random_bbox_assignment(series, [0.6, 0.4]),
        'cut': random_bbox_splitting(series, [0.5, 0.5]),
        'grid': random_grid_cell_assignment(series, [0.5, 0.5], grid_size=4),
        'time': time_series_split(series, [early, t.stop - t.start - early]),
    }
    for parts in splits.values():
        for part in parts:
            read_all(part, len(DATES))
    first, second = splits['time']
    assert len(first) + len(second) == len(DATES)


def test_a_day_cut_in_two_is_in_one_part(tmp_path: Path) -> None:
    series = frames(tmp_path, DATES)
    noon = pd.Timestamp('2020-01-21 12:00')
    _, _, t = series.bounds
    cuts = [pd.Interval(t.start, noon), pd.Interval(noon, t.stop)]
    first, second = time_series_split(series, cuts)
    assert (len(first), len(second)) == (3, 2)
    read_all(second, 2)


def test_samplers(tmp_path: Path) -> None:
    series = frames(tmp_path, DATES)
    patches = GriddedPatchSampler(series, size=16)
    month = pd.Timedelta(days=30)
    samplers = {
        patches: (4, 5),
        RandomPatchSampler(series, size=8, length=6) @ RandomTimestampSampler(series): (6, 1),
        patches @ SequentialTimestampSampler(series): (20, 1),
        patches @ SequentialTimedeltaSampler(series, delta=month): (8, None),
        patches @ SequentialPeriodSampler(series, freq='M'): (4, 4),
        RandomPatchSampler(series, size=8, length=5)
        @ RandomTimedeltaSampler(series, delta=month, generator=0): (5, None),
    }
    for sampler, (count, length) in samplers.items():
        samples = [series[index] for index in sampler]
        assert len(samples) == count
        for sample in samples:
            assert length is None or len(sample['image']) == length
            # A window of its own place: the first band tells the column.
            column = (sample['bounds'][0] - X0) / 10 + 1
            assert sample['image'][0, 0, 0, 0] == column
