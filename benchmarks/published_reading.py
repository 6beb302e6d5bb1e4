"""Time how fast published data sets are read, beside a plain read of the same files and TorchGeo.

    python -m benchmarks.published_reading [--quick] [--folder DIR]

A release of random numbers is written for each family of layouts, with samples as large as those of
the data set, and read from the memory that the system keeps of files. The plain read is the least
that any loader must do: open the files of the sample, read the window, and make float32 of the
images and int64 of the labels. It knows no dates, marks no cloud and checks nothing. Where TorchGeo
has the data set, it reads the same files. Output goes to results/published_reading.json.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import h5py
import numpy as np
import pandas as pd
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow
from shapely import box
from torch import Tensor
from torchgeo.datasets import FLAIRHUB as TheirFLAIRHUB
from torchgeo.datasets import PASTIS as TheirPASTIS
from torchgeo.datasets import BioMassters as TheirBioMassters

from torchgeo_sits.datasets.published import (
    FLAIRHUB,
    PASTISHD,
    BioMassters,
    BraDDS1TS,
    BreizhCrops,
    DynamicEarthNet,
    PublishedTimeSeries,
    TimeSen2Crop,
    TreeSatAITS,
)

from . import harness

ROUNDS = 5
OURS, PLAIN, THEIRS = 'torchgeo_sits', 'plain read', 'TorchGeo'
#: Side of the windows of the large rasters.
CROP = 256
#: Tiles of TimeSen2Crop for training.
TILES = (
    '32TNT', '32TPT', '32TQT', '33TUM', '33TUN', '33TVM', '33TVN', '33TWM', '33TXN', '33UUP',
    '33UWP', '33UWQ', '33UXP',
)  # fmt: skip
Reader = Callable[[Any], object]


class Case(NamedTuple):
    """A release and who reads it.

    Attributes:
        what: What a sample is.
        calls: Samples of a round.
        ours: Our data set.
        plain: Reads the files of a sample by its key and number.
        theirs: TorchGeo's data set, or None.
        window: Rows and columns that ours reads; None is all.
    """

    what: str
    calls: int
    ours: PublishedTimeSeries
    plain: Reader
    theirs: Any = None
    window: tuple[slice, slice] | None = None


def days(number: int, step: int) -> list[date]:
    """Dates of a season."""
    return [date(2019, 1, 3) + timedelta(days=step * i) for i in range(number)]


def integers(shape: tuple[int, ...], most: int = 9000, dtype: type = np.uint16) -> NDArray[Any]:
    """Random integers from 1."""
    return np.random.default_rng(0).integers(1, most, shape).astype(dtype)


def write_raster(path: Path, array: NDArray[Any]) -> None:
    """Write a raster ``(C, H, W)``, in blocks where it is large."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = array.shape
    blocks = {'tiled': True, 'blockxsize': 256, 'blockysize': 256} if height > CROP else {}
    profile = {'driver': 'GTiff', 'count': count, 'height': height, 'width': width} | blocks
    profile |= {'transform': rasterio.Affine(10, 0, 8e5, 0, -10, 6e6), 'crs': 'EPSG:2154'}
    with rasterio.open(path, 'w', **profile, dtype=array.dtype) as file:
        file.write(array)


def read_plainly(path: Path, side: int | None = None) -> NDArray[Any]:
    """Read a raster, or its first rows and columns."""
    with rasterio.open(path) as file:
        return file.read(window=None if side is None else RasterWindow(0, 0, side, side))


def tensors(image: NDArray[Any], label: Any) -> tuple[Tensor, Tensor]:
    """Images and labels as training takes them."""
    return torch.from_numpy(image.astype(np.float32)), torch.as_tensor(label).long()


class OneDomain(TheirFLAIRHUB):
    """TorchGeo's data set, which asks for all domains of the release."""

    domain_years = {'D012': ['2019']}


# -- the releases ---------------------------------------------------------------------------


def arrays(folder: Path, count: int) -> Case:
    """PASTIS: an array of 43 dates for each patch."""
    inner = folder / 'PASTIS-R'
    for name in ('DATA_S2', 'ANNOTATIONS', 'INSTANCE_ANNOTATIONS'):
        (inner / name).mkdir(parents=True)
    image = integers((43, 10, 128, 128), dtype=np.int16)
    target = integers((3, 128, 128), 19, np.uint8)
    dates = {str(i): int(f'{day:%Y%m%d}') for i, day in enumerate(days(43, 8))}
    rows = []
    for number in range(count):
        np.save(inner / f'DATA_S2/S2_{number}.npy', image)
        np.save(inner / f'ANNOTATIONS/TARGET_{number}.npy', target)
        rows.append({'ID_PATCH': number, 'Fold': 1, 'dates-S2': dates})
    features = [{'type': 'Feature', 'properties': row, 'geometry': None} for row in rows]
    text = json.dumps({'type': 'FeatureCollection', 'features': features})
    (inner / 'metadata.geojson').write_text(text)
    norm = {f'Fold_{i}': {'mean': [0.0] * 10, 'std': [1.0] * 10} for i in range(1, 6)}
    (inner / 'NORM_S2_patch.json').write_text(json.dumps(norm))

    def plain(key: int) -> object:
        image = np.load(inner / f'DATA_S2/S2_{key}.npy')
        return tensors(image, np.load(inner / f'ANNOTATIONS/TARGET_{key}.npy')[0])

    ours = PASTISHD(folder, sentinel1=None)
    what = 'PASTIS: 43 dates, 10 bands, 128 x 128'
    return Case(what, 20, ours, plain, TheirPASTIS(folder, folds=(1,)))


def large_rasters(folder: Path, count: int) -> Case:
    """DynamicEarthNet: squares of a raster of 1024 x 1024 for each of 24 dates of a place."""
    months = [f'{2018 + i // 12}-{i % 12 + 1:02}' for i in range(24)]
    image, layers = integers((4, 1024, 1024)), 255 * integers((7, 1024, 1024), 2, np.uint8)
    lines = []
    for number in range(count):
        place = f'{1000 + number}_3077_13'
        for month in months:
            write_raster(folder / f'planet/{place}/PF-SR/{month}-01.tif', image)
        name = f'labels/{place}_10N/Labels/Raster/a/a-{months[0].replace("-", "_")}_01.tif'
        # One map for all months is enough to read: they are as large.
        write_raster(folder / name, layers)
        for month in months[1:]:
            other = folder / name.replace(months[0].replace('-', '_'), month.replace('-', '_'))
            other.symlink_to(folder / name)
        lines += [f'/planet/{place} /{name} {month}' for month in months]
    (folder / 'train.txt').write_text('\n'.join(lines))
    ours = DynamicEarthNet(folder, per='series')

    def plain(key: tuple[str, str]) -> object:
        files = [Path(path) for path in ours.files(key)]
        found = [read_plainly(path, CROP) for path in files]
        maps = [layers[:6].argmax(axis=0) for layers in found[24:]]
        return tensors(np.stack(found[:24]), np.stack(maps))

    what = f'DynamicEarthNet: 24 dates and maps, 4 bands, {CROP} x {CROP} of 1024 x 1024'
    return Case(what, 4, ours, plain, window=(slice(0, CROP), slice(0, CROP)))


def small_rasters(folder: Path, count: int) -> Case:
    """BioMassters: rasters of 256 x 256 for each of 12 months, of both sensors."""
    stored = {'S1': np.float32(integers((4, 256, 256))), 'S2': integers((11, 256, 256))}
    rows = []
    for number in range(count):
        chip = f'{number:08x}'
        for month in range(12):
            for sensor, image in stored.items():
                name = f'{chip}_{sensor}_{month:02}.tif'
                write_raster(folder / f'train_features/{name}', image)
                rows.append((name, chip, sensor, 'train', str(month), f'{chip}_agbm.tif'))
        biomass = np.float32(integers((1, 256, 256)))
        write_raster(folder / f'train_agbm/{chip}_agbm.tif', biomass)
    columns = ['filename', 'chip_id', 'satellite', 'split', 'month', 'corresponding_agbm']
    table = pd.DataFrame(rows, columns=columns)
    table.to_csv(folder / 'biomassters_features_metadata.csv', index=False)
    ours = BioMassters(folder)

    def plain(key: Any) -> object:
        *images, label = [read_plainly(Path(path)) for path in ours.files(key)]
        return tensors(np.stack(images[:12]), label), np.stack(images[12:])

    theirs = TheirBioMassters(folder, as_time_series=True)
    return Case('BioMassters: 12 months, 11 + 4 bands, 256 x 256', 4, ours, plain, theirs)


def hierarchical(folder: Path, count: int) -> Case:
    """TreeSatAI-Time-Series: a file of HDF5 for each plot."""
    (folder / 'sentinel-ts').mkdir()
    (folder / 'labels').mkdir()
    names = [f'Abies_alba_1_{number}_WEFL_NLF' for number in range(count)]
    arrays: dict[str, Any] = {'sen-2-masks': integers((60, 10, 6, 6), 40)}
    products = {'sen-2': (60, 10, 'S2A_MSIL2A_{}T101031_N0500_R022_T32UNE_X')}
    for orbit in ('sen-1-asc', 'sen-1-des'):
        products[orbit] = (80, 2, 'S1A_IW_GRDH_1SDV_{}T171604_2018_1')
    for name, (length, bands, text) in products.items():
        arrays[f'{name}-data'] = np.float32(integers((length, bands, 6, 6)))
        texts = [text.format(f'{day:%Y%m%d}') for day in days(length, 4)]
        arrays[f'{name}-products'] = np.array(texts, 'S')
    for name in names:
        with h5py.File(folder / f'sentinel-ts/{name}_2018.h5', 'w') as file:
            for key, values in arrays.items():
                file[key] = values
    (folder / 'train_filenames.lst').write_text('\n'.join(f'{name}.tif' for name in names))
    labels = {f'{name}.tif': [['Abies', 0.7]] for name in names}
    (folder / 'labels/TreeSatBA_v9_60m_multi_labels.json').write_text(json.dumps(labels))

    def plain(key: str) -> object:
        with h5py.File(folder / f'sentinel-ts/{key}_2018.h5') as file:
            found = [file[name][()] for name in arrays]
        return [torch.from_numpy(values) for values in found if values.dtype == np.float32]

    ours = TreeSatAITS(folder)
    return Case('TreeSatAI-TS: 60 + 160 dates, 10 + 2 bands, 6 x 6', 100, ours, plain)


def rows(folder: Path, count: int) -> Case:
    """BreizhCrops: an array in a file of HDF5 for each parcel of a region."""
    inner = folder / '2017/L1C'
    inner.mkdir(parents=True)
    pd.DataFrame({'id': [0], 'classname': ['corn'], 'code': ['ORH']}).to_csv(
        folder / 'classmapping.csv'
    )
    array = integers((51, 17)).astype(float)
    array[:, 16] = np.arange(51) * 86_400e9 + 1_483_228_800e9
    for region, number in (('frh01', count), ('frh02', 1)):
        paths = [f'csv/{i}.csv' for i in range(number)]
        pd.DataFrame({'CODE_CULTU': 'ORH', 'path': paths}).to_csv(inner / f'{region}.csv')
        with h5py.File(inner / f'{region}.h5', 'w') as file:
            for path in paths:
                file[path] = array
    files = {region: h5py.File(inner / f'{region}.h5') for region in ('frh01', 'frh02')}

    def plain(key: tuple[str, str, int]) -> object:
        return tensors(files[key[0]][key[1]][()], key[2])

    return Case('BreizhCrops: 51 dates, 17 columns', 500, BreizhCrops(folder), plain)


def small_tables(folder: Path, count: int) -> Case:
    """TimeSen2Crop: a table of text for each pixel; ours keeps them as an array."""
    table = integers((30, 10)).astype(int)
    table[:, 9] = 0
    text = '\n'.join(','.join(map(str, row)) for row in table)
    header = ','.join([*(f'B{i}' for i in range(1, 10)), 'Flag'])
    for tile in TILES:
        inner = folder / tile / '1'
        inner.mkdir(parents=True)
        dates = [f'{day:%Y%m%d}' for day in days(30, 10)]
        (folder / tile / 'dates.csv').write_text('\n'.join(['acquisition_date', *dates]))
        for number in range(-(-count // len(TILES))):
            (inner / f'{number}.csv').write_text(f'{header}\n{text}\n')
    ours = TimeSen2Crop(folder)

    def plain(key: tuple[str, int]) -> object:
        path = folder / key[0] / '1' / f'{key[1]}.csv'
        return tensors(np.loadtxt(path, delimiter=',', skiprows=1, dtype=np.float32), 1)

    return Case('TimeSen2Crop: 30 dates, 10 columns', 500, ours, plain)


def serialised(folder: Path, count: int) -> Case:
    """BraDD-S1TS: a file of torch for each sample."""
    (folder / 'Samples').mkdir()
    lines = ['file,close_set']
    stored = {
        'image_dates': days(40, 12),
        'image': torch.randn(40, 2, 48, 48),
        'label': torch.randint(2, (2, 48, 48)),
    }
    for number in range(count):
        torch.save(stored, folder / f'Samples/{number}.pt')
        lines.append(f'{number}.pt,train')
    (folder / 'meta.csv').write_text('\n'.join(lines))

    def plain(key: str) -> object:
        with torch.serialization.safe_globals([date]):
            return torch.load(folder / 'Samples' / key, weights_only=True)

    return Case('BraDD-S1TS: 40 dates, 2 bands, 48 x 48', 100, BraDDS1TS(folder), plain)


def stacked(folder: Path, count: int) -> Case:
    """FLAIR-HUB: a raster of all dates for each patch and sensor."""
    names = [f'D012-2019_AF-S1-27_{i}-1' for i in range(count)]
    square, tables = [box(0, 0, 1, 1)] * count, folder / 'GLOBAL_ALL_MTD'
    tables.mkdir()
    frame = gpd.GeoDataFrame({'patch_id': names, 'split_1': 'train'}, geometry=square, crs=2154)
    frame.to_file(tables / 'GLOBAL_ALL_MTD_SPLIT.gpkg')
    modalities = {
        'SENTINEL2_TS': integers((600, 10, 10)),
        'SENTINEL2_MSK-SC': integers((120, 10, 10), 100, np.uint8),
        'SENTINEL1-ASC_TS': np.float32(integers((120, 10, 10))),
        'SENTINEL1-DESC_TS': np.float32(integers((120, 10, 10))),
        'AERIAL_LABEL-COSIA': integers((1, 512, 512), 19, np.uint8),
    }
    text = json.dumps({str(i): f'{day:%Y%m%d}' for i, day in enumerate(days(60, 6))})
    for sensor in ('SENTINEL2', 'SENTINEL1-ASC', 'SENTINEL1-DESC'):
        frame = gpd.GeoDataFrame(
            {'patch_id': names, 'acquisition_dates': text}, geometry=square, crs=2154
        )
        frame.to_file(tables / f'GLOBAL_{sensor}_MTD_DATES.gpkg')
    for name in names:
        domain, place, number = name.split('_')
        for modality, array in modalities.items():
            inner = folder / f'{domain}_{modality}/{place}'
            write_raster(inner / f'{domain}_{modality}_{place}_{number}.tif', array)
    ours = FLAIRHUB(folder)

    def plain(key: str) -> object:
        *images, label = [read_plainly(Path(path)) for path in ours.files(key)]
        return tensors(images[0], label), images[1:]

    theirs = OneDomain(folder, bands=[name for name in modalities if 'LABEL' not in name])
    return Case('FLAIR-HUB: 60 + 120 dates, 10 + 2 bands, 10 x 10', 40, ours, plain, theirs)


#: Family, what writes it, and its number of samples.
FAMILIES: dict[str, tuple[Callable[[Path, int], Case], int]] = {
    'an array a sample': (arrays, 100),
    'a large raster a date': (large_rasters, 10),
    'a small raster a date': (small_rasters, 20),
    'HDF5 files': (hierarchical, 500),
    'a table in HDF5': (rows, 5000),
    'small tables': (small_tables, 2000),
    'serialised': (serialised, 200),
    'dates stacked in bands': (stacked, 200),
}


# -- time -----------------------------------------------------------------------------------


def measure(case: Case) -> dict[str, Any]:
    """Samples a second of all that read a release."""
    order = np.random.default_rng(0).permutation(len(case.ours)).tolist()
    turns = {name: cycle(order) for name in (OURS, PLAIN, THEIRS)}

    def ours() -> None:
        for _ in range(case.calls):
            case.ours.read(next(turns[OURS]), case.window)

    def plain() -> None:
        for _ in range(case.calls):
            case.plain(case.ours.samples[next(turns[PLAIN])])

    def theirs() -> None:
        for _ in range(case.calls):
            case.theirs[next(turns[THEIRS]) % len(case.theirs)]

    readers: dict[str, Callable[[], object]] = {OURS: ours, PLAIN: plain}
    if case.theirs is not None:
        readers[THEIRS] = theirs
    start = time.perf_counter()
    case.ours.read(order[0], case.window)
    first = time.perf_counter() - start
    taken = harness.interleave(readers, ROUNDS)
    found: dict[str, Any] = {'what': case.what, 'first_sample_s': round(first, 4)}
    for name, seconds in taken.items():
        found[name] = {
            'samples_per_s': round(case.calls / float(np.median(seconds)), 1),
            'ratio': round(float(np.median(np.array(seconds) / np.array(taken[OURS]))), 3),
        }
    return found


def main() -> None:
    """Measure, print and write the results."""
    parser = harness.parser(__doc__)
    parser.add_argument('--quick', action='store_true', help='few samples, and nothing is written')
    parser.add_argument('--folder', type=Path, help='where to write the releases')
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = harness.describe(
        'torchgeo',
        'rasterio',
        'h5py',
        rounds=ROUNDS,
        samples={k: n for k, (_, n) in FAMILIES.items()},
    )
    figures = {}
    for family, (write, count) in FAMILIES.items():
        folder = Path(tempfile.mkdtemp(dir=options.folder))
        os.environ['TORCHGEO_SITS_CACHE'] = str(folder / 'cache')
        try:
            (folder / 'release').mkdir()
            case = write(folder / 'release', min(count, 8) if options.quick else count)
            figures[family] = measure(case)
        finally:
            shutil.rmtree(folder)
        print(family, figures[family], flush=True)
    if not options.quick:
        harness.save('published_reading', results | {'figures': figures})


if __name__ == '__main__':
    main()
