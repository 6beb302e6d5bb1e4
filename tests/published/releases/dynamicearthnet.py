"""DynamicEarthNet in its published layout: days of Planet images, and a map for each month."""

import numpy as np
import rasterio
from rasterio.transform import from_origin

#: Two places for training, one for validation and one for the test; the last is written as some
#: copies have it, without the folders between, and with hyphens and without `Labels`.
PLACES = {
    'train': ['1311_3077_13', '2459_4406_13'],
    'val': ['5111_4560_13'],
    'test': ['1417_3281_13'],
}
SIZE = 32
DAYS = [(2018, 1, day) for day in (1, 2, 5, 15)] + [(2018, 2, day) for day in (1, 10, 28)]


def image_of(place, date):
    """Pixels ``(4, H, W)`` of a day."""
    generator = np.random.default_rng([int(place[:4]), *date])
    image = generator.integers(200, 4000, (4, SIZE, SIZE)).astype(np.uint16)
    image[:, 0, :3] = 0
    return image


def map_of(place, month):
    """Classes ``(H, W)`` of a month, 6 for snow and ice, 7 for none."""
    generator = np.random.default_rng([int(place[:4]), month])
    classes = generator.integers(0, 7, (SIZE, SIZE))
    classes[-1, -2:] = 7
    return classes


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        'driver': 'GTiff',
        'count': len(array),
        'height': SIZE,
        'width': SIZE,
        'dtype': array.dtype,
        'crs': 'EPSG:32610',
        'transform': from_origin(500_000, 4_000_000, 3, 3),
    }
    with rasterio.open(path, 'w', **profile) as file:
        file.write(array)


def write_release(folder):
    """Write the release into a folder."""
    for part, places in PLACES.items():
        lines = []
        for place in places:
            odd = part == 'test'
            inner = f'planet.11N/{place}' if odd else f'planet.10N/planet/10N/22E-217N/{place}'
            images = folder / 'planet' / inner / 'PF-SR'
            for year, month, day in DAYS:
                image = image_of(place, (year, month, day))
                write(images / f'{year}-{month:02}-{day:02}.tif', image)
            (images / '2018-01-01.tif.aux.xml').write_text('<PAMDataset/>')
            for month in (1, 2):
                name = '10N-122W-40N-L3H-SR'
                level = f'{place}_11N' if odd else f'{place}_10N/Labels'
                separator = '-' if odd else '_'
                date = separator.join(('2018', f'{month:02}', '01'))
                path = folder / f'labels/{level}/Raster/{name}/{name}-{date}.tif'
                classes = map_of(place, month)
                layers = np.stack([255 * (classes == i) for i in range(7)]).astype(np.uint8)
                write(path, layers)
                lines.append(
                    f'/reprocess-cropped/UTM-24000/10N/22E-217N/{place}/PF-SR '
                    f'/labels/{level}/Raster/{name}/{name}-{date}.tif 2018-{month:02}'
                )
        (folder / f'{part}.txt').write_text('\n'.join(lines[::-1]) + '\n')
    return folder
