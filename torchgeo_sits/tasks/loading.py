"""Loading of the tasks with labels from their checkpoints."""

import warnings
from pathlib import Path
from typing import Final

import torch

from ..errors import SITSError
from ..models import EncoderCard, load_bare_encoder
from .change import SITSChangeDetection
from .change_date import SITSChangeDate
from .change_series import SITSChangeSeries
from .classification import SITSClassification
from .labelled import SITSLabelled
from .multilabel import SITSMultilabel
from .panoptic import SITSPanoptic
from .regression import SITSRegression
from .segmentation import SITSSegmentation

__all__ = ['load_task']

_TASKS: Final[dict[str, type[SITSLabelled]]] = {
    kind.__name__: kind
    for kind in (
        SITSSegmentation,
        SITSChangeDetection,
        SITSChangeSeries,
        SITSChangeDate,
        SITSClassification,
        SITSMultilabel,
        SITSPanoptic,
        SITSRegression,
    )
}


def load_task(path: str | Path) -> tuple[SITSLabelled, EncoderCard]:
    """Rebuild the task of a checkpoint, whichever of those with labels it is.

    Args:
        path: Path of the checkpoint.

    Returns:
        The task with its weights, on the CPU and in evaluation mode, and the card.

    Raises:
        FileNotFoundError: If there is no such file.
        SITSError: If the file is not a whole checkpoint of such a task.

    Examples:
        >>> import lightning, tempfile
        >>> from torch.utils.data import DataLoader
        >>> from torchgeo_sits.tasks import SITSSegmentation, load_task
        >>> task = SITSSegmentation(model='tempcnn', in_channels=3, num_classes=4)
        >>> trainer = lightning.Trainer(
        ...     accelerator='cpu', logger=False, max_epochs=0, enable_model_summary=False
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trainer.fit(task, DataLoader([0]))
        ...     trainer.save_checkpoint(f'{folder}/x.ckpt')
        ...     again, card = load_task(f'{folder}/x.ckpt')
        >>> type(again).__name__, card['in_channels']
        ('SITSSegmentation', 3)
    """
    _, card = load_bare_encoder(path)  # says what is wrong with a file that is none
    if not card['encoder']:
        raise SITSError(
            f'{path} holds an encoder alone, and no task with labels: train one from it '
            f'(--model.weights {path})'
        )
    content = torch.load(path, map_location='cpu', weights_only=True)
    # Before cards named it, the command line did.
    where = content.get('hyper_parameters', {}).get('_class_path', '')
    name = card.get('task', where.rpartition('.')[-1])
    if name not in _TASKS:
        raise SITSError(
            f'{path}: the checkpoint is of {name or "a task that it does not name"}, expected one '
            f'of {sorted(_TASKS)}: load it with load_from_checkpoint of its own class'
        )
    with warnings.catch_warnings():
        # A checkpoint cannot be told to leave `mode` out.
        warnings.filterwarnings('ignore', r'SITSChangeDetection\(mode=', FutureWarning)
        task = _TASKS[name].load_from_checkpoint(path, map_location='cpu', weights_only=True)
    return task.eval(), card
