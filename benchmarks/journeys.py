"""Count the files that a reader opens who follows one journey through the package.

    python -m benchmarks.journeys --label after
    python -m benchmarks.journeys --label before --package ../a_clone_of_beef576

Each journey really runs, on GeoTIFFs of a few pixels, in a process of its own with one thread of
torch. A function counts when it is entered meanwhile, in whichever thread; a file counts, with
all of its lines, when a function of it does. All modules are imported before, so that what runs
at import counts nowhere: bodies of modules and classes, decorators, registrations. Given are the
files, their lines, the functions, and the lines of these from ``def`` to the last. Lambdas and
comprehensions count for their files and lines, but are no functions here.

All journeys read eight dates of four bands with a cloud mask each, 64 x 64 pixels:

- image to batch: a ``RasterTimeSeries`` is open. A ``RandomSeriesPatchSampler`` is built and
  drawn from, two samples are read, and ``pad_time`` makes a batch of them.
- views to SimCLR loss: ``training_step`` of ``SITSSimCLR``, from a normalised batch to the loss:
  two planar views are drawn, encoded, projected and compared. The rest of ``fit`` is left out.
- a whole SimCLR fit: all of ``Trainer.fit``: the files are opened, split and measured, eight
  steps are taken, and a checkpoint is written. Nothing is logged, and there is no k-NN probe.
- labels to score: all of ``Trainer.validate`` for ``SITSSegmentation`` with a label raster: the
  images and labels are opened, joined and split, the held-out part is predicted and scored.
- window to map: all of ``Trainer.predict`` with ``MapWriter`` on data that was set up before:
  windows are chosen, predicted, joined and drawn. A worker reads them, in a process that is not
  traced: how images are read is the first journey.

All but the first are commands, given to ``torchgeo_sits.main`` as on the command line, and are
traced from where it calls the trainer: parsing, tasks and data modules are ready by then. Models
are the default ones, with random weights.

Figures go to results/journeys.json under the label, beside those of the other one. With both
there is their ratio; the goal was half of the files.
"""

import gc
import importlib
import json
import logging
import os
import pkgutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from datetime import date, timedelta
from functools import partial, wraps
from inspect import CO_OPTIMIZED
from multiprocessing import get_context, set_start_method
from pathlib import Path
from types import CodeType
from typing import Any
from unittest import mock

import numpy as np
import rasterio
import torch
from lightning.pytorch import Trainer
from rasterio.transform import from_origin
from torch.utils.data import DataLoader

from . import harness

# The package is imported in the functions, once it is known which one.

SIZE, DATES, BANDS, CLASSES = 64, 8, 4, 3

#: Options of the commands; paths are those that `write_data` writes.
DATA = (
    *('--data', 'SITSDataModule', '--data.paths', 'images', '--data.images.cloud_paths', 'clouds'),
    *('--data.images.clear_values', '[1]', '--data.patches.size', '16', '--data.batch_size', '4'),
)
PRETRAINING = (
    *('fit', '--model', 'SITSSimCLR', *DATA, '--data.patches.length', '32'),
    *('--model.views_kwargs', '{num_paths: 4, length: 8}', '--trainer.max_epochs', '1'),
)
SEGMENTATION = (
    *('--model', 'SITSSegmentation', '--model.in_channels', str(BANDS)),
    *('--model.num_classes', str(CLASSES + 1)),
)
LABELS = ('--data.labels.paths', 'labels/classes.tif', '--data.labels.supervised', 'true')
MAPS = ('--map.folder', 'maps', '--map.window', '48', '--map.overlap', '16')
QUIET = (
    *('--trainer.accelerator', 'cpu', '--trainer.logger', 'false'),
    *('--trainer.enable_progress_bar', 'false', '--trainer.enable_model_summary', 'false'),
)


# -- tracing --------------------------------------------------------------------------------


class Tracer(AbstractContextManager['Tracer']):
    """Keep the functions of a package that are entered inside of ``with``, in all threads."""

    def __init__(self, package: Path) -> None:
        """Initialize a new Tracer instance.

        Args:
            package: Folder of the package.
        """
        self.package = package
        # By identity: equal are also codes that differ in nothing but their files.
        self._entered: dict[int, CodeType] = {}

    def __enter__(self) -> 'Tracer':
        """Begin, or go on."""
        gc.collect()  # What is deleted meanwhile would enter its finalisers.
        monitoring = sys.monitoring
        monitoring.use_tool_id(monitoring.PROFILER_ID, 'journeys')
        monitoring.register_callback(
            monitoring.PROFILER_ID, monitoring.events.PY_START, self._on_start
        )
        monitoring.restart_events()
        monitoring.set_events(monitoring.PROFILER_ID, monitoring.events.PY_START)
        return self

    def __exit__(self, *error: object) -> None:
        """Stop."""
        sys.monitoring.set_events(sys.monitoring.PROFILER_ID, sys.monitoring.events.NO_EVENTS)
        sys.monitoring.free_tool_id(sys.monitoring.PROFILER_ID)

    def _on_start(self, code: CodeType, offset: int) -> Any:
        """Keep a code that is entered; it need not be told again."""
        # Bodies of modules and classes are not optimised, those of functions are.
        is_function = code.co_flags & CO_OPTIMIZED and not code.co_name.startswith('<generic')
        if is_function and code.co_filename.startswith(f'{self.package}{os.sep}'):
            self._entered[id(code)] = code
        return sys.monitoring.DISABLE

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function inside of ``with``."""
        with self:
            return function(*args, **kwargs)

    def summary(self) -> dict[str, Any]:
        """Files, functions, and the lines of both."""
        codes = self._entered.values()
        files = sorted({code.co_filename for code in codes})
        places = {(code.co_filename, line) for code in codes for line in lines_of(code)}
        return {
            'files': len(files),
            'lines': sum(len(Path(file).read_text().splitlines()) for file in files),
            'functions': sum(not code.co_name.startswith('<') for code in codes),
            'lines_of_functions': len(places),
            'names': [Path(file).relative_to(self.package).as_posix() for file in files],
        }


def lines_of(code: CodeType) -> range:
    """Numbers of the lines of a function, with its decorators and what is defined in it."""
    last, inside = code.co_firstlineno, [code]
    while inside:
        one = inside.pop()
        last = max(last, *(end or 0 for _, end, _, _ in one.co_positions()))
        inside += [const for const in one.co_consts if isinstance(const, CodeType)]
    return range(code.co_firstlineno, last + 1)


# -- data -----------------------------------------------------------------------------------


def write_raster(path: Path, values: np.ndarray) -> None:
    """Write values ``(C, H, W)`` as a GeoTIFF."""
    count, height, width = values.shape
    place = {'crs': 'EPSG:32631', 'transform': from_origin(600_000, 5_000_000, 10, 10)}
    path.parent.mkdir(exist_ok=True)
    with rasterio.open(
        path, 'w', 'GTiff', width, height, count, dtype=values.dtype, **place
    ) as file:
        file.write(values)


def write_data() -> None:
    """Write dated images, their cloud masks and a label raster to this folder."""
    rng = np.random.default_rng(0)
    fields = rng.integers(1, CLASSES + 1, (SIZE // 8, SIZE // 8), dtype=np.uint8).repeat(8, 0)
    write_raster(Path('labels', 'classes.tif'), fields.repeat(8, 1)[None])
    for i in range(DATES):
        name = f'scene_{date(2021, 1, 15) + timedelta(40 * i):%Y%m%d}.tif'
        image = rng.integers(500, 3000, (BANDS, SIZE, SIZE), dtype=np.uint16)
        write_raster(Path('images', name), image)
        clear = rng.random((1, SIZE, SIZE)) > 0.2
        write_raster(Path('clouds', name), clear.astype(np.uint8))


# -- journeys -------------------------------------------------------------------------------


@contextmanager
def trainer_does(name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Let a method of the trainer do something else; it is told the method first."""
    method = getattr(Trainer, name)

    @wraps(method)  # LightningCLI reads its signature.
    def instead(*args: Any, **kwargs: Any) -> Any:
        return function(method, *args, **kwargs)

    with mock.patch.object(Trainer, name, instead):
        yield


def command(*args: str) -> None:
    """Run the package's command in this process."""
    from torchgeo_sits.main import main

    main([*args, *QUIET])


def image_to_batch(tracer: Tracer) -> None:
    """Read a batch from images that are open."""
    from torchgeo_sits.collate import pad_time
    from torchgeo_sits.datasets import RasterTimeSeries
    from torchgeo_sits.samplers import RandomSeriesPatchSampler

    series = RasterTimeSeries('images', cloud_paths='clouds', clear_values=[1])
    with tracer:
        sampler = RandomSeriesPatchSampler(series, size=32, length=4)
        next(iter(DataLoader(series, 2, sampler=sampler, collate_fn=pad_time)))


def views_to_loss(tracer: Tracer) -> None:
    """Trace the steps of a fit alone."""

    def fit(method: Callable[..., Any], trainer: Trainer, model: Any, **kwargs: Any) -> None:
        model.training_step = partial(tracer.call, model.training_step)
        method(trainer, model, **kwargs)

    with trainer_does('fit', fit):
        command(*PRETRAINING)


def whole_fit(tracer: Tracer) -> None:
    """Pretrain for an epoch."""
    with trainer_does('fit', tracer.call):
        command(*PRETRAINING)


def checkpoint_of() -> list[str]:
    """Train for a step, and give the option that names the checkpoint."""
    steps = ('--data.patches.length', '4', '--trainer.max_steps', '1')
    command('fit', *SEGMENTATION, *DATA, *LABELS, *steps, '--trainer.limit_val_batches', '0')
    [path] = Path().rglob('*.ckpt')
    return ['--ckpt_path', str(path)]


def labels_to_score(tracer: Tracer) -> None:
    """Score a model on the part of the labels that is held out."""
    checkpoint = checkpoint_of()
    with trainer_does('validate', tracer.call):
        command('validate', *SEGMENTATION, *DATA, *LABELS, *checkpoint)


def window_to_map(tracer: Tracer) -> None:
    """Map the classes, in several windows."""

    def predict(
        method: Callable[..., Any], *args: Any, datamodule: Any = None, **kwargs: Any
    ) -> None:
        datamodule.prepare_data()
        datamodule.setup('predict')
        tracer.call(method, *args, datamodule=datamodule, **kwargs)

    checkpoint = checkpoint_of()
    with trainer_does('predict', predict):
        command('predict', *SEGMENTATION, *DATA, *MAPS, *checkpoint)


JOURNEYS: dict[str, Callable[[Tracer], None]] = {
    'image to batch': image_to_batch,
    'views to SimCLR loss': views_to_loss,
    'a whole SimCLR fit': whole_fit,
    'labels to score': labels_to_score,
    'window to map': window_to_map,
}


def trace(name: str, root: str) -> dict[str, Any]:
    """Run a journey; in a process of its own.

    Args:
        name: Name of the journey.
        root: Folder that holds the package.

    Returns:
        What was entered.
    """
    sys.path.insert(0, root)
    import torchgeo_sits

    package = Path(torchgeo_sits.__file__).parent
    if package.parent != Path(root):
        raise ImportError(f'expected torchgeo_sits of {root}, got that of {package.parent}')
    for module in pkgutil.walk_packages([str(package)], 'torchgeo_sits.'):
        importlib.import_module(module.name)
    torch.set_num_threads(1)
    warnings.filterwarnings('ignore')
    logging.disable(logging.WARNING)
    # The worker that reads windows is forked, as from a command line, so that nothing is pickled.
    set_start_method('fork', force=True)
    tracer = Tracer(package)
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, 'w') as nowhere:
        os.chdir(folder)
        os.environ['TORCHGEO_SITS_CACHE'] = folder
        write_data()
        with redirect_stdout(nowhere):
            JOURNEYS[name](tracer)
        os.chdir(root)
    found = tracer.summary()
    if not found['files']:
        raise RuntimeError(f'nothing was entered on the journey {name!r}')
    return found


def ratios(before: dict[str, Any], after: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Figures after over those before."""
    return {
        name: {
            key: round(value / before['journeys'][name][key], 2)
            for key, value in found.items()
            if key != 'names'
        }
        for name, found in after['journeys'].items()
    }


def main() -> None:
    """Trace all journeys, print the table and write the results."""
    parser = harness.parser(__doc__)
    parser.add_argument('--label', choices=('before', 'after'), default='after')
    parser.add_argument(
        '--package',
        type=Path,
        default=harness.ROOT,
        help='folder that holds torchgeo_sits, of another clone perhaps',
    )
    parser.add_argument('--output', type=Path, default=harness.RESULTS / 'journeys.json')
    arguments = parser.parse_args()
    root = arguments.package.resolve()
    # Each in a new process: what one has opened or cached, another would not enter.
    with ProcessPoolExecutor(1, get_context('spawn'), max_tasks_per_child=1) as pool:
        traced = pool.map(trace, JOURNEYS, [str(root)] * len(JOURNEYS))
        journeys = dict(zip(JOURNEYS, traced, strict=True))
    results = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    results[arguments.label] = {'commit': harness.commit(root), 'journeys': journeys}
    if {'before', 'after'} <= results.keys():
        results['after / before'] = ratios(results['before'], results['after'])
    arguments.output.write_text(json.dumps(results, indent=1) + '\n')
    print(f'{"":22}{"files":>7}{"lines":>8}{"functions":>11}{"lines of functions":>20}')
    for name, found in journeys.items():
        counts = [value for key, value in found.items() if key != 'names']
        print(f'{name:22}{counts[0]:7}{counts[1]:8,}{counts[2]:11}{counts[3]:20,}')
    for name, ratio in results.get('after / before', {}).items():
        print(f'{name}, after / before: {ratio}')


if __name__ == '__main__':
    main()
