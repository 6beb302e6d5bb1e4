"""This project's encoders: pretrained by its tasks, and their dense features."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

import torchgeo_sits.tasks
from torchgeo_sits.models import Series, SITSEncoder, build_encoder
from torchgeo_sits.tasks.pretraining import SITSPretraining

from .contenders import FIRST, Architecture
from .crops import SeriesCrops
from .sites import Site

#: Side of a crop in pixels.
SIZE = 24
#: Tile of which features are computed at once, in pixels.
TILE = 64


def encoder(bands: int, architecture: Architecture = FIRST) -> SITSEncoder:
    """An encoder as it is before any training."""
    return build_encoder(architecture.model, bands, **architecture.arguments)


def build(
    method: str, bands: int, options: dict[str, Any], architecture: Architecture = FIRST
) -> SITSPretraining:
    """A task of this project.

    Args:
        method: Name of a task, without 'SITS'.
        bands: Number of bands.
        options: Its arguments.
        architecture: The encoder that it trains.
    """
    task: SITSPretraining = getattr(torchgeo_sits.tasks, f'SITS{method}')(
        model=architecture.model,
        in_channels=bands,
        model_kwargs=dict(architecture.arguments),
        **options,
    )
    return task


def samples(
    sites: list[Site], number: int, seed: int, *, s1: bool = False
) -> Dataset[dict[str, Tensor]]:
    """Unlabelled samples for a task, with Sentinel-1 if it asks for it."""
    return SeriesCrops(sites, SIZE, number, seed, s1=s1)


@torch.no_grad()
def features(model: SITSEncoder, site: Site) -> dict[str, Tensor]:
    """Features ``(D, H, W)`` before spatial context (early) and after it (late).

    A pixel has the features of the cell that it lies in.
    """
    model.eval()
    high, wide = site.clear.shape[1:]
    early = model.feature_dim('early')
    found = torch.zeros(model.feature_dim('joined'), high, wide)
    for top in range(0, high, TILE):
        for left in range(0, wide, TILE):
            rows, columns = slice(top, top + TILE), slice(left, left + TILE)
            clear = site.clear[:, rows, columns]
            seen = clear.flatten(1).any(1)
            if not seen.any():
                continue
            image, times = site.image[:, :, rows, columns][seen], site.times[seen]
            valid = torch.ones(1, len(times), dtype=torch.bool)
            cells = model.features(
                Series(image[None], times[None], valid, clear[seen][None]), depth='joined'
            )[0]
            pixels = cells.repeat_interleave(model.stride, 1).repeat_interleave(model.stride, 2)
            found[:, rows, columns] = pixels[:, : clear.shape[1], : clear.shape[2]]
    return {'early': found[:early], 'late': found[early:]}
