"""The command ``torchgeo-sits views``: draw a sample and its views to a PNG."""

import argparse
from collections.abc import Sequence

import torchgeo
from lightning.pytorch.cli import LightningCLI
from torchgeo.datamodules import BaseDataModule
from torchgeo.tasks import BaseTask

from ..errors import SITSError
from ..transforms import plot_views

__all__ = ['draw']


def draw(args: Sequence[str]) -> None:
    """Draw what a run with the same arguments would train on.

    Args:
        args: ``--output FILE``, ``--sample N``, and the arguments of ``fit``.

    Raises:
        SITSError: If the model of the configuration has no views.
    """
    parser = argparse.ArgumentParser('torchgeo-sits views', add_help=False)
    parser.add_argument('--output', default='views.png')
    parser.add_argument('--sample', type=int, default=0)
    options, rest = parser.parse_known_args(args)
    cli = LightningCLI(
        model_class=BaseTask,
        datamodule_class=BaseDataModule,
        seed_everything_default=0,
        parser_kwargs={'version': torchgeo.__version__},
        subclass_mode_model=True,
        subclass_mode_data=True,
        run=False,
        args=list(rest),
    )
    if not hasattr(cli.model, 'make_views'):
        raise SITSError(f'{type(cli.model).__name__} has no views to draw: choose an SSL task')
    cli.datamodule.prepare_data()
    cli.datamodule.setup('fit')
    batch = next(iter(cli.datamodule.train_dataloader()))
    batch = (cli.datamodule.train_aug or cli.datamodule.aug)(batch)
    sample = options.sample % len(batch['image'])
    figure = plot_views(batch, cli.model.make_views(batch), sample=sample)
    figure.savefig(options.output, dpi=150, bbox_inches='tight')
    print(f'Drew sample {sample} of the first batch to {options.output}')
