"""TreeSatAI-Time-Series in its published layout: a file for each plot, lists and labels."""

import json

import h5py
import numpy as np

PLOTS = {
    'train': ['Abies_alba_1_1005_WEFL_NLF', 'Acer_pseudoplatanus_2_77_WEFL_NLF',
              'Cleared_0_17_WEFL_NLF', 'Tilia_spec._1_4_BI_NLF'],
    'val': ['Abies_alba_1_1006_WEFL_NLF', 'Quercus_robur_3_9_WEFL_NLF'],
    'test': ['Picea_abies_1_8_WEFL_NLF', 'Tilia_spec._1_5_BI_NLF'],
}  # fmt: skip
SIZE = 6
#: Plots without images of an orbit.
ONE_ORBIT = 'Cleared_0_17_WEFL_NLF'


def genera_of(name):
    """Genera of a plot and their shares: one that is too small, and one more than the name's."""
    genus = name.split('_')[0]
    more = 'Fagus' if genus != 'Cleared' else 'Pinus'
    return [[genus, 0.71], [more, 0.07], ['Larix', 0.069]]


def arrays_of(name):
    """Arrays of a file: values, masks and products, out of order, two of one time."""
    generator = np.random.default_rng([len(name), *name.encode()])
    count = 5 + len(name) % 3
    days = [f'2018{3 + i:02}{11 + i}' for i in range(count)][::-1]
    days[1] = days[0]
    masks = generator.integers(0, 50, (count, 10, SIZE, SIZE)).astype(np.uint16)
    masks[1, 0, 0, 0], masks[2, 1, 1, 1], masks[3, 2] = 50, 100, 100  # the third means nothing
    found = {
        'sen-2-data': generator.integers(1, 9000, (count, 10, SIZE, SIZE)).astype(np.float32),
        'sen-2-masks': masks if len(name) % 2 else masks[:, :2],
        'sen-2-products': [f'S2A_MSIL2A_{day}T101031_N0500_R022_T32UNE_X' for day in days],
    }
    for orbit, rows in (('asc', 4), ('des', 0 if name == ONE_ORBIT else 3)):
        values = generator.gamma(2, 0.1, (rows, 2, SIZE, SIZE)).astype(np.float32)
        if rows:
            values[1, :, 2, 2] = np.nan
        hour = 17 if orbit == 'asc' else 5
        found[f'sen-1-{orbit}-data'] = values
        found[f'sen-1-{orbit}-products'] = [
            f'S1A_IW_GRDH_1SDV_2018{6 - i:02}03T{hour:02}1604_2018_1' for i in range(rows)
        ]
    return found


def write_release(folder):
    """Write the release into a folder."""
    (folder / 'sentinel-ts').mkdir()
    (folder / 'labels').mkdir()
    labels = {}
    for part, names in PLOTS.items():
        for name in names:
            year = '' if part == 'val' else '_2018'  # some copies lack it
            labels[f'{name}.tif'] = genera_of(name)
            with h5py.File(folder / f'sentinel-ts/{name}{year}.h5', 'w') as file:
                for key, value in arrays_of(name).items():
                    if key.endswith('products'):
                        file.create_dataset(key, data=np.array(value, object).astype('S'))
                    else:
                        file[key] = value
        ending = '.h5' if part == 'test' else '.tif'
        text = '\n'.join(f'{name}{ending}' for name in names)
        (folder / f'{part}_filenames.lst').write_text(text + '\n')
    text = json.dumps(labels)
    (folder / 'labels/TreeSatBA_v9_60m_multi_labels.json').write_text(text)
    return folder
