"""Data module of the simulated series: something to run on before own data is at hand."""

import hashlib
import json
from pathlib import Path
from typing import Any

from ..datasets import write_synthetic_series
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
        supervised: bool = False,
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
            supervised: Train on labelled places only, and give their masks.
            val_fraction: Share of the area for validation.
            test_fraction: Share of the area for test.
            seed: Seed of the splits and of the positions of the patches.
        """
        self._simulation: dict[str, Any] = {
            'size': (size, size),
            'num_dates': num_dates_written,
            'difficulty': difficulty,
            'seed': data_seed,
        }
        digest = hashlib.sha256(json.dumps(self._simulation, sort_keys=True).encode())
        folder = Path(root) / digest.hexdigest()[:12]
        self._folder = folder
        super().__init__(
            paths=str(folder / 'images'),
            mask_paths=str(folder / 'labels' / 'synthetic_class.tif'),
            cloud_paths=str(folder / 'clouds'),
            clear_values=[4, 5, 6],
            patch_size=patch_size,
            batch_size=batch_size,
            num_workers=num_workers,
            length=length,
            num_dates=num_dates,
            supervised=supervised,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            seed=seed,
        )

    def prepare_data(self) -> None:
        """Simulate, unless that was done before."""
        write_synthetic_series(self._folder, **self._simulation)
