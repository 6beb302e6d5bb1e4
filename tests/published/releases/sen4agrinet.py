"""Sen4AgriNet in its published layout: a NetCDF file for each patch, and lists of the split."""

import json

import h5py
import numpy as np

PATCHES = {
    'train': ['2020_31TCG_patch_14_14.nc', '2019_31TBF_patch_01_02.nc', '2019_31TCJ_patch_3_4.nc'],
    'val': ['2020_31TCG_patch_14_15.nc', '2019_31TBF_patch_01_03.nc'],
    'test': ['2020_31TCG_patch_15_15.nc', '2019_31TCJ_patch_3_5.nc'],
}
SIZE = 24
FACTORS = dict.fromkeys(('B05', 'B06', 'B07', 'B8A', 'B11', 'B12'), 2)
FACTORS |= dict.fromkeys(('B01', 'B09', 'B10'), 6)
BANDS = ['B01', 'B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B09', 'B10', 'B11', 'B12']
#: Stored codes, and the classes that they are.
CODES = {0: -1, 110: 0, 120: 1, 130: -1, 438: 8, 770: 10}


def arrays_of(name):
    """Stored bands, days of the year, out of order and two alike, and codes ``(H, W)``."""
    generator = np.random.default_rng([*name.encode()])
    frames = 6 + len(name) % 2
    bands = {}
    for band in BANDS:
        side = SIZE // FACTORS.get(band, 1)
        bands[band] = generator.integers(1, 9000, (frames, side, side)).astype(np.uint16)
        bands[band][1, 0, 0] = 0  # no light in any band
    days = np.sort(generator.choice(360, frames, replace=False))[::-1].copy()
    days[1] = days[0]
    return bands, days, generator.choice(list(CODES), (SIZE, SIZE)).astype(np.uint32)


def write_patch(path, name):
    bands, days, codes = arrays_of(name)
    with h5py.File(path, 'w') as file:
        for band, values in bands.items():
            group = file.create_group(band)
            group[band] = values
            hourly = band == 'B02'  # units may differ from band to band
            group['time'] = 24 * days if hourly else days
            unit = 'hours' if hourly else 'days'
            group['time'].attrs['units'] = f'{unit} since {name[:4]}-01-01 00:00:00'
            group['time'].attrs['calendar'] = np.bytes_('proleptic_gregorian')
        file['labels/labels'] = codes
        file['parcels/parcels'] = codes + 1
        file.attrs['patch_year'] = name[:4]


def write_release(folder, *, scenarios=('',)):
    """Write the release into a folder.

    Args:
        folder: The folder.
        scenarios: Folders of lists, of which each lacks the last patch of the one before.
    """
    for part, names in PATCHES.items():
        for name in names:
            year, tile = name.split('_')[:2]
            path = folder / 'data' / year / tile / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_patch(path, name)
        for place, scenario in enumerate(scenarios):
            inner = folder / 'coco_files' / scenario
            inner.mkdir(parents=True, exist_ok=True)
            images = [{'file_name': name, 'id': i} for i, name in enumerate(names)]
            table = {'images': images[: len(images) - place], 'annotations': []}
            (inner / f'20210527_coco_{part}.json').write_text(json.dumps(table))
    return folder
