"""BioMassters in its published layout: a table of the images, which lie by split."""

import numpy as np
import pandas as pd

from .multisenge import write

#: Chips by split, unsorted.
CHIPS = {
    'train': ['0a10', '003d', '0f22', '0b51', '0c07', '0d9e'],
    'test': ['0e4b', '0199'],
}
SIZE = 16
#: Months that images of each satellite have, from September; those of Sentinel-2 have gaps.
MONTHS = {'S1': [5, 0, 1, 11], 'S2': [11, 0, 5]}


def months_of(chip, satellite):
    """Months of a chip, in order."""
    months = sorted(MONTHS[satellite])
    return months[1:] if satellite == 'S2' and chip == '003d' else months


def image_of(chip, satellite, month):
    """Pixels ``(C, H, W)``; of Sentinel-2 the last band is the probability of cloud."""
    generator = np.random.default_rng([int(chip, 16), int(satellite[1]), month])
    if satellite == 'S1':
        image = generator.normal(-12, 4, (4, SIZE, SIZE)).astype(np.float32)
        image[2:, :, -2:] = -9999
        return image
    image = generator.integers(1, 6000, (11, SIZE, SIZE)).astype(np.uint16)
    image[10] = generator.choice([0, 20, 50, 51, 100, 255], (SIZE, SIZE))
    return image


def biomass_of(chip):
    """Biomass ``(H, W)``."""
    generator = np.random.default_rng(int(chip, 16))
    return generator.gamma(2, 30, (SIZE, SIZE)).astype(np.float32)


def write_release(folder, *, labelled=True):
    """Write the release into a folder.

    Args:
        folder: Where to write it.
        labelled: Whether the biomass of the test is there.
    """
    rows = []
    for split, chips in CHIPS.items():
        for chip in chips:
            for satellite, months in MONTHS.items():
                for month in months:
                    if month not in months_of(chip, satellite):
                        continue
                    name = f'{chip}_{satellite}_{month:02}.tif'
                    write(folder / f'{split}_features/{name}', image_of(chip, satellite, month))
                    rows.append((name, chip, satellite, split, 'September', f'{chip}_agbm.tif'))
            if split == 'train' or labelled:
                write(folder / f'{split}_agbm/{chip}_agbm.tif', biomass_of(chip)[None])
    columns = ['filename', 'chip_id', 'satellite', 'split', 'month', 'corresponding_agbm']
    table = pd.DataFrame(rows, columns=columns)
    table.to_csv(folder / 'biomassters_features_metadata.csv', index=False)
    return folder
