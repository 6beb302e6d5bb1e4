"""Labels, their files, the map, and a session that opens again."""

import json
import time
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rio_cogeo.cogeo import cog_validate

from torchgeo_sits.errors import SITSError
from torchgeo_sits.exploring import Overlay, Session, write_report

from .conftest import SIZE, label_stripes


def wait_for_map(explorer):
    """Wait until the map of the whole area is there."""
    for _ in range(600):
        if (found := explorer.state()['map'])['state'] in ('done', 'failed'):
            return found
        time.sleep(0.05)
    raise AssertionError(explorer.state()['map'])


def test_labels_become_a_map_whose_files_say_the_same(explorer, made):
    label_stripes(explorer)
    assert explorer.state()['held_out'] == {'right': 6, 'asked': 6}
    explorer.draw_map()
    found = wait_for_map(explorer)
    assert found['state'] == 'done', found
    path = explorer.session.map_file
    with rasterio.open(path) as file:
        codes, tags, colours = file.read(1), file.tags(), file.colormap(1)
        assert (file.crs, file.transform) == (explorer.area.grid.crs, explorer.area.grid.transform)
    assert cog_validate(path, quiet=True)[0]
    assert {tags[f'CLASS_{i}'] for i in (1, 2, 3)} == {'west', 'middle', 'east'}
    seen = np.isfinite(made.values).all(0)
    assert (codes[~seen] == 255).all()
    assert (codes[seen] == made.truth[seen] + 1).mean() > 0.99
    picture = explorer.tile('map', 0, 0, 0, {})
    shown = np.array([colours[code] for code in codes.flat]).reshape(*SIZE, 4)
    np.testing.assert_array_equal(picture[seen], shown[seen])
    assert not picture[~seen].any()
    assert sum(found['pixels'].values()) == seen.sum()
    with rasterio.open(path.with_name('certainty.tif')) as file:
        margin = file.read(1)
    assert np.nanmin(margin) >= 0
    assert np.isnan(margin[~seen]).all()
    assert path.with_name('map.qml').is_file()
    assert not list(explorer.session.folder.glob('.torchgeo-sits-part*'))


def test_saved_labels_are_what_was_clicked(explorer):
    explorer.add_classes(['a/b & "c"'])
    explorer.add_label('a/b & "c"', {'type': 'Point', 'coordinates': [12.7, 3.2]})
    ring = [[20, 10], [30, 10], [30.5, 18], [20, 10]]
    explorer.add_label('a/b & "c"', {'type': 'Polygon', 'coordinates': [ring]})
    frame = gpd.read_file(explorer.session.labels_file)
    grid = explorer.images.grid
    point, polygon = frame.geometry
    assert (point.x, point.y) == grid.transform @ (12.5, 3.5)
    assert polygon.equals(shapely.Polygon([grid.transform @ tuple(at) for at in ring]))
    assert set(frame['class']) == {'a/b & "c"'}
    assert frame.crs == grid.crs.to_wkt()


def test_session_opens_again_with_all_that_was_done(made, tmp_path):
    first = made.explorer(tmp_path / 's')
    label_stripes(first)
    ring = [[3, 30], [12, 30], [12, 40], [3, 40], [3, 30]]
    first.add_label('west', {'type': 'Polygon', 'coordinates': [ring]})
    first.remove_label(2)
    before, picture = first.state(), first.tile('map', 0, 0, 0, {})
    first.close()
    again = made.explorer(tmp_path / 's')
    after = again.state()
    assert [after[k] for k in ('classes', 'labels', 'held_out')] == [
        before[k] for k in ('classes', 'labels', 'held_out')
    ]
    np.testing.assert_array_equal(again.tile('map', 0, 0, 0, {}), picture)
    # Numbers of labels are not given again, so that no tab removes another one.
    number = again.add_label('east', {'type': 'Point', 'coordinates': [65, 50]})
    again.remove_label(number)
    assert again.add_label('east', {'type': 'Point', 'coordinates': [65, 50]}) == number + 1 == 9
    again.close()


def test_labels_that_other_embeddings_do_not_reach_stay(made, tmp_path):
    first = made.explorer(tmp_path / 's')
    label_stripes(first)
    first.close()
    with rasterio.open(made.embeddings) as file:
        values, profile = file.read(), file.profile
    values[:, :30] = np.nan
    other = replace(made, embeddings=tmp_path / 'other.tif')
    with rasterio.open(other.embeddings, 'w', **profile) as file:
        file.write(values)
    again = other.explorer(tmp_path / 's')
    state = again.state()
    assert (len(state['labels']), state['has_map']) == (6, True)
    assert state['held_out']['asked'] == 0  # of the three that are left none has a second
    again.close()


def test_a_label_that_cannot_be_written_is_not_shown(explorer, monkeypatch):
    label_stripes(explorer)
    before = explorer.state()

    def full(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('torchgeo_sits.exploring.session.write_labels', full)
    with pytest.raises(OSError, match='No space left'):
        explorer.add_label('west', {'type': 'Point', 'coordinates': [5, 50]})
    with pytest.raises(OSError, match='No space left'):
        explorer.remove_label(1)
    assert explorer.state()['labels'] == before['labels']


@pytest.mark.parametrize('is_label', [True, False])
def test_a_map_in_the_making_ends_when_labels_change(explorer, monkeypatch, is_label):
    label_stripes(explorer)

    def slow_blocks(self):
        for part in original(self):
            if is_label:
                explorer.add_label('west', {'type': 'Point', 'coordinates': [8, 50]})
            else:  # the map has nothing of it
                explorer.add_classes(['another'])
            yield part

    original = type(explorer.area).blocks
    monkeypatch.setattr(type(explorer.area), 'blocks', slow_blocks)
    explorer.draw_map()
    explorer._mapper.join(timeout=60)
    assert explorer.state()['map']['state'] == ('old' if is_label else 'done')
    assert explorer.session.map_file.exists() != is_label


def test_two_servers_do_not_share_a_session(explorer):
    with pytest.raises(SITSError, match=r'has .* open: use its page'):
        Session(explorer.session.folder)


@pytest.mark.parametrize(
    ('geometry', 'message'),
    [
        ({'type': 'Point', 'coordinates': [70, 5]}, 'outside of the 60 x 70 pixels'),
        ({'type': 'Point', 'coordinates': [float('nan'), 5]}, 'outside'),
        ({'type': 'Point', 'coordinates': [1, 2, 3]}, 'expected a Point'),
        ({'type': 'Point', 'coordinates': [1, 1]}, 'nothing was observed there'),
        ({'type': 'LineString', 'coordinates': [[0, 0], [1, 1]]}, 'got LineString'),
        (None, 'expected a Point'),
        ({'type': 'Polygon', 'coordinates': [[[0, 0]] * 2001]}, '3 to 1,999 corners'),
        ({'type': 'Polygon', 'coordinates': [[[9, 9], [9, float('inf')], [8, 8], [9, 9]]]}, 'pair'),
        ({'type': 'Polygon', 'coordinates': [[[90, 90], [99, 90], [95, 99], [90, 90]]]}, 'no area'),
        (
            {'type': 'Polygon', 'coordinates': [[[9.1, 9.1], [9.2, 9.1], [9.2, 9.2], [9.1, 9.1]]]},
            'middle of no pixel',
        ),
        ({'type': 'Polygon', 'coordinates': 'x' * 10**5}, 'expected a Point'),
    ],
)
def test_shapes_that_label_nothing_are_refused(explorer, geometry, message):
    explorer.add_classes(['a'])
    with pytest.raises(SITSError, match=message) as refused:
        explorer.add_label('a', geometry)
    assert len(str(refused.value)) < 300
    assert not explorer.state()['labels']


def test_a_huge_polygon_is_cut_and_thinned_and_weighs_as_one_label(explorer):
    label_stripes(explorer)
    before = explorer.tile('map', 0, 0, 0, {})
    ring = [[-1e9, -1e9], [23, -1e9], [23, 1e9], [-1e9, 1e9], [-1e9, -1e9]]
    explorer.add_label('west', {'type': 'Polygon', 'coordinates': [ring]})
    shape = explorer.session.labels[-1].shape
    assert shape.bounds == (0, 0, 23, 60)
    assert len(explorer._pixels[7]) <= 64 * 64
    after = explorer.tile('map', 0, 0, 0, {})
    assert (before == after).all(-1).mean() > 0.98


def test_suggestion_passes_over_what_is_labelled_or_skipped(explorer):
    label_stripes(explorer)
    first = explorer.suggestion()
    second = explorer.suggestion(f'{first["row"]},{first["column"]}')
    assert first != second
    with pytest.raises(SITSError, match='expected ROW,COLUMN'):
        explorer.suggestion('a')


def test_classes_have_names_and_stay(explorer):
    explorer.add_classes(['  winter   wheat '])
    explorer.add_classes(['winter wheat', 'maize'])
    assert [one['name'] for one in explorer.state()['classes']] == ['winter wheat', 'maize']
    for name in ('', ' ', 'x' * 81, 'a\x00b'):
        with pytest.raises(SITSError, match='expected a name'):
            explorer.add_classes([name])
    with pytest.raises(SITSError, match="no class 'barley'"):
        explorer.add_label('barley', {'type': 'Point', 'coordinates': [9, 9]})


@pytest.mark.parametrize(
    'text', ['{}', 'no json', '[]', '{"version": 9, "classes": [], "embeddings": null}']
)
def test_sessions_of_others_are_refused(tmp_path, text):
    (tmp_path / 'session.json').write_text(text)
    with pytest.raises(SITSError, match='move it away to begin anew'):
        Session(tmp_path)


def test_labels_of_another_place_are_refused(made, tmp_path, explorer):
    label_stripes(explorer)
    frame = gpd.read_file(explorer.session.labels_file)
    for name, changed, message in (
        ('crs', frame.set_crs('EPSG:3035', allow_override=True), 'EPSG:3035'),
        ('far', frame.translate(1e5), 'has labels outside of the map'),
    ):
        folder = tmp_path / name
        folder.mkdir()
        gpd.GeoDataFrame(frame.drop(columns='geometry'), geometry=changed.geometry).to_file(
            folder / 'labels.gpkg', layer='labels'
        )
        with pytest.raises(SITSError, match=message):
            made.explorer(folder)
        Session(folder).close()  # the refusal left the folder to others


def test_overlay_has_the_colours_and_names_of_a_map(explorer):
    label_stripes(explorer)
    explorer.draw_map()
    assert wait_for_map(explorer)['state'] == 'done'
    overlay = Overlay(explorer.session.map_file, explorer.images.grid)
    classes = explorer.state()['classes']
    assert overlay.legend == [(one['name'], one['colour']) for one in classes]
    np.testing.assert_array_equal(overlay.tile(0, 0, 0), explorer.tile('map', 0, 0, 0, {}))


def test_overlays_that_lie_elsewhere_are_refused(tmp_path, explorer):
    profile = {'driver': 'GTiff', 'count': 1, 'height': 8, 'width': 8, 'dtype': 'uint8'}
    profile['transform'] = rasterio.Affine(10, 0, 0, 0, -10, 80)
    place = {'crs': 'EPSG:32631', 'nodata': 0}
    for name, options, message in (
        ('far.tif', place, 'no data where the map is'),
        ('nowhere.tif', {}, 'no coordinate reference system'),
    ):
        with rasterio.open(tmp_path / name, 'w', **profile, **options) as file:
            file.write(np.ones((1, 8, 8), 'uint8'))
        with pytest.raises(SITSError, match=message):
            Overlay(tmp_path / name, explorer.images.grid)


def test_report_is_one_file_that_names_nothing_outside(explorer, tmp_path):
    label_stripes(explorer)
    explorer.add_classes(['<script>alert(1)</script>'])
    write_report(tmp_path / 'out.html', explorer)
    text = (tmp_path / 'out.html').read_text()
    assert '<script' not in text
    assert 'http' not in text.replace('http-equiv', '')
    assert text.count('data:image/png') == 4 + 6  # four maps, and the series of six labels
    assert 'Of 6 labels 6 are right' in text


def test_state_is_plain_json(explorer):
    label_stripes(explorer)
    json.dumps([explorer.state(), explorer.about(), explorer.place(20, 10)], allow_nan=False)
    assert explorer.place(20, 10)['probabilities']['west'] > 0.9
    assert explorer.place(0, 0)['probabilities'] is None
