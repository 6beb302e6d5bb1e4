"""BraDD-S1TS in its published layout: a table, and a file of tensors and dates per sample."""

from datetime import date, timedelta

import numpy as np
import torch

PARTS = {'train': 3, 'validation': 2, 'test': 2}


def sample_of(number):
    """Dates, image ``(T, 2, 48, 48)`` and both maps ``(2, 48, 48)`` of a sample, out of order."""
    generator = np.random.default_rng(number)
    days = [date(2020, 3, 1) + timedelta(days=12 * i) for i in range(5 + number)]
    days = days[1:] + days[:1]
    image = generator.normal(-12, 3, (len(days), 2, 48, 48)).astype(np.float32)
    image[0, :, :2, :2] = np.nan
    before = generator.random((48, 48)) < 0.1
    after = before | (generator.random((48, 48)) < 0.3)
    return days, image, np.stack([before, after]).astype(np.int64)


def write_release(folder):
    """Write the release into a folder, below one of its own."""
    inner = folder / 'BraDD-S1TS_zenodo'
    (inner / 'Samples').mkdir(parents=True)
    rows = ['index,alert_idx,center_idx,date,sampling_type,state,file,close_set']
    number = 0
    for part, count in PARTS.items():
        for _ in range(count):
            days, image, label = sample_of(number)
            name = f'{number:07}_{max(days)}.pt'
            stored = {
                'image_dates': days,
                'label_dates': [min(days), max(days)],
                'image': torch.from_numpy(image),
                'label': torch.from_numpy(label),
            }
            torch.save(stored, inner / 'Samples' / name)
            file = name if number % 2 else f'Samples/{name}'
            rows.append(f'{number},1,1,{max(days)},alert,PA,{file},{part}')
            number += 1
    (inner / 'meta.csv').write_text('\n'.join(rows) + '\n')
    return folder
