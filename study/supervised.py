"""Training with labels: encoders from scratch, and pretrained ones fine-tuned."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchgeo.models import ConvLSTM

from torchgeo_sits.keys import Series
from torchgeo_sits.models import SITSEncoder, build_encoder

from . import ours
from .crops import DATES
from .probes import Pixels
from .sites import Site

STEPS, BATCH, SIZE = 100, 6, 12
LR = 1e-3


class LastState(nn.Module):
    """TorchGeo's ConvLSTM, of about as many parameters as our encoder: its state at the end."""

    def __init__(self, bands: int, dim: int = 64) -> None:
        super().__init__()
        self.dim = dim
        self.lstm = ConvLSTM(bands, dim)

    def feature_dim(self, depth: str) -> int:
        """Channels of the state, at whatever depth."""
        return self.dim

    def features(self, series: Series, *, depth: str) -> Tensor:
        """Features ``(B, D, H, W)`` of a series without padding; of dates it knows the order."""
        (layer,), _ = self.lstm.forward_features(series.image)
        return layer[:, -1]


def untrained(name: str, bands: int) -> nn.Module:
    """Build an encoder by its name, with random weights."""
    if name == 'planar_vit':
        return ours.encoder(bands)
    if name == 'TorchGeo ConvLSTM':
        return LastState(bands)
    return build_encoder(name, bands)


class Classifier(nn.Module):
    """An encoder with a linear layer on its joined dense features."""

    def __init__(self, encoder: SITSEncoder | LastState, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.norm = nn.BatchNorm2d(encoder.feature_dim('joined'))
        self.head = nn.Conv2d(encoder.feature_dim('joined'), classes, 1)

    def forward(self, image: Tensor, times: Tensor, clear: Tensor) -> Tensor:
        """Scores ``(B, K, H, W)`` of a series ``(B, T, C, H, W)`` without padding."""
        valid = torch.ones_like(times, dtype=torch.bool)
        found = self.encoder.features(Series(image, times, valid, clear), depth='joined')
        found = nn.functional.interpolate(found, image.shape[-2:])
        return self.head(self.norm(found))


def train(
    encoder: SITSEncoder | LastState,
    site: Site,
    pixels: Pixels,
    labelled: NDArray[np.bool_],
    *,
    seed: int,
) -> Classifier:
    """Train on squares around labelled pixels, of which no others count.

    Args:
        encoder: The encoder, trained in place.
        site: The site.
        pixels: Its pixels.
        labelled: ``(P,)``, which of them have a label.
        seed: Seed of the head and of the draws.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    kinds = np.unique(pixels.classes)
    high, wide = site.clear.shape[1:]
    target = torch.full((high * wide,), -1)
    target[pixels.index[labelled]] = torch.from_numpy(
        np.searchsorted(kinds, pixels.classes[labelled])
    )
    target = target.view(high, wide)
    model = Classifier(encoder, len(kinds)).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LR, total_steps=STEPS, pct_start=0.2)
    # Classes take turns, so that large ones do not take all squares.
    pools = [pixels.index[labelled & (pixels.classes == kind)] for kind in kinds]
    for _ in range(STEPS):
        squares = []
        for kind in rng.permutation(len(kinds))[np.arange(BATCH) % len(kinds)]:
            row, column = divmod(int(rng.choice(pools[kind])), wide)
            top, left = (
                int(np.clip(at - rng.integers(SIZE), 0, side - SIZE))
                for at, side in ((row, high), (column, wide))
            )
            squares.append((slice(top, top + SIZE), slice(left, left + SIZE)))
        # One draw of dates for the batch, so that none is padded.
        dates = torch.from_numpy(np.sort(rng.permutation(len(site.times))[:DATES]))
        image = torch.stack([site.image[:, :, r, c][dates] for r, c in squares])
        clear = torch.stack([site.clear[:, r, c][dates] for r, c in squares])
        wanted = torch.stack([target[r, c] for r, c in squares])
        if getattr(encoder, 'independent_pixels', False):
            clear = clear & (wanted >= 0)[:, None]  # others cost as much, and teach nothing
        scores = model(image, site.times[dates].expand(BATCH, -1), clear)
        loss = nn.functional.cross_entropy(scores, wanted, ignore_index=-1)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        optimiser.step()
        schedule.step()
    return model


@torch.no_grad()
def predict(model: Classifier, site: Site, pixels: Pixels) -> NDArray[np.int64]:
    """Classes ``(P,)`` of the pixels of a site, by a model that knows them."""
    model.eval()
    high, wide = site.clear.shape[1:]
    found = torch.zeros(high, wide, dtype=torch.int64)
    wanted = torch.zeros(high * wide, dtype=torch.bool)
    wanted[pixels.index] = True
    wanted = wanted.view(high, wide)
    for top in range(0, high, ours.TILE):
        for left in range(0, wide, ours.TILE):
            rows, columns = slice(top, top + ours.TILE), slice(left, left + ours.TILE)
            if not wanted[rows, columns].any():
                continue
            clear = site.clear[:, rows, columns]
            seen = clear.flatten(1).any(1)
            image, times = site.image[:, :, rows, columns][seen], site.times[seen]
            scores = model(image[None], times[None], clear[seen][None])
            found[rows, columns] = scores[0].argmax(0)
    kinds = np.unique(pixels.classes)
    return np.asarray(kinds[found.flatten()[pixels.index].numpy()])
