"""SpaceNet 7 in its published layout: a mosaic for each month, buildings, and some masks."""

import json

import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.warp import transform

#: Labelled places in the order of their names, and the public test.
LABELLED = [f'L15-0{number}E-1257N_1327_{number}_13' for number in range(331, 337)]
UNLABELLED = ['L15-0369E-1244N_1479_3214_13']
#: Height and width; some places are a column narrower.
SIZE = (32, 31)
RESOLUTION = 4.77
#: Months that have an image, with a gap.
MONTHS = [(2017, 12), (2018, 1), (2018, 3)]


def grid_of(place):
    """Transform of a place, in EPSG:3857."""
    return from_origin(1_000_000 + 10_000 * int(place[5:8]), 5_000_000, RESOLUTION, RESOLUTION)


def image_of(place, month):
    """Pixels ``(4, H, W)`` of a month, the last of which shows what is masked."""
    generator = np.random.default_rng([int(place[5:8]), *month])
    image = generator.integers(1, 256, (4, *SIZE)).astype(np.uint8)
    image[3] = 255
    image[:, -1, :4] = 0
    return image


def unusable_of(place, month):
    """Pixels ``(H, W)`` that a mask marks; None where the month has none."""
    if month != (2018, 1):
        return None
    marked = np.zeros(SIZE, np.uint8)
    marked[4:8, 20:24] = 255
    return marked


def boxes_of(place, month):
    """Buildings of a month as rows and columns of pixels."""
    boxes = [(2, 6, 3, 9), (10, 14, 18, 25)]
    if month == (2018, 3):
        boxes.append((20, 28, 4, 12))
    return boxes if place != LABELLED[1] or month != (2017, 12) else []


def map_of(place, month):
    """Buildings ``(H, W)``, -1 where nothing was seen."""
    found = np.zeros(SIZE, np.int64)
    for top, bottom, left, right in boxes_of(place, month):
        found[top:bottom, left:right] = 1
    found[-1, :4] = -1
    unusable = unusable_of(place, month)
    if unusable is not None:
        found[unusable > 0] = -1
    return found


def write(path, array, place):
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        'driver': 'GTiff',
        'count': len(array),
        'height': SIZE[0],
        'width': SIZE[1],
        'dtype': array.dtype,
        'crs': 'EPSG:3857',
        'transform': grid_of(place),
    }
    with rasterio.open(path, 'w', **profile) as file:
        file.write(array)


def feature_of(place, box):
    """A building in degrees."""
    top, bottom, left, right = box
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    grid = grid_of(place)
    xs = [grid.c + grid.a * column for column, _ in corners]
    ys = [grid.f + grid.e * row for _, row in corners]
    lon, lat = transform('EPSG:3857', 'OGC:CRS84', xs, ys)
    ring = [[x, y] for x, y in zip(lon, lat, strict=True)]
    geometry = {'type': 'Polygon', 'coordinates': [ring]}
    return {'type': 'Feature', 'properties': {'area': 1.0}, 'geometry': geometry}


def write_release(folder):
    """Write the release into a folder."""
    for part, places in (('train', LABELLED), ('test_public', UNLABELLED)):
        for place in places:
            inner = folder / part / place
            for month in MONTHS:
                stem = f'global_monthly_{month[0]}_{month[1]:02}_mosaic_{place}'
                write(inner / f'images_masked/{stem}.tif', image_of(place, month), place)
                (inner / f'images_masked/{stem}.tif.aux.xml').write_text('<PAMDataset/>')
                unusable = unusable_of(place, month)
                if unusable is not None:
                    write(inner / f'UDM_masks/{stem}_UDM.tif', unusable[None], place)
                if part == 'train':
                    (inner / 'labels').mkdir(exist_ok=True)
                    features = [feature_of(place, box) for box in boxes_of(place, month)]
                    text = json.dumps({'type': 'FeatureCollection', 'features': features})
                    (inner / f'labels/{stem}_Buildings.geojson').write_text(text)
    return folder
