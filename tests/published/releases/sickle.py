"""SICKLE in its published layout: a table, arrays for each date and sensor, and masks."""

import numpy as np
import pandas as pd

from .multisenge import write

#: Samples by part: number, plot, season and year.
SAMPLES = {
    'train': [(12, 101, 'jan-mar', 2019), (3, 102, 'jul-oct', 2018), (7, 103, 'jan-mar', 2020)],
    'val': [(21, 201, 'jan-mar', 2019)],
    'test': [(31, 301, 'aug-dec', 2020)],
}
SIDE = 32
BANDS = {
    'S2': ['B1', 'B2', 'B3', 'B4', 'B5', 'B6', 'B7', 'B8', 'B8A', 'B9', 'B11', 'B12'],
    'S1': ['VV', 'VH'],
}
#: Days from the first of the season; some lie before and behind it.
DAYS = {'S2': [170, -3, 0, 90, 90, 183], 'S1': [12, 182, 200]}
STARTS = {12: '2019-01-01', 3: '2018-07-01', 7: '2020-01-01', 21: '2019-01-01', 31: '2020-08-01'}
#: A sample without Sentinel-1.
WITHOUT_S1 = 7


def dates_of(number, sensor):
    """Days of the season that are read, in order, each with the place of its file."""
    if sensor == 'S1' and number == WITHOUT_S1:
        return []
    return sorted((day, place) for place, day in enumerate(DAYS[sensor]) if 0 <= day < 183)


def date_of(number, day):
    return pd.Timestamp(STARTS[number]) + pd.Timedelta(days=day)


def image_of(number, sensor, place):
    """Pixels ``(C, H, W)`` of the file of a date; some files of Sentinel-1 are smaller."""
    generator = np.random.default_rng([number, int(sensor[1]), place])
    side = SIDE if sensor == 'S2' else SIDE // 2
    image = generator.integers(1, 6000, (len(BANDS[sensor]), side, side)).astype(np.float32)
    image[:, :2, :2] = 0
    return image


def read_of(number, sensor, place):
    """Pixels brought to 32 x 32."""
    image = image_of(number, sensor, place)
    return image.repeat(SIDE // image.shape[1], axis=1).repeat(SIDE // image.shape[2], axis=2)


def layers_of(number):
    """Layers of the mask ``(6, H, W)``: plots, crops, and four that are not read."""
    generator = np.random.default_rng(number)
    plots = [plot for samples in SAMPLES.values() for _, plot, _, _ in samples]
    layers = np.zeros((6, SIDE, SIDE), np.float32)
    layers[0] = generator.choice([0, *plots], (SIDE, SIDE))
    layers[1] = np.where(layers[0] > 0, generator.integers(0, 6, (SIDE, SIDE)), 0)
    return layers


def name_of(number, sensor, place):
    """Name of the file of a date, which sensors write differently."""
    date = f'{date_of(number, DAYS[sensor][place]):%Y%m%d}'
    if sensor == 'S1':
        return f'S1A_IW_GRDH_1SDV_{date}T00{place}000_x'
    return f'T44PKT_{date}T05{place}000' if place % 2 else f'{date}T05{place}000_{date}_T44PKT'


def write_release(folder):
    """Write the release into a folder."""
    rows = []
    for part, samples in SAMPLES.items():
        for number, plot, season, year in samples:
            rows.append((number, plot, season, year, 10, 120, 1.5, part))
            for sensor, days in DAYS.items():
                inner = folder / f'images/{sensor}/npy/{number}'
                inner.mkdir(parents=True)
                if sensor == 'S1' and number == WITHOUT_S1:
                    continue
                for place in range(len(days)):
                    arrays = zip(BANDS[sensor], image_of(number, sensor, place), strict=True)
                    np.savez(inner / f'{name_of(number, sensor, place)}.npz', **dict(arrays))
            write(folder / f'masks/10m/{number}.tif', layers_of(number))
    columns = ['UNIQUE_ID', 'PLOT_ID', 'STANDARD_SEASON', 'YEAR', 'SOWING_DAY', 'HARVESTING_DAY']
    table = pd.DataFrame(rows, columns=[*columns, 'YIELD', 'SPLIT'])
    table.to_csv(folder / 'sickle_dataset_tabular.csv', index=False)
    return folder
