"""What every encoder promises, held by one test for all of them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from torchgeo_sits.keys import Series
from torchgeo_sits.models import (
    LTAE,
    UTAE,
    ConvLSTM,
    DeepSTaR,
    FactorisedEncoder,
    Galileo,
    PlanarViT,
    Presto,
    SITSEncoder,
    TempCNN,
    TSViT,
    UNet3D,
    check_encoder,
    planar_vit_small,
    planar_vit_tiny,
    planar_vit_v2_tiny,
)
from torchgeo_sits.models.encoder import image_as_planes

C = 4


class MeanEncoder(SITSEncoder):
    """Smallest honest encoder: it holds the default methods of the base class to the promises."""

    def __init__(self, in_channels: int = C) -> None:
        super().__init__(in_channels=in_channels, embed_dim=6, early_dim=5, stride=2)
        self.config = {'in_channels': in_channels}
        self.early = torch.nn.Conv2d(in_channels, 5, 2, stride=2)
        self.late = torch.nn.Conv2d(5, 6, 1)

    def _frames(self, series):
        seen = torch.where(series.clear[:, :, None], series.image, 0)
        h, w = seen.shape[-2:]
        seen = torch.nn.functional.pad(seen, (0, w % 2, 0, h % 2))
        return self.early(seen.flatten(0, 1)).unflatten(0, seen.shape[:2])

    def forward_features(self, series, depth):
        valid = series.valid[:, :, None, None, None]
        early = (self._frames(series) * valid).sum(1) / valid.sum(1).clamp(min=1)
        late = self.late(early)
        return {'early': early, 'late': late, 'joined': torch.cat([early, late], 1)}[depth]

    def forward_frames(self, series):
        x = self._frames(series)
        return self.late(x.flatten(0, 1)).unflatten(0, x.shape[:2])


SMALL_UTAE = {
    'encoder_widths': (8, 8, 16),
    'decoder_widths': (8, 8, 16),
    'num_heads': 4,
    'dim': 16,
    'groups': 2,
}

SMALL_MONTHLY = {
    'bands': ['B04', 'B08', 'elevation', 'slope'],
    'dim': 16,
    'depth': 1,
    'num_heads': 2,
}


def _moved(encoder: SITSEncoder) -> SITSEncoder:
    """Move weights that begin at 0, as training does."""
    with torch.no_grad():
        for weight in encoder.parameters():
            weight += 0.05 * torch.randn_like(weight)
    return encoder


ENCODERS: dict[str, Callable[[], SITSEncoder]] = {
    'mean': MeanEncoder,
    'tiny': lambda: planar_vit_tiny(C),
    'small': lambda: planar_vit_small(C, depth=2),
    'second version': lambda: planar_vit_v2_tiny(C),
    'second version, neighbours': lambda: _moved(planar_vit_v2_tiny(C, reach=2)),
    'segments': lambda: planar_vit_tiny(C, segment=3),
    'time blocks': lambda: planar_vit_tiny(C, time_depth=1, segment=2),
    'small chunks': lambda: planar_vit_tiny(C, chunk_size=17),
    'undated': lambda: planar_vit_tiny(C, harmonics=0, octaves=0),
    'tsvit': lambda: TSViT(C, num_tokens=3, dim=16, temporal_depth=2, spatial_depth=1),
    'tsvit in chunks': lambda: TSViT(C, num_tokens=3, dim=16, chunk_size=20),
    'factorised': lambda: FactorisedEncoder(C),
    'factorised in chunks': lambda: FactorisedEncoder(C, dim=16, patch_size=1, chunk_size=40),
    'factorised with s1': lambda: FactorisedEncoder(C, s1_channels=2, patch_size=2),
    'unet3d': lambda: UNet3D(C, width=2),
    'convlstm': lambda: ConvLSTM(C, hidden_dim=6),
    'ltae': lambda: LTAE(C),
    'ltae in chunks': lambda: LTAE(C, chunk_size=40),
    'utae': lambda: UTAE(C, **SMALL_UTAE),
    'utae as published': lambda: UTAE(C),
    'tempcnn': lambda: TempCNN(C, num_dates=9),
    'tempcnn in chunks': lambda: TempCNN(C, num_dates=1, chunk_size=10),
    'deep_star': lambda: DeepSTaR(C),
    'deep_star in chunks': lambda: DeepSTaR(
        C, backbone='test_convnext', num_steps=8, max_stride=4, chunk_size=100
    ),
    'presto': lambda: Presto(C, **SMALL_MONTHLY),
    'presto by months': lambda: Presto(C, **SMALL_MONTHLY, pool='months', chunk_size=4000),
    'galileo with s1': lambda: Galileo(C, **SMALL_MONTHLY, s1_channels=2),
}


@pytest.fixture(params=list(ENCODERS))
def encoder(request) -> SITSEncoder:
    torch.manual_seed(0)
    return ENCODERS[request.param]().eval()


@pytest.mark.timeout(600)
def test_every_encoder_keeps_its_promises(encoder):
    check_encoder(encoder)


def series(b=2, t=5, h=5, w=6) -> Series:
    """Random series; one pixel is never clear, and what is not clear is NaN."""
    g = torch.Generator().manual_seed(0)
    clear = torch.rand(b, t, h, w, generator=g) > 0.3
    clear[0, :, 1, 2] = False
    image = torch.randn(b, t, C, h, w, generator=g)
    image = image.masked_fill(~clear[:, :, None], float('nan'))
    times = 1_500_000_000 + torch.randint(0, 60_000_000, (b, t), generator=g).sort(-1).values
    return Series(image, times, torch.ones(b, t, dtype=torch.bool), clear)


def outputs(encoder: SITSEncoder, batch: Series) -> list[Tensor]:
    return [
        *(encoder.features(batch, depth=depth) for depth in ('early', 'late')),
        encoder.frame_features(batch),
        *encoder.encode_image(batch),
        *encoder.encode_planes(image_as_planes(batch)),
    ]


@torch.no_grad()
def test_two_hundred_frames_without_masks(encoder):
    batch = series(t=200, h=3, w=3)
    batch = batch._replace(image=batch.image.nan_to_num(), mask_clear=None)
    assert all(value.isfinite().all() for value in outputs(encoder, batch))


@torch.no_grad()
def test_an_embedding_is_the_mean_of_its_cells(encoder):
    batch = series(h=7)
    batch.clear[1, :, :5] = False
    found = encoder.encode_image(batch)
    of_seen = isinstance(encoder, PlanarViT | DeepSTaR | FactorisedEncoder)
    expected = found.late[1, found.seen[1]].mean(0) if of_seen else found.late[1].mean((0, 1))
    torch.testing.assert_close(found.embed[1], expected, atol=1e-6, rtol=1e-5)


def test_token_masks_of_another_shape_are_refused(encoder):
    cells = (2, -(-5 // encoder.stride), -(-6 // encoder.stride))
    with pytest.raises(ValueError, match='token_mask'):
        encoder.encode_image(series(), token_mask=torch.zeros(cells).bool()[:, 1:])
    tall, wide = encoder.plane_cell
    cells = (2, -(-5 // tall), -(-6 // wide))
    with pytest.raises(ValueError, match='token_mask'):
        encoder.encode_planes(
            image_as_planes(series()), token_mask=torch.zeros(cells).bool()[..., 1:]
        )


@torch.no_grad()
def test_bfloat16_autocast_is_finite_and_close(encoder):
    batch = series()
    batch.clear[0] = False
    exact = outputs(encoder, batch)
    # On CPUs with AMX, oneDNN's convolution of bfloat16 gives NaN of finite values now and then.
    with torch.backends.mkldnn.flags(enabled=False), torch.autocast('cpu', torch.bfloat16):
        coarse = outputs(encoder, batch)
    for one, other in zip(exact, coarse, strict=True):
        assert other.isfinite().all()
        assert (other.float() - one.float()).abs().mean() < 0.05
