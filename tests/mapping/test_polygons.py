"""What maps hold within polygons, by areas computed by hand."""

import warnings

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

from torchgeo_sits.errors import SITSError
from torchgeo_sits.mapping import (
    ChangeDate,
    ClassMap,
    Embedding,
    Probabilities,
    QuantisedEmbedding,
    summarise_maps,
)
from torchgeo_sits.mapping.polygons import read_polygons

CLASSES = ClassMap('class', 'probabilities', ['wheat', 'maize', 'grass'])


@pytest.fixture
def write(tmp_path):
    """Write bands ``(C, H, W)`` of 10 m from (0, 100) on."""

    def write(name, values, **options):
        values = np.asarray(values)
        with rasterio.open(
            tmp_path / name, 'w', driver='GTiff', count=len(values), width=values.shape[2],
            height=values.shape[1], dtype=values.dtype, crs='EPSG:32631',
            transform=rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_100),
            nodata=options.get('nodata'),
        ) as file:  # fmt: skip
            file.write(values)
            if 'scales' in options:
                file.scales, file.offsets = options['scales']
        return tmp_path / name

    return write


def fields(*shapes, **columns):
    moved = [shapely.transform(s, lambda xy: xy + np.array([500_000, 5_000_000])) for s in shapes]
    return gpd.GeoDataFrame(columns or {'farm': range(len(shapes))}, geometry=moved, crs=32631)


def test_shares_of_classes_are_areas(write):
    pixels = np.full((1, 10, 10), 255, np.uint8)
    pixels[0, 0] = [0] * 5 + [1] * 4 + [255]
    path = write('class.tif', pixels, nodata=255)
    polygons = fields(
        shapely.box(40, 90, 65, 100),  # a pixel of wheat, one and a half of maize
        shapely.box(85, 90, 100, 100),  # half a pixel of maize, one without data
        shapely.Polygon([(40, 90), (60, 90), (60, 100)]),  # 25 of 100 m2 are wheat
        shapely.box(0, 0, 20, 20),  # nothing observed
        shapely.box(-50, 0, -20, 20),  # off the map
    )
    with pytest.warns(UserWarning, match='2 of 5 polygons have no value'):
        table = summarise_maps(polygons, {CLASSES: path})
    assert table['farm'].tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(table['observed'], [1, 1 / 3, 1, 0, 0])
    assert table['class'].tolist()[:3] == ['maize', 'maize', 'maize']
    assert table['class_id'].tolist()[:3] == [1, 1, 1]
    np.testing.assert_allclose(table['class_share_wheat'][:3], [0.4, 0, 0.25])
    np.testing.assert_allclose(table['class_share_grass'][:3], 0)
    assert table.iloc[3:][['class', 'class_id', 'class_share_maize']].isna().all(axis=None)


def test_means_are_weighted_by_area_and_scaled(write):
    probabilities = np.zeros((2, 10, 10), np.float32)
    probabilities[0, 0, :3] = [0.2, 0.6, np.nan]
    probabilities[1] = 1 - probabilities[0]
    days = np.full((1, 10, 10), -1, np.int32)
    days[0, 0, :3] = [18000, 18000, 18007]
    levels = np.zeros((2, 10, 10), np.uint8)
    levels[:, 0, :2] = [[1, 255], [11, 21]]
    maps = {
        Probabilities('probabilities', 'p', ['wheat', 'maize']): write(
            'p.tif', probabilities, nodata=np.nan
        ),
        ChangeDate('date', 'date'): write('d.tif', days, nodata=-1),
        QuantisedEmbedding('quantised', 'e'): write(
            'q.tif', levels, nodata=0, scales=([0.5, 2.0], [-1.0, 3.0])
        ),
    }
    table = summarise_maps(fields(shapely.box(0, 90, 30, 100), shapely.box(5, 90, 15, 100)), maps)
    np.testing.assert_allclose(table['probabilities_wheat'], [0.4, 0.4], rtol=1e-6)
    np.testing.assert_allclose(table['probabilities_maize'], [0.6, 0.6], rtol=1e-6)
    assert table['date'].tolist() == [18000, 18000]
    np.testing.assert_allclose(table['quantised_0'], [63.0, 63.0])
    np.testing.assert_allclose(table['quantised_1'], [35.0, 35.0])


def test_points_of_another_crs_have_the_value_of_their_pixel(write):
    values = np.arange(100, dtype=np.float32).reshape(1, 10, 10)
    path = write('e.tif', values, nodata=np.nan)
    points = fields(shapely.Point(33, 77), shapely.Point(0.1, 99.9)).to_crs(4326)
    table = summarise_maps(points, {Embedding('embedding', 'e'): path})
    assert table['embedding'].tolist() == [23, 0]
    assert table.crs == points.crs
    assert table.geometry.equals(points.geometry)


def test_own_columns_stay_and_odd_shapes_keep_their_rows(write):
    path = write('class.tif', np.zeros((1, 10, 10), np.uint8), nodata=255)
    bow = shapely.Polygon([(0, 0), (20, 20), (20, 0), (0, 20)])  # crosses itself: two triangles
    polygons = fields(
        bow, shapely.Polygon(), shapely.LineString([(0, 0), (50, 50)]), shapely.box(0, 0, 10, 10),
        **{'class': ['a', 'b', 'c', 'd']},
    )  # fmt: skip
    polygons.loc[3, 'geometry'] = None
    polygons.index = [7, 5, 3, 1]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter('always')
        table = summarise_maps(polygons, {CLASSES: path})
    said = sorted(str(warning.message) for warning in seen if warning.category is UserWarning)
    assert said[0].startswith('1 of 4 polygons cross')
    assert said[1].startswith('3 of 4 polygons have no value')
    assert table.index.tolist() == [7, 5, 3, 1]
    assert table['class'].tolist() == ['a', 'b', 'c', 'd']
    assert table['class_map'].tolist()[0] == 'wheat'
    np.testing.assert_allclose(table['observed'], [1, 0, 0, 0])


def test_files_that_are_no_polygons_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere\.gpkg'):
        read_polygons(tmp_path / 'nowhere.gpkg')
    (tmp_path / 'text.gpkg').write_text('text')
    with pytest.raises(SITSError, match=r'text\.gpkg cannot be read'):
        read_polygons(tmp_path / 'text.gpkg')
    gpd.GeoDataFrame({'a': [1]}, geometry=[shapely.box(0, 0, 1, 1)]).to_file(tmp_path / 'no.gpkg')
    with pytest.raises(SITSError, match=r'no\.gpkg has no coordinate reference system'):
        read_polygons(tmp_path / 'no.gpkg')


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('', 'cannot be read as polygons or points'),
        ('lon,lat\n', 'holds no polygon and no point'),
        (
            'east,north\n1,2\n',
            r"needs columns lon and lat, in degrees, and has \['east', 'north'\]",
        ),
        ('lat,lon\n4.1,500000\n', 'which is no place in degrees'),
    ],
)
def test_tables_that_are_no_points_are_refused(tmp_path, text, said):
    (tmp_path / 'points.csv').write_text(text)
    with pytest.raises(SITSError, match=said):
        read_polygons(tmp_path / 'points.csv')


def test_points_of_a_table_keep_its_columns(tmp_path):
    (tmp_path / 'points.csv').write_text('id;Longitude;Latitude\n7;4,5;50,25\n7;;\n')
    found = read_polygons(tmp_path / 'points.csv')
    assert found['id'].tolist() == [7, 7]
    assert found.geometry[0] == shapely.Point(4.5, 50.25)
    assert found.geometry[1] is None
    assert found.crs == 'EPSG:4326'
