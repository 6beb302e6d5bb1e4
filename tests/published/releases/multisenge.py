"""MultiSenGE in its published layout: descriptions that list the images, which lie by sensor."""

import json

import numpy as np
import rasterio

#: Patches by tile; in the order of the tiles two are of training, then one each.
PATCHES = {
    '31TFN': ['31TFN_4626_514', '31TFN_4883_0'],
    '31UEP': ['31UEP_0_257'],
    '32ULU': ['32ULU_771_1028'],
    '32ULV': ['32ULV_2313_4883'],
}
SIZE = 16
#: Dates that descriptions list, unsorted, and those of them that are not in the release.
DATES = {
    's2': ['20200805', '20200403', '20201128', '20200904'],
    's1': ['20200930', '20200104', '20200617'],
}
MISSING = {'s2': '20201128', 's1': '20200104'}
#: A patch without any image of Sentinel-1.
WITHOUT_S1 = '31UEP_0_257'
BANDS = {'s2': 10, 's1': 2}


def dates_of(patch, sensor):
    """Dates of the images that are there, in order."""
    if sensor == 's1' and patch == WITHOUT_S1:
        return []
    return sorted(set(DATES[sensor]) - {MISSING[sensor]})


def image_of(patch, sensor, date):
    """Pixels ``(C, H, W)`` of a date."""
    _, column, row = patch.split('_')
    generator = np.random.default_rng([int(column), int(row), int(date), BANDS[sensor]])
    if sensor == 's1':
        return generator.normal(-12, 4, (2, SIZE, SIZE)).astype(np.float32)
    return generator.integers(1, 6000, (10, SIZE, SIZE)).astype(np.uint16)


def numbers_of(patch):
    """Labels ``(H, W)`` as they are stored, 0 for none."""
    _, column, row = patch.split('_')
    generator = np.random.default_rng([int(column), int(row)])
    return generator.integers(0, 15, (SIZE, SIZE)).astype(np.uint8)


def name_of(patch, kind, date=None):
    tile, rest = patch.split('_', 1)
    return f'{tile}_{date}_{kind.upper()}_{rest}.tif' if date else f'{tile}_{kind}_{rest}.tif'


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = array.shape
    profile = {'driver': 'GTiff', 'count': count, 'height': height, 'width': width}
    with rasterio.open(path, 'w', **profile, dtype=array.dtype) as file:
        file.write(array)


def write_release(folder):
    """Write the release into a folder."""
    (folder / 'labels').mkdir(parents=True)
    for patches in PATCHES.values():
        for patch in patches:
            lists = {
                f'corresponding_{sensor}': ';'.join(name_of(patch, sensor, date) for date in dates)
                for sensor, dates in DATES.items()
            }
            if patch == WITHOUT_S1:
                lists['corresponding_s1'] = ''
            for sensor in DATES:
                for date in dates_of(patch, sensor):
                    path = folder / sensor / name_of(patch, sensor, date)
                    write(path, image_of(patch, sensor, date))
            text = json.dumps({**lists, 'projection': 'PROJCS[]', 'labels': '2;5'})
            (folder / f'labels/{patch}.json').write_text(text)
            write(folder / 'ground_reference' / name_of(patch, 'GR'), numbers_of(patch)[None])
    return folder
