"""The command ``torchgeo-sits``: TorchGeo's own command line, with this package known to it."""

import os
import re
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import TextIO

from . import __version__, register
from .errors import SITSError
from .renamed import translate_arguments

__all__ = ['main']

HELP = f"""\
torchgeo-sits {__version__}: self-supervised learning on satellite image time series

usage: torchgeo-sits <command> --config FILE [--data.<option> ...] [--model.<option> ...]

commands:
  fit         pretrain, or train with labels, as the configuration says
  validate, test
              score a checkpoint of a task with labels (--ckpt_path X.ckpt)
  predict     map a folder of dated rasters with a checkpoint (--ckpt_path X.ckpt)
  explain     show which dates and pixels a prediction rests on (--ckpt_path X.ckpt --at LON,LAT)
  embed       map the features of each pixel (X.ckpt DIR --year 2021)
  views       draw a sample and the views made of it to a PNG (--output views.png)
  export      write a checkpoint as ONNX or .pt2, to run without this package (X.ckpt MODEL.onnx)
  cube        convert a folder of dated rasters to a Zarr cube that is read faster (SRC DST)

first steps:
  torchgeo-sits fit --config conf/dino.yaml
      pretrain by DINO on a small simulated series, in minutes; also conf/simclr.yaml,
      conf/byol.yaml, conf/vicreg.yaml, conf/mae.yaml
  torchgeo-sits fit --config conf/dino.yaml --data SITSDataModule --data.paths DIR
      the same on your own folder of dated rasters
  torchgeo-sits fit --config conf/segmentation.yaml --model.weights X.ckpt
      fine-tune a pretrained encoder; also conf/change.yaml, conf/classification.yaml
  torchgeo-sits fit --config conf/dino.yaml --print_config
      all options and their values
  torchgeo-sits predict --config conf/segmentation.yaml --ckpt_path X.ckpt --data.paths DIR
      write GeoTIFFs of the classes and their probabilities to maps/; --map.folder, --map.window,
      --map.overlap and --map.vectors say where and how
  torchgeo-sits explain --config conf/segmentation.yaml --ckpt_path X.ckpt --data.paths DIR \\
      --at LON,LAT --output explanation
      draw and write the dates and pixels that the class of a place rests on
  torchgeo-sits cube DIR series.zarr
      put the dates of each place side by side, for faster reading
  torchgeo-sits fit --help
      what each option means (--data.help SITSDataModule, --model.help SITSDINO)

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

#: Where the wheel keeps the configurations, and where a clone does.
CONFIG_FOLDERS = tuple(
    folder
    for folder in (Path(__file__).parent, Path(__file__).parents[1])
    # The parent of an installed package is site-packages, where a conf/ is somebody else's.
    if folder.name == 'torchgeo_sits' or (folder / 'pyproject.toml').is_file()
)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        args: Arguments of the command line, without the program's name.
    """
    args = sys.argv[1:] if args is None else list(args)
    # Answered before anything heavy is imported: TorchGeo's own help takes seconds.
    if args in ([], ['-h'], ['--help'], ['help']):
        print(HELP.format(configs=', '.join(sorted(_configs()))))
        return
    if args == ['--version']:
        print(f'torchgeo-sits {__version__}')
        return
    args = translate_arguments(_find_configs(args))
    if args[0] in ('predict', 'embed'):
        # What GDAL keeps of decoded blocks, a twentieth of the memory in each process, is hardly
        # asked for again: windows share a border with the next ones only.
        os.environ.setdefault('GDAL_CACHEMAX', '256')
    if args[0] == 'predict':
        args = _with_maps(args)
    elif args[0] == 'explain':
        args = _on_own_data(args)
    warnings.showwarning = _show_warning
    with _readable_errors(args):
        from jsonargparse import ArgumentParser

        # Fifty lines of options above the one line that says what is wrong.
        ArgumentParser.print_usage = lambda *_: None  # type: ignore[method-assign]
        if args[0] == 'cube':  # needs no plug-ins, whose import takes seconds
            from .commands.cube import convert

            convert(args[1:])
            return
        if args[0] == 'embed':
            from .commands.embed import embed

            embed(args[1:])
            return
        _load_plugins()
        if args[0] == 'views':
            from .commands.views import draw

            draw(args[1:])
        elif args[0] == 'explain':
            from .commands.explain import explain

            explain(args)
        elif args[0] == 'export':
            from .commands.export import export

            export(args[1:])
        else:
            from torchgeo.main import main as torchgeo_main

            # Through sys.argv: LightningCLI warns when it is handed the arguments.
            sys.argv[1:] = args
            torchgeo_main()


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


def _with_maps(args: Sequence[str]) -> list[str]:
    """Let ``predict`` write maps, and give the ``--map`` options to what writes them."""
    writer = 'torchgeo_sits.callbacks.MapWriter'
    kept: list[str] = []
    options: list[str] = []
    rest = iter(args)
    for arg in rest:
        if not arg.startswith('--map.'):
            kept.append(arg)
            continue
        option, equals, value = arg.partition('=')
        value = value if equals else next(rest, '')
        options.append(f'--trainer.callbacks.{option.removeprefix("--map.")}={value}')
    kept = _on_own_data(kept)
    added = f'--trainer.callbacks+={writer}'
    # Further processes of a distributed run are started with these very arguments.
    return kept if added in kept else [*kept, added, *options]


def _on_own_data(args: Sequence[str]) -> list[str]:
    """Let ``--data.paths`` alone name the data of a trained model."""
    kept = list(args)
    given = [arg.partition('=')[0] for arg in kept]
    if '--data.paths' in given:
        # Configurations name the simulated series, which has no folder, and ask for labels.
        place = given.index('--data.paths')
        if '--data' not in given:
            kept[place:place] = ['--data', 'SITSDataModule']
        if not {'--data.labels.paths', '--data.labels.supervised'} & set(given):
            kept.append('--data.labels.supervised=false')
    return kept


_library_warning = warnings.showwarning


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print what is meant for users without the line of code that says it, and no noise."""
    # Not by a filter: Lightning puts filters of its own in front.
    if any(re.match(noise, str(message)) for noise in NOISE):
        return
    if category is UserWarning:
        print(f'torchgeo-sits: warning: {message}', file=sys.stderr)
    else:
        _library_warning(message, category, filename, lineno, file, line)


@contextmanager
def _readable_errors(args: Sequence[str]) -> Iterator[None]:
    """End with one message, not with a traceback, when this package refuses something.

    Only refusals, and files that cannot be read or written, are cut short;
    TORCHGEO_SITS_TRACEBACK=1 shows the traceback of those too.
    """
    try:
        yield
    except Exception as error:
        if os.environ.get('TORCHGEO_SITS_TRACEBACK'):
            raise
        message = _refusal(error) or _unread_checkpoint(error, args)
        if message is None:
            raise
        print(f'torchgeo-sits: error: {message}', file=sys.stderr)
        sys.exit(1)


def _refusal(error: BaseException | None) -> str | None:
    """Message of *error*, or of what caused it, if it was raised on purpose.

    The command line wraps what the constructor of a task or data module raises, and PyTorch
    raises what a worker of a data loader raised with the worker's traceback as its text.
    """
    while error is not None:
        if isinstance(error, SITSError | OSError):
            text = str(error)
            if text.startswith('Caught '):
                text = text.rstrip().splitlines()[-1].partition(': ')[2]
            return text
        error = error.__cause__
    return None


def _unread_checkpoint(error: Exception, args: Sequence[str]) -> str | None:
    """What is wrong with the file of ``--ckpt_path``, where *error* comes from reading it."""
    frames = traceback.extract_tb(error.__traceback__)
    # LightningCLI._parse_ckpt_path, or Lightning's checkpoint_connector.py.
    places = [part for frame in frames for part in (frame.name, frame.filename)]
    if not any('ckpt' in place or 'checkpoint' in place for place in places):
        return None
    for i, arg in enumerate(args):
        option, equals, value = arg.partition('=')
        if option != '--ckpt_path' or (not equals and i + 1 == len(args)):
            continue
        from .models import load_encoder

        try:
            load_encoder(value if equals else args[i + 1])
        except (OSError, ValueError) as reason:
            return str(reason)
    return None


if __name__ == '__main__':
    main()
