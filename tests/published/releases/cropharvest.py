"""CropHarvest in its published layout: a table of points, and arrays of some of them."""

import json

import h5py
import numpy as np

#: Index, data set, whether crop, group, whether for the test, whether it has an array.
POINTS = [
    (0, 'togo', 1, None, False, True),
    (1, 'togo', 0, None, False, True),
    (0, 'geowiki-landcover-2017', 1, 'cereals', False, True),
    (3, 'central_asia', 1, 'oilseeds', False, True),  # a name with an underscore
    (4, 'central_asia', 0, 'non_crop', False, True),
    (5, 'lem-brazil', 1, 'sugar', False, False),
    (6, 'lem-brazil', 1, 'other', True, True),
    (7, 'lem-brazil', 0, None, True, True),
    (8, 'kenya', 1, 'cereals', True, True),
]


def array_of(index, dataset):
    """Rows of a point."""
    array = np.random.default_rng([index, *dataset.encode()]).normal(1000, 300, (12, 18))
    array[:, :2] = -10 - index
    return array


def write_release(folder):
    """Write the release into a folder."""
    arrays = folder / 'features' / 'arrays'
    arrays.mkdir(parents=True)
    features = []
    for index, dataset, is_crop, group, is_test, has_array in POINTS:
        properties = {
            'index': index,
            'dataset': dataset,
            'is_crop': is_crop,
            'label': None,
            'classification_label': group,
            'is_test': is_test,
            'lat': 6.1,
            'lon': 1.2,
            'export_end_date': f'20{16 + index % 4}-02-01T00:00:00',
        }
        point = {'type': 'Point', 'coordinates': [1.2, 6.1]}
        features.append({'type': 'Feature', 'properties': properties, 'geometry': point})
        if has_array:
            with h5py.File(arrays / f'{index}_{dataset}.h5', 'w') as file:
                file['array'] = array_of(index, dataset)
    table = {'type': 'FeatureCollection', 'features': features}
    (folder / 'labels.geojson').write_text(json.dumps(table))
    with h5py.File(folder / 'features' / 'normalizing_dict.h5', 'w') as file:
        file['mean'] = np.zeros(18)
    return folder
