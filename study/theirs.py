"""TorchGeo's own pretraining tasks, as their users run them, and features of what they learn.

Series are given to them in two ways: as composites of 16 layers stacked to channels, and frame by
frame, the features of all frames pooled. SimCLR and MoCo see two frames of one place where frames
are single (their seasonal contrast).
"""

from typing import Any, Literal

import timm
import torch
from einops import rearrange
from timm.models import VisionTransformer, register_model
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchgeo.models import RCF
from torchgeo.tasks import BYOL, MAE, BaseTask, MoCo, SimCLR
from torchgeo.tasks.byol import BYOLModule

from .crops import FrameCrops, StackedCrops
from .sites import Site, season_composite

#: Side of a crop, and of a patch of the ViT, in pixels.
SIZE, PATCH = 16, 2
#: Heads as wide as ours.
HIDDEN, OUTPUT = 512, 128

Frames = Literal['stacked', 'single']
METHODS = ('SimCLR', 'MoCo', 'BYOL', 'MAE')
#: Those whose rates rise and fall by a schedule of epochs. BYOL's falls when ten epochs bring no
#: lower loss: were each step an epoch, noise would end its training.
SCHEDULED = ('SimCLR', 'MoCo', 'MAE')


class SmallBYOL(BYOL):
    """TorchGeo's BYOL on small images: size and heads are no arguments of it."""

    def configure_models(self) -> None:
        """As TorchGeo does, but for the size and the heads."""
        bands = self.hparams['in_channels']
        backbone = timm.create_model(self.hparams['model'], in_chans=bands, num_classes=0)
        self.model = BYOLModule(
            backbone,
            (SIZE, SIZE),
            in_channels=bands,
            hidden_size=HIDDEN,
            projection_size=OUTPUT,
        )


def vit_width(channels: int, parameters: int) -> int:
    """Width, a multiple of 4, at which a ViT of two blocks has about so many parameters."""
    sizes = {
        width: sum(p.numel() for p in _vit(channels, width).parameters())
        for width in range(16, 161, 4)
    }
    return min(sizes, key=lambda width: abs(sizes[width] - parameters))


def _vit(channels: int, width: int) -> VisionTransformer:
    return VisionTransformer(
        SIZE, PATCH, channels, num_classes=0, embed_dim=width, depth=2, num_heads=4
    )


def build(
    method: str, frames: Frames, bands: int, parameters: int, lr: float
) -> tuple[BaseTask, nn.Module]:
    """A task of TorchGeo, and the ViT in it that is trained.

    Args:
        method: One of ``METHODS``.
        frames: How series are given.
        bands: Bands of a frame.
        parameters: Parameters that the ViT is to have.
        lr: Learning rate.
    """
    channels = bands if frames == 'single' else 16 * bands
    width = vit_width(channels, parameters)

    def benchmark_vit(in_chans: int, num_classes: int, **kwargs: Any) -> VisionTransformer:
        return _vit(in_chans, width)

    # TorchGeo's tasks take nothing but a name.
    register_model(benchmark_vit)
    common: dict[str, Any] = {'model': 'benchmark_vit', 'in_channels': channels, 'lr': lr}
    widths = {'hidden_dim': HIDDEN, 'output_dim': OUTPUT}
    if method == 'SimCLR':
        task = SimCLR(**common, **widths, size=SIZE)
        return task, task.backbone
    if method == 'MoCo':
        task = MoCo(**common, **widths, size=SIZE)
        return task, task.backbone
    if method == 'BYOL':
        task = SmallBYOL(**common)
        return task, task.model.backbone.model
    task = MAE(**common, decoder_dim=128, decoder_num_heads=4, size=SIZE)
    return task, task.backbone.vit


def samples(
    method: str, frames: Frames, sites: list[Site], number: int, seed: int
) -> Dataset[dict[str, Tensor]]:
    """Unlabelled samples for a task."""
    if frames == 'stacked':
        return StackedCrops(sites, SIZE, number, seed)
    pair = 2 if method in ('SimCLR', 'MoCo') else 1
    return FrameCrops(sites, SIZE, number, seed, frames=pair)


@torch.no_grad()
def features(vit: VisionTransformer, frames: Frames, site: Site) -> dict[str, Tensor]:
    """Features ``(D, H, W)`` of each depth: embedded patches, and the tokens after all blocks.

    Those of single frames are the mean over the frames on which the pixel was clear.
    """
    vit.eval()
    if frames == 'stacked':
        return _tiled(vit, season_composite(site).flatten(0, 1))
    totals: dict[str, Tensor] = {}
    for image, clear in zip(site.image, site.clear, strict=True):
        for depth, found in _tiled(vit, image).items():
            totals[depth] = totals.get(depth, 0) + found * clear
    number = site.clear.sum(0).clamp(min=1)
    return {depth: total / number for depth, total in totals.items()}


def _tiled(vit: VisionTransformer, image: Tensor) -> dict[str, Tensor]:
    """Features of an image ``(C, H, W)``, tile by tile, each patch's given to its pixels."""
    high, wide = image.shape[1:]
    padded = nn.functional.pad(image, (0, -wide % SIZE, 0, -high % SIZE))
    rows = padded.shape[1] // SIZE
    tiles = rearrange(padded, 'c (i h) (j w) -> (i j) c h w', h=SIZE, w=SIZE)
    # Tiles of nothing but zeros show nothing: their features are of no use, and left at 0.
    shown = tiles.flatten(1).any(1)
    patches = vit.patch_embed(tiles[shown])
    tokens = vit.forward_features(tiles[shown])[:, vit.num_prefix_tokens :]
    found = {}
    side = SIZE // PATCH
    for depth, values in (('early', patches), ('late', tokens)):
        whole = values.new_zeros(len(tiles), *values.shape[1:])
        whole[shown] = values
        grid = rearrange(whole, '(i j) (h w) d -> d (i h) (j w)', i=rows, h=side, w=side)
        grid = grid.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)
        found[depth] = grid[:, :high, :wide]
    return found


def random_features(site: Site, seed: int, number: int = 128, window: int = 5) -> Tensor:
    """TorchGeo's random convolutional features of the window around each pixel ``(D, H, W)``."""
    stack = season_composite(site).flatten(0, 1)[None]
    rcf = RCF(stack.shape[1], features=number, kernel_size=3, seed=seed + 1)
    reach = window // 2
    padded = nn.functional.pad(stack, (reach,) * 4, mode='replicate')
    rows = []
    for row in range(stack.shape[-2]):
        windows = padded[..., row : row + window, :].unfold(-1, window, 1)
        rows.append(rcf(rearrange(windows, '1 c h w v -> w c h v')).T)
    return torch.stack(rows, 1)
