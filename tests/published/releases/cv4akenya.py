"""CV4A Kenya in its published layout: a file for each band and date, and rasters of the fields."""

import numpy as np

from .multisenge import write

HEIGHT, WIDTH = 40, 34
DATES = ['20190701', '20190606']
BANDS = ['B01', 'B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B09', 'B11', 'B12', 'CLD']
#: Fields by tile: rows and columns, and the number of the crop, 0 of the official test.
FIELDS = {
    '0': {
        31: ((0, 6, 0, 8), 1),
        4: ((10, 19, 12, 20), 7),
        12: ((34, 40, 28, 34), 2),
        90: ((22, 26, 3, 9), 0),
        5: ((25, 31, 20, 27), 1),
    },
    '1': {
        1004: ((5, 9, 5, 9), 1),
        6: ((20, 38, 4, 24), 7),
        77: ((2, 4, 20, 30), 3),
        78: ((12, 16, 20, 30), 0),
        79: ((12, 16, 2, 12), 5),
    },
}


def bands_of(tile, date):
    """Pixels ``(13, H, W)`` of a date; the last is the probability of cloud."""
    generator = np.random.default_rng([int(tile), int(date)])
    image = generator.integers(1, 6000, (13, HEIGHT, WIDTH)).astype(np.uint16)
    image[12] = generator.choice([0, 30, 50, 51, 100], (HEIGHT, WIDTH))
    return image


def rasters_of(tile):
    """Numbers of the fields and of the crops ``(H, W)``."""
    numbers, crops = np.zeros((2, HEIGHT, WIDTH), np.int32)
    for number, ((top, bottom, left, right), crop) in FIELDS[tile].items():
        numbers[top:bottom, left:right] = number
        crops[top:bottom, left:right] = crop
    return numbers, crops


def write_release(folder):
    """Write the release into a folder."""
    for tile in FIELDS:
        for date in DATES:
            for band, pixels in zip(BANDS, bands_of(tile, date), strict=True):
                write(folder / f'data/{tile}/{date}/{tile}_{band}_{date}.tif', pixels[None])
        numbers, crops = rasters_of(tile)
        write(folder / f'data/{tile}/{tile}_field_id.tif', numbers[None])
        write(folder / f'data/{tile}/{tile}_label.tif', crops[None].astype(np.uint8))
    (folder / 'FieldIds.csv').write_text('')
    return folder
