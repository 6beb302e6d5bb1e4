"""DENETHOR in its published layout: two files of parcels, and daily images of two tiles."""

import json

import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.warp import transform

#: Tile and days by file of parcels.
TILES = {
    'train-2018': ('18E-242N', ['2018-01-01', '2018-03-02', '2018-12-31']),
    'test-2019': ('17E-243N', ['2019-02-03', '2019-07-08']),
}
HEIGHT, WIDTH = 60, 50
#: Parcels as rows and columns of pixels: in the middle, in corners, larger than a square of 16
#: pixels, and thinner than a pixel.
BOXES = {
    7: (20, 28, 22, 30),
    3: (0, 5, 0, 9),
    11: (52, 60, 44, 50),
    5: (10, 40, 20, 44),
    2: (30.1, 30.3, 5.1, 9.9),
    9: (40, 46, 4, 12),
    4: (2, 8, 30, 38),
}
#: Numbers of the crops; one is none of the nine.
CROPS = {7: 1, 3: 9, 11: 5, 5: 2, 2: 9, 9: 1, 4: 10}


def grid_of(tile):
    """Transform of a tile, in EPSG:32633."""
    return from_origin(3000 * int(tile[:2]) + 300_000, 5_800_000, 3, 3)


def image_of(tile, day):
    """Pixels ``(4, H, W)`` of a day."""
    generator = np.random.default_rng([int(tile[:2]), int(day.replace('-', ''))])
    return generator.integers(1, 4000, (4, HEIGHT, WIDTH)).astype(np.uint16)


def pixels_of(number):
    """Where a parcel is, ``(H, W)``."""
    top, bottom, left, right = BOXES[number]
    found = np.zeros((HEIGHT, WIDTH), bool)
    found[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = True
    return found


def feature_of(tile, number):
    """A parcel in EPSG:25833."""
    top, bottom, left, right = BOXES[number]
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    grid = grid_of(tile)
    xs = [grid.c + grid.a * column for column, _ in corners]
    ys = [grid.f + grid.e * row for _, row in corners]
    xs, ys = transform('EPSG:32633', 'EPSG:25833', xs, ys)
    ring = [[x, y] for x, y in zip(xs, ys, strict=True)]
    geometry = {'type': 'MultiPolygon', 'coordinates': [[ring]]}
    properties = {'fid': number, 'crop_id': CROPS[number], 'crop_name': 'x', 'SHAPE_AREA': 1.0}
    return {'type': 'Feature', 'properties': properties, 'geometry': geometry}


def write_release(folder):
    """Write the release into a folder."""
    for name, (tile, days) in TILES.items():
        for kind, count in (('PF-SR', 4), ('PF-QA', 1)):
            inner = folder / f'PF/33N/{tile}/{kind}'
            inner.mkdir(parents=True)
            for day in days:
                profile = {
                    'driver': 'GTiff',
                    'count': count,
                    'height': HEIGHT,
                    'width': WIDTH,
                    'dtype': 'uint16',
                    'crs': 'EPSG:32633',
                    'transform': grid_of(tile),
                }
                with rasterio.open(inner / f'{day}.tif', 'w', **profile) as file:
                    file.write(image_of(tile, day)[:count])
        crs = {'type': 'name', 'properties': {'name': 'urn:ogc:def:crs:EPSG::25833'}}
        features = [feature_of(tile, number) for number in BOXES]
        text = json.dumps({'type': 'FeatureCollection', 'crs': crs, 'features': features})
        (folder / f'br-{tile}-crop-labels-{name}.geojson').write_text(text)
    return folder
