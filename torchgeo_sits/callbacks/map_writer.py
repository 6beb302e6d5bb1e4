"""Write the predictions of a task as maps."""

import ctypes
import math
import platform
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from geopandas import GeoDataFrame
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from shapely import STRtree, box, buffer
from torch import Tensor
from torch.utils.data import DataLoader
from torchgeo.datamodules import GeoDataModule
from torchgeo.datasets import GeoDataset

from .. import __version__
from ..datasets import PointSeries, Sentinel1Beside
from ..datasets.file_stamps import stamps
from ..errors import SITSError
from ..grid import Grid, grid_of
from ..mapping import (
    ClassMap,
    Embedding,
    MapOutput,
    MapRun,
    OverlappingWindows,
    QuantisedEmbedding,
    VectorFormat,
)
from ..mapping.paths import PathEncoder, PathMap, path_encoder, path_windows
from ..mapping.polygons import read_polygons
from ..samplers import ListedSampler
from ..transforms import seen_pixels

__all__ = ['MapWriter']

#: ``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD`` of glibc's malloc.h.
_THRESHOLDS: Final = (-1, -3)
_BYTES: Final = 1 << 20
#: Pixels up to which paths are seen whole; their cost grows as the square.
_WHOLE: Final = 512
#: Tokens on either side that are seen of longer ones: they cost what windows of 256 pixels do.
_HORIZON: Final = 128


class MapWriter(Callback):
    """Write the predictions of ``trainer.predict`` as maps that GIS software opens.

    The area of the data is cut into overlapping windows, which are read, computed and written at
    the same time, and joined without a seam
    (:class:`~torchgeo_sits.mapping.OverlappingWindows`). Memory is that of a window, whatever the
    size of the map. A run that was stopped goes on where it was when the same command is given
    again, and gives the same bytes. Several processes that are given the same folder share the
    windows, whether they know of each other (``trainer.strategy=ddp``) or not; those of one that
    is killed are done by the others.

    Rows and columns of planar encoders go on beyond a window. Their tokens are kept on disk, and
    the rows and columns of the whole map are run then
    (:class:`~torchgeo_sits.mapping.paths.PathMap`), so that the map is that of one pass, whatever
    the windows.

    Each task gives its own maps: classes and their probabilities, change and its date,
    embeddings. They are Cloud-Optimised GeoTIFFs on the pixels of the data, no data where nothing
    was observed, with names, colours, and tags for the checkpoint, the dates and the version.
    Others are added by a subclass of :class:`~torchgeo_sits.mapping.MapOutput`.

    Examples:
        >>> from lightning.pytorch import Trainer
        >>> from torchgeo_sits.callbacks import MapWriter
        >>> writer = MapWriter('maps', window=128, overlap=16)
        >>> trainer = Trainer(callbacks=[writer], logger=False, accelerator='cpu')
        >>> # trainer.predict(task, datamodule=data) then writes maps/class.tif
        >>> writer.folder.name
        'maps'
    """

    def __init__(
        self,
        folder: str = 'maps',
        *,
        window: int = 256,
        overlap: int | None = None,
        exact: bool = True,
        horizon: int | None = None,
        vectors: VectorFormat | None = None,
        polygons: str | None = None,
        values: Literal['codes', 'classes'] = 'codes',
        min_area: float = 0.0,
        within: bool = False,
        quantise: bool = False,
        stack: bool = False,
        outputs: list[MapOutput] | MapOutput | None = None,
    ) -> None:
        """Initialize a new MapWriter instance.

        Args:
            folder: Folder of the maps.
            window: Side of a window in pixels: larger ones are faster, and take more memory.
            overlap: Pixels that neighbouring windows share; half a window at most, and by default
                32 where that is no more. Planar encoders need none, unless *exact* is False.
            exact: Run the rows and columns of planar encoders over the whole map, so that the size
                of windows changes no value. Not done with *within*.
            horizon: Tokens of a row or column on either side of its own that a planar encoder sees
                in an exact map. None is what it sees by itself; one that sees whole paths sees 128
                in maps above 512 pixels, where its cost would grow as the square.
            vectors: Write classes as polygons, too: a GeoPackage ('gpkg') or a GeoParquet file
                ('parquet').
            polygons: File of polygons or points, such as fields. What the maps hold in each of
                them is written as a table of the same name in *folder*, a row each
                (:func:`~torchgeo_sits.mapping.summarise_maps`): a GeoPackage, of embeddings a
                GeoParquet file.
            values: What the pixels of maps of classes hold: your codes, such as 1200 for maize,
                where the labels had any; or the numbers of the classes as training counts them,
                from 1, or from 0 where nothing is left out.
            min_area: Square metres. Patches of one class that are smaller join their largest
                neighbour, in maps of classes, their polygons, and shares of classes in the table;
                probabilities and certainty stay. The whole map is in memory then.
            within: Compute the windows that touch one of the *polygons* only; elsewhere the maps
                have no data.
            quantise: Write embeddings in a byte each instead of four.
            stack: Write embeddings of several steps in time as one Zarr store, too, with time as an
                axis.
            outputs: Maps of your own beside those of the task, by dotted paths on the command
                line.

        Raises:
            SITSError: If windows overlap by more than half, an option is out of its range, or
                *within* is without *polygons*.
        """
        self.overlap = min(32, window // 2) if overlap is None else overlap
        OverlappingWindows(window, window, window, self.overlap)
        if values not in ('codes', 'classes'):
            raise SITSError(f"expected map.values 'codes' or 'classes', got {values!r}")
        if not 0 <= min_area < math.inf:
            raise SITSError(f'map.min_area must be at least 0 square metres, got {min_area}')
        if horizon is not None and horizon < 1:
            raise SITSError(f'map.horizon must be at least 1 token, got {horizon}')
        if within and polygons is None:
            raise SITSError('map.within is for map.polygons: give a file of polygons or points')
        self.folder = Path(folder)
        self.window = window
        self.exact = exact
        self.horizon = horizon
        self.vectors = vectors
        self.polygons = None if polygons is None else Path(polygons)
        self.values = values
        self.min_area = min_area
        self.within = within
        self.quantise = quantise
        self.stack = stack
        self.outputs = [outputs] if isinstance(outputs, MapOutput) else list(outputs or [])
        self._run: MapRun | None = None
        self._paths: PathMap | None = None
        self._numbers: list[int] = []
        self._left = 0
        self._inside = ExitStack()
        self._restore = ExitStack()
        self._writer: ThreadPoolExecutor | None = None
        self._written: list[Future[None]] = []

    # -- before -----------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let the data module read the windows that are left, one by one.

        Raises:
            SITSError: If task or data give no map.
        """
        if stage != 'predict':
            return
        datamodule: Any = getattr(trainer, 'datamodule', None)
        if isinstance(getattr(datamodule, 'points', None), PointSeries):
            return  # of which TableWriter writes a table
        dataset = getattr(datamodule, 'predict_dataset', None)
        if not isinstance(datamodule, GeoDataModule) or not isinstance(dataset, GeoDataset):
            raise SITSError(
                f'maps need data with places, such as SITSDataModule, got '
                f'{type(datamodule).__name__}: its samples lie nowhere'
            )
        # Before workers are forked, which take it over.
        _release_freed_arrays()
        # Not yet: weights are restored after this, and a map hangs on them.
        datamodule.predict_sampler = ListedSampler(lambda: self._begin(trainer, pl_module, dataset))
        # One by one: what a window is computed with could change its last digits.
        datamodule.predict_batch_size = 1
        # A worker reads while this process computes.
        datamodule.num_workers = max(1, datamodule.num_workers)
        # Else Lightning keeps all predictions in memory.
        trainer.predict_loop.return_predictions = False

    def _begin(
        self, trainer: Trainer, task: LightningModule, dataset: GeoDataset
    ) -> Collection[tuple[slice, slice]]:
        """Begin the run, or go on with it: the windows that are left, each claimed in its turn."""
        run = self._run = self._plan(trainer, task, dataset)
        left = run.begin()
        if not left:
            self._draw(trainer)
            return []
        if self._paths is not None:
            self._paths.begin()
        if trainer.is_global_zero and len(left) < len(run.wanted):
            print(f'{len(run.wanted) - len(left)} of {len(run.wanted)} windows are there already')
        self._numbers, self._left = [], len(left)

        def claim() -> Iterator[tuple[slice, slice]]:
            for number in run.work.free('window', left, run.is_kept):
                self._numbers.append(number)
                yield self._place(run, number)

        return _Claimed(claim, len(left))

    def _plan(self, trainer: Trainer, task: Any, dataset: GeoDataset) -> MapRun:
        """Plan the run: its windows, its maps, and everything that they depend on."""
        grid = grid_of(dataset)
        encoder = path_encoder(task) if self.exact and not self.within else None
        # What pixels give by themselves needs no neighbours.
        overlap = 0 if self.exact and _sees_pixels_alone(task) else self.overlap
        windows = OverlappingWindows(grid.height, grid.width, self.window, overlap)
        if encoder is not None:
            windows = path_windows(encoder, grid.height, grid.width, self.window)
            self._limit_paths(encoder, windows)
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        names = ('statistics', 'statistics_s1') if _takes_s1(task) else ('statistics',)
        normalised = [v.tolist() for name in names for v in getattr(datamodule, name, ())]
        weights = _digest(task, repr(normalised))
        # An embedding task reads its checkpoint itself.
        checkpoint = trainer.ckpt_path or getattr(task, 'checkpoint', None)
        tags = {
            **({'CHECKPOINT': Path(checkpoint).name} if checkpoint else {}),
            'WEIGHTS_SHA256': weights,
            'DATES': ','.join(sorted({str(date.date()) for date in dataset.index.index.left})),
            'SOFTWARE': f'torchgeo_sits {__version__}',
        }
        reader = getattr(dataset, 'transforms', None)
        beside: GeoDataset | None = None
        if isinstance(reader, Sentinel1Beside) and _takes_s1(task):
            beside = reader.series
        outputs = task.map_outputs()
        if self.quantise:
            outputs = [
                QuantisedEmbedding(o.name, o.key, span=o.span) if isinstance(o, Embedding) else o
                for o in outputs
            ]
        if self.values == 'classes':
            outputs = [o.numbered() if isinstance(o, ClassMap) else o for o in outputs]
        # Files are stamped below, whatever folder the command is given in.
        options = {k: v for k, v in datamodule.kwargs.items() if k not in ('paths', 'cloud_paths')}
        wanted = _touching(windows, grid, dataset)
        if self.within and self.polygons is not None:
            wanted = _near(wanted, windows, grid, read_polygons(self.polygons), self.polygons)
        manifest = {
            'checkpoint': weights,
            'version': __version__,
            'device, precision or depth': [
                task.device.type,
                trainer.precision,
                getattr(task, 'depth', None),
            ],
            'set of images or masks': _stamps(dataset),
            **({'set of Sentinel-1 images': _stamps(beside)} if beside is not None else {}),
            'options of the data': {key: str(value) for key, value in options.items()},
            'extent': [*grid.bounds, grid.width, grid.height, grid.crs.to_string()],
            'window, overlap, exact, horizon or quantise': [
                self.window,
                windows.overlap,
                None if encoder is None else [encoder.path_stage.horizon],
                self.quantise,
            ],
            'values, min_area, or names, codes or colours of classes': [
                self.min_area,
                *(o.legend() for o in outputs if isinstance(o, ClassMap)),
            ],
            'set of outputs': [*(o.name for o in outputs), *map(_described, self.outputs)],
            **({'days of steps': days} if (days := _days(outputs)) else {}),
            **({'place of polygons or points': wanted} if self.within else {}),
        }
        run = MapRun(
            folder=self.folder,
            grid=grid,
            windows=windows,
            wanted=wanted,
            outputs=[*outputs, *self.outputs],
            tags=tags,
            manifest=manifest,
            vectors=self.vectors,
            polygons=self.polygons,
            min_area=self.min_area,
            stack=self.stack,
        )
        self._paths = None
        if encoder is not None:
            joining = getattr(task, 'joining_layer', None)
            self._paths = PathMap(
                run.store.folder, run.fingerprint, windows, wanted, encoder, joining
            )
        return run

    def _limit_paths(self, encoder: PathEncoder, windows: OverlappingWindows) -> None:
        """Limit what tokens see of their paths, until the end of the run."""
        stage = encoder.path_stage
        own = stage.horizon
        longest = max(windows.height, windows.width)
        self._restore.callback(setattr, stage, 'horizon', own)
        if self.horizon is not None:
            stage.horizon = self.horizon
        elif own is None and longest > _WHOLE:
            stage.horizon = _HORIZON
            print(
                f'Rows and columns of up to {longest} pixels are seen to {_HORIZON} tokens on '
                f'either side: --map.horizon {longest} sees all, and takes longer'
            )

    @staticmethod
    def _place(run: MapRun, number: int) -> tuple[slice, slice]:
        """Place of a window as data sets are asked for it."""
        bounds = _bounds(run.windows, run.grid, number)
        return (
            slice(bounds[0], bounds[2], run.grid.xres),
            slice(bounds[1], bounds[3], run.grid.yres),
        )

    # -- during -----------------------------------------------------------------------------

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Run the rows and columns of the whole map, where the encoder sees them."""
        run, paths = self._run, self._paths
        if run is None or paths is None or not self._left or self._is_limited(trainer):
            return
        try:
            self._run_paths(trainer, pl_module, run, paths)
        except OSError:
            # Others, who did not wait for this process, may have drawn the maps meanwhile.
            if not run.is_finished():
                raise

    def _run_paths(self, trainer: Trainer, task: Any, run: MapRun, paths: PathMap) -> None:
        """Collect the tokens of all windows, then run the path stage strip by strip."""
        numbers = [number for number in run.wanted if not paths.has_tokens(number)]
        with _bar('tokens of windows', len(numbers)) as advance:

            def record(number: int, batch: Any) -> None:
                if paths.layers == 0:
                    return  # the task asks for no paths
                with paths.recording() as recorder:
                    task.predict_step(batch, 0)
                paths.keep(number, recorder)
                advance()

            self._each(trainer, record, run.work.free('tokens', numbers, paths.has_tokens))
            self._each(
                trainer, record, run.work.rest('tokens', numbers, paths.has_tokens), workers=0
            )
        strips = range(len(paths.strips))
        with _bar('rows and columns', len(strips)) as advance:
            for claim in (run.work.free, run.work.rest):
                for number in claim('strip', strips, paths.late.has):
                    with trainer.precision_plugin.predict_step_context():
                        paths.run_strip(number, task.device)
                    advance()

    def _each(
        self,
        trainer: Trainer,
        do: Callable[[int, Any], None],
        numbers: Iterator[int],
        *,
        workers: int | None = None,
    ) -> None:
        """Read windows and do something with each, as the loop of the trainer does.

        Args:
            trainer: The trainer.
            do: Called with the number of a window and its batch.
            numbers: Numbers of the windows; asked for ahead, unless *workers* is 0.
            workers: Processes that read, those of the data module by default.
        """
        run, datamodule = self._run, trainer.datamodule  # type: ignore[attr-defined]
        assert run is not None
        claimed: list[int] = []

        def places() -> Iterator[tuple[slice, slice]]:
            for number in numbers:
                claimed.append(number)
                yield self._place(run, number)

        loader: DataLoader[Any] = DataLoader(
            datamodule.predict_dataset,
            sampler=places(),
            num_workers=datamodule.num_workers if workers is None else workers,
            collate_fn=datamodule.collate_fn,
        )
        module = trainer.lightning_module
        for position, batch in enumerate(loader):
            batch = trainer.precision_plugin.convert_input(batch)
            batch = module._on_before_batch_transfer(batch, dataloader_idx=0)
            batch = trainer.strategy.batch_to_device(batch, dataloader_idx=0)
            with trainer.precision_plugin.predict_step_context():
                do(claimed[position], batch)

    def on_predict_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Give the encoder the rows and columns of a window."""
        if self._run is not None and self._has_paths():
            self._inside.enter_context(self._paths_of(self._numbers[batch_idx]))

    def _has_paths(self) -> bool:
        """Whether late features of windows are on disk."""
        return self._paths is not None and bool(self._paths.layers)

    def _paths_of(self, number: int) -> AbstractContextManager[None]:
        """Let predictions be of a window of the map."""
        assert self._paths is not None
        return self._paths.replaying(number)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Hand the values of a window to the thread that writes."""
        self._inside.close()
        if self._run is not None:
            self._keep(self._run, self._numbers[batch_idx], pl_module, batch, outputs)

    def _keep(self, run: MapRun, number: int, task: Any, batch: Any, outputs: Any) -> None:
        """Hand the values of a window to the thread that writes."""
        if self._writer is None:
            self._writer = ThreadPoolExecutor(1)
        named = outputs if isinstance(outputs, dict) else {'probabilities': outputs}
        seen = seen_pixels(batch, s1=_takes_s1(task))[0]
        values = {key: _channels(value, seen) for key, value in named.items()}
        # Two windows wait at most: memory does not grow where the disk is slow.
        while len(self._written) > 1:
            self._written.pop(0).result()
        self._written.append(self._writer.submit(run.keep, number, values))

    def _flush(self) -> None:
        """Wait until all is written."""
        while self._written:
            self._written.pop(0).result()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do what processes left that are gone, and draw the maps."""
        run = self._run
        if run is None:
            return
        self._flush()
        if self._is_limited(trainer):
            if trainer.is_global_zero:
                left = len(run.left())
                print(f'{left} windows are left: the same command goes on with them')
            return

        def predict(number: int, batch: Any) -> None:
            with self._paths_of(number) if self._has_paths() else nullcontext():
                outputs = pl_module.predict_step(batch, 0)
            self._keep(run, number, pl_module, batch, outputs)
            self._flush()

        rest = run.work.rest('window', run.wanted, run.is_kept)
        self._each(trainer, predict, rest, workers=0)
        self._draw(trainer)

    def _is_limited(self, trainer: Trainer) -> bool:
        """Whether the trainer is to stop before all windows are done."""
        return sum(trainer.num_predict_batches) < self._left

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Keep what was computed, leave the folder to others, and say what an interruption left."""
        run = self._run
        self._end()
        if run is not None and isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero:
            print(
                f'{len(run.wanted) - len(run.left())} of {len(run.wanted)} windows are kept: the '
                'same command goes on with the rest'
            )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """End the thread that writes, and say where the maps are."""
        if self._run is not None and trainer.is_global_zero and self._run.is_finished():
            print('Maps:', *self._run.files, sep='\n  ')
            print('Open them in QGIS or ArcGIS: drag the files into its window.')
        self._end()

    def _end(self) -> None:
        if self._writer is not None:
            self._writer.shutdown()
        if self._run is not None:
            self._run.close()
        self._inside.close()
        self._restore.close()
        self._writer, self._run, self._written, self._paths = None, None, [], None

    def _draw(self, trainer: Trainer) -> None:
        """Draw the maps, or wait until another process has."""
        run = self._run
        assert run is not None
        if not run.is_finished():
            console = Console(stderr=True)
            with Progress(console=console, disable=not console.is_terminal) as bar:
                task = bar.add_task('drawing the maps', total=None)
                run.draw_or_wait(lambda done, total: bar.update(task, completed=done, total=total))


class _Claimed:
    """Windows that are claimed one by one; how many there may be is known."""

    def __init__(self, claim: Callable[[], Iterator[tuple[slice, slice]]], most: int) -> None:
        self._claim, self._most = claim, most

    def __len__(self) -> int:
        return self._most

    def __iter__(self) -> Iterator[tuple[slice, slice]]:
        return self._claim()

    def __contains__(self, place: object) -> bool:
        return False


@contextmanager
def _bar(name: str, total: int) -> Iterator[Callable[[], None]]:
    """Show how far a part of the run is; yields what tells of one step more."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=total)
        yield lambda: bar.advance(task)


def _release_freed_arrays() -> None:
    """Let arrays of a megabyte and more go back to the system when they are freed.

    By default glibc raises the size from which they do with that of the arrays that were
    freed. Windows then lie on its heap, in which they leave gaps: a process that reads them grew
    by 7 MB a window. Where there is no glibc nothing is done.
    """
    if platform.libc_ver()[0] == 'glibc':
        for threshold in _THRESHOLDS:
            ctypes.CDLL(None).mallopt(threshold, _BYTES)


def _described(output: MapOutput) -> str:
    """Name, class and options of a map that the user adds."""
    kind = type(output)
    return f'{output.name}: {kind.__module__}.{kind.__qualname__}({vars(output)})'


def _takes_s1(task: Any) -> bool:
    """Whether the encoder of a task, if it has one, takes a Sentinel-1 series."""
    return bool(getattr(getattr(task, 'encoder', None), 's1_channels', 0))


def _channels(value: Tensor, seen: Tensor) -> NDArray[np.float32]:
    """Channels ``(C, h, w)`` of a window, NaN where nothing was seen ``(h, w)``."""
    value = value[0].float()
    value = value if value.ndim == 3 else value[None]
    return value.masked_fill(~seen, torch.nan).cpu().numpy()


def _bounds(
    windows: OverlappingWindows, grid: Grid, number: int
) -> tuple[float, float, float, float]:
    """West, south, east and north edge of a window."""
    row, column = windows.corner(number)
    height, width = windows.shape
    left, top = grid.left + column * grid.xres, grid.top - row * grid.yres
    return left, top - height * grid.yres, left + width * grid.xres, top


def _touching(windows: OverlappingWindows, grid: Grid, dataset: GeoDataset) -> list[int]:
    """Numbers of the windows that touch the footprint of any image."""
    places = [box(*_bounds(windows, grid, number)) for number in range(len(windows))]
    footprints = dataset.index.geometry.drop_duplicates().to_numpy()
    found = STRtree(places).query(footprints, predicate='intersects')[1]
    return np.unique(found).tolist()


def _near(
    wanted: Sequence[int],
    windows: OverlappingWindows,
    grid: Grid,
    polygons: GeoDataFrame,
    path: Path,
) -> list[int]:
    """Those of the windows that touch a polygon or a point.

    Raises:
        SITSError: If none does.
    """
    places = [box(*_bounds(windows, grid, number)) for number in wanted]
    shapes = polygons.geometry.to_crs(grid.crs.to_wkt()).to_numpy()
    # A pixel around them: an edge of a polygon belongs to the pixel that it cuts.
    found = STRtree(places).query(buffer(shapes, max(grid.xres, grid.yres)), 'intersects')[1]
    if not len(found):
        raise SITSError(
            f'nothing of {path} lies on the images, which are between '
            f'{grid.bounds[0]:.6g} and {grid.bounds[2]:.6g} from west to east and '
            f'{grid.bounds[1]:.7g} and {grid.bounds[3]:.7g} from south to north in '
            f'{grid.crs.to_string()}: check its coordinate reference system, or the folder'
        )
    return [wanted[i] for i in np.unique(found)]


def _days(outputs: Sequence[MapOutput]) -> list[str]:
    """First days of embeddings that are steps in time; their last ones are in the names."""
    spans = [o.span for o in outputs if isinstance(o, Embedding)]
    return [str(span.first) for span in spans if span is not None]


def _sees_pixels_alone(task: LightningModule) -> bool:
    """Tell whether a task gives the features of an encoder that looks at single pixels."""
    encoder: Any = getattr(task, 'encoder', None)
    beside = [name for name in task.state_dict() if not name.startswith('encoder.')]
    # The place of a window, which some encoders take, is one of all its pixels.
    alone = getattr(encoder, 'independent_pixels', False) and not encoder.takes_location
    return not beside and alone


def _digest(task: LightningModule, more: str) -> str:
    """Checksum of the weights of a task, and of *more*."""
    digest = sha256(more.encode())
    for name, value in sorted(task.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _stamps(dataset: GeoDataset) -> str:
    """Checksum of the names, sizes and times of all files that a data set reads."""
    named = getattr(dataset, 'source_files', dataset.index.get('filepath', []))
    names = sorted({str(name) for name in [*named, *getattr(dataset, 'cloud_files', [])]})
    states = stamps(names)
    known = [(name, states[name][:2] if name in states else None) for name in names]
    return sha256(repr(known).encode()).hexdigest()[:16]
