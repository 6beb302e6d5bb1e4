"""Texts of strangers, torn and mixed: read, or refused in one line, never anything else.

For longer runs: ``FUZZ_EXAMPLES=100000 pytest -n0 --timeout 0 tests/datasets/test_fuzz.py``.
"""

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from torchgeo_sits.datasets import PointSeries
from torchgeo_sits.datasets.cubes import CubeStore
from torchgeo_sits.datasets.filenames import parse_names
from torchgeo_sits.datasets.labels import LabelValues, VectorLabels
from torchgeo_sits.errors import SITSError
from torchgeo_sits.grid import Grid

AREA = Grid(10, 50, 0.1, 0.1, 20, 20, CRS.from_epsg(4326))

TABLE = 'lon,lat,crop\n10.15,49.95,maize\n10.05,49.85,leek\n'
SHAPES = json.dumps(
    {
        'type': 'FeatureCollection',
        'features': [
            {
                'type': 'Feature',
                'properties': {'crop': name},
                'geometry': {
                    'type': 'Polygon',
                    'coordinates': [[[x, 49], [x + 0.5, 49], [x, 49.5], [x, 49]]],
                },
            }
            for x, name in ((10, 'maize'), (11, 'leek'))
        ],
    }
)
POINTS = 'point,date,red,nir\n1,2021-01-01,0.1,0.2\n1,2021-02-01,0.3,0.4\n2,2021-01-01,1,2\n'
#: What is put into texts: numbers and words that are odd, and pieces of the formats.
PIECES = st.sampled_from(
    [
        *('', '\x00', '\n', '\r', ',', ';', '"', "'", '\\', '\ufeff', '\t', '{', '}', '[', ']'),
        *('nan', 'NaN', 'inf', '-inf', '1e300', '-1e300', '1e400', '-0', '0', '99999999999999999'),
        *('null', 'true', '""', '[]', '{}', '[null]', 'None', '=1+1', '../../x', '<x>', 'é', '💡'),
        *('2021-13-45', '0000-00-00', '2021-02-30', '9999-12-31', '1e9', '20210101', 'lon', 'crop'),
        *('"Polygon"', '"Point"', '"LineString"', '"GeometryCollection"', 'type', 'date', 'red'),
    ]
)


@st.composite
def torn(draw: st.DrawFn, text: str) -> bytes:
    """A text of which parts are replaced, removed, or repeated."""
    for _ in range(draw(st.integers(1, 5))):
        first = draw(st.integers(0, len(text)))
        last = draw(st.integers(first, min(len(text), first + 30)))
        piece = draw(PIECES | st.text(max_size=4) | st.just(text[first:last] * 2))
        text = text[:first] + piece + text[last:]
    content = text.encode(errors='replace')
    return content[: draw(st.integers(0, len(content)))] if draw(st.booleans()) else content


def read_labels(path: Path, kind: str = 'class') -> None:
    """Open labels, and burn them."""
    values = LabelValues(kind=kind)
    labels = VectorLabels(str(path), area=AREA, column='crop', values=values, crs='EPSG:4326')
    labels[10:12, 48:50]
    labels.fields([AREA])


def read_points(path: Path) -> None:
    """Open a table of points, and read the first."""
    _ = PointSeries(path)[0]


def read_names(path: Path) -> None:
    """Read a date off a name."""
    name = path.read_bytes().decode(errors='replace')
    parse_names([f'/data/{name}.tif', f'{name}/B02.jp2'])


def read_cube(path: Path) -> None:
    """Open a cube whose root is a text."""
    folder = path.with_suffix('.zarr')
    folder.mkdir(exist_ok=True)
    (folder / 'zarr.json').write_bytes(path.read_bytes())
    CubeStore(str(folder))


CUBE = json.dumps(
    {
        'zarr_format': 3,
        'node_type': 'group',
        'attributes': {
            'torchgeo_sits': {
                'format': 1,
                'complete': True,
                'command': 'torchgeo-sits cube a b',
                'arrays': ['image', 'mask_clear'],
                'source': {},
            },
            'proj:code': 'EPSG:32631',
            'spatial:transform': [10, 0, 0, 0, -10, 0],
            'spatial:shape': [8, 8],
        },
    }
)

#: Readers by the ending of their file, and a text that they read.
READERS: dict[str, tuple[Callable[[Path], None], str]] = {
    'labels.csv': (read_labels, TABLE),
    'labels.geojson': (read_labels, SHAPES),
    'points.csv': (read_points, POINTS),
    'name.txt': (read_names, 'S2A_MSIL2A_20180802T105031_N0208_R051_T31UES_20180802T135120'),
    'root.txt': (read_cube, CUBE),
}


def check(name: str, content: bytes, folder: Path) -> None:
    """Read a text, which may be refused."""
    path = folder / name
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            READERS[name][0](path)
        except (SITSError, OSError) as error:
            assert '\n' not in str(error)  # noqa: PT017
    assert sorted(p.name for p in folder.parent.iterdir()) == [folder.name]  # nothing beside


@pytest.mark.parametrize('name', READERS)
def test_texts_that_are_whole_are_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(READERS[name][1])
    if name == 'root.txt':
        with pytest.raises(OSError, match='metadata of the cube'):  # there are no arrays
            read_cube(path)
    else:
        READERS[name][0](path)


@pytest.mark.parametrize('name', READERS)
def test_texts_that_are_torn_are_read_or_refused(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp('fuzz') / 'own'
    folder.mkdir()

    @settings(
        max_examples=int(os.environ.get('FUZZ_EXAMPLES', '25')),
        deadline=None,
        derandomize='FUZZ_EXAMPLES' not in os.environ,
        suppress_health_check=list(HealthCheck),
    )
    @given(torn(READERS[name][1]))
    def run(content: bytes) -> None:
        check(name, content, folder)

    run()
