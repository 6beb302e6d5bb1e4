"""Series from STAC items, held against the rasters themselves."""

import json
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import torch

from torchgeo_sits.datamodules import ImageOptions
from torchgeo_sits.datasets import (
    RastersNotFoundError,
    RasterTimeSeries,
    StacTimeSeries,
    series_class_of,
)
from torchgeo_sits.errors import SITSError

BANDS = {'B04': 'red', 'B08': 'nir'}
DAYS = ('2021-06-01', '2021-06-11', '2021-07-01')


@pytest.fixture
def rasters(tmp_path):
    """Two bands and a scene classification of three dates; pixels tell date, band and place."""
    folder = tmp_path / 'rasters'
    folder.mkdir()
    place = np.arange(48, dtype='uint16').reshape(6, 8)
    for i, day in enumerate(DAYS):
        for j, band in enumerate((*BANDS, 'SCL')):
            values = np.where(place % 5, 4, 9) if band == 'SCL' else 1000 * i + 100 * j + place
            with rasterio.open(
                folder / f'x_{day.replace("-", "")}_{band}.tif', 'w', driver='GTiff', count=1,
                width=8, height=6, dtype='uint16', crs='EPSG:32631', nodata=0,
                transform=rasterio.Affine(10, 0, 600_000, 0, -10, 5_000_000),
            ) as file:  # fmt: skip
                file.write(values.astype('uint16'), 1)
    return folder


def item(rasters, day, *, grid=True, version='1.0.0', **changes):
    """An item as catalogues of Sentinel-2 write it."""
    compact = day.replace('-', '')
    assets = {}
    for band, common in BANDS.items():
        stored = {'nodata': 0, 'data_type': 'uint16'}
        light = {'name': band, 'common_name': common}
        href = str(rasters / f'x_{compact}_{band}.tif')
        asset = {'href': href, 'type': 'image/tiff; application=geotiff', 'roles': ['data']}
        if version == '1.0.0':
            asset |= {'eo:bands': [light], 'raster:bands': [stored]}
        else:
            asset |= {'bands': [{'name': band, 'eo:common_name': common, **stored}]}
        assets[band] = asset
    assets['scl'] = {'href': str(rasters / f'x_{compact}_SCL.tif'), 'roles': ['data']}
    assets['thumbnail'] = {'href': 'small.png', 'type': 'image/png', 'roles': ['thumbnail']}
    properties = {'datetime': f'{day}T10:30:00.5+00:00'}
    if grid:
        properties |= {
            'proj:epsg': 32631, 'proj:shape': [6, 8],
            'proj:transform': [10, 0, 600_000, 0, -10, 5_000_000],
        }  # fmt: skip
    return {
        'type': 'Feature', 'stac_version': version, 'id': f'scene-{day}', 'collection': 's2',
        'geometry': None, 'links': [], 'assets': assets, 'properties': properties, **changes,
    }  # fmt: skip


def save(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def as_folder(folder, items):
    for one in items:
        save(folder / one['id'] / f'{one["id"]}.json', one)
    return folder


def as_collection(folder, items):
    return save(folder / 'items.json', {'type': 'FeatureCollection', 'features': items})


def as_catalogue(folder, items):
    links = []
    for one in items:
        save(folder / 's2' / one['id'] / 'item.json', one)
        links.append({'rel': 'item', 'href': f'./{one["id"]}/item.json'})
    parent = {'stac_version': '1.0.0', 'type': 'Collection', 'id': 's2', 'links': links}
    save(folder / 's2' / 'collection.json', parent)
    links = [{'rel': 'child', 'href': './s2/collection.json'}, {'rel': 'self', 'href': 'x.json'}]
    root = {'stac_version': '1.0.0', 'type': 'Catalog', 'id': 'root', 'links': links}
    return save(folder / 'catalog.json', root).parent


def as_parquet(folder, items):
    folder.mkdir()
    rows = [
        {
            'id': one['id'], 'collection': 's2', 'assets': one['assets'],
            **one['properties'], 'datetime': datetime.fromisoformat(one['properties']['datetime']),
        }
        for one in items
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), folder / 'items.parquet')
    return folder / 'items.parquet'


@pytest.mark.parametrize('write', [as_folder, as_collection, as_catalogue, as_parquet])
@pytest.mark.parametrize('version', ['1.0.0', '1.1.0'])
def test_pixels_are_those_of_the_rasters(rasters, tmp_path, write, version):
    items = [item(rasters, day, version=version) for day in reversed(DAYS)]
    source = write(tmp_path / 'stac', items)
    assert series_class_of(source) is StacTimeSeries
    series = ImageOptions(str(source), bands=['nir', 'B04']).open()
    truth = RasterTimeSeries(rasters, bands=['B08', 'B04'], quality='SCL')
    assert series.bands == ('nir', 'B04')
    ours, theirs = series[series.bounds], truth[truth.bounds]
    assert torch.equal(ours['image'], theirs['image'])
    assert torch.equal(ours['mask_clear'], theirs['mask_clear'])
    assert not ours['mask_clear'].all()
    assert ours['acquisition_times'].tolist() == [
        int(datetime.fromisoformat(f'{day}T10:30:00+00:00').timestamp()) for day in DAYS
    ]


def test_no_raster_is_opened_before_it_is_read(rasters, tmp_path, monkeypatch):
    items = [item(rasters, day) for day in DAYS]
    for one in items:
        for key in BANDS:
            name = one['assets'][key]['href'].rpartition('/')[2]
            one['assets'][key]['href'] = f'https://127.0.0.1:9/{name}?token=1&x=2'
        del one['assets']['scl']
    series = StacTimeSeries(as_collection(tmp_path, items))
    assert series.bands == ('B04', 'B08')
    assert len(series.index) == 3
    assert series.files[0] == '/vsicurl/https://127.0.0.1:9/x_20210601_B04.tif?token=1&x=2'


def test_grids_that_items_leave_out_are_those_of_the_files(rasters, tmp_path):
    items = [item(rasters, day, grid=False) for day in DAYS]
    for one in items:
        one['assets'] = {'image': {'href': one['assets']['B08']['href'], 'roles': ['data']}}
    series = StacTimeSeries(as_collection(tmp_path, items))
    truth = RasterTimeSeries(rasters, bands=['B08'])
    assert series.bands == ('image',)
    assert torch.equal(series[series.bounds]['image'], truth[truth.bounds]['image'])


def test_values_are_physical_where_items_say_how(rasters, tmp_path):
    items = [item(rasters, day) for day in DAYS]
    for one, offset in zip(items, (-0.1, -0.1, 0.0), strict=True):
        for key in BANDS:
            one['assets'][key]['raster:bands'][0] |= {'scale': 0.0001, 'offset': offset}
    items[1]['properties']['earthsearch:boa_offset_applied'] = True
    series = StacTimeSeries(as_collection(tmp_path, items), bands=['red'])
    image = series[series.bounds]['image'][:, 0]
    stored = 1000 * np.arange(3)[:, None, None] + np.arange(48).reshape(6, 8)
    expected = stored * 1e-4 + np.array([-0.1, 0, 0])[:, None, None]
    expected[stored == 0] = 0  # no data
    np.testing.assert_allclose(image, expected, atol=1e-6)


def test_scales_that_differ_are_refused(rasters, tmp_path):
    one = item(rasters, DAYS[0])
    one['assets']['B04']['raster:bands'][0]['scale'] = 0.0001
    source = as_collection(tmp_path, [one])
    with pytest.raises(SITSError, match=r'differ in their scales: 0\.0001 .*B04.*1\.0 .*B08'):
        StacTimeSeries(source)
    assert StacTimeSeries(source, bands=['red']).scale == 0.0001


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        ({'properties': {'datetime': None}}, r"'scene-2021-06-01' .*neither datetime nor"),
        ({'properties': {'datetime': 'June'}}, r"'scene-2021-06-01' .*'June', which is none"),
        ({'assets': {}}, r'unknown bands'),
    ],
)
def test_items_that_say_too_little_are_named(rasters, tmp_path, change, match):
    source = as_collection(tmp_path, [item(rasters, DAYS[0], **change)])
    with pytest.raises((SITSError, RastersNotFoundError), match=match):
        StacTimeSeries(source, bands=['red'])


def test_missing_assets_are_named_or_left_out(rasters, tmp_path):
    items = [item(rasters, day) for day in DAYS]
    del items[1]['assets']['B08']
    source = as_collection(tmp_path, items)
    with pytest.raises(SITSError, match=r'1 of 3 products lack a band: .*nir of 2021-06-11'):
        StacTimeSeries(source, bands=['red', 'nir'])
    with pytest.warns(UserWarning, match='1 of 3 products lack a band'):
        series = StacTimeSeries(source, bands=['red', 'nir'], unreadable='skip')
    assert len(series.index) == 2
    (rasters / 'x_20210701_B04.tif').unlink()
    with pytest.raises(OSError, match=r"'B04' of the item 'scene-2021-07-01'.*unreadable='skip'"):
        StacTimeSeries(source, bands=['red'])


def test_light_that_several_bands_hold_is_to_be_chosen(rasters, tmp_path):
    one = item(rasters, DAYS[0])
    for key in BANDS:
        one['assets'][key]['eo:bands'][0]['common_name'] = 'rededge'
    with pytest.raises(SITSError, match=r"rededge means \['B04', 'B08'\] .*give the keys"):
        StacTimeSeries(as_collection(tmp_path, [one]), bands=['rededge'])


def test_items_of_the_same_rasters_count_once(rasters, tmp_path):
    items = [item(rasters, day) for day in DAYS]
    twice = [*items, items[0], item(rasters, DAYS[0], id='again')]
    with pytest.warns(UserWarning, match="1 items have the rasters of others .*'scene-2021-06-01'"):
        series = StacTimeSeries(as_collection(tmp_path, twice))
    assert len(series.index) == 3


@pytest.mark.parametrize(
    ('content', 'match'),
    [
        ('{', r'x\.json. is no JSON'),
        ('{"type": "FeatureCollection", "features": []}', r'x\.json. is no STAC'),
        ('{"a": 1}', r'x\.json. is no STAC'),
        (
            '{"stac_version": "1.0.0", "links": [{"rel": "item", "href": "https://x.org/i.json"}]}',
            'no server is asked',
        ),
        (
            '{"stac_version": "1.0.0", "links": [{"rel": "item", "href": "./i.json"}]}',
            r'i\.json., which does not exist',
        ),
    ],
)
def test_files_that_hold_no_items_are_refused(tmp_path, content, match):
    (tmp_path / 'x.json').write_text(content)
    with pytest.raises((SITSError, RastersNotFoundError), match=match):
        StacTimeSeries(tmp_path / 'x.json')


def test_addresses_of_servers_are_refused():
    with pytest.raises(SITSError, match='no server is asked: save the items'):
        StacTimeSeries('https://planetarycomputer.microsoft.com/api/stac/v1')
