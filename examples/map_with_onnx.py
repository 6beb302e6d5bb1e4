"""Map a folder of dated rasters by an exported model, without PyTorch and this package.

    pip install numpy onnxruntime rasterio
    python map_with_onnx.py model.onnx FOLDER classes.tif [--clouds FOLDER --clear 4 5 6]

Each raster holds all bands of a date, with the date (YYYYMMDD) in its name, and all lie on one
grid. The model comes from ``torchgeo-sits export X.ckpt model.onnx``, X.ckpt of a segmentation.
"""

import argparse
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnxruntime
import rasterio
from rasterio.windows import Window

WINDOW = 64  # pixels along a side of what is computed at once
MARGIN = 8  # pixels around it that the model sees and that are not kept


def dated(folder: Path) -> dict[int, Path]:
    """Rasters of a folder by their date, in seconds since 1970-01-01 UTC."""
    found = {}
    for path in sorted(folder.rglob('*.tif')):
        if match := re.search(r'(?<!\d)(\d{8})(?!\d)', path.name):
            day = datetime.strptime(match[1], '%Y%m%d').replace(tzinfo=UTC)
            found[int(day.timestamp())] = path
    return dict(sorted(found.items()))


def bands_of(raster: rasterio.DatasetReader, wanted: list[str]) -> list[int]:
    """Numbers of the bands that the model was trained on, by name where both have names."""
    if wanted and set(wanted) <= set(raster.descriptions):
        return [raster.descriptions.index(band) + 1 for band in wanted]
    return list(raster.indexes)


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('model', type=Path)
    parser.add_argument('folder', type=Path)
    parser.add_argument('output', type=Path)
    parser.add_argument('--clouds', type=Path, help='folder of dated masks on the same grid')
    parser.add_argument('--clear', type=int, nargs='+', default=[4, 5, 6], help='values: clear')
    options = parser.parse_args()

    session = onnxruntime.InferenceSession(options.model, providers=['CPUExecutionProvider'])
    card = json.loads(session.get_modelmeta().custom_metadata_map['sits'])
    print('model', card['model'], 'bands', card['bands'], 'classes', card.get('class_names'))

    images = {time: rasterio.open(path) for time, path in dated(options.folder).items()}
    masks = {
        t: rasterio.open(p) for t, p in (dated(options.clouds) if options.clouds else {}).items()
    }
    first = next(iter(images.values()))
    bands = bands_of(first, card['bands'])
    times = np.array([list(images)], dtype=np.int64)
    valid = np.ones(times.shape, dtype=bool)
    with rasterio.open(
        options.output,
        'w',
        driver='GTiff',
        dtype='uint8',
        count=1,
        width=first.width,
        height=first.height,
        crs=first.crs,
        transform=first.transform,
        compress='deflate',
    ) as output:
        for row in range(0, first.height, WINDOW):
            for column in range(0, first.width, WINDOW):
                top, left = max(0, row - MARGIN), max(0, column - MARGIN)
                bottom = min(first.height, row + WINDOW + MARGIN)
                right = min(first.width, column + WINDOW + MARGIN)
                seen = Window(left, top, right - left, bottom - top)
                image = np.stack([r.read(bands, window=seen) for r in images.values()])
                clear = np.stack([r.dataset_mask(window=seen) > 0 for r in images.values()])
                for i, time in enumerate(images):
                    if time in masks:
                        clear[i] &= np.isin(masks[time].read(1, window=seen), options.clear)
                inputs = {
                    'image': image[None].astype(np.float32),
                    'acquisition_times': times,
                    'valid': valid,
                    'mask_clear': clear[None],
                }
                (probabilities,) = session.run(['probabilities'], inputs)
                classes = probabilities[0].argmax(0).astype(np.uint8)
                kept = classes[row - top :, column - left :][:WINDOW, :WINDOW]
                output.write(kept, 1, window=Window(column, row, *kept.shape[::-1]))
    print('wrote', options.output)


if __name__ == '__main__':
    main()
