"""ZueriCrop in its published layout: one file of patches without dates, and a table of labels."""

import h5py
import numpy as np

COUNT, FRAMES, SIZE = 12, 6, 24
#: Some rows of the table: no vegetation, vegetation without a class, and crops, one of them twice.
ROWS = [
    (1, 'Vegetation', 'SummerBarley'),
    (2, 'Vegetation', 'Wheat'),
    (3, 'Vegetation', 'Wheat'),
    (4, 'Vegetation', ''),
    (5, 'Bare soil', ''),
    (6, 'Infrastructure', 'Vegetables'),
    (7, 'Vegetation', 'Apples'),
]
#: Classes of the stored labels 0 to 8; 8 is none of the table.
CLASSES = np.array([-1, 36, 44, 44, -1, -1, -1, 0, -1])


def values_of(number):
    """Frames ``(T, H, W, C)`` of a patch."""
    generator = np.random.default_rng(number)
    return generator.integers(0, 9000, (FRAMES, SIZE, SIZE, 9)).astype(np.int16)


def labels_of(number):
    """Stored labels ``(H, W)`` of a patch."""
    return np.random.default_rng([number, 1]).integers(0, 9, (SIZE, SIZE)).astype(np.int16)


def write_release(folder):
    """Write the release into a folder."""
    numbers = range(COUNT)
    with h5py.File(folder / 'ZueriCrop.hdf5', 'w') as file:
        file['data'] = np.stack([values_of(number) for number in numbers])
        file['gt'] = np.stack([labels_of(number) for number in numbers])[..., None]
        file['gt_instance'] = np.zeros((COUNT, SIZE, SIZE, 1), np.int32)
    lines = ['GT,LNF_code,raw_DE,raw_ENG,1st_tier,2nd_tier,3rd_tier,4th_tier_ENG,empty']
    lines += [f'{gt},{500 + gt},"Weizen, ä",wheat,{one},,,{four},' for gt, one, four in ROWS]
    (folder / 'labels.csv').write_text('\n'.join(lines) + '\n', encoding='utf8')
    return folder
