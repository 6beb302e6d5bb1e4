"""Names of the classes of a task."""

from lightning.pytorch import LightningModule

__all__ = ['class_names']


def class_names(task: LightningModule) -> list[str]:
    """Names of the classes, from 0, as the task or its checkpoint knows them.

    Args:
        task: A task with the hyperparameters ``labels`` and ``num_classes``.

    Returns:
        The names; ``class i`` where there are none.
    """
    number = 2 if task.hparams['task'] == 'binary' else task.hparams['num_classes']
    names = task.hparams['labels']
    if names is None or len(names) != number:
        return [f'class {i}' for i in range(number)]
    return [str(name) for name in names]
