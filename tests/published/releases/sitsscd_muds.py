"""MUDS as SitsSCD packs it: a JPEG for each month that has an image."""

import json

import numpy as np

from .sitsscd_dynamicearthnet import save_jpeg

#: Places of each part, unsorted.
PLACES = {
    'train': ['L15-1848E-0793N_7394_5018_13', 'L15-0331E-1257N_1327_3160_13'],
    'val': ['L15-0357E-1223N_1429_3296_13'],
    'test': ['L15-0368E-1245N_1474_3210_13'],
}
SIZE = 32
#: Months, from 0, without an image, whose maps hold nothing.
WITHOUT = {3, 17}


def image_of(place, month):
    """Pixels ``(H, W, 3)`` of a month, from 0."""
    generator = np.random.default_rng([int(place[-12:-8]), month])
    return generator.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)


def maps_of(place):
    """Classes ``(24, H, W)``, 2 for none."""
    generator = np.random.default_rng([int(place[-12:-8]), 9999])
    maps = generator.integers(0, 2, (24, SIZE, SIZE)).astype(np.int8)
    maps[:, :2, :2] = 2
    maps[sorted(WITHOUT)] = 2
    return maps


def write_release(folder):
    """Write the release into a folder."""
    folder = folder / 'Muds'
    (folder / 'labels').mkdir(parents=True)
    for part, places in PLACES.items():
        for place in places:
            images = folder / part / place
            images.mkdir(parents=True)
            for month in sorted(set(range(24)) - WITHOUT):
                name = f'{place}_{2018 + month // 12}_{month % 12 + 1:02}.jpg'
                save_jpeg(images / name, image_of(place, month))
            np.save(folder / f'labels/{place}.npy', maps_of(place))
    (folder / 'split.json').write_text(json.dumps(PLACES))
    return folder
