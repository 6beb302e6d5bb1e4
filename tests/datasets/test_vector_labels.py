"""Polygons and points as labels, held against rasterio, shapely and figures worked out by hand."""

import pickle
import warnings

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio.features
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.warp import transform_geom
from shapely import Point, box

from torchgeo_sits.datasets.labels import LabelValues, VectorLabels
from torchgeo_sits.grid import Grid

UTM = 'EPSG:32631'
AREA = Grid(600000, 5000000, 10, 10, 40, 32, CRS.from_epsg(32631))


def at(column, row, wide=4, high=4):
    """A box of pixels."""
    x, y = 600000 + 10 * column, 5000000 - 10 * row
    return box(x, y - 10 * high, x + 10 * wide, y)


def frame(shapes, crs=UTM, **columns):
    return gpd.GeoDataFrame(columns, geometry=list(shapes), crs=crs)


def write(folder, made, name='fields.gpkg'):
    path = folder / name
    made.to_parquet(path) if name.endswith('parquet') else made.to_file(path)
    return str(path)


def opened(path, column='crop', **options):
    return VectorLabels(path, area=options.pop('area', AREA), column=column, **options)


def mask(labels, column=0, row=0, wide=40, high=32):
    x, y = 600000 + 10 * column, 5000000 - 10 * row
    return labels[x : x + 10 * wide : 10, y - 10 * high : y : 10]['mask'].numpy()


def numbers(fields, area=AREA):
    """Numbers of fields in all of an area; what was read is the part that holds them."""
    whole = np.zeros((area.height, area.width), int)
    _, column, row = fields.grid.snapped(area.transform)
    whole[row : row + fields.grid.height, column : column + fields.grid.width] = fields.numbers
    return whole


@pytest.fixture
def crops():
    """Two boxes of pixels in degrees, and one far away."""
    far = Point(700000, 5000000).buffer(50)
    return frame([at(2, 3), at(10, 5, 6, 2), far], crop=['rye', 'maize', 'hop'], code=[7, 3, 9])


EXPECTED = np.zeros((32, 40), int)
EXPECTED[3:7, 2:6], EXPECTED[5:7, 10:16] = 3, 2


@pytest.mark.parametrize(
    'name', ['f.gpkg', 'f.geojson', 'f.shp', 'f.fgb', 'f.parquet', 'f.GPKG', 'f.shp.zip']
)
def test_formats_in_another_crs_are_burnt_onto_the_pixels(tmp_path, crops, name):
    labels = opened(write(tmp_path, crops.to_crs(4326), name))
    # Classes are those of the whole file, so that another place has the same.
    assert labels.values.names == ['unlabelled', 'hop', 'maize', 'rye']
    np.testing.assert_array_equal(mask(labels), EXPECTED)
    assert mask(labels).dtype == np.int64
    (fields,) = labels.fields([AREA])
    assert fields.labels.tolist() == [3, 2]
    np.testing.assert_array_equal(
        numbers(fields), np.select([EXPECTED == 3, EXPECTED == 2], [1, 2])
    )


@pytest.mark.parametrize(
    ('text', 'options'),
    [
        ('lon,lat,crop\n{0},{1},rye\n{2},{3},maize\n,,rye\n', {}),
        ('Crop;Latitude;Longitude\n', {}),
        ('x,y,crop\n600025,4999965,rye\n600030,4999960,maize\n', {'crs': UTM}),
        ('crop\tWKT\nrye\tPOINT (600025 4999965)\nmaize\tPOINT (600030 4999960)\n', {'crs': UTM}),
    ],
)
def test_tables_of_points_label_the_pixels_that_hold_them(tmp_path, text, options):
    places = gpd.GeoSeries([Point(600025, 4999965), Point(600030.001, 4999959.999)], crs=UTM)
    flat = [v for point in places.to_crs(4326) for v in (point.x, point.y)]
    column = 'crop'
    if text.startswith('Crop;'):
        column = 'Crop'
        lines = zip(('rye', 'maize'), flat[1::2], flat[::2], strict=True)
        # As spreadsheets write it where numbers have a comma.
        text += '\n'.join(f'{c};{lat:.9f};{lon:.9f}'.replace('.', ',') for c, lat, lon in lines)
    path = tmp_path / 'points.csv'
    path.write_text(text.format(*flat), encoding='utf-8-sig')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        found = mask(opened(str(path), column, **options))
    assert np.argwhere(found).tolist() == [[3, 2], [4, 3]]
    assert found[3, 2] == 2
    assert found[4, 3] == 1


def test_a_table_in_parquet_and_several_files_are_one(tmp_path):
    table = pd.DataFrame({'x': [600025.0], 'y': [4999965.0], 'crop': ['rye']})
    table.to_parquet(tmp_path / 'points.parquet')
    path = write(tmp_path, frame([at(10, 5)], crop=['maize']))
    labels = opened(str(tmp_path / 'points.parquet'), crs=UTM)
    assert np.argwhere(mask(labels)).tolist() == [[3, 2]]
    second = write(tmp_path, frame([at(2, 3)], crop=['rye']).to_crs(4326), 'more.geojson')
    both = opened([path, second])
    assert both.values.names == ['unlabelled', 'maize', 'rye']
    assert (mask(both) == 2).sum() == (mask(both) == 1).sum() == 16


def test_long_edges_bend_as_they_are_reprojected(tmp_path):
    # An edge of a degree along a parallel: 95 m off where only its ends are moved.
    wide = Grid(560000, 5010000, 50, 50, 2000, 200, CRS.from_epsg(32631))
    field = box(3.85, 45.16, 4.95, 45.2)
    labels = opened(write(tmp_path, frame([field], 4326, crop=['rye'])), area=wide)
    dense = transform_geom('EPSG:4326', UTM, shapely.segmentize(field, 0.0005).__geo_interface__)
    expected = rasterio.features.rasterize([dense], (200, 2000), transform=wide.transform)
    found = labels[560000:660000:50, 5000000:5010000:50]['mask'].numpy()
    assert expected.any()
    assert (expected != found).sum() <= 2


@st.composite
def triangles(draw):
    """Triangles with corners on halves of pixels, whose edges meet centres, and labels."""
    corner = st.tuples(st.integers(-4, 28), st.integers(-4, 28))
    made = draw(
        st.lists(st.tuples(corner, corner, corner, st.integers(1, 3)), min_size=1, max_size=6)
    )
    shapes = [shapely.Polygon(np.array(corners) / 2) for *corners, _ in made]
    assume(all(shape.area > 0 for shape in shapes))
    return shapes, [label for *_, label in made]


@settings(max_examples=25, deadline=None)
@given(triangles(), st.integers(0, 9), st.integers(0, 9), st.integers(1, 12), st.integers(1, 12))
def test_a_pixel_has_one_label_whatever_the_window(tmp_path_factory, made, column, row, wide, high):
    shapes, kinds = made
    on_map = [shapely.transform(s, lambda xy: xy * [10, -10] + [600000, 5000000]) for s in shapes]
    folder = tmp_path_factory.mktemp('t')
    inside = [s for s in shapes if s.intersects(box(0, 0, 12, 12))]
    assume(inside)
    area = Grid(600000, 5000000, 10, 10, 12, 12, AREA.crs)
    frame(on_map, crop=kinds).to_parquet(folder / 'f.parquet')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        labels = opened(str(folder / 'f.parquet'), area=area)
        whole = mask(labels, wide=12, high=12)
        (fields,) = labels.fields([area])
    part = mask(labels, column, row, wide, high)
    np.testing.assert_array_equal(
        part[: 12 - row, : 12 - column], whole[row : row + high, column : column + wide]
    )
    # Away from edges: a label where all polygons around the centre agree.
    y, x = np.mgrid[:12, :12] + 0.5
    clear = np.ones((12, 12), bool)
    around = {kind: np.zeros((12, 12), bool) for kind in (1, 2, 3)}
    for shape, kind in zip(shapes, kinds, strict=True):
        clear &= shapely.distance(shape.exterior, shapely.points(x, y)) > 1e-6
        around[kind] |= shapely.contains_xy(shape, x, y)
    alone = sum(held.astype(int) for held in around.values()) == 1
    expected = np.where(alone, sum(kind * held for kind, held in around.items()), 0)
    np.testing.assert_array_equal(whole[clear], expected[clear])
    found = numbers(fields, area)
    np.testing.assert_array_equal(np.append(0, fields.labels)[found], whole)


def test_features_that_meet_are_counted(tmp_path):
    shapes = [at(0, 0), at(2, 2), at(20, 0), at(22, 0), at(20, 0), at(21, 1, 1, 1)]
    path = write(tmp_path, frame(shapes, crop=['rye', 'oat', 'hop', 'hop', 'hop', 'hop']))
    with pytest.warns(UserWarning, match='1 with a copy of another'):
        labels = opened(path)
    with pytest.warns(UserWarning, match='several labels') as caught:
        (fields,) = labels.fields([AREA])
    said = [str(w.message) for w in caught]
    assert '4 pixels lie in features of several labels, 2 of 5' in said[0]
    assert '1 of 5 features' in said[1]
    assert '1 lie under others of their label' in said[1]
    found = mask(labels)
    assert (found[2:4, 2:4] == 0).all()
    assert (found == 3).sum() == (found == 2).sum() == 12
    # Of one label the first has the pixels.
    assert np.bincount(numbers(fields)[0:4, 20:26].ravel())[1:].tolist() == [0, 16, 8]


def test_features_without_a_pixel_are_counted(tmp_path):
    tiny = [Point(600102, 4999902).buffer(1), Point(600115, 4999915).buffer(1)]
    path = write(tmp_path, frame([at(0, 0), *tiny], crop=['rye'] * 3))
    labels = opened(path)
    with pytest.warns(UserWarning, match=r'1 of 3 features .* 10 x 10: 1 hold no centre'):
        labels.fields([AREA])
    assert mask(labels)[8, 11] == 1


def test_polygons_shrink_by_metres(tmp_path):
    path = write(
        tmp_path, frame([at(2, 3, 8, 6), at(20, 3, 2, 2)], crop=['rye', 'rye']).to_crs(4326)
    )
    labels = opened(path, shrink=10.0)
    expected = np.zeros((32, 40), int)
    expected[4:8, 3:9] = 1
    np.testing.assert_array_equal(mask(labels), expected)
    # Of images in degrees, too: a third of a field of 80 x 60 m in either.
    degrees = Grid(3.0, 45.0, 1e-4, 1e-4, 200, 200, CRS.from_epsg(4326))
    shape = box(3.005, 44.990, 3.015, 44.996)
    path = write(tmp_path, frame([shape], 4326, crop=['rye']), 'd.gpkg')
    found = opened(path, area=degrees, shrink=111.2)[3.0:3.02:1e-4, 44.98:45.0:1e-4]['mask']
    assert abs(int(found.any(1).sum()) - 40) <= 1  # of 60 rows: 111.2 m are 10 rows
    assert abs(int(found.any(0).sum()) - 72) <= 1  # of 100 columns: 14.1 columns


@pytest.mark.parametrize('crs', ['EPSG:2263', 'EPSG:32618'])
def test_images_in_feet_are_shrunk_by_metres(tmp_path, crs):
    middle = gpd.GeoSeries([Point(-74, 40.7)], crs=4326).to_crs(crs)[0]
    unit = 0.3048006096 if crs == 'EPSG:2263' else 1.0
    res = 10 / unit
    area = Grid(middle.x, middle.y, res, res, 20, 20, CRS.from_string(crs))
    shape = box(middle.x, middle.y - 20 * res, middle.x + 20 * res, middle.y)
    labels = opened(write(tmp_path, frame([shape], crs, crop=['rye'])), area=area, shrink=20.0)
    x, y = slice(middle.x, middle.x + 20 * res, res), slice(middle.y - 20 * res, middle.y, res)
    assert int(labels[x, y]['mask'].sum()) == 16 * 16


def test_numbers_are_classes_and_may_be_named(tmp_path, crops):
    path = write(tmp_path, crops)
    labels = opened(path, 'code')
    assert set(np.unique(mask(labels))) == {0, 3, 7}
    assert labels.found() == [3, 7, 9]
    assert labels.values.names is None
    chosen = LabelValues(classes={'7': 'rye', 3: 'maize'})
    with pytest.warns(UserWarning, match=r'hold.* the values \[9\], which classes does not list'):
        labels = opened(path, 'code', values=chosen)
    np.testing.assert_array_equal(mask(labels), np.select([EXPECTED == 3, EXPECTED == 2], [1, 2]))
    some = LabelValues(255, {'maize': 'Mais', 'hop': 'Hopfen'})
    with pytest.warns(UserWarning, match=r"the values \['rye'\]"):
        labels = opened(path, values=some)
    assert labels.values.names == ['Mais', 'Hopfen']
    np.testing.assert_array_equal(mask(labels), np.where(EXPECTED == 2, 0, 255))


def test_values_are_kept_and_are_nan_elsewhere(tmp_path):
    made = frame([at(2, 3), at(10, 5), at(20, 5), at(22, 5)], moisture=[81.25, 0.0, np.nan, np.inf])
    with pytest.warns(UserWarning, match='2 with no value'):
        labels = opened(write(tmp_path, made), 'moisture', values=LabelValues(kind='value'))
    found = mask(labels)
    assert found.dtype == np.float32
    assert (found == 81.25).sum() == (found == 0).sum() == 16
    assert np.isnan(found).sum() == 32 * 40 - 32
    (fields,) = labels.fields([AREA])
    assert fields.labels.tolist() == [81.25, 0.0]


def test_geometries_that_are_broken_are_repaired_or_counted(tmp_path):
    x, y = 600000, 5000000
    bow = shapely.Polygon([(x, y + 2), (x + 80, y - 78), (x + 80, y + 2), (x, y - 78)])
    mixed = shapely.GeometryCollection([at(20, 3), shapely.LineString([(x, y), (x + 9, y)])])
    line = shapely.LineString([(x, y), (x + 90, y)])
    shapes = [bow, mixed, line, None, shapely.Polygon(), at(30, 3)]
    path = write(tmp_path, frame(shapes, crop=['rye'] * 5 + [' ']), 'f.parquet')
    with pytest.warns(UserWarning, match='of 6 features') as caught:
        labels = opened(path)
    (said,) = [str(w.message) for w in caught]
    for reason in (
        '1 with no value',
        '2 with no geometry',
        '1 with an invalid geometry, which was repaired',
        '1 with a line, which labels no pixel',
    ):
        assert reason in said
    found = mask(labels)
    row, column = np.mgrid[:32, :40] + 0.5
    inside = (column < 8) & (row < 7.8) & ((row - 3.8) ** 2 < (column - 4) ** 2)
    inside[3:7, 20:24] = True
    np.testing.assert_array_equal(found, inside)


def test_all_of_a_column_that_is_half_empty_is_counted(tmp_path):
    made = frame([at(i, 3, 1, 1) for i in range(8)], crop=['rye', None] * 4, code=[0, 1] * 4)
    path = write(tmp_path, made)
    with pytest.warns(UserWarning, match='of 8 features .*: 4 with no value'):
        assert mask(opened(path)).sum() == 4
    with pytest.warns(UserWarning, match='4 with the value 0, which means not labelled'):
        assert mask(opened(path, 'code')).sum() == 4
    kept = opened(path, 'code', values=LabelValues(unlabelled=255))
    assert [(mask(kept) == label).sum() for label in (0, 1)] == [4, 4]


def many(number):
    return frame([at(0, 0)] * number, crop=[f'c{i}' for i in range(number)], code=range(number))


@pytest.mark.parametrize(
    ('made', 'column', 'options', 'message'),
    [
        (0, None, {}, r'name the column .* crop \(rye, maize, hop\); code \(7, 3, 9\)'),
        (0, 'Crops', {}, r"has the columns \['crop', 'code'\].* did you mean 'crop'\?"),
        (
            0,
            'crop',
            {'crs': UTM, 'layer': 'x'},
            r"labels.layer='x': .* has the layers \['fields'\]",
        ),
        (0, 'crop', {'crs': 'EPSG:4326'}, 'leave labels.crs out'),
        (0, 'crop', {'crs': 'nonsense'}, "labels.crs='nonsense' is no coordinate"),
        (0, 'crop', {'values': LabelValues(kind='value')}, 'text such as .*needs numbers'),
        (0, 'crop', {'values': LabelValues(classes={'ry': 'r'})}, r"none of these.*mean 'rye'\?"),
        (0, 'crop', {'num_classes': 3}, 'labels.num_classes=3 follows from'),
        (0, 'code', {'num_classes': 9}, 'holds the label 9, but labels are numbers from 0 .* to 8'),
        ({'crop': [1.5]}, 'crop', {}, r'the number 1\.5: .*set labels\.kind=value'),
        ({'crop': [-3]}, 'crop', {}, 'holds the label -3'),
        ({'crop': [70_000]}, 'crop', {}, 'holds the label 70000'),
        ({'crop': [None]}, 'crop', {}, 'is empty: choose a column with labels'),
        ({'crop': pd.to_datetime(['2021-03-04'])}, 'crop', {}, 'holds dates such as 2021-03-04'),
        (300, 'crop', {}, '300 different values, such as .*list them as labels.classes'),
        (300, 'code', {}, '300 different values, .* set labels.kind=value'),
    ],
)
def test_columns_that_are_no_labels_are_refused(tmp_path, crops, made, column, options, message):
    if isinstance(made, dict):
        crops = frame([at(0, 0)], **made)
    elif made:
        crops = many(made)
    with pytest.raises(ValueError, match=message):
        opened(write(tmp_path, crops), column, **options)


def test_files_of_other_places_or_layers_are_refused(tmp_path, crops):
    path = write(tmp_path, crops[2:].to_crs(4326))
    with pytest.raises(ValueError, match=r'lie nowhere on the images: .*EPSG:4326.* they span'):
        opened(path)
    # In metres, but said to be in degrees, as GeoJSON is.
    crops.set_crs(4326, allow_override=True).to_file(tmp_path / 'metres.geojson')
    with pytest.raises(ValueError, match='lie nowhere on the images'):
        opened(str(tmp_path / 'metres.geojson'))
    path = write(tmp_path, crops, 'two.gpkg')
    crops.to_file(path, layer='other')
    with pytest.raises(ValueError, match=r"layers, \['two', 'other'\]: name one as labels.layer"):
        opened(path)
    np.testing.assert_array_equal(mask(opened(path, layer='other')), EXPECTED)


def test_parts_of_files_that_are_missing_are_named(tmp_path, crops):
    path = write(tmp_path, crops, 'f.shp')
    (tmp_path / 'f.prj').unlink()
    with pytest.raises(ValueError, match=r'labels.crs, .* or copy its \.prj'):
        opened(path)
    np.testing.assert_array_equal(mask(opened(path, crs=UTM)), EXPECTED)
    (tmp_path / 'f.dbf').unlink()
    with pytest.raises(ValueError, match=r'no columns \(is its \.dbf missing\?\)'):
        opened(path, crs=UTM)
    (tmp_path / 'f.shx').unlink()
    with pytest.raises(OSError, match=r"f\.shp' cannot be read"):
        opened(path, crs=UTM)
    (tmp_path / 'f.gpkg').write_text('this is no GeoPackage')
    with pytest.raises(OSError, match=r"f\.gpkg' cannot be read"):
        opened(str(tmp_path / 'f.gpkg'))
    with pytest.raises(OSError, match=r"no\.gpkg' do not exist"):
        opened(str(tmp_path / 'no.gpkg'))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('crop,area\nrye,3\n', r"says no places: .* it has \['crop', 'area'\]"),
        ('lon,lat,crop\n45.1,600.0,rye\n', 'lon=45.1 and lat=600 in row 1, .* swapped'),
        ('x,y,crop\n600025,4999965,rye\n', 'does not say its coordinate reference system'),
    ],
)
def test_tables_without_places_are_refused(tmp_path, text, message):
    path = tmp_path / 'points.csv'
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        opened(str(path))


def test_labels_go_to_other_processes(tmp_path, crops):
    labels = pickle.loads(pickle.dumps(opened(write(tmp_path, crops))))
    np.testing.assert_array_equal(mask(labels), EXPECTED)
