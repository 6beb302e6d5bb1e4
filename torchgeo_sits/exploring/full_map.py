"""The map of the whole area by a probe, as Cloud-Optimised GeoTIFFs with a legend."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..datasets.headers import MAP_TAG
from ..errors import SITSError
from ..mapping import Certainty, ClassMap
from ..mapping.rasters import BLOCK, draft_raster, finish_raster
from ..sidecars import write_legend
from ..whole_files import whole_file
from .features import EmbeddedArea
from .probe import LinearProbe
from .session import MapClass

__all__ = ['MapStoppedError', 'class_map', 'draw_map']


class MapStoppedError(SITSError):
    """A map that is no longer wanted.

    Examples:
        >>> from torchgeo_sits.exploring.full_map import MapStoppedError
        >>> issubclass(MapStoppedError, ValueError)
        True
    """


def class_map(probe: LinearProbe, classes: Sequence[MapClass]) -> ClassMap:
    """Make the map that is drawn from the probabilities of a probe.

    A pixel holds the number of its class in the list, from 1.

    Args:
        probe: The probe.
        classes: All classes; those without a label are left out.

    Returns:
        The map.
    """
    own = [classes[number] for number in probe.classes]
    return ClassMap(
        'map', 'probabilities', [one.name for one in own],
        codes=[int(number) + 1 for number in probe.classes],
        colours=[one.colour for one in own],
    )  # fmt: skip


def draw_map(
    path: Path,
    area: EmbeddedArea,
    probe: LinearProbe,
    classes: Sequence[MapClass],
    *,
    tags: Mapping[str, str],
    progress: Callable[[int, int], None],
    is_stale: Callable[[], bool],
) -> dict[str, int]:
    """Map the whole area, block by block.

    Args:
        path: File of the classes; that of the certainty, ``certainty.tif``, goes beside it. Those
            of before are replaced when all are whole.
        area: The embeddings.
        probe: The probe.
        classes: All classes.
        tags: Tags of the files.
        progress: Called with the number of blocks that are done, and of all.
        is_stale: Asked before each block whether the map is no longer wanted.

    Returns:
        Number of pixels of each class.

    Raises:
        MapStoppedError: If it is not.
        OSError: If a file cannot be read or written.
    """
    outputs = class_map(probe, classes), Certainty('certainty', 'probabilities')
    total = -(-area.grid.height // BLOCK) * -(-area.grid.width // BLOCK)
    counts: NDArray[np.int64] = np.zeros(len(probe.classes), np.int64)
    with whole_file(path) as whole:
        finals = whole, whole.with_name('certainty.tif')
        rough = [final.with_name(f'rough_{final.name}') for final in finals]
        with ExitStack() as stack:
            files = [
                stack.enter_context(
                    draft_raster(
                        draft, output, area.grid, len(probe.classes), {**tags, MAP_TAG: 'explore'}
                    )
                )
                for draft, output in zip(rough, outputs, strict=True)
            ]
            for done, (window, features) in enumerate(area.blocks()):
                progress(done, total)
                if is_stale():
                    raise MapStoppedError('the labels changed: a new map is drawn')
                values = probe.probabilities(features)
                for output, file in zip(outputs, files, strict=True):
                    file.write(output.draw(values), window=window)
                chosen = outputs[0].choose(values)
                counts += np.bincount(chosen[chosen >= 0], minlength=len(counts))
        for draft, final, output in zip(rough, finals, outputs, strict=True):
            finish_raster(draft, final, output)
        write_legend(whole, outputs[0].legend())
    progress(total, total)
    return dict(zip(outputs[0].classes, counts.tolist(), strict=True))
