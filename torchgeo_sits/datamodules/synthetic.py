"""Data module of the simulated series: something to run on before own data is at hand."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from ..datasets import write_synthetic_series
from ..datasets.simulation import CLASSES, EVENTS
from ..datasets.synthetic import VERSION, SyntheticSeries
from .timeseries import SITSDataModule

__all__ = ['SyntheticSITSDataModule']


class SyntheticSITSDataModule(SITSDataModule):
    """Farmland simulated at first use and read like any folder of rasters.

    See :func:`~torchgeo_sits.datasets.write_synthetic_series` for what is simulated: ten
    Sentinel-2-like bands with clouds and shadows on irregular dates, and labels of class,
    parcel and change.
    """

    def __init__(
        self,
        root: str = 'data/synthetic',
        size: int = 160,
        num_dates_written: int = 40,
        difficulty: float = 1.0,
        data_seed: int = 0,
        patch_size: int = 32,
        batch_size: int = 16,
        num_workers: int = 0,
        length: int | None = None,
        num_dates: int | None = None,
        labels: Literal['class', 'change', 'change_date'] = 'class',
        supervised: bool = False,
        target: Literal['pixel', 'field'] = 'pixel',
        fields_per_class: int | None = None,
        label_fraction: float | None = None,
        split: Literal['space', 'time', 'fields'] = 'space',
        val_fraction: float = 0.25,
        test_fraction: float = 0.0,
        seed: int = 0,
    ) -> None:
        """Initialize a new SyntheticSITSDataModule instance.

        Args:
            root: Folder of the simulated series; each set of the arguments has a folder of
                its own in it.
            size: Height and width of the area, in pixels.
            num_dates_written: Number of dates to simulate.
            difficulty: Factor on the spread within classes and on the noise.
            data_seed: Seed of the simulation.
            patch_size: Height and width of a patch, in pixels.
            batch_size: Number of patches in a batch.
            num_workers: Number of worker processes that read.
            length: Number of training patches in an epoch.
            num_dates: Number of dates of a training sample. None reads all.
            labels: What is labelled: the class of the harvest, 0 where there is none; the
                event that changes the land, 0 for none; or its day since 1970-01-01, 0 for
                none. Of changes 255, and of their days -1, is not labelled.
            supervised: Train on labelled places only, and give their masks. As with any of
                the options on fields, parcels are then not divided between splits.
            target: Labels of pixels, or one sample per parcel with the class of it.
            fields_per_class: Number of parcels of each class that are labelled for training.
            label_fraction: Share of the parcels of each class that are labelled for training.
            split: Hold out places, dates, or whole parcels for validation and test.
            val_fraction: Share of the area (of the dates, of the parcels) for validation.
            test_fraction: Share of the area (of the dates, of the parcels) for test.
            seed: Seed of the splits and of the positions of the patches.
        """
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
        self.labels = labels
        unlabelled = {'class': 0, 'change': 255, 'change_date': -1}[labels]
        classes = {
            'class': dict(enumerate(CLASSES, start=1)),
            'change': dict(enumerate(('none', *EVENTS))),
            'change_date': None,
        }[labels]
        few = fields_per_class is not None or label_fraction is not None
        whole = supervised or few or split == 'fields' or target == 'field'
        super().__init__(
            paths=str(files.images),
            mask_paths=str(getattr(files, 'classes' if labels == 'class' else labels)),
            cloud_paths=str(files.clouds),
            clear_values=[4, 5, 6],
            patch_size=patch_size,
            batch_size=batch_size,
            num_workers=num_workers,
            length=length,
            num_dates=num_dates,
            supervised=supervised,
            target=target,
            classes=classes,
            unlabelled=unlabelled,
            field_paths=str(files.parcels) if whole else None,
            fields_per_class=fields_per_class,
            label_fraction=label_fraction,
            split=split,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            seed=seed,
        )

    @property
    def num_classes(self) -> int | None:
        """Number of values of the mask, counting 0; None for days, which are no classes."""
        return None if self.labels == 'change_date' else super().num_classes

    def prepare_data(self) -> None:
        """Simulate, unless that was done before."""
        write_synthetic_series(self._folder, **self._simulation)
