"""TimeSen2Crop in its published layout: a folder for each tile, in it one for each class."""

import numpy as np

TRAIN = ['32TNT', '32TPT', '32TQT', '33TUM', '33TUN', '33TVM', '33TVN', '33TWM', '33TXN', '33UUP',
         '33UWP', '33UWQ', '33UXP']  # fmt: skip
TILES = [*TRAIN, '33TWN', '33UVP', '2019_33UVP']
#: Classes of which a tile has pixels, and their numbers, which have gaps and two digits.
CLASSES = {1: [0, 2, 10], 12: [0, 1]}


def dates_of(tile):
    """Dates of a tile, out of order, two of them of one day."""
    number = TILES.index(tile)
    year = 2018 if tile.startswith('2019') else 2017
    days = [f'{year}{month:02}0{1 + number % 9}' for month in range(9, 13)]
    days += [f'{year + 1}{month:02}05' for month in range(1, 2 + number % 3)]
    return [days[2], *days]


def rows_of(tile, label, number):
    """Rows of a pixel: nine bands and the flag."""
    generator = np.random.default_rng([TILES.index(tile), label, number])
    rows = len(dates_of(tile))
    flags = generator.integers(0, 4, (rows, 1))
    flags[0] = 0
    return np.hstack([generator.integers(0, 9000, (rows, 9)), flags])


def write_release(folder):
    """Write the release into a folder."""
    for tile in TILES:
        inner = folder / 'TimeSen2Crop' / tile
        for label in range(16):
            (inner / str(label)).mkdir(parents=True)  # some classes have no pixel
        lines = ['acquisition_date', *dates_of(tile)]
        (inner / 'dates.csv').write_text('\n'.join(lines) + '\n')
        for label, numbers in CLASSES.items():
            for number in numbers:
                header = ','.join([*(f'B{i}' for i in range(1, 10)), 'Flag'])
                body = [','.join(map(str, row)) for row in rows_of(tile, label, number)]
                ending = '\n' if number % 2 else ''
                text = '\n'.join([header, *body]) + ending
                (inner / f'{label}/{number}.csv').write_text(text)
        (inner / '1/0.csv.aux.xml').write_text('<PAMDataset/>')
    return folder
