"""The command ``torchgeo-sits views``: draw a sample and its views to a PNG."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Trainer
from torchgeo.datamodules import BaseDataModule
from torchgeo.tasks import BaseTask

from ..errors import SITSError
from ..transforms import plot_views
from ..whole_files import whole_file
from .training import TrainingCLI, name_data

__all__ = ['views']


def views(args: Sequence[str]) -> None:
    """Draw what a run with the same options would train on.

    Args:
        args: Options of ``fit`` and more; see ``torchgeo-sits views --help``.
    """
    _ViewsCLI(['views', *name_data(args)], trainer_class=_ViewsTrainer, has_logs=False)


class _ViewsCLI(TrainingCLI):
    """Command line with the one subcommand ``views``."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Names of the subcommands, and the arguments of their methods that are no options."""
        return {'views': {'model', 'datamodule'}}


class _ViewsTrainer(Trainer):
    """Trainer that draws the first batch in place of training on it."""

    def views(
        self,
        model: BaseTask,
        datamodule: BaseDataModule,
        output: str = 'views.png',
        sample: int = 0,
    ) -> None:
        """Draw a sample and the views that a pretraining makes of it.

        Args:
            model: The task.
            datamodule: The data.
            output: The picture to write.
            sample: Number of the sample in the first batch.

        Raises:
            SITSError: If the task has no views.
        """
        make_views = getattr(model, 'make_views', None)
        if make_views is None:
            raise SITSError(f'{type(model).__name__} has no views to draw: choose an SSL task')
        data: Any = datamodule
        data.prepare_data()
        data.setup('fit')
        batch = next(iter(data.train_dataloader()))
        batch = (data.train_aug or data.aug)(batch)
        sample %= len(batch['image'])
        figure = plot_views(batch, make_views(batch), sample=sample)
        with whole_file(output) as draft:
            figure.savefig(draft, dpi=150, bbox_inches='tight')
        print(f'Drew sample {sample} of the first batch to {output}')
