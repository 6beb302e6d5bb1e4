"""DynamicEarthNet as SitsSCD packs it: JPEG of the days around the first of each month."""

import json
from datetime import date, timedelta

import numpy as np
from PIL import Image

#: Places of each part, unsorted.
PLACES = {
    'train': ['2459_4406_13', '1311_3077_13'],
    'val': ['5111_4560_13'],
    'test': ['1417_3281_13'],
}
SIZE = 32
START = date(2018, 1, 1)
#: Days off the first of its month that images of a month have; the 5th month has none.
OFF = {2: [1, -2], 3: [-1], 5: [], 20: [2, 0, -1]}


def day_of(month):
    """Day since 2018-01-01 of the first of a month, from 1 to 24."""
    return (date(2018 + (month - 1) // 12, (month - 1) % 12 + 1, 1) - START).days


def image_of(place, day):
    """Pixels ``(4, H, W)`` of a day, red to near infrared."""
    generator = np.random.default_rng([int(place[:4]), day])
    return generator.integers(0, 256, (4, SIZE, SIZE)).astype(np.uint8)


def maps_of(place):
    """Classes ``(24, H, W)``, 6 for none."""
    generator = np.random.default_rng([int(place[:4]), 9999])
    return generator.integers(0, 7, (24, SIZE, SIZE)).astype(np.uint8)


def dates_of():
    """The month from 1 and the day of each frame that is read."""
    nearest = {month: min(days, key=abs) for month, days in OFF.items() if days}
    return [(m, day_of(m) + nearest.get(m, 0)) for m in range(1, 25) if m != 5]


def date_of(day):
    return START + timedelta(days=day)


def save_jpeg(path, pixels):
    """Write the best of JPEG, a few values off."""
    Image.fromarray(pixels).save(path, 'JPEG', quality=100, subsampling=0)


def write_release(folder):
    """Write the release into a folder."""
    folder = folder / 'DynamicEarthNet'
    (folder / 'labels').mkdir(parents=True)
    for part, places in PLACES.items():
        for place in places:
            images = folder / part / place
            images.mkdir(parents=True)
            for month in range(1, 25):
                for off in OFF.get(month, [0]):
                    day = day_of(month) + off
                    image = image_of(place, day)
                    rgb = np.ascontiguousarray(image[:3].transpose(1, 2, 0))
                    save_jpeg(images / f'{place}_{day}_rgb.jpeg', rgb)
                    save_jpeg(images / f'{place}_{day}_infra.jpeg', image[3])
            (images / f'{place}_0_rgb.jpeg.aux.xml').write_text('<PAMDataset/>')
            np.save(folder / f'labels/{place}.npy', maps_of(place))
    (folder / 'split.json').write_text(json.dumps(PLACES))
    return folder
