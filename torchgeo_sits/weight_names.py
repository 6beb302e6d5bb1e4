"""Names of published weights, known before anything heavy is imported."""

from pathlib import Path
from typing import Final

__all__ = ['PUBLISHED_NAMES', 'find_published']

#: Names of published weights; :data:`torchgeo_sits.models.PUBLISHED` says what they are.
PUBLISHED_NAMES: Final = ('presto', 'galileo_nano', 'tessera')


def find_published(weights: str | Path | None) -> tuple[str, str | None] | None:
    """Tell whether weights are published ones, by name.

    Args:
        weights: ``NAME``, or ``NAME:FILE`` for a file of them that is at hand; or anything else.

    Returns:
        One of :data:`PUBLISHED_NAMES`, and the file or None; None where it is something else, as
        the path of a file that has such a name.

    Examples:
        >>> from torchgeo_sits.weight_names import find_published
        >>> find_published('presto'), find_published('presto:weights/x.safetensors')
        (('presto', None), ('presto', 'weights/x.safetensors'))
        >>> find_published('logs/presto.ckpt') is None
        True
    """
    name, _, file = str(weights or '').partition(':')
    if name not in PUBLISHED_NAMES or Path(str(weights)).is_file():
        return None
    return name, file or None
