"""Random patches, several from each block of the files."""

from itertools import batched, pairwise

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import torch
from rasterio.transform import from_origin
from scipy.stats import chisquare
from torch.utils.data import DataLoader

from torchgeo_sits.collate import pad_time
from torchgeo_sits.datasets import RasterTimeSeries
from torchgeo_sits.samplers import (
    BlockPatchSampler,
    BlockWindow,
    RandomDateCountSampler,
    ShardedSampler,
)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Five dates of 60 x 80 pixels in blocks of 32 x 16, each pixel of its own value."""
    folder = tmp_path_factory.mktemp('blocks')
    ground = np.arange(60 * 80).reshape(1, 60, 80)
    for i in range(5):
        with rasterio.open(
            folder / f's_2021{i + 1:02d}01.tif',
            'w',
            driver='GTiff',
            height=60,
            width=80,
            count=1,
            dtype='uint16',
            crs='EPSG:32631',
            transform=from_origin(600_000, 5_000_000, 10, 10),
            tiled=True,
            blockxsize=16,
            blockysize=32,
            nodata=0,
        ) as file:
            file.write((ground + 5000 * i + 1).astype('uint16'))
    return folder


def starts(windows, size):
    """Row and column of the first pixel of windows on the grid of the folder."""
    return np.array([((5_000_000 - y.stop) / 10, (x.start - 600_000) / 10) for x, y in windows])


def test_every_position_is_as_likely(folder):
    series = RasterTimeSeries(folder)
    sampler = BlockPatchSampler(series, size=(12, 10), length=196_000, generator=3)
    rows, columns = starts(sampler, (12, 10)).astype(int).T
    assert sampler.per_block == (32 + 11) * (16 + 9) // 120
    # Positions of one draw go together: of each only one is counted, in the order of its block.
    first = np.array([w.last for w in sampler])
    table = np.zeros((49, 71))
    np.add.at(table, (rows[first], columns[first]), 1)
    assert chisquare(table.ravel()).pvalue > 1e-3
    # All of them fill all positions, and lie in no part of the blocks more often.
    assert len(set(zip(rows.tolist(), columns.tolist(), strict=True))) == 49 * 71
    straddling = ((columns % 16) > 6).mean()
    assert straddling == pytest.approx(sum(c % 16 > 6 for c in range(71)) / 71, abs=0.01)


def test_neighbours_come_from_different_blocks(folder):
    sampler = BlockPatchSampler(
        RasterTimeSeries(folder), size=6, length=500, per_block=4, open_blocks=2, generator=0
    )
    windows = list(sampler)
    groups = [id(window.block) for window in windows]
    assert all(a != b for a, b in pairwise(groups))
    # Each draw gives what was asked for, but for those that the epoch leaves open.
    counts = pd.Series(groups).value_counts()
    assert (counts == 4).sum() >= 120
    assert counts.max() == 4
    for window in windows:
        x, y = window.block
        block = shapely.box(x.start, y.start, x.stop, y.stop)
        patch = shapely.box(window[0].start, window[1].start, window[0].stop, window[1].stop)
        assert shapely.covers(block, patch)
        # No more than the blocks that the patch itself needs.
        assert x.stop - x.start <= 2 * 160


def test_samples_are_those_of_plain_windows(folder, monkeypatch):
    series, plain = RasterTimeSeries(folder), RasterTimeSeries(folder)
    reads = []
    read = series.read_frames
    monkeypatch.setattr(series, 'read_frames', lambda *a: reads.append(1) or read(*a))
    dates = RandomDateCountSampler(series, count=2, stride='max', generator=1)
    sampler = BlockPatchSampler(series, size=7, length=96, per_block=8, generator=1) @ dates
    for window in sampler:
        assert isinstance(window, BlockWindow)
        got, wanted = series[window], plain[tuple(window)]
        assert got.keys() == wanted.keys()
        for key in got:
            assert torch.equal(got[key], wanted[key]), key
    assert len(reads) <= 96 / 8 + 4  # those that are open at the end
    assert len(series._by_place.blocks._blocks) <= 4


def test_changing_a_sample_changes_no_other(folder):
    series = RasterTimeSeries(folder)
    window = BlockWindow.cut(
        (slice(600_000, 600_160), slice(4_999_680, 5_000_000)),
        (slice(600_000, 600_160), slice(4_999_680, 5_000_000)),
        last=False,
        kept=2,
    )
    first = series[window]
    image = first['image'].clone()
    for key in ('image', 'mask_clear', 'acquisition_times'):
        first[key].zero_()
    assert torch.equal(series[window]['image'], image)
    assert series[window]['mask_clear'].all()


def test_patches_stay_in_a_region_of_interest(folder):
    series = RasterTimeSeries(folder)
    # A slanted shape, so that positions must be tried.
    roi = shapely.Polygon([(600_000, 4_999_400), (600_800, 4_999_400), (600_000, 5_000_000)])
    sampler = BlockPatchSampler(series, size=6, length=400, roi=roi, generator=0)
    boxes = shapely.box(*np.array([(x.start, y.start, x.stop, y.stop) for x, y in sampler]).T)
    assert shapely.covers(shapely.buffer(roi, 0.1), boxes).all()


def test_each_worker_reads_blocks_of_its_own(folder):
    series = RasterTimeSeries(folder)
    sampler = BlockPatchSampler(
        series, size=6, length=240, per_block=10, open_blocks=2, batch_size=4, num_workers=3
    )
    of_worker = {}
    windows = list(sampler)  # kept, so that no two blocks have one id
    for i, batch in enumerate(batched(windows, 4)):
        of_worker.setdefault(i % 3, set()).update(id(w.block) for w in batch)
    assert not of_worker[0] & of_worker[1]
    assert not of_worker[0] & of_worker[2]
    assert not of_worker[1] & of_worker[2]


def test_processes_share_an_epoch_and_no_block(folder):
    series = RasterTimeSeries(folder)
    shares = []
    for rank in range(2):
        sampler = BlockPatchSampler(
            series, size=6, length=80, per_block=5, batch_size=4, num_replicas=2, generator=0
        )
        shares.append(list(ShardedSampler(sampler, num_replicas=2, rank=rank)))
    assert [len(share) for share in shares] == [40, 40]
    blocks = [{w.block[0].start * 1e8 + w.block[1].start for w in share} for share in shares]
    # By value, and small blocks may be drawn twice: few at most are the same.
    assert len(blocks[0] & blocks[1]) <= 2


def test_epoch_resumes_where_it_was_left(folder):
    def made():
        return BlockPatchSampler(RasterTimeSeries(folder), size=6, length=60, generator=5)

    whole = [tuple(w) for w in made()]
    sampler = made()
    seen = [tuple(w) for w, _ in zip(sampler, range(23), strict=False)]
    state = sampler.state_dict(consumed=23)
    resumed = made()
    resumed.load_state_dict(state)
    assert seen + [tuple(w) for w in resumed] == whole
    assert len(made()) == 60


@pytest.mark.parametrize('workers', [0, 2])
def test_loader_gives_right_pixels(folder, workers):
    series = RasterTimeSeries(folder)
    series[600_000:600_100, 4_999_900:5_000_000]  # opened before the fork
    sampler = BlockPatchSampler(
        series, size=5, length=64, per_block=4, batch_size=8, num_workers=workers, generator=0
    )
    loader = DataLoader(
        series, batch_size=8, sampler=sampler, num_workers=workers, collate_fn=pad_time
    )
    count = 0
    for batch in loader:
        left, top = batch['bounds'][:, 0], batch['bounds'][:, 4]
        column = ((left - 600_000) / 10).long()[:, None, None] + torch.arange(5)
        row = ((5_000_000 - top) / 10).long()[:, None, None] + torch.arange(5)[:, None]
        expected = row * 80 + column + 1
        for t in range(5):
            assert torch.equal(batch['image'][:, t, 0].long(), expected + 5000 * t)
        count += len(left)
    assert count == 64


def test_bad_arguments_are_named(folder):
    series = RasterTimeSeries(folder)
    with pytest.raises(ValueError, match='open_blocks must be at least 2'):
        BlockPatchSampler(series, size=6, open_blocks=1)
    with pytest.raises(ValueError, match='per_block must be at least 1, got 0'):
        BlockPatchSampler(series, size=6, per_block=0)
    with pytest.raises(ValueError, match='num_workers'):
        BlockPatchSampler(series, size=6, num_workers=-1)

    class Bare:
        index = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs='EPSG:32631')

    with pytest.raises(TypeError, match='Bare does not say how its files are blocked'):
        BlockPatchSampler(Bare(), size=6)


@pytest.mark.parametrize('group_by', ['day', 'time'])
def test_patches_hold_the_dates_that_cover_them(tmp_path, group_by):
    # Two tiles side by side, of other hours of a day and of other days; blocks span both.
    generator = np.random.default_rng(0)
    for x, stamps in (
        (0, ('20210301T100000', '20210310T100000', '20210320T100000')),
        (40, ('20210301T103000', '20210315T103000', '20210320T095959')),
    ):
        for stamp in stamps:
            with rasterio.open(
                tmp_path / f's{x}_{stamp}.tif',
                'w',
                driver='GTiff',
                height=48,
                width=40,
                count=1,
                dtype='uint16',
                crs='EPSG:32631',
                transform=from_origin(600_000 + 10 * x, 5_000_000, 10, 10),
                nodata=0,
            ) as file:
                file.write(generator.integers(1, 9000, (1, 48, 40)).astype('uint16'))
    series = RasterTimeSeries(tmp_path, group_by=group_by)
    plain = RasterTimeSeries(tmp_path, group_by=group_by)
    bounds = series.bounds
    block = slice(600_000, 600_800), slice(4_999_520, 5_000_000)
    lengths = set()
    for column in (0, 20, 33, 36, 44, 60):
        for step in (1, 2):
            x = slice(600_000 + 10 * column, 600_000 + 10 * column + 80)
            y = slice(4_999_800, 4_999_880)
            day = pd.Timestamp('2021-03-02') if step == 2 else bounds[2].start
            window = (x, y, slice(day, pd.Timestamp('2021-03-21'), step))
            cut = BlockWindow.cut(window, block, last=False, kept=2)
            got, wanted = series[cut], plain[window]
            for key in wanted:
                assert torch.equal(got[key], wanted[key]), (column, key)
            lengths.add(len(got['image']))
    assert len(lengths) > 1
    empty = (x, y, slice(pd.Timestamp('2021-03-12'), pd.Timestamp('2021-03-13')))
    with pytest.raises(IndexError, match='no acquisition in the window'):
        series[BlockWindow.cut(empty, block, last=False, kept=2)]
