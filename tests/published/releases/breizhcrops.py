"""BreizhCrops in its published layout: an index, codes, and a file of parcels for each region."""

import h5py
import numpy as np
import pandas as pd

REGIONS = {'frh01': 5, 'frh02': 4, 'frh03': 3, 'frh04': 3}
CODES = ['ORH', 'BTH', 'CZH', 'MIS', 'TRN', 'VRG', 'NOS', 'PPH', 'PTR']
COLUMNS = {'L1C': 17, 'L2A': 14}
DOA = {'L1C': 16, 'L2A': 0}
#: The first day of 2017, in nanoseconds since 1970, and a day.
START, DAY = 1_483_228_800_000_000_000, 86_400_000_000_000


def array_of(region, number, level):
    """Rows of a parcel, out of order, two of them of one day."""
    generator = np.random.default_rng([number, len(region), int(region[-1])])
    rows = 9 + number
    array = generator.integers(0, 8000, (rows, COLUMNS[level])).astype(float)
    days = np.sort(generator.choice(360, rows, replace=False))
    days[1] = days[0]
    days = days[::-1]
    array[:, DOA[level]] = (START + days * DAY).astype(float)
    return array


def write_release(folder, *, level='L1C', deeper=''):
    """Write the release.

    Args:
        folder: Where to write it.
        level: Level of processing.
        deeper: Folders between the year and the level, as some archives unpack.
    """
    inner = folder / '2017' / deeper / level
    inner.mkdir(parents=True)
    mapping = pd.DataFrame({'id': range(9), 'classname': CODES, 'code': CODES})
    mapping.to_csv(folder / 'classmapping.csv')
    for region, count in REGIONS.items():
        rows = []
        with h5py.File(inner / f'{region}.h5', 'w') as file:
            for number in range(count):
                path = f'csv/{number}.csv'
                file[path] = array_of(region, number, level)
                rows.append((number, 1000 + number, CODES[(2 * number) % 9], path, 0.0, 10))
        rows.append((count, 1999, 'XYZ', 'csv/none.csv', 0.0, 0))  # a code of no class
        columns = ['idx', 'id', 'CODE_CULTU', 'path', 'meanCLD', 'sequencelength']
        pd.DataFrame(rows, columns=columns).to_csv(inner / f'{region}.csv')
    return folder
