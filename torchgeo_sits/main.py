"""The command ``torchgeo-sits``: find configurations and hand over to :mod:`.commands`."""

import errno
import logging
import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import NoReturn

from . import __version__, register
from .commands.checks import (
    as_words,
    check_files,
    check_names,
    check_words,
    expand_home,
    help_page,
)
from .commands.spelling import did_you_mean
from .errors import SITSError
from .renamed import translate_arguments
from .stopping import STOP
from .whole_files import is_full_disk

__all__ = ['main']

HELP = f"""\
torchgeo-sits {__version__}: self-supervised learning on satellite image time series

usage: torchgeo-sits <command> --config FILE [--data.<option> ...] [--model.<option> ...]

commands:
  fit         pretrain, or train with labels, as the configuration says
  validate, test
              score a checkpoint of a task with labels (--ckpt_path X.ckpt)
  predict     map a folder of dated rasters, or fill a table of points, with a checkpoint
              (--ckpt_path X.ckpt)
  explain     show which dates and pixels a prediction rests on (--ckpt_path X.ckpt --at LON,LAT)
  embed       map the features of each pixel (X.ckpt DIR --year 2021), or of points (X.ckpt T.csv)
  explore     look, click, label and map in the browser (DIR --weights X.ckpt)
  views       draw a sample and the views made of it to a PNG (--output views.png)
  export      write a checkpoint as ONNX or .pt2, to run without this package (X.ckpt MODEL.onnx)
  push        put the encoder of a checkpoint on the Hub of Hugging Face, or into a folder
              (X.ckpt hf://ORG/REPO)
  data        list the published data sets, check or show one (data check NAME DIR)
  cube        convert dated rasters, NetCDF or Zarr to a cube that is read faster (SRC DST)

first steps:
  torchgeo-sits fit --config conf/vicreg.yaml
      pretrain by VICReg on a small simulated series, in minutes; also conf/dino.yaml,
      conf/simclr.yaml, conf/byol.yaml, conf/barlow_twins.yaml, conf/pixels.yaml, conf/mae.yaml
  torchgeo-sits fit --config conf/vicreg.yaml --data.paths DIR
      the same on your own folder of dated rasters
  torchgeo-sits fit --config conf/segmentation.yaml --model.weights X.ckpt
      fine-tune a pretrained encoder; also conf/change.yaml, conf/change-series.yaml,
      conf/classification.yaml, conf/multilabel.yaml, conf/panoptic.yaml, conf/regression.yaml
  torchgeo-sits fit --config conf/points.yaml --data.paths points.csv
      pretrain on a table of pixel series; conf/data/points.yaml classifies and regresses them
  torchgeo-sits fit --config conf/dino.yaml --config conf/data/NAME.yaml --data.root DIR
      on a published data set (data list)
  torchgeo-sits fit --config conf/dino.yaml --trainer.default_root_dir DIR
      logs and checkpoints in DIR/dino/version_0, not in logs/dino/version_0
  torchgeo-sits fit --config conf/dino.yaml --print_config
      all options and their values
  torchgeo-sits predict --ckpt_path X.ckpt --data.paths DIR
      write GeoTIFFs of the classes and their probabilities to maps/; the options --map.folder,
      --map.window, --map.vectors, ... say where and how (predict --help)
  torchgeo-sits explain --ckpt_path X.ckpt --data.paths DIR --at LON,LAT --output explanation
      draw and write the dates and pixels that the class of a place rests on
  torchgeo-sits cube DIR series.zarr
      put the dates of each place side by side, for faster reading
  torchgeo-sits fit --help
      the options of a command, a screen long (--help all: all of them)

Configurations are looked for here and then in the package: {{configs}}
"""

#: Warnings of libraries about their own insides, which a user can do nothing about.
NOISE = (
    r'`isinstance\(treespec, LeafSpec\)` is deprecated',  # Lightning with PyTorch 2.15
    r'`torch\.nn\.utils\.weight_norm` is deprecated',  # lightly's DINO head
    r'Found \d+ module\(s\) in eval mode',  # the teacher, on purpose
    r'You passed in a `val_dataloader` but have no `validation_step`',  # SSL has none
    r'Total length of `DataLoader` across ranks is zero',  # all windows of a map are there
    r'.*does not have many workers which may be a bottleneck',  # worse with two cores
)

#: Lines that Lightning logs at the start of each run, and that help nobody.
CHATTER = re.compile(
    '💡 Tip: |GPU available: False|TPU available: False|Seed set to |Trainer already configured '
)

#: Their loggers: which one it is depends on what was imported last, Lightning or its old name.
CHATTERING = (
    'lightning.pytorch.utilities.rank_zero',
    'lightning.fabric.utilities.rank_zero',
    'lightning.fabric.utilities.seed',
    'pytorch_lightning.utilities.rank_zero',
    'lightning_fabric.utilities.rank_zero',
)

#: Where the wheel keeps the configurations, and where a clone does.
CONFIG_FOLDERS = tuple(
    folder
    for folder in (Path(__file__).parent, Path(__file__).parents[1])
    # The parent of an installed package is site-packages, where a conf/ is somebody else's.
    if folder.name == 'torchgeo_sits' or (folder / 'pyproject.toml').is_file()
)


#: Commands, and the modules of ``commands`` that have a function of the same name.
COMMANDS = {
    'fit': 'training',
    'validate': 'training',
    'test': 'training',
    'predict': 'predict',
    'explain': 'explain',
    'embed': 'embed',
    'compare': 'compare',
    'explore': 'explore',
    'views': 'views',
    'export': 'export',
    'push': 'push',
    'data': 'data',
    'cube': 'cube',
}


def main(args: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        args: Arguments of the command line, without the program's name.

    Examples:
        >>> from torchgeo_sits.main import main
        >>> main(['--version'])  # doctest: +ELLIPSIS
        torchgeo-sits ...
    """
    args = sys.argv[1:] if args is None else list(args)
    # Answered before anything heavy is imported: the help of a training takes seconds.
    if args in ([], ['-h'], ['--help'], ['help']):
        print(HELP.format(configs=', '.join(sorted(_configs()))))
        return
    if args == ['--version']:
        print(f'torchgeo-sits {__version__}')
        return
    command, *options = args
    if command not in COMMANDS:
        near = did_you_mean(command, COMMANDS) or f': expected one of {", ".join(COMMANDS)}'
        _exit(f'there is no command {command!r}{near}', status=2)
    page, options = help_page(command, expand_home(options))
    if page is not None:
        print(page)
        return
    if command == 'embed':
        options = as_words(options)
    with _plain_refusals():
        _check(command, options)
    # Classes of one's own go by their dotted path, from the folder one works in.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    with STOP.watched(), _plain_warnings(), _plain_threads(), _plain_refusals():
        module = import_module(f'.commands.{COMMANDS[command]}', __package__)
        if command != 'cube':  # needs none, and their import takes seconds
            _load_plugins()
        options = translate_arguments([command, *_find_configs(options)])[1:]
        getattr(module, command)(options)


def _check(command: str, options: Sequence[str]) -> None:
    """Refuse what can be seen to be wrong before anything heavy is imported."""
    try:
        check_words(command, options)
        check_names(command, options)
    except NameError as error:
        _exit(f'{error} (options: torchgeo-sits {command} --help)', status=2)
    check_files(command, _find_configs(options), _configs())


def _load_plugins() -> None:
    """Let this package, and any other that declares a plug-in, make its classes known."""
    register()
    for plugin in entry_points(group='torchgeo.plugins'):
        try:
            plugin.load()()
        except Exception as error:
            warnings.warn(
                f'the plug-in {plugin.name!r} ({plugin.value}) is left out, it does not load: '
                f'{type(error).__name__}: {error}',
                UserWarning,
                stacklevel=2,
            )


def _configs() -> set[str]:
    """Configurations that come with the package, as ``conf/NAME.yaml``."""
    return {
        str(path.relative_to(folder))
        for folder in CONFIG_FOLDERS
        for path in folder.glob('conf/**/*.yaml')
    }


def _find_configs(args: Sequence[str]) -> list[str]:
    """Let ``--config`` name a configuration of the package from any folder."""
    found = list(args)
    for i, arg in enumerate(found):
        option, equals, value = arg.partition('=')
        if option not in ('--config', '-c') or (not equals and i + 1 == len(found)):
            continue
        value = value if equals else found[i + 1]
        if os.path.exists(value):
            continue
        for folder in CONFIG_FOLDERS:
            if value in _configs() and (folder / value).is_file():
                if equals:
                    found[i] = f'{option}={folder / value}'
                else:
                    found[i + 1] = str(folder / value)
                break
    return found


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Print warnings for users without the line of code that gives them, and no noise."""
    formatted = warnings.formatwarning
    loggers = [logging.getLogger(name) for name in CHATTERING]

    def is_said(record: logging.LogRecord) -> bool:
        return not CHATTER.match(record.getMessage())

    def plain(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        line: str | None = None,
    ) -> str:
        if category in (UserWarning, FutureWarning):
            return f'torchgeo-sits: warning: {message}\n'
        return formatted(message, category, filename, lineno, line)

    with warnings.catch_warnings():
        for noise in NOISE:
            warnings.filterwarnings('ignore', noise)
        warnings.formatwarning = plain
        for logger in loggers:
            logger.addFilter(is_said)
        try:
            yield
        finally:
            warnings.formatwarning = formatted
            for logger in loggers:
                logger.removeFilter(is_said)


@contextmanager
def _plain_threads() -> Iterator[None]:
    """Say of a full disk in one line where a thread meets it, such as TensorBoard's."""
    hook = threading.excepthook

    def plain(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_value is None or not is_full_disk(failed.exc_value):
            hook(failed)
            return
        print(f'torchgeo-sits: warning: {_full_disk(failed.exc_value)}', file=sys.stderr)

    threading.excepthook = plain
    try:
        yield
    finally:
        threading.excepthook = hook


@contextmanager
def _plain_refusals() -> Iterator[None]:
    """End with one message, not with a traceback, when this package refuses something.

    Only refusals, files that cannot be read or written, and what a signal stops are cut short;
    TORCHGEO_SITS_TRACEBACK=1 shows the traceback of those too.
    """
    try:
        yield
    except BaseException as error:
        # Lightning turns an interruption into an exit with status 1, or 0.
        if STOP.signum is not None and not os.environ.get('TORCHGEO_SITS_TRACEBACK'):
            print(f'torchgeo-sits: stopped by {STOP.name}. {STOP.advice}'.rstrip(), file=sys.stderr)
            sys.exit(STOP.status)
        if not isinstance(error, Exception):
            raise
        refusal = _refusal(error)
        if refusal is None or os.environ.get('TORCHGEO_SITS_TRACEBACK'):
            raise
        _exit(refusal, status=1)


def _refusal(error: BaseException | None) -> str | None:
    """Message of *error*, or of what caused it, if it was raised on purpose.

    Full disks are one, whatever library met them: some lose the number of the error. The command
    line wraps what the constructor of a task or data module raises, and PyTorch
    raises what a worker of a data loader raised with the worker's traceback as its text.
    """
    found = error
    while found is not None:
        if isinstance(found, MemoryError) or 'DefaultCPUAllocator' in str(found):
            text = (str(found).splitlines() or [''])[0]
            return (
                f'the memory of this machine does not suffice ({text or "MemoryError"}): choose '
                'smaller patches or batches, fewer dates, bands or workers, or a part of the data'
            )
        if isinstance(found, SITSError | OSError):
            text = str(found)
            if text.startswith('Caught '):
                text = text.rstrip().splitlines()[-1].partition(': ')[2]
            if not isinstance(found, OSError) or found.errno is None:
                return text
            if found.strerror != os.strerror(found.errno):  # this package's own words
                return str(found.strerror)
            if found.errno == errno.EROFS:
                return (
                    f"cannot write to '{found.filename}' ({found.strerror}): choose another folder "
                    'for what is written'
                )
            break
        found = found.__cause__
    if error is not None and is_full_disk(error):
        return _full_disk(found or error)
    return None if found is None else str(found)


def _full_disk(error: BaseException) -> str:
    """What to do about a disk that is full; libraries seldom say which one it is."""
    where = getattr(error, 'filename', None)
    named = f" ('{where}')" if where else ''
    return (
        f'no room left on a disk{named}: free some space where logs and outputs lie, in '
        f'{tempfile.gettempdir()} and in shared memory, and give the same command again'
    )


def _exit(message: str, *, status: int) -> NoReturn:
    """End with an error in one line."""
    print(f'torchgeo-sits: error: {message}', file=sys.stderr)
    sys.exit(status)


if __name__ == '__main__':
    main()
