"""MTLCC in the layout of the authors' repack: rasters for each date and resolution."""

import numpy as np
import rasterio

#: Tiles of each list; some lists name the folder of the year, some do not.
TILES = {
    'train_fold0': ['data17/102', 'data16/7', 'data16/101', 'data16/11'],
    'test_fold0': ['201'],
    'eval': ['301', 'data17/302'],
    'train_fold1': ['201'],
    'test_fold1': ['data16/7'],
}
YEARS = {'201': 2016, '301': 2017}
SIZE = 24
#: Pixels of 10 m by a side of one of each resolution, and the number of bands.
RESOLUTIONS = {10: (1, 4), 20: (2, 6), 60: (6, 3)}
#: Numbers that labels have: crops, unknown, and some that are no crop.
NUMBERS = [0, 1, 3, 4, 5, 22, 26, 27]


def year_of(tile):
    return YEARS[tile] if tile in YEARS else 2000 + int(tile[4:6])


def folder_of(tile):
    return tile if '/' in tile else f'data{year_of(tile) - 2000}/{tile}'


def dates_of(tile):
    """Dates of a tile, as many as its number says."""
    return [f'{year_of(tile)}{month:02}03' for month in range(1, 4 + int(tile[-1]) % 3)]


def bands_of(tile, date, metres):
    """Pixels ``(C, H, W)`` of a resolution."""
    generator = np.random.default_rng([int(tile.rpartition('/')[2]), int(date), metres])
    side, count = RESOLUTIONS[metres]
    return generator.integers(1, 8000, (count, SIZE // side, SIZE // side)).astype(np.uint16)


def image_of(tile, date):
    """Pixels ``(13, H, W)`` of 10 m."""
    found = []
    for metres, (side, _) in RESOLUTIONS.items():
        found.append(np.kron(bands_of(tile, date, metres), np.ones((1, side, side), np.uint16)))
    return np.concatenate(found)


def numbers_of(tile):
    """Labels ``(H, W)`` as they are stored."""
    generator = np.random.default_rng(int(tile.rpartition('/')[2]))
    return generator.choice(NUMBERS, (SIZE, SIZE)).astype(np.uint8)


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = array.shape
    profile = {'driver': 'GTiff', 'count': count, 'height': height, 'width': width}
    with rasterio.open(path, 'w', **profile, dtype=array.dtype) as file:
        file.write(array)


def write_release(folder):
    """Write the release into a folder."""
    (folder / 'tileids').mkdir(parents=True)
    for name, tiles in TILES.items():
        (folder / f'tileids/{name}.tileids').write_text('\n'.join(tiles) + '\n')
        for tile in tiles:
            inner = folder / 'data' / folder_of(tile)
            for date in dates_of(tile):
                for metres in RESOLUTIONS:
                    write(inner / f'{date}_{metres}m.tif', bands_of(tile, date, metres))
            (inner / f'{dates_of(tile)[0]}_10m.tif.aux.xml').write_text('<PAMDataset/>')
            write(inner / 'y.tif', numbers_of(tile)[None])
    (folder / 'classes.txt').write_text('0|unknown\n1|sugar beet\n')
    return folder
