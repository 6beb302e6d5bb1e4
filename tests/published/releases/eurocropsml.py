"""EuroCropsML in its published layout: a file for each parcel, and lists by scenario and stage."""

import json

import numpy as np

CODES = [3301010101, 3302000000, 3301060401]


def names_of(region, count):
    """Names of parcels."""
    return [f'{region}_{1000 + i}_{CODES[i % 3]}.npz' for i in range(count)]


#: Lists by file; those of Estonia are of two levels of regions.
LISTS = {
    'latvia_vs_estonia/pretrain/region_split': {
        'train': names_of('LV003', 6),
        'val': names_of('LV006', 3),
    },
    'latvia_vs_estonia/finetune/region_split_1': {
        'train': names_of('EE008', 3),
        'val': names_of('EE009', 3),
        'test': names_of('EE00A', 4),
    },
    'latvia_vs_estonia/finetune/region_split_all': {
        'train': names_of('EE008', 7),
        'val': names_of('EE009', 3),
        'test': names_of('EE00A', 4),
    },
}


def arrays_of(name):
    """Values and dates of a parcel, out of order, two of them of one day."""
    generator = np.random.default_rng([*name.encode()])
    rows = 6 + len(name) % 3 + int(name[8]) % 2
    days = np.sort(generator.choice(365, rows, replace=False))[::-1].copy()
    days[1] = days[0]
    dates = np.datetime64('2021-01-01') + days.astype('timedelta64[D]')
    return generator.integers(0, 9000, (rows, 13)).astype(np.int32), dates


def write_release(folder, *, parcels='preprocess/S2/2021'):
    """Write the release into a folder.

    Args:
        folder: The folder.
        parcels: Where the parcels lie, as versions differ.
    """
    inner = folder / parcels
    inner.mkdir(parents=True)
    for place, parts in LISTS.items():
        path = folder / 'split' / f'{place}.json'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(parts))
        for name in {name for names in parts.values() for name in names}:
            values, dates = arrays_of(name)
            np.savez(inner / name, data=values, dates=dates, center=np.array([24.0, 57.0]))
    return folder
