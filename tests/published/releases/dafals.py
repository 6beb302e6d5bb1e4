"""DAFA-LS in its published layout: a JPEG for each month of a site, and its mask."""

import json

import numpy as np
from PIL import Image

from .sitsscd_dynamicearthnet import save_jpeg

#: Numbers of the sites by list and class; the lists have them as numbers or as text.
FOLDS = {
    'train': {'looted': [12], 'preserved': ['3', 101]},
    **{f'val_{j}': {'looted': [20 + j], 'preserved': [str(30 + j)]} for j in range(1, 6)},
    'test': {'looted': ['41'], 'preserved': [52, '51']},
}
SIZE = 20


def months_of(site):
    """Months of a site that have an image."""
    months = [(2016, 1), (2016, 2), (2017, 12), (2018, 6), (2023, 12)]
    return months[int(site) % 2 :]


def image_of(site, month):
    """Pixels ``(H, W, 3)`` of a month."""
    generator = np.random.default_rng([int(site), *month])
    return generator.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)


def mask_of(site):
    """Where the site is, ``(H, W)`` of 0 and 255."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[4:15, 5 : 8 + int(site) % 7] = 255
    return mask


def write_release(folder):
    """Write the release into a folder."""
    folder = folder / 'DAFA_LS'
    folder.mkdir(parents=True)
    for lists in FOLDS.values():
        for kind, sites in lists.items():
            for site in sites:
                inner = folder / kind / str(site)
                inner.mkdir(parents=True)
                for year, month in months_of(site):
                    save_jpeg(inner / f'{year}_{month:02}.jpg', image_of(site, (year, month)))
                Image.fromarray(mask_of(site)).save(inner / 'mask.png')
    (folder / 'fold_dict.json').write_text(json.dumps(FOLDS))
    return folder
