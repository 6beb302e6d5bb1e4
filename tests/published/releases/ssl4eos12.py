"""SSL4EO-S12 v1.1 in its published layout: Zarr stores of version 2 in zip archives."""

import numpy as np
import zarr
from zarr.storage import ZipStore

SHARDS = {'train': ['000001', '000003'], 'val': ['000001']}
PLACES, SEASONS, SIZE = 64, 4, 16


def arrays_of(part, number, sensor):
    """Values, times in nanoseconds, out of order, and the mask of clouds of a file."""
    generator = np.random.default_rng([len(part), int(number), len(sensor), ord(sensor[2])])
    bands = {'S2L2A': 12, 'S2L1C': 13, 'S1GRD': 2}[sensor]
    shape = (PLACES, SEASONS, bands, SIZE, SIZE)
    if sensor == 'S1GRD':
        values = generator.normal(-15, 4, shape).astype(np.float16)
        values[0, 0, 0, 0, 0] = np.nan
    else:
        values = generator.integers(1, 9000, shape).astype(np.int16)
    start = np.datetime64('2020-03-01T10:20:30', 'ns').astype(np.int64)
    days = generator.integers(0, 360, (PLACES, SEASONS))
    days[:, 1] = days[:, 0]
    mask = (generator.random((PLACES, SEASONS, SIZE, SIZE)) < 0.2).astype(np.uint8) * 3
    return values, start + days * 86_400_000_000_000, mask


def write_release(folder, *, sensors=('S2L2A', 'S1GRD')):
    """Write the release into a folder."""
    for part, numbers in SHARDS.items():
        for sensor in sensors:
            inner = folder / 'ssl4eo-s12' / part / sensor
            inner.mkdir(parents=True)
            for number in numbers:
                values, times, mask = arrays_of(part, number, sensor)
                path = inner / f'ssl4eos12_{part}_seasonal_data_{number}.zarr.zip'
                with ZipStore(path, mode='w') as store:
                    group = zarr.open_group(store, mode='w', zarr_format=2)
                    chunks = (PLACES, 1, *values.shape[2:])
                    group.create_array('bands', data=values, chunks=chunks)
                    names = np.array([f'{place:07}' for place in range(PLACES)])
                    group.create_array('sample', data=names)
                    if sensor != 'S1GRD':
                        group.create_array('cloud_mask', data=mask)
                    # As xarray writes dates: a count of a unit, which differs between files.
                    unit = 'seconds' if sensor == 'S1GRD' else 'nanoseconds'
                    factor = 1_000_000_000 if sensor == 'S1GRD' else 1
                    told = {
                        'units': f'{unit} since 1970-01-01T00:00:00',
                        'calendar': 'proleptic_gregorian',
                    }
                    group.create_array('time_', data=times // factor, attributes=told)
            (inner / 'index.html').write_text('<html>')
    splits = folder / 'ssl4eo-s12' / 'splits'
    splits.mkdir()
    return folder
