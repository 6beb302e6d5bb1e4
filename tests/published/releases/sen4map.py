"""Sen4Map in its published layout: a file for each part, in it a group for each point."""

import h5py
import numpy as np

SIZE = 16
BANDS = ['B2', 'B3', 'B4', 'B5', 'B6', 'B7', 'B8', 'B8A', 'B11', 'B12']
#: Points of each part by their names, with their codes.
POINTS = {
    'train': {'30123': 'B11', '30124': 'B22', '4': 'A22', '52': 'C10', '61': 'E20', '70': ''},
    'val': {'81': 'B55', '82': 'A21', '83': 'C33'},
    'test': {'91': 'B81', '92': 'D10', '93': 'H11', '94': '8'},
}


def arrays_of(name):
    """Bands ``(T, C, H, W)``, scenes and products, out of order, two of one day."""
    generator = np.random.default_rng(int(name))
    frames = 5 + int(name) % 3
    days = np.sort(generator.choice(27, frames, replace=False))[::-1] + 1
    days[1] = days[0]
    products = [f'2018{3 + i:02}{day:02}T101021_2018_T32TQM' for i, day in enumerate(days[::-1])]
    values = generator.integers(1, 9000, (frames, len(BANDS), SIZE, SIZE)).astype(np.int32)
    scenes = generator.integers(2, 12, (frames, SIZE, SIZE)).astype(np.uint8)
    return values, scenes, products[::-1]


def write_release(folder):
    """Write the release into a folder."""
    for part, points in POINTS.items():
        with h5py.File(folder / f'{part}.h5', 'w') as file:
            for name, code in points.items():
                values, scenes, products = arrays_of(name)
                group = file.create_group(name)
                for place, band in enumerate(BANDS):
                    group[band] = values[:, place]
                group['SCL'] = scenes
                group.attrs['lc1'] = code
                group.attrs['Image_ID'] = products
    return folder
