"""This project's encoders: pretrained by its tasks, and their dense features."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

import torchgeo_sits.tasks
from torchgeo_sits.models import Series, SITSEncoder, build_encoder
from torchgeo_sits.tasks.pretraining import SITSPretraining

from .crops import SeriesCrops
from .sites import Site

#: Side of a crop in pixels.
SIZE = 24
#: Tile of which features are computed at once, in pixels.
TILE = 64

MODEL = 'planar_vit_tiny'
#: A smaller PlanarViT than by default, so that two cores train hundreds of them.
ENCODER = {'embed_dim': 64, 'depth': 2, 'time_dim': 48}


def encoder(bands: int) -> SITSEncoder:
    """An encoder as it is before any training."""
    return build_encoder(MODEL, bands, **ENCODER)


def build(method: str, bands: int, options: dict[str, Any]) -> SITSPretraining:
    """A task of this project.

    Args:
        method: Name of a task, without 'SITS'.
        bands: Number of bands.
        options: Its arguments.
    """
    task: SITSPretraining = getattr(torchgeo_sits.tasks, f'SITS{method}')(
        model=MODEL, in_channels=bands, model_kwargs=ENCODER, **options
    )
    return task


def samples(sites: list[Site], number: int, seed: int) -> Dataset[dict[str, Tensor]]:
    """Unlabelled samples for a task."""
    return SeriesCrops(sites, SIZE, number, seed)


@torch.no_grad()
def features(model: SITSEncoder, site: Site) -> dict[str, Tensor]:
    """Features ``(D, H, W)`` before the path layers (early) and after them (late)."""
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
            found[:, rows, columns] = model.features(
                Series(image[None], times[None], valid, clear[seen][None]), depth='joined'
            )[0]
    return {'early': found[:early], 'late': found[early:]}
