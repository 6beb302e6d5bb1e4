"""The commands ``torchgeo-sits fit``, ``validate`` and ``test``, and the training behind others."""

import os
import shlex
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

import torch
import torchgeo.datamodules
import torchgeo.tasks
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelSummary, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger
from torchgeo.datamodules import BaseDataModule
from torchgeo.tasks import BaseTask

# Imported, classes go by their short names: `--data SITSDataModule`.
from .. import datamodules, tasks  # noqa: F401
from ..callbacks import RunProgress, RunReport, StopOnSignal, keep_whole_checkpoints
from ..datasets.points.files import is_table
from ..errors import SITSError
from ..models import CARD_FILE, load_bare_encoder
from ..tasks.base import SITSTask
from ..whole_files import whole_file
from .line import chosen_class, options
from .parser import CommandParser
from .runs import check_class, command_line, run_configuration

__all__ = ['TrainingCLI', 'fit', 'name_data', 'on_own_data', 'test', 'validate', 'with_run']

#: Settings of TorchGeo's own command, of https://github.com/pangeo-data/cog-best-practices. But
#: folders are not listed, where that calls them empty: headers and masks beside a raster count.
RASTERIO_ENVIRONMENT = {
    'GDAL_DISABLE_READDIR_ON_OPEN': 'TRUE',
    'AWS_NO_SIGN_REQUEST': 'YES',
    'GDAL_MAX_RAW_BLOCK_CACHE_SIZE': '200000000',
    'GDAL_SWATH_SIZE': '200000000',
    'VSI_CURL_CACHE_SIZE': '200000000',
}

#: Values of ``ckpt_path`` that Lightning looks up itself.
_KNOWN_CHECKPOINTS = ('best', 'last', 'hpc')
#: Options that say what the labels are.
_LABELLED = ('paths', 'column', 'supervised')


def fit(args: Sequence[str]) -> None:
    """Pretrain, or train with labels, as the configuration says.

    Args:
        args: Options; see ``torchgeo-sits fit --help``.
    """
    TrainingCLI(['fit', *name_data(args)])


def validate(args: Sequence[str]) -> None:
    """Score a checkpoint of a task with labels on the validation data.

    Args:
        args: Options; see ``torchgeo-sits validate --help``.
    """
    TrainingCLI(['validate', *name_data(with_run('validate', args))], has_logs=False)


def test(args: Sequence[str]) -> None:
    """Score a checkpoint of a task with labels on the test data.

    Args:
        args: Options; see ``torchgeo-sits test --help``.
    """
    TrainingCLI(['test', *name_data(with_run('test', args))], has_logs=False)


class _TrainingParser(CommandParser, LightningArgumentParser):
    """Lightning's parser, with errors in one line."""

    bases: ClassVar[Mapping[str, type]] = {'data': BaseDataModule, 'model': BaseTask}


class _WholeConfig(SaveConfigCallback):
    """Configuration beside the logs, which is there whole or not at all."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Lightning's own way would write the file in place.
        super().__init__(*args, **(kwargs | {'save_to_log_dir': False}))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ask for the folder, which all processes do together, and write."""
        self._folder = Path(trainer.log_dir or trainer.default_root_dir)
        super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the file over one of before."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with whole_file(self._folder / self.config_filename) as draft:
            self.parser.save(self.config, draft, skip_none=False, multifile=self.multifile)


class TrainingCLI(LightningCLI):
    """Lightning's command line with TorchGeo's settings, and a folder for each run.

    Logs and checkpoints lie in ``<trainer.default_root_dir>/<method>/version_N``, unless the
    configuration names a logger of its own.

    Args:
        args: The subcommand and its options.
        trainer_class: Trainer with a method for each subcommand.
        has_logs: Whether runs log to a folder of their own, their configuration included.
    """

    def __init__(
        self,
        args: Sequence[str],
        *,
        trainer_class: type[Trainer] = Trainer,
        has_logs: bool = True,
    ) -> None:
        self.has_logs = has_logs
        self.given = list(args)
        os.environ.update(RASTERIO_ENVIRONMENT)
        if not has_logs:
            # No checkpoint is written, wherever it would go.
            warnings.filterwarnings('ignore', 'The dirpath has changed from')
        super().__init__(
            model_class=BaseTask,
            datamodule_class=BaseDataModule,
            trainer_class=trainer_class,
            trainer_defaults={
                'default_root_dir': 'logs',
                'log_every_n_steps': 1,  # small data has few steps in an epoch
                'num_sanity_val_steps': 0,
            },
            seed_everything_default=0,
            parser_kwargs={'prog': 'torchgeo-sits', 'version': torchgeo.__version__},
            parser_class=_TrainingParser,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=_WholeConfig if has_logs else None,
            save_config_kwargs={'overwrite': True},
            # Tasks have their own, which --model.lr and the like are for.
            auto_configure_optimizers=False,
            args=_with_logger(args),
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Names of the subcommands, and the arguments of their methods that are no options."""
        own = LightningCLI.subcommands()
        return {name: own[name] for name in ('fit', 'validate', 'test')}

    def _prepare_subcommand_parser(
        self, klass: type, subcommand: str, **kwargs: Any
    ) -> LightningArgumentParser:
        """Parser of a subcommand; all scores in a table, forty and more, only when asked for."""
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand in ('validate', 'test'):
            parser.set_defaults({'verbose': False})
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the arguments, and look at the checkpoint before anything is built.

        Raises:
            SITSError: If the checkpoint cannot be read.
            FileNotFoundError: If there is no such checkpoint.
        """
        # Not Lightning's own method: it warns where there are other arguments in sys.argv.
        self.config = parser.parse_args(args)
        chosen = self.config[self.config.subcommand]
        for name, value in list(chosen.items()):
            # Of configurations: the command line is through with this.
            if isinstance(value, str) and value.startswith('~/'):
                chosen[name] = str(Path(value).expanduser())
        _check_checkpoint(chosen.get('ckpt_path'))
        _check_found(chosen)
        self._command_line = command_line(args[1:])

    def _parse_ckpt_path(self) -> None:
        """Take the hyperparameters of the checkpoint.

        Lightning's own method reads those of its command line only: a checkpoint that was written
        from Python does not name its class, which the configuration does.
        """
        chosen = self.config[self.config.subcommand]
        path, typed = chosen.get('ckpt_path'), deepcopy(chosen.get('model'))
        self._take_hyperparameters(path)
        # What is typed goes before what the checkpoint was trained with.
        taken = self.config[self.config.subcommand].get('model')
        for option, _ in options(self.given):
            group, _, name = option.removeprefix('--').replace('.init_args', '').partition('.')
            if group == 'model' and path and name in typed.get('init_args', {}):
                taken.init_args[name] = typed.init_args[name]

    def _take_hyperparameters(self, path: str | None) -> None:
        """Take those of a checkpoint, if there is one."""
        if path and Path(path).is_file():
            content = torch.load(path, map_location='cpu', weights_only=True)
            values = content.get('hyper_parameters', {})
            kind = self.config[self.config.subcommand].model.class_path
            if (named := values.get('_class_path')) not in (None, kind):
                check_class(named, path)
            if values and named is None:
                model = {'class_path': kind, 'dict_kwargs': values}
                found = {self.config.subcommand: {'model': model}}
                self.config = self.parser.parse_object(found, self.config)
                return
        super()._parse_ckpt_path()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer, with a logger for the folder of this run if there is none.

        It stops at signals, and writes checkpoints whole or not at all.
        """
        chosen = self.config_init[self.subcommand].trainer
        if isinstance(self.model, SITSTask):
            self.model.command_line = self._command_line
        if chosen.logger is None or chosen.logger is True:
            # TorchGeo's own tasks name no method.
            name = getattr(self.model, 'method', type(self.model).__name__.lower())
            logs = self.has_logs or chosen.logger is True
            kwargs['logger'] = logs and TensorBoardLogger(chosen.default_root_dir, name)
        if chosen.barebones:
            kwargs |= {'logger': False, 'log_every_n_steps': 0}
        else:
            kwargs['callbacks'] = self._callbacks(chosen)
        trainer: Any = super().instantiate_trainer(**kwargs)
        trainer.callbacks.insert(0, StopOnSignal())  # before those that report checkpoints
        keep_whole_checkpoints(trainer)
        built: Trainer = trainer
        return built

    def _callbacks(self, options: Any) -> list[Callback]:
        """Callbacks of the configuration, and those that every run has."""
        given = options.callbacks or []
        callbacks = [*given] if isinstance(given, list) else [given]
        quiet = options.enable_progress_bar is False
        if not quiet and not any(isinstance(callback, ProgressBar) for callback in callbacks):
            callbacks.insert(0, RunProgress())
        if self.subcommand == 'fit' and not any(isinstance(c, RunReport) for c in callbacks):
            line = ['torchgeo-sits', self.subcommand, *self._command_line.typed]
            callbacks.append(RunReport(shlex.join(line)))
        has_summary = any(isinstance(callback, ModelSummary) for callback in callbacks)
        if options.enable_model_summary is not False and not has_summary:
            callbacks.append(_ParameterCount())
        return callbacks


class _ParameterCount(ModelSummary):
    """Number of parameters in one line, in place of a table with FLOPs that are not known."""

    @staticmethod
    def summarize(
        summary_data: list[tuple[str, list[str]]],
        total_parameters: int,
        trainable_parameters: int,
        model_size: float,
        total_training_modes: dict[str, int],
        total_flops: int,
        **summarize_kwargs: Any,
    ) -> None:
        """Print the line."""
        print(f'Parameters: {total_parameters:,}, of which {trainable_parameters:,} are trained')


def _check_checkpoint(path: str | Path | None) -> None:
    """Refuse a file that is no checkpoint, in the words of :func:`load_encoder`.

    Lightning's own errors say little, and come when the data is set up already. Checkpoints of
    TorchGeo's tasks have no encoder of this package, and pass.
    """
    if path is None or str(path).startswith(_KNOWN_CHECKPOINTS):
        return
    if '://' in str(path) or str(path).startswith('registry'):
        raise SITSError(
            f'--ckpt_path {path} is an address, which could run any code: fetch the file, and give '
            'its path'
        )
    if Path(path).is_dir():  # of sharded training, unless it is what `push` writes
        if Path(path, CARD_FILE).is_file():
            raise SITSError(
                f'--ckpt_path {path} holds an encoder alone, and no run: train from it '
                f'(--model.weights {path})'
            )
        return
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception:  # of many kinds, as files can be broken in many ways
        content = {}
    if 'state_dict' not in content:
        load_bare_encoder(path)


def _check_found(options: Any) -> None:
    """Refuse 'last' and 'best', which are of the folder of a run that begins only now.

    Lightning finds none there, and starts from scratch.

    Args:
        options: All options of the command.
    """
    name = options.get('ckpt_path')
    callbacks = options.trainer.callbacks or []
    callbacks = callbacks if isinstance(callbacks, list) else [callbacks]
    if name not in ('last', 'best') or any(
        callback.get('init_args', {}).get('dirpath') for callback in callbacks
    ):
        return
    root = Path(options.trainer.default_root_dir or '.')
    found = sorted(root.rglob('*.ckpt'), key=lambda path: path.stat().st_mtime)
    newest = f', such as {found[-1]}, the newest' if found else ''
    raise SITSError(
        f'--ckpt_path {name} would be looked for in the new folder of this run, which is empty: '
        f'give the path of a checkpoint{newest}'
    )


def _with_logger(args: Sequence[str]) -> list[str]:
    """Let options of the logger alone (``--trainer.logger.name``) be those of the usual one."""
    given = dict(options(args))
    own = [name for name in given if name.startswith('--trainer.logger.')]
    if not own or '--trainer.logger' in given:
        return list(args)
    place = next(i for i, arg in enumerate(args) if arg.startswith('--trainer.logger.'))
    added = ['--trainer.logger', 'TensorBoardLogger']
    if '--trainer.logger.save_dir' not in given:
        root = given.get('--trainer.default_root_dir') or 'logs'
        added += ['--trainer.logger.save_dir', root]
    return [*args[:place], *added, *args[place:]]


def with_run(command: str, args: Sequence[str]) -> list[str]:
    """Let a checkpoint say its task and, with the folder of its run, how the data is read.

    Args:
        command: The command.
        args: Options as they are typed.

    Returns:
        The options behind a configuration of what they do not say.

    Raises:
        SITSError: If the checkpoint cannot be read, or does not say enough.
    """
    path = dict(options(args)).get('--ckpt_path')
    if path is None or path.startswith(_KNOWN_CHECKPOINTS):
        return list(args)
    _check_checkpoint(path)
    return list(args) if Path(path).is_dir() else [*run_configuration(path, command, args), *args]


def name_data(args: Sequence[str]) -> list[str]:
    """Let ``--data.paths`` alone say what the data are: rasters, or a table of points.

    Configurations name the simulated series, which has no folder.

    Args:
        args: Options as they are typed.

    Returns:
        Options that name the data module too, where nothing but the simulated series is named.

    Examples:
        >>> from torchgeo_sits.commands.training import name_data
        >>> name_data(['--data.paths=DIR'])
        ['--data', 'SITSDataModule', '--data.paths=DIR']
    """
    kept = list(args)
    given = [arg.partition('=')[0] for arg in kept]
    chosen = chosen_class('data', kept)
    simulated = chosen is None or chosen[0].rpartition('.')[2] == 'SyntheticSITSDataModule'
    if '--data.paths' in given and '--data' not in given and simulated:
        place = given.index('--data.paths')
        named = [*kept[place].partition('=')[2:], *kept[place + 1 : place + 2]]
        kind = 'PointDataModule' if is_table(next(filter(None, named), '')) else 'SITSDataModule'
        kept[place:place] = ['--data', kind]
    return kept


def on_own_data(args: Sequence[str]) -> list[str]:
    """Leave out labels for predictions on other data, and name that data.

    Configurations ask for labels, of which ``--data.paths`` alone has none.

    Args:
        args: Options as they are typed.

    Returns:
        Options that name the data module too, and no labels, where these do not.

    Examples:
        >>> from torchgeo_sits.commands.training import on_own_data
        >>> on_own_data(['--data.paths=DIR'])
        ['--data', 'SITSDataModule', '--data.paths=DIR', '--data.labels.supervised=false']
    """
    kept = name_data(args)
    given = [arg.partition('=')[0] for arg in kept]
    if '--data.paths' in given:
        labels = {'--data.labels', *(f'--data.labels.{name}' for name in _LABELLED)}
        if not labels & set(given):
            kept.append('--data.labels.supervised=false')
    return kept
