"""FLAIR-HUB in its published layout: dates stacked in bands, tables of dates and splits."""

import json
from datetime import date, timedelta

import geopandas as gpd
import numpy as np
import rasterio
from rasterio.transform import from_origin
from shapely import box

#: Patches by part; the last domain was not downloaded.
PATCHES = {
    'train': ['D012-2019_AF-S1-27_5-10', 'D012-2019_AF-S1-27_5-11', 'D013-2020_UU-S2-3_1-2'],
    'valid': ['D012-2019_AF-S1-27_6-10'],
    'test': ['D013-2020_UU-S2-3_1-3'],
    'absent': ['D091-2021_AA-S1-1_1-1'],
}
SENSORS = {'SENTINEL2': 10, 'SENTINEL1-ASC': 2, 'SENTINEL1-DESC': 2}
SIZE = 10


def seed_of(name, salt):
    return [*name.encode(), salt]


def dates_of(name, sensor):
    """Dates of a patch and a sensor; of each another number, and two on one day."""
    salt = list(SENSORS).index(sensor)
    number = 4 + salt + name.encode()[-1] % 3
    days = [date(2019, 1, 3) + timedelta(days=25 * i + salt) for i in range(number)]
    return [f'{day:%Y%m%d}' for day in [days[0], *days]]


def stack_of(name, sensor):
    """Pixels ``(T, C, H, W)`` of a patch and a sensor."""
    generator = np.random.default_rng(seed_of(name, 1 + list(SENSORS).index(sensor)))
    shape = (len(dates_of(name, sensor)), SENSORS[sensor], SIZE, SIZE)
    if sensor == 'SENTINEL2':
        return generator.integers(1, 8000, shape).astype(np.uint16)
    return generator.normal(-12, 3, shape).astype(np.float32)


def masks_of(name):
    """Probabilities of snow and cloud, ``(T, 2, H, W)``."""
    generator = np.random.default_rng(seed_of(name, 9))
    shape = (len(dates_of(name, 'SENTINEL2')), 2, SIZE, SIZE)
    return generator.integers(0, 101, shape).astype(np.uint8)


def cover_of(name):
    """Land cover of each pixel of 10 m, 0 to 18."""
    return np.random.default_rng(seed_of(name, 10)).integers(0, 19, (SIZE, SIZE)).astype(np.uint8)


def write_raster(folder, name, modality, array, resolution):
    domain, place, number = name.split('_')
    path = folder / f'{domain}_{modality}/{place}/{domain}_{modality}_{place}_{number}.tif'
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        'driver': 'GTiff',
        'count': len(array),
        'height': array.shape[1],
        'width': array.shape[2],
        'dtype': array.dtype,
        'crs': 'EPSG:2154',
        'transform': from_origin(800_000, 6_500_000, resolution, resolution),
    }
    with rasterio.open(path, 'w', **profile) as file:
        file.write(array)


def write_release(folder):
    """Write the release into a folder."""
    tables = folder / 'GLOBAL_ALL_MTD'
    tables.mkdir(parents=True)
    names = [name for patches in PATCHES.values() for name in patches]
    parts = [
        'train' if part == 'absent' else part for part, patches in PATCHES.items() for _ in patches
    ]
    square = [box(0, 0, 1, 1)] * len(names)
    frame = gpd.GeoDataFrame({'patch_id': names, 'split_1': parts}, geometry=square, crs=2154)
    frame.to_file(tables / 'GLOBAL_ALL_MTD_SPLIT.gpkg')
    for sensor in SENSORS:
        texts = []
        for name in names:
            days = dates_of(name, sensor)
            # Keys in the order of text: 0, 1, 10, 2.
            texts.append(
                json.dumps({key: days[int(key)] for key in sorted(map(str, range(len(days))))})
            )
        frame = gpd.GeoDataFrame(
            {'patch_id': names, 'acquisition_dates': texts}, geometry=square, crs=2154
        )
        frame.to_file(tables / f'GLOBAL_{sensor}_MTD_DATES.gpkg')
    for name in names[:-1]:
        for sensor in SENSORS:
            stack = stack_of(name, sensor)
            write_raster(folder, name, f'{sensor}_TS', stack.reshape(-1, SIZE, SIZE), 10.24)
        write_raster(
            folder, name, 'SENTINEL2_MSK-SC', masks_of(name).reshape(-1, SIZE, SIZE), 10.24
        )
        # Each pixel of 10 m is 51.2 of the land cover wide: most of it is of one class.
        places = (np.arange(512) / 51.2).astype(int)
        write_raster(
            folder, name, 'AERIAL_LABEL-COSIA', cover_of(name)[None][:, places][:, :, places], 0.2
        )
    return folder
