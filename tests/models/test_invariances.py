"""What every encoder promises, held by one test for all of them."""

from collections.abc import Callable

import pytest
import torch
from einops import rearrange
from torch import Tensor

from torchgeo_sits.keys import Series
from torchgeo_sits.models import (
    LTAE,
    UTAE,
    ConvLSTM,
    DeepSTaR,
    FactorisedEncoder,
    PlanarViT,
    SITSEncoder,
    TempCNN,
    TSViT,
    UNet3D,
    planar_vit_small,
    planar_vit_tiny,
)

C = 4


class MeanEncoder(SITSEncoder):
    """Smallest honest encoder: it holds the default methods of the base class to the promises."""

    def __init__(self) -> None:
        super().__init__(in_channels=C, embed_dim=6, early_dim=5, stride=2)
        self.early = torch.nn.Conv2d(C, 5, 2, stride=2)
        self.late = torch.nn.Conv2d(5, 6, 1)

    def _frames(self, image, times, valid, mask_clear):
        clear = self.check_series(image, times, valid, mask_clear)[:, :, None]
        b = len(image)
        seen = torch.where(clear, image, 0)
        size = [(x + 1) // 2 * 2 for x in image.shape[-2:]]
        seen = torch.nn.functional.pad(
            seen, (0, size[1] - seen.shape[-1], 0, size[0] - seen.shape[-2])
        )
        x = self.early(seen.flatten(0, 1)).unflatten(0, (b, -1))
        return x, valid[:, :, None, None, None]

    def features(self, image, acquisition_times, valid, mask_clear=None, *, depth='late'):
        x, valid = self._frames(image, acquisition_times, valid, mask_clear)
        early = (x * valid).sum(1) / valid.sum(1).clamp(min=1)
        late = self.late(early)
        return {'early': early, 'late': late, 'joined': torch.cat([early, late], 1)}[depth]

    def frame_features(self, image, acquisition_times, valid, mask_clear=None):
        x, valid = self._frames(image, acquisition_times, valid, mask_clear)
        return self.late(x.flatten(0, 1)).unflatten(0, (len(image), -1)) * valid


SMALL_UTAE = {
    'encoder_widths': (8, 8, 16),
    'decoder_widths': (8, 8, 16),
    'num_heads': 4,
    'dim': 16,
    'groups': 2,
}

ENCODERS: dict[str, Callable[[], SITSEncoder]] = {
    'mean': MeanEncoder,
    'tiny': lambda: planar_vit_tiny(C),
    'small': lambda: planar_vit_small(C, depth=2),
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
}


@pytest.fixture(params=list(ENCODERS))
def encoder(request) -> SITSEncoder:
    torch.manual_seed(0)
    return ENCODERS[request.param]().eval()


def series(b=2, t=5, h=5, w=6, *, seed=0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random series; one pixel is never clear, and what is not clear is NaN."""
    g = torch.Generator().manual_seed(seed)
    clear = torch.rand(b, t, h, w, generator=g) > 0.3
    clear[0, :, 1, 2] = False
    image = torch.randn(b, t, C, h, w, generator=g)
    image = image.masked_fill(~clear[:, :, None], float('nan'))
    times = 1_500_000_000 + torch.randint(0, 60_000_000, (b, t), generator=g).sort(-1).values
    return image, times, torch.ones(b, t, dtype=torch.bool), clear


@torch.no_grad()
def outputs(encoder: SITSEncoder, *batch: Tensor | None) -> dict[str, Tensor]:
    """Everything that an encoder says of a batch, image and rows as planes."""
    image, times, valid, clear = batch
    planes = rearrange(image, 'b t c h w -> b h c t w')
    known = None if clear is None else rearrange(clear, 'b t h w -> b h t w')
    said = encoder.encode_planes(Series(planes, times, valid, known))._asdict()
    for depth in ('early', 'late', 'joined'):
        said[depth + ' map'] = encoder.features(Series(image, times, valid, clear), depth=depth)
        assert said[depth + ' map'].shape[1] == encoder.feature_dim(depth)
    said |= {f'image {k}': v for k, v in encoder.encode_image(Series(*batch))._asdict().items()}
    said['vector'] = encoder(Series(image, times, valid, clear))
    said['frames'] = encoder.frame_features(Series(image, times, valid, clear))
    for name, value in said.items():
        assert value.isfinite().all(), name
    return said


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert (other[name].float() - value.float()).abs().max() <= 1e-5, name


@pytest.mark.parametrize('garbage', [0.0, float('nan'), float('inf'), 1e30])
def test_padding_and_its_content_change_nothing(encoder, garbage):
    image, times, valid, clear = series()
    before = outputs(encoder, image, times, valid, clear)
    b, _, c, h, w = image.shape
    # Padding between and after the real frames, dated long before and long after them.
    where = torch.tensor([0, 2, 3, 5, 7])
    padded = torch.full((b, 9, c, h, w), garbage).index_copy(1, where, image)
    far = torch.tensor([-(10**10), 10**10]).repeat(5)[:9].expand(b, -1)
    after = outputs(
        encoder,
        padded,
        far.index_copy(1, where, times),
        torch.zeros(b, 9, dtype=torch.bool).index_fill(1, where, True),
        torch.ones(b, 9, h, w, dtype=torch.bool).index_copy(1, where, clear),
    )
    assert not after['frames'][:, [1, 4, 6, 8]].any()
    after['frames'] = after['frames'][:, where]
    same(before, after)


def test_content_of_unclear_pixels_changes_nothing(encoder):
    image, times, valid, clear = series()
    other = image.nan_to_num(nan=1e30)
    same(outputs(encoder, image, times, valid, clear), outputs(encoder, other, times, valid, clear))


def test_batch_mates_change_nothing(encoder):
    batch = series(b=3)
    together = outputs(encoder, *batch)
    for i in range(3):
        alone = outputs(encoder, *(x[i : i + 1] for x in batch))
        same({k: v[i : i + 1] for k, v in together.items()}, alone)


def test_order_of_frames_changes_nothing(encoder):
    batch = series()
    order = torch.tensor([3, 0, 4, 2, 1])
    before = outputs(encoder, *batch)
    before['frames'] = before['frames'][:, order]
    same(before, outputs(encoder, *(x[:, order] for x in batch)))


@pytest.mark.parametrize(
    ('t', 'h', 'w'), [(1, 1, 1), (1, 3, 8), (200, 3, 2), (3, 1, 9), (2, 7, 1), (3, 5, 33)]
)
def test_one_weight_file_for_every_size(encoder, t, h, w):
    if isinstance(encoder, PlanarViT):
        encoder.load_state_dict(planar_vit_state(encoder))
    image, times, valid, _ = series(t=t, h=max(h, 3), w=max(w, 3))
    image = image.nan_to_num()[..., :h, :w]
    said = outputs(encoder, image, times, valid, None)
    cells = (-(-h // encoder.stride), -(-w // encoder.stride))
    assert said['late map'].shape == (2, encoder.embed_dim, *cells)
    assert said['frames'].shape == (2, t, encoder.embed_dim, *cells)


def planar_vit_state(encoder: PlanarViT) -> dict[str, Tensor]:
    """Weights of an encoder that has run on another size."""
    other = PlanarViT(**encoder.config).eval()
    outputs(other, *series(t=4, h=4, w=4))
    return other.state_dict()


def test_series_without_a_clear_pixel(encoder):
    image, times, valid, clear = series()
    clear[0] = False
    valid[1] = False
    outputs(encoder, image, times, valid, clear)


@torch.no_grad()
def test_an_image_is_encoded_as_its_maps_and_its_vector(encoder):
    # One series with pixels that nothing was seen of, one with nothing seen at all.
    image, times, valid, clear = series(b=3, h=7)
    clear[1, :, :5] = False
    valid[2] = False
    batch = image, times, valid, clear
    said = encoder.encode_image(Series(*batch))
    torch.testing.assert_close(said.embed, encoder.embed(Series(*batch)), atol=1e-6, rtol=1e-6)
    for name, tokens in (('early', said.early), ('late', said.late)):
        expected = encoder.features(Series(*batch), depth=name).permute(0, 2, 3, 1)
        torch.testing.assert_close(tokens, expected, atol=1e-6, rtol=1e-6)
    known = (clear & valid[:, :, None, None]).any(1)
    for y in range(said.seen.shape[1]):
        for x in range(said.seen.shape[2]):
            s = encoder.stride
            cell = known[:, y * s : (y + 1) * s, x * s : (x + 1) * s]
            assert torch.equal(said.seen[:, y, x], cell.flatten(1).any(1))
    of_seen = isinstance(encoder, PlanarViT | DeepSTaR | FactorisedEncoder)
    expected = said.late[1, said.seen[1]].mean(0) if of_seen else said.late[1].mean((0, 1))
    torch.testing.assert_close(said.embed[1], expected, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_hidden_cells_say_nothing_of_their_pixels(encoder):
    image, times, valid, clear = series(h=7, w=9)
    s = encoder.stride
    cells = (2, -(-7 // s), -(-9 // s))
    hidden = torch.rand(cells, generator=torch.Generator().manual_seed(1)) < 0.4
    hidden[:, 0, 0] = True
    pixels = hidden.repeat_interleave(s, 1)[:, :7].repeat_interleave(s, 2)[..., :9]
    other = torch.where(pixels[:, None, None], image + 5, image)
    one = encoder.encode_image(Series(image, times, valid, clear), token_mask=hidden)
    two = encoder.encode_image(Series(other, times, valid, clear), token_mask=hidden)
    torch.testing.assert_close(one.late, two.late, atol=1e-6, rtol=0)
    open_ = encoder.encode_image(Series(image, times, valid, clear))
    assert (open_.late - one.late).abs().max() > 1e-4
    with pytest.raises(ValueError, match='token_mask'):
        encoder.encode_image(Series(image, times, valid, clear), token_mask=hidden[:, 1:])


def test_gradients_are_finite_where_pixels_are_not(encoder):
    encoder.train()
    image, times, valid, clear = series()
    valid[1, 2:] = False
    clear[0] = False
    encoder.features(Series(image, times, valid, clear), depth='joined').square().mean().backward()
    grads = [p.grad for p in encoder.parameters() if p.grad is not None]
    assert grads
    assert all(g.isfinite().all() for g in grads)


def test_bfloat16_autocast_is_finite_and_close(encoder):
    batch = series()
    batch[3][0] = False
    exact = outputs(encoder, *batch)
    with torch.autocast('cpu', torch.bfloat16):
        coarse = outputs(encoder, *batch)
    for name, value in exact.items():
        assert (coarse[name].float() - value.float()).abs().mean() < 0.05, name
