"""Change between two embeddings, against the formula and on a place that was made to change."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from torchgeo_sits.main import main
from torchgeo_sits.mapping import compare_embeddings, fit_stable_change

D, H, W = 6, 70, 90


def write(path, values, **profile):
    profile = {'crs': 'EPSG:32631', 'transform': from_origin(5e5, 5e6, 10, 10)} | profile
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        count=len(values),
        height=values.shape[1],
        width=values.shape[2],
        dtype=values.dtype,
        nodata=np.nan if values.dtype.kind == 'f' else 0,
        **profile,
    ) as file:
        file.write(values)
    return path


@pytest.fixture
def maps(tmp_path):
    """Embeddings of two years: haze moves all, and a square changes."""
    rng = np.random.default_rng(0)
    before = rng.normal(size=(D, H, W)).astype(np.float32)
    after = before + rng.normal(0, 0.1, (D, H, W)).astype(np.float32) + 0.5
    after[:, 10:20, 30:50] += rng.normal(0, 1.0, (D, 1, 1)).astype(np.float32)
    before[:, :3], after[:, :, :2] = np.nan, np.nan
    return write(tmp_path / 'before.tif', before), write(tmp_path / 'after.tif', after)


def test_distances_are_those_of_the_formula():
    difference = np.random.default_rng(1).normal(2.0, [[1.0], [5.0]], (2, 501))
    stable = fit_stable_change(difference)
    middle = np.median(difference, 1)
    spread = 1.4826 * np.median(np.abs(difference - middle[:, None]), 1)
    for x in difference.T[:5]:
        expected = np.sqrt(np.mean([((x[d] - middle[d]) / spread[d]) ** 2 for d in range(2)]))
        assert np.isclose(stable.distance(x), expected)
    distances = stable.distance(difference)
    place = np.argsort(distances)[250]
    assert np.isclose(stable.rank(distances[place]), 100 * 250 / 501)


def test_what_changed_is_far_apart_and_what_all_share_is_not(maps, tmp_path, capsys):
    main(['compare', *map(str, maps), '--output', str(tmp_path / 'maps' / 'change.tif')])
    assert 'Stable pairs are' in capsys.readouterr().out
    with rasterio.open(tmp_path / 'maps' / 'change.tif') as file:
        assert file.tags(ns='IMAGE_STRUCTURE')['LAYOUT'] == 'COG'
        assert (file.crs, file.transform) == ('EPSG:32631', from_origin(5e5, 5e6, 10, 10))
        distance, percent = file.read()
    changed = np.zeros((H, W), bool)
    changed[10:20, 30:50] = True
    seen = np.isfinite(distance)
    assert not seen[:3].any()
    assert not seen[:, :2].any()
    assert seen[3:, 2:].all()
    assert distance[changed].min() > distance[~changed & seen].max()
    assert 0.8 < np.median(distance[~changed & seen]) < 1.2  # 0.5 of all features is no change
    assert percent[changed].min() > 90
    assert abs(np.median(percent[seen]) - 50) < 2


def test_stable_pairs_of_ones_own_are_what_is_usual(maps, tmp_path):
    rng = np.random.default_rng(2)
    noisy = write(tmp_path / 'noisy.tif', rng.normal(0, 3.0, (D, H, W)).astype(np.float32))
    quiet = write(tmp_path / 'quiet.tif', np.zeros((D, H, W), np.float32))
    compare_embeddings(*maps, tmp_path / 'change.tif', stable=(quiet, noisy))
    with rasterio.open(tmp_path / 'change.tif') as file:
        assert np.nanmax(file.read(1)) < 2  # nothing to such noise


def test_bytes_are_restored_to_values(maps, tmp_path):
    # Of each map by its own scale, as embeddings of bytes have them.
    paths = []
    for path in maps:
        with rasterio.open(path) as file:
            values = file.read()
        low, high = np.nanmin(values, (1, 2)), np.nanmax(values, (1, 2))
        scale = (high - low) / 254
        level = 1 + np.rint((values - low[:, None, None]) / scale[:, None, None])
        level = np.where(np.isfinite(values), level, 0).astype(np.uint8)
        paths.append(write(tmp_path / f'bytes_{path.name}', level))
        with rasterio.open(paths[-1], 'r+') as file:
            file.scales, file.offsets = scale, low - scale
    for name, pair in (('whole', maps), ('bytes', paths)):
        compare_embeddings(*pair, tmp_path / f'{name}.tif')
    found = [rasterio.open(tmp_path / f'{name}.tif').read(1) for name in ('whole', 'bytes')]
    assert np.array_equal(np.isnan(found[0]), np.isnan(found[1]))
    assert np.nanmax(np.abs(found[0] - found[1])) < 0.3


def test_maps_that_do_not_fit_are_named(maps, tmp_path, capsys):
    other = write(tmp_path / 'other.tif', np.zeros((D, H, W), np.float32), crs='EPSG:32632')
    with pytest.raises(ValueError, match=r'other\.tif differ in their crs'):
        compare_embeddings(maps[0], other, tmp_path / 'change.tif')
    few = write(tmp_path / 'few.tif', np.zeros((2, H, W), np.float32))
    with pytest.raises(ValueError, match='number of features'):
        compare_embeddings(maps[0], few, tmp_path / 'change.tif')
    with pytest.raises(ValueError, match='same wherever both have data'):
        compare_embeddings(maps[0], maps[0], tmp_path / 'change.tif')
    with pytest.raises(SystemExit):
        main(['compare', *map(str, maps), '--output', 'change.png'])
    assert 'expected a GeoTIFF' in capsys.readouterr().err
    assert not (tmp_path / 'change.tif').exists()
