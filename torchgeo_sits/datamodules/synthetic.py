"""Data module of the simulated series: something to run on before own data is at hand."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..datasets import write_synthetic_series
from ..datasets.simulation import CLASSES, EVENTS
from ..datasets.synthetic import VERSION, SyntheticSeries
from ..errors import SITSError
from ..renamed import SITS_OPTIONS, take_old_names
from .options import ImageOptions, LabelOptions, PatchOptions, SplitOptions
from .sits import SITSDataModule

__all__ = ['SyntheticSITSDataModule']

#: What can be labelled, and the value of what is not.
_UNLABELLED = {'class': 0, 'change': 255, 'change_date': -1}


class SyntheticSITSDataModule(SITSDataModule):
    """Farmland simulated at first use and read like any folder of rasters.

    See :func:`~torchgeo_sits.datasets.write_synthetic_series` for what is simulated: ten
    Sentinel-2-like bands with clouds and shadows on irregular dates, and labels of class,
    parcel and change.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> from torchgeo_sits.datamodules import LabelOptions, PatchOptions
        >>> from torchgeo_sits.datamodules import SyntheticSITSDataModule
        >>> with TemporaryDirectory() as folder:
        ...     data = SyntheticSITSDataModule(
        ...         folder, size=64, num_dates_written=4, labels=LabelOptions(supervised=True),
        ...         patches=PatchOptions(16), batch_size=2,
        ...     )
        ...     data.prepare_data()
        ...     data.setup('fit')
        ...     batch = next(iter(data.train_dataloader()))
        >>> batch['image'].shape, batch['mask'].shape
        (torch.Size([2, 4, 10, 16, 16]), torch.Size([2, 16, 16]))
    """

    @take_old_names(SITS_OPTIONS, labels=LabelOptions, split=SplitOptions, patches=PatchOptions)
    def __init__(
        self,
        root: str = 'data/synthetic',
        *,
        size: int = 160,
        num_dates_written: int = 40,
        difficulty: float = 1.0,
        data_seed: int = 0,
        labels: LabelOptions = LabelOptions(),
        split: SplitOptions = SplitOptions(),
        **kwargs: Any,
    ) -> None:
        """Initialize a new SyntheticSITSDataModule instance.

        Args:
            root: Folder of the simulated series; each set of the arguments has a folder of
                its own in it.
            size: Height and width of the area, in pixels.
            num_dates_written: Number of dates to simulate.
            difficulty: Factor on the spread within classes and on the noise.
            data_seed: Seed of the simulation.
            labels: Labels to validate by, or to train on. Their paths are one of ``class``, the
                class of the harvest, 0 where there is none; ``change``, the event that changes
                the land, 0 for none; or ``change_date``, its day since 1970-01-01, 0 for none.
                Of changes 255, and of their days -1, is not labelled. With ``supervised`` or any
                option on fields parcels are not divided between splits. Other options on the
                rasters are refused.
            split: Data to hold out for validation and test; fields are parcels.
            **kwargs: As for :class:`SITSDataModule`, but for paths and images.

        Raises:
            SITSError: If an option is out of its range or does not go with another.
        """
        labels.take_only(
            {'paths', 'supervised', 'target', 'fields_per_class', 'fraction', 'min_field_pixels'},
            'the simulation brings labels of its own',
        )
        self._labelled = labels.paths or 'class'
        if self._labelled not in _UNLABELLED:
            raise SITSError(
                f'unknown labels.paths {labels.paths!r} of a simulated series: expected one of '
                f'{tuple(_UNLABELLED)}'
            )
        self._simulation: dict[str, Any] = {
            'size': (size, size),
            'num_dates': num_dates_written,
            'difficulty': difficulty,
            'seed': data_seed,
        }
        # A set of another version has another folder.
        named = self._simulation | {'version': VERSION}
        digest = hashlib.sha256(json.dumps(named, sort_keys=True).encode())
        self._folder = Path(root) / digest.hexdigest()[:12]
        files = SyntheticSeries(self._folder)
        classes = {
            'class': dict(enumerate(CLASSES, start=1)),
            'change': dict(enumerate(('none', *EVENTS))),
            'change_date': None,
        }
        whole = labels.supervised or labels.about_fields or split.by == 'fields'
        super().__init__(
            paths=str(files.images),
            images=ImageOptions(cloud_paths=str(files.clouds), clear_values=[4, 5, 6]),
            labels=replace(
                labels,
                paths=str(
                    getattr(files, 'classes' if self._labelled == 'class' else self._labelled)
                ),
                classes=classes[self._labelled],
                unlabelled=_UNLABELLED[self._labelled],
                field_paths=str(files.parcels) if whole else None,
            ),
            split=split,
            **kwargs,
        )
        # The parcels come with the simulation, not because somebody asked for fields.
        self._usual_split = 'fields' if labels.about_fields else 'space'

    @property
    def num_classes(self) -> int | None:
        """Number of values of the mask, counting 0; None for days, which are no classes."""
        return None if self._labelled == 'change_date' else super().num_classes

    def prepare_data(self) -> None:
        """Simulate, unless that was done before."""
        write_synthetic_series(self._folder, **self._simulation)
