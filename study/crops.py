"""Unlabelled samples: crops of series as our tasks take them, and as TorchGeo's do."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from torchgeo_sits.keys import ACQUISITION_TIMES, IMAGE, LENGTH, MASK_CLEAR, S1_KEYS, VALID

from .sites import Radar, Site, season_composite

#: Dates of a sample, at most.
DATES = 24


class _Crops(Dataset):
    """Squares around pixels that were seen, the same for equal seeds.

    Args:
        sites: Where to crop.
        size: Side of a square in pixels.
        number: Number of samples.
        seed: Seed of the draws.
    """

    def __init__(self, sites: list[Site], size: int, number: int, seed: int) -> None:
        self.sites, self.size, self.number, self.seed = sites, size, number, seed
        self.seen = [site.clear.any(0).nonzero() for site in sites]

    def __len__(self) -> int:
        return self.number

    def _draw_site(self, index: int, rng: np.random.Generator) -> int:
        """Number of the site of a sample, each in proportion to its pixels."""
        weights = np.array([len(seen) for seen in self.seen])
        return int(rng.choice(len(weights), p=weights / weights.sum()))

    def _square(self, index: int) -> tuple[int, slice, slice, np.random.Generator]:
        """Number of a site, rows and columns of a square in it, and a source of more draws."""
        rng = np.random.default_rng([self.seed, index])
        number = self._draw_site(index, rng)
        centre = self.seen[number][int(rng.integers(len(self.seen[number])))].tolist()
        sides = self.sites[number].clear.shape[1:]
        corner = [
            int(np.clip(c - rng.integers(self.size), 0, side - self.size))
            for c, side in zip(centre, sides, strict=True)
        ]
        rows, columns = (slice(c, c + self.size) for c in corner)
        return number, rows, columns, rng


class SeriesCrops(_Crops):
    """Samples of the batch contract, with ``DATES`` of the dates that show anything.

    Args:
        sites: Where to crop.
        size: Side of a square in pixels.
        number: Number of samples.
        seed: Seed of the draws.
        s1: Add as many dates of Sentinel-1, which all *sites* must have.
    """

    def __init__(
        self, sites: list[Site], size: int, number: int, seed: int, *, s1: bool = False
    ) -> None:
        super().__init__(sites, size, number, seed)
        self.s1 = s1

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        number, rows, columns, rng = self._square(index)
        site = self.sites[number]
        sample = _dates_of(site, rows, columns, rng)
        if self.s1:
            assert site.s1 is not None
            radar = _dates_of(site.s1, rows, columns, rng)
            sample |= {name: radar[key] for key, name in S1_KEYS.items()}
        return sample


def _dates_of(
    series: Site | Radar, rows: slice, columns: slice, rng: np.random.Generator
) -> dict[str, Tensor]:
    """A square of a series on ``DATES`` of the dates that show anything of it."""
    clear = series.clear[:, rows, columns]
    useful = clear.flatten(1).any(1).nonzero()[:, 0]
    kept = useful[torch.from_numpy(np.sort(rng.permutation(len(useful))[:DATES]))]
    missing = DATES - len(kept)
    image, clear, times = series.image[:, :, rows, columns][kept], clear[kept], series.times[kept]
    pad = (0, 0, 0, 0)
    return {
        IMAGE: torch.nn.functional.pad(image, (*pad, 0, 0, 0, missing)),
        MASK_CLEAR: torch.nn.functional.pad(clear, (*pad, 0, missing)),
        ACQUISITION_TIMES: torch.nn.functional.pad(times, (0, missing)),
        VALID: torch.arange(DATES) < len(kept),
        LENGTH: torch.tensor(len(kept)),
    }


class StackedCrops(_Crops):
    """Composites with the bins as channels: ``image`` ``(16 * C, size, size)``."""

    def __init__(self, sites: list[Site], size: int, number: int, seed: int) -> None:
        super().__init__(sites, size, number, seed)
        self.stacks = [season_composite(site).flatten(0, 1) for site in sites]

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        number, rows, columns, _ = self._square(index)
        return {'image': self.stacks[number][:, rows, columns]}


class FrameCrops(_Crops):
    """Frames of one place, half clear at least: ``image`` ``(frames * C, size, size)``.

    Args:
        sites: Where to crop.
        size: Side of a square in pixels.
        number: Number of samples.
        seed: Seed of the draws.
        frames: Frames of a sample, of different dates.
    """

    def __init__(
        self, sites: list[Site], size: int, number: int, seed: int, *, frames: int
    ) -> None:
        super().__init__(sites, size, number, seed)
        self.frames = frames

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        number, rows, columns, rng = self._square(index)
        site = self.sites[number]
        share = site.clear[:, rows, columns].flatten(1).float().mean(1)
        useful = (share >= share.max() / 2).nonzero()[:, 0].numpy()
        kept = torch.from_numpy(np.sort(rng.choice(useful, self.frames, len(useful) < self.frames)))
        return {'image': site.image[:, :, rows, columns][kept].flatten(0, 1)}
