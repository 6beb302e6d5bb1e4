"""A data module of simulated labelled series, small enough for tests of tasks."""

from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from torchgeo_sits.collate import pad_time

DAY = 86_400


def sample(seed: int, *, size: int = 8, frames: int = 6, classes: int = 3) -> dict[str, Tensor]:
    """A series whose classes rise, fall or stay over time; 0 is not labelled."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.randint(1, classes + 1, (size, size), generator=generator)
    slope = (mask - (classes + 1) / 2)[None, None]
    steps = torch.linspace(-1, 1, frames)[:, None, None, None]
    noise = 0.1 * torch.randn(frames, 2, size, size, generator=generator)
    mask = mask.masked_fill(torch.rand(size, size, generator=generator) < 0.3, 0)
    times = 18_262 + torch.arange(frames) * 30 + torch.randint(0, 9, (frames,), generator=generator)
    return {
        'image': (steps * slope).expand(-1, 2, -1, -1) + noise,
        'acquisition_times': times * DAY,
        'valid': torch.ones(frames, dtype=torch.bool),
        'mask_clear': torch.rand(frames, size, size, generator=generator) > 0.1,
        'mask': mask,
        'label': torch.tensor(seed % 2),
    }


class LabelledData(LightningDataModule):
    """Labelled series with what tasks read from a data module."""

    bands = ('red', 'nir')
    in_channels = 2
    num_classes: int | None = 4
    class_names: list[str] | None = ['unlabelled', 'falls', 'stays', 'rises']
    unlabelled = 0

    def __init__(self, count: int = 8, change=lambda sample: sample, **kwargs: Any) -> None:
        super().__init__()
        self.bands = list(type(self).bands)
        self.card = {'bands': self.bands, 'mean': [0.0, 0.0], 'std': [1.0, 1.0]}
        self.samples = [change(sample(i, **kwargs)) for i in range(count)]
        self.val_samples = self.samples
        self.normalised = None

    def normalise_as(self, mean, std):
        self.normalised = (list(mean), list(std))

    def train_dataloader(self):
        return DataLoader(self.samples, batch_size=4, collate_fn=pad_time)

    def val_dataloader(self):
        return DataLoader(self.val_samples, batch_size=4, collate_fn=pad_time)

    test_dataloader = predict_dataloader = val_dataloader
