"""Maps as GIS software reads them: classes, probabilities, dates, embeddings."""

import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import time
from xml.etree import ElementTree as Xml

import numpy as np
import pyogrio
import pytest
import rasterio
from rasterio.crs import CRS

from torchgeo_sits.datasets import RasterTimeSeries
from torchgeo_sits.grid import Grid
from torchgeo_sits.mapping import (
    ChangeDate,
    ClassMap,
    Embedding,
    MapRun,
    OverlappingWindows,
    Probabilities,
    QuantisedEmbedding,
)
from torchgeo_sits.mapping.window_store import WindowStore

GRID = Grid(600_000.0, 5_000_000.0, 10.0, 10.0, 50, 40, CRS.from_epsg(32631))


def make_run(folder, outputs, *, manifest=None, **options):
    windows = OverlappingWindows(GRID.height, GRID.width, 24, 8)
    return MapRun(
        folder=folder,
        grid=GRID,
        windows=windows,
        wanted=list(range(len(windows))),
        outputs=outputs,
        tags={'DATES': '2021-01-01'},
        manifest=manifest or {'weights': 'a'},
        **options,
    )


def cut(run, values):
    """Hand the windows of a whole map to a run, as if a model had computed them."""
    h, w = run.windows.shape
    for number in run.begin():
        row, column = run.windows.corner(number)
        parts = {k: v[:, row : row + h, column : column + w] for k, v in values.items()}
        run.keep(number, parts)


@pytest.fixture
def whole():
    """Values of a map with a hole where nothing was observed."""
    rng = np.random.default_rng(0)
    scores = rng.random((3, GRID.height, GRID.width)).astype(np.float32)
    scores /= scores.sum(0)
    scores[:, 5:15, 20:30] = np.nan
    return scores


def read(path):
    with rasterio.open(path) as file:
        return file.read(), file.profile, file.tags(), file


def test_classes_and_probabilities_come_back_as_they_were(tmp_path, whole):
    names = ['none', 'maize', 'wheat']
    run = make_run(
        tmp_path, [ClassMap('class', 'p', names), Probabilities('probabilities', 'p', names)]
    )
    cut(run, {'p': whole})
    run.draw()
    pixels, profile, tags, _ = read(tmp_path / 'probabilities.tif')
    np.testing.assert_allclose(pixels, whole, atol=1e-6)
    assert profile['crs'] == GRID.crs
    assert profile['transform'] == GRID.transform
    with rasterio.open(tmp_path / 'probabilities.tif') as file:
        assert file.descriptions == tuple(f'probability of {name}' for name in names)
        assert file.tags(ns='IMAGE_STRUCTURE')['LAYOUT'] == 'COG'
        assert tags['DATES'] == '2021-01-01'
    classes, profile, tags, _ = read(tmp_path / 'class.tif')
    hole = np.isnan(whole[0])
    assert profile['nodata'] == 255
    assert (classes[0][hole] == 255).all()
    np.testing.assert_array_equal(classes[0][~hole], whole.argmax(0)[~hole])
    assert [tags[f'CLASS_{i}'] for i in range(3)] == names
    with rasterio.open(tmp_path / 'class.tif') as file:
        colours = file.colormap(1)
    assert len({colours[i] for i in range(3)}) == 3
    assert not (tmp_path / '.windows').exists()


def test_files_are_valid_cogs_with_overviews(tmp_path):
    from rio_cogeo.cogeo import cog_validate

    grid = Grid(600_000.0, 5_000_000.0, 10.0, 10.0, 1100, 600, CRS.from_epsg(32631))
    windows = OverlappingWindows(grid.height, grid.width, 600, 8)
    run = MapRun(
        folder=tmp_path,
        grid=grid,
        windows=windows,
        wanted=list(range(len(windows))),
        outputs=[ClassMap('class', 'p', ['a', 'b'])],
        tags={},
        manifest={},
    )
    for number in run.begin():
        run.keep(number, {'p': np.full((2, *windows.shape), number, np.float32)})
    run.draw()
    valid, errors, warnings = cog_validate(tmp_path / 'class.tif')
    assert valid, (errors, warnings)
    with rasterio.open(tmp_path / 'class.tif') as file:
        assert file.overviews(1) == [2, 4]


def test_dates_are_those_of_one_window_and_never_means(tmp_path):
    """Two windows that disagree on a date would else give a day between."""
    run = make_run(tmp_path, [ChangeDate('change_date', 'date')])
    h, w = run.windows.shape
    for number in run.begin():
        run.keep(number, {'date': np.full((1, h, w), 18_000 + 100 * number, np.float32)})
    run.draw()
    pixels, *_ = read(tmp_path / 'change_date.tif')
    assert set(np.unique(pixels)) == {18_000 + 100 * n for n in range(len(run.windows))}


def test_bytes_of_embeddings_give_the_values_back_by_scale_and_offset(tmp_path):
    rng = np.random.default_rng(1)
    values = rng.normal(0, 3, (4, GRID.height, GRID.width)).astype(np.float32)
    values[3] = 7  # a feature that does not vary
    values[:, :3] = np.nan
    run = make_run(tmp_path, [QuantisedEmbedding('embedding', 'e')])
    cut(run, {'e': values})
    run.draw()
    with rasterio.open(tmp_path / 'embedding.tif') as file:
        bytes_, scales, offsets = file.read(), file.scales, file.offsets
        assert file.dtypes[0] == 'uint8'
        assert file.nodata == 0
    assert (bytes_[:, :3] == 0).all()
    assert bytes_[:, 3:].min() >= 1
    back = bytes_ * np.array(scales)[:, None, None] + np.array(offsets)[:, None, None]
    wrong = np.abs(back - values)[:, 3:].max((1, 2))
    span = np.nanmax(values, (1, 2)) - np.nanmin(values, (1, 2))
    assert (wrong <= span / 508 + 1e-5).all()


def test_a_run_that_was_stopped_goes_on_and_gives_the_same_bytes(tmp_path, whole):
    outputs = [Embedding('embedding', 'p'), ClassMap('class', 'p', ['a', 'b', 'c'])]
    once = make_run(tmp_path / 'once', outputs, min_area=500.0)
    cut(once, {'p': whole})
    once.draw()
    stopped = make_run(tmp_path / 'stopped', outputs, min_area=500.0)
    h, w = stopped.windows.shape
    left = stopped.begin()
    for number in left[:3]:
        row, column = stopped.windows.corner(number)
        stopped.keep(number, {'p': whole[:, row : row + h, column : column + w]})
    # What a kill leaves of a window that was being written.
    rest = tmp_path / f'stopped/.windows/.torchgeo-sits-part.{socket.gethostname()}.99999999.a'
    rest.mkdir()
    (rest / '00000005.npy').write_bytes(b'half')
    again = make_run(tmp_path / 'stopped', outputs, min_area=500.0)
    assert again.begin() == left[3:]
    assert not rest.exists()
    cut(again, {'p': whole})
    again.draw()
    for name in (
        'embedding.tif',
        'class.tif',
        'class.tif.aux.xml',
        'class.tif.vat.dbf',
        'class.qml',
    ):
        both = [(tmp_path / folder / name).read_bytes() for folder in ('once', 'stopped')]
        assert both[0] == both[1]
    assert make_run(tmp_path / 'stopped', outputs).begin() == []
    assert make_run(tmp_path / 'stopped', outputs).is_finished()


def test_polygons_can_follow_and_what_a_stop_left_is_swept_away(tmp_path, whole):
    outputs = [ClassMap('class', 'p', ['a', 'b', 'c'])]
    run = make_run(tmp_path, outputs)
    cut(run, {'p': whole})
    run.draw()
    before = (tmp_path / 'class.tif').read_bytes()
    # A kill while the windows are deleted leaves some of them.
    run.store.begin({'weights': 'a'})
    later = make_run(tmp_path, outputs, vectors='gpkg')
    assert later.begin() == []
    assert not later.is_finished()
    later.draw()
    assert later.is_finished()
    assert (tmp_path / 'class.gpkg').exists()
    assert (tmp_path / 'class.tif').read_bytes() == before
    assert not (tmp_path / '.windows').exists()


def test_polygons_of_another_map_are_not_taken_for_its_own(tmp_path, whole):
    outputs = [ClassMap('class', 'p', ['a', 'b', 'c'])]
    (tmp_path / 'class.gpkg').write_bytes(b'of another map')
    with pytest.raises(ValueError, match=r'class\.gpkg is there already'):
        make_run(tmp_path, outputs, vectors='gpkg').begin()


def rot(path):
    content = bytearray(path.read_bytes())
    content[200:210] = b'0123456789'
    path.write_bytes(content)


#: What a power cut, a copy, or a disk leaves of the windows of a run that was stopped.
DAMAGES = {
    'manifest emptied': lambda f: (f / 'manifest.json').write_bytes(b''),
    'manifest of another make': lambda f: (f / 'manifest.json').write_text('[]'),
    'manifest of zeros': lambda f: (f / 'manifest.json').write_bytes(bytes(64)),
    'layout emptied': lambda f: (f / 'layout.json').write_bytes(b''),
    'layout of another make': lambda f: (f / 'layout.json').write_text('{"p": 7}'),
    'layout lost': lambda f: (f / 'layout.json').unlink(),
    'window emptied': lambda f: (f / '00000001.npy').write_bytes(b''),
    'window cut': lambda f: os.truncate(f / '00000001.npy', 500),
    'window rotten': lambda f: rot(f / '00000001.npy'),
    'window of another number': lambda f: shutil.copy(f / '00000000.npy', f / '00000002.npy'),
    'window of a pickle': lambda f: np.save(f / '00000001.npy', np.array([{}], object)),
    'files of others': lambda f: [(f / n).touch() for n in ('._00000001.npy', 'note.npy')],
    'all emptied': lambda f: [p.write_bytes(b'') for p in f.iterdir() if p.is_file()],
}


@pytest.mark.parametrize('is_complete', [False, True])
@pytest.mark.parametrize('damage', DAMAGES)
def test_what_a_power_cut_spoilt_is_done_again(tmp_path, whole, damage, is_complete):
    outputs = [Embedding('embedding', 'p'), ClassMap('class', 'p', ['a', 'b', 'c'])]
    once, stopped = (make_run(tmp_path / name, outputs) for name in ('once', 'stopped'))
    cut(once, {'p': whole})
    once.draw()
    h, w = stopped.windows.shape
    left = stopped.begin()
    for number in left if is_complete else left[:3]:
        row, column = stopped.windows.corner(number)
        stopped.keep(number, {'p': whole[:, row : row + h, column : column + w]})
    stopped.close()
    DAMAGES[damage](stopped.store.folder)
    again = make_run(tmp_path / 'stopped', outputs)
    if damage == 'files of others':
        assert again.begin() == ([] if is_complete else left[3:])
    cut(again, {'p': whole})
    again.draw()
    for path in once.files:
        assert path.read_bytes() == (tmp_path / 'stopped' / path.name).read_bytes()
    assert again.is_finished()


@pytest.mark.parametrize('length', [0, 0.5, 0.9])
def test_a_map_that_is_cut_short_is_no_finished_one(tmp_path, whole, length):
    run = make_run(tmp_path, [Embedding('embedding', 'p')])
    cut(run, {'p': whole})
    run.draw()
    assert make_run(tmp_path, run.outputs).begin() == []
    [path] = run.files
    os.truncate(path, int(length * path.stat().st_size))
    with pytest.raises(OSError, match=r'embedding\.tif is cut short.*move it away'):
        make_run(tmp_path, run.outputs).begin()


def test_processes_share_windows_and_take_over_those_of_one_that_is_killed(tmp_path):
    run = make_run(tmp_path, [Embedding('embedding', 'p')])
    fork = multiprocessing.get_context('fork')
    claimed = fork.Event()

    def claim_two_and_wait():
        free = run.work.free('window', run.begin(), run.is_kept)
        next(free), next(free)
        claimed.set()
        time.sleep(60)

    other = fork.Process(target=claim_two_and_wait)
    other.start()
    assert claimed.wait(30)
    mine = make_run(tmp_path, run.outputs)
    assert mine.begin() == mine.wanted
    free = list(mine.work.free('window', mine.wanted, mine.is_kept))
    assert free == mine.wanted[2:]
    other.kill()
    other.join()
    assert list(mine.work.free('window', mine.wanted[:2], mine.is_kept)) == mine.wanted[:2]
    mine.close()


def test_windows_of_another_map_are_refused(tmp_path, whole):
    outputs = [Embedding('embedding', 'p')]
    run = make_run(tmp_path, outputs)
    run.begin()
    with pytest.raises(ValueError, match='begun with another weights'):
        make_run(tmp_path, outputs, manifest={'weights': 'b'}).begin()
    cut(run, {'p': whole})
    run.draw()
    with pytest.raises(ValueError, match='there already, of another run'):
        make_run(tmp_path, outputs, manifest={'weights': 'b'}).begin()


def test_a_full_disk_is_an_error_that_names_the_folder_and_keeps_windows(tmp_path, monkeypatch):
    import os

    store = WindowStore(tmp_path / 'parts')
    store.begin({})
    store.write(0, np.zeros((1, 4, 4), np.float32))

    def full(handle):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match=r'no room left in .*parts'):
        store.write(1, np.zeros((1, 4, 4), np.float32))
    assert store.finished() == {0}
    assert not list((tmp_path / 'parts').glob('.torchgeo*'))


def test_a_map_that_cannot_fit_is_refused_before_it_is_computed(tmp_path, monkeypatch):
    import shutil

    run = make_run(tmp_path, [Embedding('embedding', 'p')])
    run.begin()
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
    with pytest.raises(OSError, match=r'the map needs up to .* are free'):
        run.keep(0, {'p': np.zeros((2, *run.windows.shape), np.float32)})


@pytest.mark.parametrize('kind', ['gpkg', 'parquet'])
def test_polygons_have_the_area_of_their_pixels(tmp_path, kind):
    import geopandas as gpd

    values = np.zeros((2, GRID.height, GRID.width), np.float32)
    values[0], values[1, 10:20, 10:40] = 0.4, 0.9
    run = make_run(tmp_path, [ClassMap('class', 'p', ['field', 'road'])], vectors=kind)
    cut(run, {'p': values})
    run.draw()
    path = tmp_path / f'class.{kind}'
    table = gpd.read_parquet(path) if kind == 'parquet' else gpd.read_file(path)
    areas = table.groupby('name').area.sum()
    assert areas['road'] == 300 * 100
    assert areas['field'] == (GRID.height * GRID.width - 300) * 100
    assert table.crs == GRID.crs


def test_maps_of_one_name_are_refused(tmp_path):
    outputs = [Embedding('embedding', 'e'), Probabilities('embedding', 'p', ['a'])]
    with pytest.raises(ValueError, match=r"\['embedding'\] twice"):
        make_run(tmp_path, outputs)


def test_a_map_of_values_that_are_not_there_is_refused_at_the_first_window(tmp_path):
    run = make_run(tmp_path, [Embedding('embedding', 'e')])
    run.begin()
    with pytest.raises(ValueError, match=r"from the values 'e'.*predicts \['p'\]"):
        run.keep(0, {'p': np.zeros((2, *run.windows.shape), np.float32)})
    assert run.left() == run.wanted


CODED = {'codes': [None, 1110, 1200], 'unlabelled': 0}


def test_legend_of_codes_is_read_by_gdal(tmp_path, whole):
    """By Debian's gdalinfo where it is installed, and by the format of GDAL's side files."""
    names = ['unlabelled', 'winter wheat', 'maïs & "co" <1>\x01']
    run = make_run(
        tmp_path, [ClassMap('class', 'p', names, colours=[None, '#102030', None], **CODED)]
    )
    whole[0] = np.where(np.isnan(whole[0]), np.nan, 0)
    cut(run, {'p': whole})
    run.draw()
    assert run.is_finished()
    pixels, profile, *_ = read(tmp_path / 'class.tif')
    assert (profile['dtype'], profile['nodata']) == ('uint16', 65535)
    hole = np.isnan(whole[0])
    np.testing.assert_array_equal(
        pixels[0][~hole], np.array([1110, 1200])[whole[1:].argmax(0)][~hole]
    )
    counts = [(pixels == code).sum() for code in (1110, 1200)]
    table = Xml.parse(tmp_path / 'class.tif.aux.xml').find('.//GDALRasterAttributeTable')
    assert [c.findtext('Name') for c in table.iter('FieldDefn')][:3] == ['Value', 'Count', 'Class']
    rows = [[cell.text for cell in row] for row in table.iter('Row')]
    assert rows[0] == ['1110', str(counts[0]), 'winter wheat', '16', '32', '48', '255']
    assert rows[1][:3] == ['1200', str(counts[1]), 'maïs & "co" <1> ']
    entry = next(Xml.parse(tmp_path / 'class.qml').iter('paletteEntry'))
    assert (entry.get('value'), entry.get('color')) == ('1110', '#102030')
    arcgis = pyogrio.read_dataframe(tmp_path / 'class.tif.vat.dbf')
    assert arcgis.iloc[0].tolist() == [1110, counts[0], 'winter wheat', 16, 32, 48]
    assert arcgis['Class'][1] == 'maïs & "co" <1> '.strip()
    if shutil.which('gdalinfo'):
        command = ['gdalinfo', '-json', str(tmp_path / 'class.tif')]
        shown = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        assert [column['usage'] for column in shown['rat']['fieldDefn']] == [5, 1, 2, 6, 7, 8, 9]
        assert shown['rat']['row'][0]['f'] == [1110, counts[0], 'winter wheat', 16, 32, 48, 255]


def test_small_codes_have_names_by_position_and_a_colour_table(tmp_path, whole):
    run = make_run(
        tmp_path, [ClassMap('class', 'p', ['a', 'b', 'c'], codes=[3, 0, 255], unlabelled=9)]
    )
    cut(run, {'p': whole})
    run.draw()
    pixels, profile, *_ = read(tmp_path / 'class.tif')
    # 255 is a code, and so is 0.
    assert profile['dtype'] == 'uint16'
    assert set(np.unique(pixels)) == {0, 3, 255, 65535}
    names = Xml.parse(tmp_path / 'class.tif.aux.xml').findall('.//Category')
    assert len(names) == 256
    assert [names[i].text for i in (0, 1, 3, 255)] == ['b', None, 'a', 'c']


@pytest.mark.parametrize(
    ('codes', 'dtype', 'nodata'),
    [
        ([1, 2], 'uint8', 255),
        ([1, 255], 'uint8', 0),
        ([-1, 2], 'int16', 32767),
        ([1, 65535], 'uint16', 0),
        ([1, 2_000_000], 'int32', 2**31 - 1),
        ([1, None], 'uint8', 255),
    ],
)
def test_no_data_is_no_code(codes, dtype, nodata):
    found = ClassMap('class', 'p', ['a', 'b'], codes=codes)
    assert (found.dtype, found.nodata) == (dtype, nodata)
    assert nodata not in found.values


@pytest.mark.parametrize(
    ('codes', 'match'),
    [([5, 5], r'two classes .* have one code, got \[5, 5\]'), ([1, 2**40], 'map.values classes')],
)
def test_codes_that_no_map_holds_are_refused(codes, match):
    with pytest.raises(ValueError, match=match):
        ClassMap('class', 'p', ['a', 'b'], codes=codes)


def test_a_legend_that_a_kill_left_out_follows_and_others_are_not_replaced(tmp_path, whole):
    outputs = [ClassMap('class', 'p', ['a', 'b', 'c'])]
    cut(run := make_run(tmp_path, outputs), {'p': whole})
    run.draw()
    first = (tmp_path / 'class.tif.aux.xml').read_bytes()
    (tmp_path / 'class.tif.aux.xml').unlink()
    again = make_run(tmp_path, outputs)
    assert again.begin() == []
    assert not again.is_finished()
    again.draw()
    assert (tmp_path / 'class.tif.aux.xml').read_bytes() == first
    (tmp_path / 'class.tif').unlink()
    with pytest.raises(ValueError, match='is there already, of another run'):
        make_run(tmp_path, outputs).begin()


def test_sieve_merges_small_patches_and_leaves_no_data(tmp_path):
    """A patch of 3 pixels in a field, one at the edge of nothing, and a checkerboard of both."""
    values = np.zeros((2, GRID.height, GRID.width), np.float32)
    values[0] = 0.8
    values[0, 5, 5:8], values[0, 20:26, 20:26] = 0.1, 0.1
    values[0, 30:36:2, 30:36:2], values[0, 31:36:2, 31:36:2] = 0.1, 0.1
    values[1] = 1 - values[0]
    values[:, :, 45:] = np.nan
    values[:, 10, 47] = 0.1, 0.9  # alone: nothing to join
    run = make_run(
        tmp_path, [ClassMap('class', 'p', ['field', 'road']), Probabilities('p', 'p', ['f', 'r'])],
        min_area=400.0, vectors='gpkg',
    )  # fmt: skip
    cut(run, {'p': values})
    run.draw()
    classes = read(tmp_path / 'class.tif')[0][0]
    assert (classes[5, 5:8] == 0).all()
    assert (classes[20:26, 20:26] == 1).all()
    assert (classes[30:36, 30:36] == 0).all()
    assert classes[10, 47] == 1
    assert ((classes == 255) == np.isnan(values[0])).all()
    import geopandas as gpd

    table = gpd.read_file(tmp_path / 'class.gpkg')
    assert sorted(table['area'] / 100) == [1, 36, 40 * 45 - 36]
    # Of its own class, though some of its pixels had another.
    road = table[table['name'] == 'road'].set_index('area')['probability']
    np.testing.assert_allclose(road.loc[3600], 0.9, atol=1e-6)
    field = table[table['name'] == 'field']['probability'].item()
    number = 40 * 45 - 36
    odd = 3 + 18
    np.testing.assert_allclose(field, (0.8 * (number - odd) + 0.1 * odd) / number, atol=1e-6)


def test_areas_are_square_metres_in_degrees_and_feet(tmp_path):
    import geopandas as gpd
    from shapely import box

    from torchgeo_sits.mapping.polygons import areas_of

    [metres] = areas_of(gpd.GeoSeries([box(600_000, 5_000_000, 600_100, 5_000_100)], crs=32631))
    assert metres == 1e4
    degrees = gpd.GeoSeries([box(600_000, 5_000_000, 600_100, 5_000_100)], crs=32631).to_crs(4326)
    np.testing.assert_allclose(areas_of(degrees), 1e4, rtol=2e-3)
    [feet] = areas_of(gpd.GeoSeries([box(0, 0, 100, 100)], crs=2263))
    np.testing.assert_allclose(feet, 1e4 * 0.3048006096**2)


def test_smallest_area_needs_a_map_of_classes(tmp_path):
    with pytest.raises(ValueError, match=r"min_area=100 is for maps of classes.*\['embedding'\]"):
        make_run(tmp_path, [Embedding('embedding', 'e')], min_area=100.0)


def test_colours_that_are_none_or_of_no_class_are_refused(series_folder, tmp_path):
    from torchgeo_sits.datamodules import LabelOptions, PatchOptions, SITSDataModule

    with pytest.raises(ValueError, match=r"labels\.colors gives 'maize' the colour 'gould'"):
        LabelOptions('labels.tif', colors={'maize': 'gould'})
    source = min(series_folder.iterdir())
    with rasterio.open(source) as file:
        profile = {**file.profile, 'count': 1, 'dtype': 'uint16', 'nodata': 0}
    with rasterio.open(tmp_path / 'labels.tif', 'w', **profile) as file:
        file.write(np.full((1, 32, 40), 1200, np.uint16))
    for colours, match in [({'mais': 'gold'}, "'mais'"), ({1110: 'gold'}, '1110')]:
        labels = LabelOptions(
            str(tmp_path / 'labels.tif'), classes={1200: 'maize'}, colors=colours,
            supervised=True,
        )  # fmt: skip
        data = SITSDataModule(str(series_folder), labels=labels, patches=PatchOptions(8))
        with pytest.raises(ValueError, match=rf"{match} .* no class: .*\[1200, 'maize'\]"):
            _ = data.class_colors


def test_names_of_classes_lead_nowhere(tmp_path):
    names = ['../../evil', f'{tmp_path}/evil', '<script>"\'&', 'a\nb', 'c\x00d']
    values = np.random.default_rng(0).random((5, GRID.height, GRID.width), 'f')
    outputs = [ClassMap('class', 'p', names), Probabilities('probabilities', 'p', names)]
    run = make_run(tmp_path / 'maps', outputs, vectors='gpkg')
    cut(run, {'p': values})
    run.draw()
    assert [path.name for path in tmp_path.iterdir()] == ['maps']
    kinds = {path.name.split('.', 1)[0] for path in (tmp_path / 'maps').iterdir()}
    assert kinds == {'class', 'probabilities'}
    table = pyogrio.read_dataframe(tmp_path / 'maps/class.gpkg')
    assert '../../evil' in set(table['name'])
    for path in (tmp_path / 'maps').iterdir():
        if path.suffix in ('.xml', '.qml'):
            assert '<script>' not in path.read_text()
            Xml.parse(path)


def test_maps_among_the_images_are_no_images(tmp_path, series_folder, recwarn):
    shutil.copytree(series_folder, tmp_path / 'images')
    number = len(RasterTimeSeries(tmp_path / 'images').index)
    folder = tmp_path / 'images' / 'maps_20200101'
    run = make_run(folder, [Embedding('a', 'f'), Embedding('b', 'f')])
    cut(run, {'f': np.ones((2, GRID.height, GRID.width), np.float32)})
    run.draw()
    recwarn.clear()
    assert len(RasterTimeSeries(tmp_path / 'images').index) == number
    [told] = [str(w.message) for w in recwarn if 'maps of this package' in str(w.message)]
    assert told.startswith('2 rasters are maps')
    # By themselves they are a series, such as a map for each year.
    assert len(RasterTimeSeries(folder).index) == 2
