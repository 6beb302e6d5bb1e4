"""A series and its labels, split alike, and where the patches of a split may lie."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from shapely.geometry.base import BaseGeometry
from torchgeo.datasets import GeoDataset

from ..datasets import TimeSeries
from ..samplers.footprints import join_footprints
from .dated_labels import DatedLabels, MapsToFrames
from .labels import Labels
from .splits import split_space, split_time

__all__ = ['Parts', 'split_parts']


class Parts(NamedTuple):
    """The splits, each as a data set of its own."""

    series: TimeSeries
    train: GeoDataset
    #: Series and labels joined; None without labels.
    labelled: GeoDataset | None = None
    #: None where nothing is labelled or held out, as are the two that follow.
    labelled_train: GeoDataset | None = None
    labelled_val: GeoDataset | None = None
    labelled_test: GeoDataset | None = None
    by: Literal['space', 'time'] = 'space'
    labels: Labels | None = None

    def places(self, part: GeoDataset) -> tuple[GeoDataset, BaseGeometry | None]:
        """Where to place patches of a split.

        Files hold pixels on both sides of a border, so that the footprints of a split alone
        do not tell a patch that reaches into another split from one that reaches beyond the
        data. Held against all of the data they do.

        Args:
            part: One of these splits.

        Returns:
            The data set that *part* was cut from, and the region of interest in it.
        """
        if self.by == 'time':
            return part, None
        whole: GeoDataset | None = self.series
        if part is not self.series and part is not self.train:
            whole = self.labelled
        assert whole is not None  # there is no such part without labels
        return whole, join_footprints(part)


def split_parts(
    series: TimeSeries,
    labels: Labels | None,
    *,
    by: Literal['space', 'time'],
    fractions: Sequence[float],
    patch: int,
    seed: int,
) -> Parts:
    """Join series and labels, and split both alike.

    Args:
        series: The images.
        labels: The labels. Without any nothing can be validated: all is for training.
        by: What is held out: blocks of the labelled area, or the last dates.
        fractions: Shares of training, validation and test, summing to 1.
        patch: Side of the smallest block, in pixels.
        seed: Seed of the assignment of blocks.

    Returns:
        The splits.

    Raises:
        ValueError: If there are too few blocks or dates to hold out.
    """
    if labels is None:
        return Parts(series, series)
    labelled = series & labels
    if isinstance(labels, DatedLabels):
        labelled.transforms = MapsToFrames(labels.starts, labels.values.unlabelled)
    if by == 'space':
        # Blocks are drawn over the labelled area, so that each split has labels.
        parts = split_space((series, labelled), fractions, block=(patch, patch), seed=seed)
    else:
        parts = split_time((series, labelled), fractions)
    train = parts[0][0]
    assert train is not None  # the first fraction is above 0
    labelled_train, labelled_val, labelled_test = parts[1]
    return Parts(series, train, labelled, labelled_train, labelled_val, labelled_test, by, labels)
