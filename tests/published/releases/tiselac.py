"""TiSeLaC in its published layout: rows of numbers, which commas or tabulators divide."""

import numpy as np

COUNTS = {'training': 11, 'test': 7}


def values_of(name):
    """Pixels, frames and bands."""
    generator = np.random.default_rng(len(name))
    return generator.integers(-900, 9000, (COUNTS[name], 23, 10))


def classes_of(name):
    """Stored classes, from 1 to 9."""
    return [1 + (4 * i) % 9 for i in range(COUNTS[name])]


def write_release(folder):
    """Write the release into a folder."""
    for name in COUNTS:
        separator = ',' if name == 'training' else '\t'
        rows = values_of(name).reshape(COUNTS[name], -1)
        lines = [separator.join(map(str, row)) for row in rows.tolist()]
        (folder / f'{name}.txt').write_text('\n'.join(lines) + '\n')
        lines = [str(value) for value in classes_of(name)]
        (folder / f'{name}_class.txt').write_text('\n'.join(lines) + '\n')
        (folder / f'coord_{name}.txt').write_text('1,2\n' * COUNTS[name])
    return folder
