"""A few simulated patches in the layout in which PASTIS-R is published."""

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np

#: Patches per fold, two at least; those of a fold differ in the number of their dates.
PER_FOLD = 2
#: Shares of a parcel's ids: classes of the six parcels of each patch, the last one void.
CLASSES = (1, 2, 3, 8, 16, 19)
CHANNELS = {'S2': 10, 'S1A': 3, 'S1D': 3}


def patch_ids(fold):
    """Numbers of the patches of a fold; they do not follow the order of the folds."""
    return [10_000 + 100 * i + (7 * fold) % 5 for i in range(PER_FOLD)]


def dates_of(patch, satellite):
    """Dates of a patch, as YYYYMMDD."""
    start = date(2018, 9, 17) + timedelta(days=['S2', 'S1A', 'S1D'].index(satellite))
    count = 3 + patch % 5 + {'S2': 0, 'S1A': 2, 'S1D': 1}[satellite] + patch // 100 % 2
    return [int(f'{start + timedelta(days=35 * i):%Y%m%d}') for i in range(count)]


def norm_of(fold, channels):
    """Published mean and standard deviation of a fold: plain numbers to average by hand."""
    return {
        'mean': [1000.0 * fold + c for c in range(channels)],
        'std': [100.0 * fold + 10 * c for c in range(channels)],
    }


def labels_of(patch, size):
    """Target (3, H, W) and ids of parcels (H, W): background above six upright parcels."""
    target = np.zeros((3, size, size), np.uint8)
    parcels = np.zeros((size, size), np.int32)
    width = size // len(CLASSES)
    for i, label in enumerate(CLASSES):
        columns = slice(i * width, (i + 1) * width)
        target[0, size // 4 :, columns] = label
        # More than 2**24: a float32 would lose the last digits.
        parcels[size // 4 :, columns] = 20_000_000 + 10 * patch + i
    target[1:] = 77  # other layers, which are no classes
    return target, parcels


def write_release(folder, *, size=32, dates_as='dict', satellites=('S2', 'S1A', 'S1D')):
    """Write the release.

    Args:
        folder: Where to write it.
        size: Height and width of the patches: 128 in the release.
        dates_as: 'dict', as published, or 'string', a dictionary as JSON.
        satellites: What it holds; PASTIS has S2 only.

    Returns:
        The folder.
    """
    folder = Path(folder)
    for name in ('ANNOTATIONS', 'INSTANCE_ANNOTATIONS', *(f'DATA_{s}' for s in satellites)):
        (folder / name).mkdir(parents=True, exist_ok=True)
    features = []
    for fold in range(1, 6):
        for patch in patch_ids(fold):
            generator = np.random.default_rng(patch)
            target, parcels = labels_of(patch, size)
            np.save(folder / f'ANNOTATIONS/TARGET_{patch}.npy', target)
            np.save(folder / f'ANNOTATIONS/ParcelIDs_{patch}.npy', parcels)
            instances = np.where(target[0] == 19, 0, parcels % 10 + (parcels > 0))
            np.save(
                folder / f'INSTANCE_ANNOTATIONS/INSTANCES_{patch}.npy', instances.astype(np.int32)
            )
            properties = {
                'ID_PATCH': patch,
                'N_Parcel': len(CLASSES),
                'Parcel_Cover': 0.75,
                'TILE': 't30uxv',
                'Fold': fold,
            }
            for satellite in satellites:
                days = dates_of(patch, satellite)
                # Keys in the order of strings, as a JSON file may have them: 0, 1, 10, 2.
                table = {key: days[int(key)] for key in sorted(map(str, range(len(days))))}
                as_text = dates_as == 'string'
                properties[f'dates-{satellite}'] = json.dumps(table) if as_text else table
                shape = (len(days), CHANNELS[satellite], size, size)
                values = 1000 + 150.0 * target[0] + generator.normal(0, 30, shape)
                if satellite == 'S2':
                    values[0, :, :2, :3] = -10000
                    values[1, 4, -1, -1] = -10000
                    values = values.astype(np.int16)
                else:
                    values = (values / -100).astype(np.float32)
                    values[-1, 2, 5, 6] = np.nan
                np.save(folder / f'DATA_{satellite}/{satellite}_{patch}.npy', values)
            x, y = 600_000 + 5000 * (patch % 100), 6_800_000 + 5000 * fold
            ring = [[x, y], [x + 1280, y], [x + 1280, y + 1280], [x, y + 1280], [x, y]]
            geometry = {'type': 'MultiPolygon', 'coordinates': [[ring]]}
            features.append(
                {
                    'id': str(len(features)),
                    'type': 'Feature',
                    'properties': properties,
                    'geometry': geometry,
                }
            )
    crs = {'type': 'name', 'properties': {'name': 'urn:ogc:def:crs:EPSG::2154'}}
    document = {'type': 'FeatureCollection', 'crs': crs, 'features': features}
    (folder / 'metadata.geojson').write_text(json.dumps(document))
    for satellite in satellites:
        table = {f'Fold_{fold}': norm_of(fold, CHANNELS[satellite]) for fold in range(1, 6)}
        (folder / f'NORM_{satellite}_patch.json').write_text(json.dumps(table, indent=4))
    return folder
