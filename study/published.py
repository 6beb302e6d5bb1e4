"""Published models, whose frozen features are probed as those of the other contenders are."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchgeo_sits.keys import Series
from torchgeo_sits.models import SITSEncoder, load_published, statistics_in_units
from torchgeo_sits.models.monthly import STATISTICS
from torchgeo_sits.models.quantities import quantity

from .ours import TILE
from .probes import labelled_pixels
from .sites import Site


def build(name: str, pool: str, bands: tuple[str, ...], weights: Path) -> SITSEncoder:
    """A published encoder for the bands of a site.

    Args:
        name: Name of the weights.
        pool: How tokens are pooled, 'mean' or 'months'.
        bands: Names of the bands.
        weights: Folder with ``NAME.safetensors``.
    """
    return load_published(f'{name}:{weights / name}.safetensors', bands=bands, pool=pool)


def in_units(site: Site) -> Site:
    """The site as published weights expect it: normalised by the statistics of theirs."""
    assert site.scale is not None
    mean, std = (values[:, None, None] for values in site.scale)
    known = [STATISTICS[str(quantity(band))] for band in site.bands]
    wanted = statistics_in_units(site.bands, site.scale[0].tolist(), *zip(*known, strict=True))
    shift, scale = (torch.tensor(values)[:, None, None] for values in wanted[:2])
    image = (site.image * std + mean - shift) / scale
    return replace(site, image=torch.where(site.clear[:, None], image, 0.0))


@torch.no_grad()
def features(encoder: SITSEncoder, site: Site) -> tuple[dict[str, Tensor], float]:
    """Features of the labelled pixels alone, for published models look at no other pixel.

    Args:
        encoder: The encoder.
        site: The site, as the study normalises it.

    Returns:
        Features ``(D, H, W)``, 0 elsewhere, as those after all blocks (late); and the number of
        pixels that were encoded in a second of one CPU.
    """
    encoder.eval()
    site = in_units(site)
    high, wide = site.clear.shape[1:]
    wanted = torch.zeros(high * wide, dtype=torch.bool)
    wanted[labelled_pixels(site).index] = True
    wanted = wanted.view(high, wide)
    found = torch.zeros(encoder.feature_dim('late'), high, wide)
    valid = torch.ones(1, len(site.times), dtype=torch.bool)
    start = time.process_time()
    for top in range(0, high, TILE):
        for left in range(0, wide, TILE):
            at = slice(top, top + TILE), slice(left, left + TILE)
            if wanted[at].any():
                image, clear = site.image[:, :, *at][None], (site.clear[:, *at] & wanted[at])[None]
                series = Series(image, site.times[None], valid, clear)
                found[:, *at] = encoder.features(series, depth='late')[0]
    return {'late': found}, int(wanted.sum()) / (time.process_time() - start)


class Published:
    """Features of sites by a published model, and what they cost.

    Args:
        encoder: The encoder.
    """

    def __init__(self, encoder: SITSEncoder) -> None:
        self.encoder = encoder
        #: Facts for the record; the cost is that of the first site, with all of its dates.
        self.info: dict[str, Any] = {'parameters': sum(p.numel() for p in encoder.parameters())}

    def __call__(self, site: Site) -> dict[str, Tensor]:
        """Features ``(D, H, W)`` by depth."""
        found, speed = features(self.encoder, site)
        self.info.setdefault('pixels_per_cpu_second', round(speed, 1))
        return found
