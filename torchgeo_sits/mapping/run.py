"""A map in the making: which windows are to be computed, and what is drawn of them."""

import ctypes
import json
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from ..errors import SITSError
from ..grid import Grid
from .files import BLOCK, VectorFormat, draft, finish, write_polygons
from .outputs import ClassMap, MapOutput, QuantisedEmbedding
from .window_store import PartStore
from .windows import Blender, Layout, Windows, blocks

__all__ = ['MapRun', 'OnBlock', 'release_freed_arrays']

#: ``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD`` of glibc's malloc.h.
_THRESHOLDS: Final = (-1, -3)
_BYTES: Final = 1 << 20


def release_freed_arrays() -> None:
    """Let arrays of a megabyte and more go back to the system when they are freed.

    By default glibc raises the size from which they do with that of the arrays that were
    freed. Windows then lie on its heap, in which they leave gaps: a process that reads them grew
    by 7 MB a window. Where there is no glibc nothing is done.
    """
    if platform.libc_ver()[0] == 'glibc':
        for threshold in _THRESHOLDS:
            ctypes.CDLL(None).mallopt(threshold, _BYTES)


type OnBlock = Callable[[int, int], None]

#: Tag that tells maps of one run from those of another.
_RUN = 'TORCHGEO_SITS_RUN'


@dataclass(frozen=True)
class MapRun:
    """Windows in, rasters out.

    Values of finished windows are kept in a hidden folder beside the maps. Maps are drawn when
    all are there, block by block in an order of their own: whatever stopped the run in between,
    and how often, they are the same bytes.

    Attributes:
        folder: Folder of the maps.
        grid: Extent and pixels of the maps.
        windows: How they are cut.
        wanted: Numbers of the windows that touch any data, ascending.
        outputs: What is drawn.
        tags: Tags of all rasters.
        manifest: What the values hang on, in plain values.
        vectors: Write classes as polygons, too.
    """

    folder: Path
    grid: Grid
    windows: Windows
    wanted: Sequence[int]
    outputs: Sequence[MapOutput]
    tags: Mapping[str, str]
    manifest: dict[str, Any]
    vectors: VectorFormat | None = None

    @property
    def parts(self) -> PartStore:
        """The windows that are finished."""
        return PartStore(self.folder / '.windows')

    @property
    def files(self) -> list[Path]:
        """All files that a finished run has written."""
        return [self._raster(o) for o in self.outputs] + [p for _, p in self._polygons()]

    def begin(self) -> list[int]:
        """Begin, or go on where a run of the same map stopped.

        Returns:
            Numbers of the windows that are left to compute, ascending.

        Raises:
            SITSError: If the folder holds other maps, or windows of another run.
            OSError: If the folder cannot be written to.
        """
        if self._is_drawn():
            return []
        rasters = {output: self._raster(output) for output in self.outputs}
        other = [p for o, p in rasters.items() if p.exists() and not self._is_own(o)]
        other += [p for o, p in self._polygons() if p.exists() and not self._is_own(o)]
        if other:
            raise SITSError(
                f'{other[0]} is there already, of another run: choose another folder with '
                '--map.folder, or move it away'
            )
        self.parts.begin(self.manifest)
        return self.left()

    def left(self) -> list[int]:
        """Numbers of the windows that are left to compute, ascending."""
        finished = self.parts.finished()
        return [number for number in self.wanted if number not in finished]

    def is_finished(self) -> bool:
        """Whether all files of this very run are there, and no windows any more."""
        polygons = all(path.exists() for _, path in self._polygons())
        return self._is_drawn() and polygons and not self.parts.folder.exists()

    def keep(self, number: int, values: Mapping[str, NDArray[np.float32]]) -> None:
        """Keep the values of a window.

        Args:
            number: Number of the window.
            values: For each of the values of the task ``(C, h, w)``, NaN where nothing was
                observed.

        Raises:
            OSError: If there is no room for all windows.
        """
        layout = {key: len(part) for key, part in values.items()}
        if not self.parts.has_note('layout'):
            self._check_room(sum(layout.values()))
            self.parts.note('layout', layout)
        self.parts.write(number, np.concatenate([values[key] for key in layout]))

    def draw(self, on_block: OnBlock = lambda done, total: None) -> None:
        """Draw what is not there yet from the windows, and delete these.

        Args:
            on_block: Called with the number of blocks that are drawn, and of all.

        Raises:
            OSError: If a file cannot be written; the windows are kept.
        """
        try:
            if todo := [output for output in self.outputs if not self._is_own(output)]:
                self._draw_rasters(todo, on_block)
            for output, path in self._polygons():
                if not path.exists():
                    write_polygons(self._raster(output), path, classes=output.classes)
        except (OSError, RasterioError) as error:
            raise OSError(
                f'the maps could not be drawn in {self.folder} ({error}). The windows are kept: '
                'see that there is room, and give the same command again'
            ) from error
        self.parts.remove()

    def _draw_rasters(self, todo: Sequence[MapOutput], on_block: OnBlock) -> None:
        """Draw some of the maps."""
        picked = {o.key for o in self.outputs if o.is_picked}
        layout = Layout(self.parts.read_note('layout'), tuple(sorted(picked)))
        wanted = set(self.wanted)
        blender = Blender(
            self.windows,
            layout,
            lambda number: self.parts.read(number) if number in wanted else None,
        )
        measured = [o for o in todo if isinstance(o, QuantisedEmbedding)]
        places = list(blocks(self.grid.height, self.grid.width, BLOCK))
        total, done = len(places) * (1 + bool(measured)), 0
        if measured:
            for place in places:
                values = blender.block(*place)
                for embedding in measured:
                    embedding.measure(values[embedding.key])
                done += 1
                on_block(done, total)
        tags = {**self.tags, _RUN: self._fingerprint}
        with ExitStack() as stack:
            files = [
                stack.enter_context(
                    draft(self._draft(o), o, self.grid, layout.channels[o.key], tags)
                )
                for o in todo
            ]
            for place in places:
                values = blender.block(*place)
                for output, file in zip(todo, files, strict=True):
                    file.write(output.draw(values[output.key]), window=Window.from_slices(*place))
                done += 1
                on_block(done, total)
        for output in todo:
            finish(self._draft(output), self._raster(output), output)

    @property
    def _fingerprint(self) -> str:
        return sha256(json.dumps(self.manifest, sort_keys=True).encode()).hexdigest()

    def _raster(self, output: MapOutput) -> Path:
        return self.folder / f'{output.name}.tif'

    def _draft(self, output: MapOutput) -> Path:
        return self.parts.folder / f'{output.name}.tif'

    def _polygons(self) -> list[tuple[ClassMap, Path]]:
        """Maps of classes, and where their polygons are written."""
        if self.vectors is None:
            return []
        classes = [o for o in self.outputs if isinstance(o, ClassMap)]
        return [(o, self._raster(o).with_suffix(f'.{self.vectors}')) for o in classes]

    def _is_drawn(self) -> bool:
        """Whether all rasters of this very run are there."""
        return all(self._is_own(output) for output in self.outputs)

    def _is_own(self, output: MapOutput) -> bool:
        """Whether a raster is there that this run has written."""
        path = self._raster(output)
        if not path.exists():
            return False
        with rasterio.open(path) as file:
            own: bool = file.tags().get(_RUN) == self._fingerprint
            return own

    def _check_room(self, channels: int) -> None:
        """Raise OSError if the windows and maps will not fit on the disk."""
        height, width = self.windows.shape
        needed = 4 * channels * (len(self.wanted) * height * width)
        # The drafts of the maps, and the maps: at most as many bands as channels, twice.
        needed += 8 * channels * self.grid.height * self.grid.width
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise OSError(
                f'the map needs up to {needed / 1e9:.2f} GB in {self.folder} while it is made, '
                f'{free / 1e9:.2f} GB are free: free some, choose another disk with '
                '--map.folder, or fewer outputs'
            )
