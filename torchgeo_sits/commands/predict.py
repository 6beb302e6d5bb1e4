"""The command ``torchgeo-sits predict``: maps of dated rasters, or a table of points."""

import os
from collections.abc import Sequence

from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from ..callbacks import MapWriter, TableWriter
from .training import TrainingCLI, on_own_data, with_run

__all__ = ['predict']


def predict(args: Sequence[str]) -> None:
    """Write maps with a checkpoint, or of points a table.

    Args:
        args: Options; see ``torchgeo-sits predict --help``.
    """
    # What GDAL keeps of decoded blocks, a twentieth of the memory in each process, is hardly
    # asked for again: windows share a border with the next ones only.
    os.environ.setdefault('GDAL_CACHEMAX', '256')
    _PredictCLI(['predict', *on_own_data(with_run('predict', args))], has_logs=False)


class _PredictCLI(TrainingCLI):
    """Command line whose options ``--map`` and ``--table`` say how predictions are written."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Names of the subcommands, and the arguments of their methods that are no options."""
        return {'predict': LightningCLI.subcommands()['predict']}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of the maps, and of the table of points."""
        parser.add_lightning_class_args(MapWriter, 'map')
        parser.add_lightning_class_args(TableWriter, 'table')
