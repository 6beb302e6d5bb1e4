"""Map runs: from the values of windows, kept on disk, to GeoTIFFs and polygons."""

import json
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal

import geopandas as gpd
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.features import shapes, sieve
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.windows import Window
from shapely.geometry import box, shape

from ..datasets.headers import MAP_TAG
from ..errors import SITSError
from ..grid import Grid
from ..sidecars import legend_files, write_legend
from ..time_steps import DaySpan
from ..whole_files import remove_rests, whole_file
from .claims import SharedWork
from .outputs import ClassMap, Embedding, MapOutput, MeasuredOutput, Probabilities
from .polygons import (
    areas_of,
    means_of_classes,
    read_polygons,
    summarise_maps,
    summarise_steps,
)
from .rasters import BLOCK, draft_raster, finish_raster
from .stack import write_stack
from .window_store import WindowStore
from .windows import ChannelLayout, OverlappingWindows, WindowBlender, raster_blocks

__all__ = ['DrawProgress', 'MapRun', 'VectorFormat']

type DrawProgress = Callable[[int, int], None]

VectorFormat = Literal['gpkg', 'parquet']

#: Most passes of the sieve, each over all pixels; two or three are enough as a rule.
_MOST_SIEVES: Final = 10


@dataclass(frozen=True)
class MapRun:
    """Rasters made from the values of windows, in a run that can be stopped at any time.

    Values of finished windows are kept in a hidden folder beside the maps. Maps are drawn when
    all are there, block by block in an order of their own: whatever stopped the run in between,
    how often, and how many processes shared it, they are the same bytes.

    Attributes:
        folder: Folder of the maps.
        grid: Extent and pixels of the maps.
        windows: Windows that the grid is cut into.
        wanted: Numbers of the windows that touch any data, ascending.
        outputs: Rasters to draw.
        tags: Tags of all rasters.
        manifest: Everything that the values depend on, in plain values.
        vectors: Format of the polygons of classes; None writes none.
        polygons: File of polygons to summarise the maps in; None writes no table.
        min_area: Patches of one class that are smaller, in square metres, join their largest
            neighbour in maps of classes, and so in what is made of these: their polygons and the
            shares in the table. The whole map is in memory then, 3 to 9 bytes per pixel.
        stack: Write the embeddings as a Zarr store with an axis of time, too
            (:func:`~.stack.write_stack`).

    Raises:
        SITSError: If two outputs have the same name, or the table would replace a map or the
            polygons themselves, there is no map of classes for *min_area*, or no embedding for
            *stack*.

    Examples:
        >>> import numpy as np, tempfile
        >>> from pathlib import Path
        >>> from rasterio.crs import CRS
        >>> from torchgeo_sits.grid import Grid
        >>> from torchgeo_sits.mapping import ClassMap, MapRun, OverlappingWindows
        >>> grid = Grid(600_000.0, 5_000_000.0, 10.0, 10.0, 40, 32, CRS.from_epsg(32631))
        >>> windows = OverlappingWindows(height=32, width=40, size=24, overlap=8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = MapRun(
        ...         folder=Path(folder), grid=grid, windows=windows,
        ...         wanted=range(len(windows)), tags={}, manifest={},
        ...         outputs=[ClassMap('class', 'probabilities', ['wheat', 'maize'])],
        ...     )
        ...     for number in run.begin():
        ...         run.keep(number, {'probabilities': np.full((2, *windows.shape), 0.5, 'f')})
        ...     run.draw()
        ...     [path.name for path in run.files]
        ['class.tif']
    """

    folder: Path
    grid: Grid
    windows: OverlappingWindows
    wanted: Sequence[int]
    outputs: Sequence[MapOutput]
    tags: Mapping[str, str]
    manifest: dict[str, Any]
    vectors: VectorFormat | None = None
    polygons: Path | None = None
    min_area: float = 0.0
    stack: bool = False

    def __post_init__(self) -> None:
        """Check the names of the files.

        Raises:
            SITSError: If two are the same.
        """
        names = [output.name for output in self.outputs]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SITSError(
                f'expected a name of its own for each map, got {twice} twice: give one of them '
                'another name'
            )
        if self.min_area and not self._class_maps():
            raise SITSError(
                f'min_area={self.min_area:g} is for maps of classes, and this run draws {names}: '
                'leave it out'
            )
        if self.stack and not self._embeddings():
            raise SITSError(
                f'a Zarr store is for embeddings, and this run draws {names}: leave it out'
            )
        if self.polygons is not None:
            read_polygons(self.polygons)  # before anything is computed
            others = [self.polygons, *(path for _, path in self._outlines())]
            if self._table().resolve() in [path.resolve() for path in others]:
                raise SITSError(
                    f'{self._table()} is another file of this run: give a file of polygons of '
                    'another name, or another --map.folder'
                )

    @cached_property
    def store(self) -> WindowStore:
        """Finished windows on disk."""
        return WindowStore(self.folder / '.windows', self.fingerprint)

    @cached_property
    def work(self) -> SharedWork:
        """Claims of the processes that share the run."""
        return SharedWork(self.store.folder)

    @property
    def files(self) -> list[Path]:
        """Files that a finished run has written."""
        files = [self._raster_path(o) for o in self.outputs] + [p for _, p in self._outlines()]
        if self.stack:
            files.append(self._stack_path())
        return files if self.polygons is None else [*files, self._table()]

    def begin(self) -> list[int]:
        """Begin, go on where a run of the same map stopped, or join one of other processes.

        Returns:
            Numbers of the windows that are left to compute, ascending; of those that others are
            at, too.

        Raises:
            SITSError: If the folder holds other maps, or windows of another run.
            OSError: If the folder cannot be written to, or holds a map that is cut short.
        """
        if self.is_finished():
            return []
        self._refuse_others()
        self.store.begin(self.manifest)
        self.work.join()
        remove_rests(self.folder)
        left = self.left()
        for number in left:
            self.store.drop(number)  # the one that is done again, if any
        return left

    def close(self) -> None:
        """Leave the rest to other processes; the windows stay."""
        self.work.leave()

    def is_kept(self, number: int) -> bool:
        """Tell whether a window is finished, or the maps are drawn already."""
        return self.store.has(number) or not self.store.folder.exists()

    def _refuse_others(self) -> None:
        """Refuse a folder with maps of another run.

        Raises:
            SITSError: If there is one.
        """
        if self._is_drawn():
            return
        rasters = {output: self._raster_path(output) for output in self.outputs}
        other = [p for o, p in rasters.items() if p.exists() and not self._is_own(o)]
        beside = [*self._outlines(), *self._legends()]
        other += [path for o, path in beside if path.exists() and not self._is_own(o)]
        if other:
            raise SITSError(
                f'{other[0]} is there already, of another run: choose another folder with '
                '--map.folder, or move it away'
            )

    def left(self) -> list[int]:
        """List the numbers of the windows that are left to compute, ascending."""
        if self._is_drawn():
            return []
        finished = self.store.finished()
        left = [number for number in self.wanted if number not in finished]
        # Where it is lost which channels are which, one window more tells it again.
        return left if left or self._layout() is not None else list(self.wanted[:1])

    def _layout(self) -> dict[str, int] | None:
        """Read how many channels each of the values has; None where it is not there, or spoilt."""
        layout = self.store.read_note('layout')
        if layout is None or sum(layout.values()) != self.store.channels():
            return None
        return layout

    def is_finished(self) -> bool:
        """Tell whether all files of this run are there, and no windows any more."""
        beside = [*self._outlines(), *self._legends()]
        whole = all(path.exists() for _, path in beside) and self._has_table()
        whole = whole and (not self.stack or self._stack_path().exists())
        return self._is_drawn() and whole and not self.store.folder.exists()

    def keep(self, number: int, values: Mapping[str, NDArray[np.float32]]) -> None:
        """Keep the values of a window.

        Args:
            number: Number of the window.
            values: For each of the values of the task ``(C, h, w)``, NaN where nothing was
                observed.

        Raises:
            SITSError: If a map is to be drawn from values that are not there.
            OSError: If there is no room for all windows.
        """
        for output in self.outputs:
            if output.key not in values:
                raise SITSError(
                    f'the map {output.name!r} is drawn from the values {output.key!r}, but the '
                    f'task predicts {sorted(values)}: give one of these as its key'
                )
        try:
            self._write(number, values)
        except OSError:
            # Others, who did not wait for this window, may have drawn the maps meanwhile.
            if not self.is_finished():
                raise

    def _write(self, number: int, values: Mapping[str, NDArray[np.float32]]) -> None:
        """Write the values of a window, and at first which channels they are."""
        layout = {key: len(part) for key, part in values.items()}
        if self.store.read_note('layout') != layout:
            self._check_room(sum(layout.values()))
            self.store.note('layout', layout)
        self.store.write(number, np.concatenate([values[key] for key in layout]))

    def draw(self, progress: DrawProgress = lambda done, total: None) -> None:
        """Draw the missing maps from the windows, and delete these.

        Args:
            progress: Function that is called with the number of blocks that are drawn, and of
                all.

        Raises:
            OSError: If a file cannot be written; the windows are kept.
        """
        try:
            if todo := [output for output in self.outputs if not self._is_own(output)]:
                self._draw_rasters(todo, progress)
            for output in {o for o, path in self._legends() if not path.exists()}:
                write_legend(self._raster_path(output), output.legend())
            for output, path in self._outlines():
                if not path.exists():
                    self._write_outlines(output, path)
            if self.stack and not self._stack_path().exists():
                write_stack(self._embeddings(), self._stack_path())
            if self.polygons is not None and not self._has_table():
                _write_table(self._summarise(read_polygons(self.polygons)), self._table())
        except (OSError, RasterioError) as error:
            raise OSError(
                f'the maps could not be drawn in {self.folder} ({error}). The windows are kept: '
                'free some space there, and give the same command again'
            ) from error
        self.work.leave()
        self.store.remove()

    def draw_or_wait(self, progress: DrawProgress = lambda done, total: None) -> None:
        """Draw the maps, or wait until another process that shares the run has done so.

        Args:
            progress: As of :meth:`draw`.

        Raises:
            OSError: If a file cannot be written; the windows are kept.
        """
        for _ in self.work.rest('draw', [0], lambda _: self.is_finished(), from_slow=False):
            self.draw(progress)

    def _draw_rasters(self, todo: Sequence[MapOutput], progress: DrawProgress) -> None:
        """Draw some of the maps."""
        picked = {o.key for o in self.outputs if o.is_picked}
        layout = ChannelLayout(self._layout() or {}, tuple(sorted(picked)))
        wanted = set(self.wanted)
        blender = WindowBlender(
            self.windows,
            layout,
            lambda number: self.store.read(number) if number in wanted else None,
        )
        measured = [o for o in todo if isinstance(o, MeasuredOutput)]
        places = list(raster_blocks(self.grid.height, self.grid.width, BLOCK))
        keys = list(dict.fromkeys(output.key for output in todo))
        total = len(places) * (len(keys) + len({output.key for output in measured}))
        done = 0
        # One after the other: the values of all steps in time would fill the memory.
        for key in keys:
            if of_key := [output for output in measured if output.key == key]:
                for place in places:
                    values = blender.block(key, *place)
                    for found in of_key:
                        found.measure(values)
                    done += 1
                    progress(done, total)
            with ExitStack() as stack:
                files = [
                    (o, stack.enter_context(self._draft_of(o, layout.channels[key])))
                    for o in todo
                    if o.key == key
                ]
                for place in places:
                    values = blender.block(key, *place)
                    for output, file in files:
                        file.write(output.draw(values), window=Window.from_slices(*place))
                    done += 1
                    progress(done, total)
        for output in todo:
            if self.min_area and isinstance(output, ClassMap):
                _sieve_raster(self._draft_path(output), self._fewest_pixels())
            finish_raster(self._draft_path(output), self._raster_path(output), output)

    def _draft_of(self, output: MapOutput, channels: int) -> AbstractContextManager[DatasetWriter]:
        """Open the draft of a raster; a step in time has the dates of its own days."""
        tags = {**self.tags, MAP_TAG: self.fingerprint}
        if (span := _span_of(output)) is not None and 'DATES' in tags:
            days = tags['DATES'].split(',')
            tags['DATES'] = ','.join(d for d in days if str(span.first) <= d <= str(span.last))
        return draft_raster(self._draft_path(output), output, self.grid, channels, tags)

    def _write_outlines(self, output: ClassMap, path: Path) -> None:
        """Write the connected pixels of each class as polygons.

        Args:
            output: Map of classes that is drawn already.
            path: GeoPackage (``.gpkg``) or GeoParquet (``.parquet``), which gets its name when it
                is whole.
        """
        with rasterio.open(self._raster_path(output)) as file:
            nodata, crs = file.nodata, file.crs
            found = [
                (shape(outline), output.values.index(int(value)))
                # By the band, not by its pixels: these are then read line by line.
                for outline, value in shapes(rasterio.band(file, 1), transform=file.transform)
                if value != nodata
            ]
        which = np.array([position for _, position in found], int)
        table = gpd.GeoDataFrame(
            {
                'class': np.array(output.numbers, np.int32)[which],
                'code': np.array(output.codes, np.int32)[which],
                'name': np.array(output.classes, object)[which],
            },
            geometry=[outline for outline, _ in found],
            crs=crs,
        )
        table['area'] = areas_of(table.geometry)
        for other in self.outputs:
            if isinstance(other, Probabilities) and other.key == output.key:
                binary = len(other.classes) < len(output.classes)
                table['probability'] = means_of_classes(
                    table.geometry, which, self._raster_path(other), binary=binary
                )
        _write_table(table, path)

    @property
    def fingerprint(self) -> str:
        """What tells this run from others."""
        return sha256(json.dumps(self.manifest, sort_keys=True).encode()).hexdigest()

    def _raster_path(self, output: MapOutput) -> Path:
        return self.folder / f'{output.name}.tif'

    def _draft_path(self, output: MapOutput) -> Path:
        return self.store.folder / f'{output.name}.{self.work.name}.tif'

    def _outlines(self) -> list[tuple[ClassMap, Path]]:
        """Maps of classes, each with the path of its polygons."""
        if self.vectors is None:
            return []
        suffix = f'.{self.vectors}'
        return [(o, self._raster_path(o).with_suffix(suffix)) for o in self._class_maps()]

    def _class_maps(self) -> list[ClassMap]:
        """Maps of classes."""
        return [output for output in self.outputs if isinstance(output, ClassMap)]

    def _legends(self) -> list[tuple[ClassMap, Path]]:
        """Maps of classes, each with the paths of the files that hold its legend."""
        return [
            (o, path) for o in self._class_maps() for path in legend_files(self._raster_path(o))
        ]

    def _fewest_pixels(self) -> int:
        """Number of pixels of the smallest patch that stays: their area is that of the middle."""
        west, south, east, north = self.grid.bounds
        x, y = (west + east) / 2, (south + north) / 2
        pixel = box(x, y, x + self.grid.xres, y + self.grid.yres)
        [area] = areas_of(gpd.GeoSeries([pixel], crs=self.grid.crs.to_wkt()))
        return math.ceil(self.min_area / area - 1e-6)

    def _embeddings(self) -> dict[Embedding, Path]:
        """Embeddings and their rasters, in the order of time where they are steps."""
        return {o: self._raster_path(o) for o in self.outputs if isinstance(o, Embedding)}

    def _stack_path(self) -> Path:
        """Path of the store of embeddings."""
        return self.folder / 'embedding.zarr'

    def _summarise(self, polygons: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """Summarise the maps within polygons; of steps in time a row each."""
        rasters = {output: self._raster_path(output) for output in self.outputs}
        steps = {o: path for o, path in self._embeddings().items() if o.span is not None}
        if not steps:
            return summarise_maps(polygons, rasters)
        return summarise_steps(
            polygons, steps, {o: p for o, p in rasters.items() if o not in steps}
        )

    def _table(self) -> Path:
        """Path of the table of polygons: GeoParquet where each has hundreds of features."""
        assert self.polygons is not None  # asked of no others
        wide = any(isinstance(output, Embedding) for output in self.outputs)
        return self.folder / f'{self.polygons.stem}.{"parquet" if wide else "gpkg"}'

    def _has_table(self) -> bool:
        """Tell whether a table that is asked for is there, and as new as what it rests on."""
        if self.polygons is None:
            return True
        if not self._table().exists():
            return False
        sources = [self.polygons, *(self._raster_path(output) for output in self.outputs)]
        made = self._table().stat().st_mtime_ns
        return all(source.exists() and source.stat().st_mtime_ns < made for source in sources)

    def _is_drawn(self) -> bool:
        """Tell whether all rasters of this run are there."""
        return all(self._is_own(output) for output in self.outputs)

    def _is_own(self, output: MapOutput) -> bool:
        """Tell whether a raster is there that this run has written."""
        path = self._raster_path(output)
        if not path.exists():
            return False
        broken = f'{path} is cut short, or no raster: move it away, and give the same command again'
        try:
            with rasterio.open(path) as file:
                own: bool = file.tags().get(MAP_TAG) == self.fingerprint
                if own and not _reaches_its_end(file):
                    raise OSError(broken)
                return own
        except RasterioError as error:
            raise OSError(broken) from error

    def _check_room(self, channels: int) -> None:
        """Raise OSError if the windows and maps will not fit on the disk."""
        height, width = self.windows.shape
        needed = 4 * channels * (len(self.wanted) * height * width)
        # The drafts of the maps, and the maps: about as many bands as channels, twice.
        needed += 8 * channels * self.grid.height * self.grid.width
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise OSError(
                f'the map needs up to {needed / 1e9:.2f} GB in {self.folder} while it is made, '
                f'{free / 1e9:.2f} GB are free: free some, choose another disk with '
                '--map.folder, or fewer outputs'
            )


def _span_of(output: MapOutput) -> DaySpan | None:
    """Days of a map that is a step in time."""
    return output.span if isinstance(output, Embedding) else None


def _reaches_its_end(file: DatasetReader) -> bool:
    """Tell whether all blocks of a GeoTIFF lie within the file."""
    size = os.stat(file.name).st_size
    for (row, column), _ in file.block_windows(1):
        start, length = (
            int(file.get_tag_item(f'{name}_{column}_{row}', 'TIFF', bidx=1) or 0)
            for name in ('BLOCK_OFFSET', 'BLOCK_SIZE')
        )
        if start + length > size:
            return False
    return True


def _sieve_raster(path: Path, pixels: int) -> None:
    """Join patches of fewer pixels than so many to their largest neighbours.

    No data is no neighbour, and stays.

    Args:
        path: Raster of classes in one band, which is changed.
        pixels: Number of pixels of the smallest patch that stays.
    """
    with rasterio.open(path, 'r+') as file:
        values = file.read(1)
        seen = values != file.nodata
        for _ in range(_MOST_SIEVES):
            # Small ones among small ones only are left, and have a large neighbour afterwards.
            before, values = values, sieve(values, pixels, mask=seen)
            if (values == before).all():
                break
        file.write(values, 1)


def _write_table(table: gpd.GeoDataFrame, path: Path) -> None:
    """Write shapes and their columns.

    Args:
        table: What to write.
        path: GeoPackage (``.gpkg``) or GeoParquet (``.parquet``), which gets its name when it
            is whole.
    """
    with whole_file(path) as whole:
        if path.suffix == '.parquet':
            table.to_parquet(whole)
        else:
            # Rows are numbered in a column of their own, whatever the user's are called.
            table.to_file(whole, driver='GPKG', layer=path.stem, FID='ogc_fid')
