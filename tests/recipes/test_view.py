"""Views of one's own: what the base class gives, and what a task asks of them."""

import pytest
import torch

from torchgeo_sits.transforms import RandomGainOffset

from .view import DiagonalView, DiagonalViews

B, T, C, H, W = 3, 10, 2, 24, 20


@pytest.fixture
def batch():
    """Each value names its sample, frame, band and pixel."""
    clear = torch.rand(B, T, H, W, generator=torch.Generator().manual_seed(0)) < 0.7
    return {
        'image': torch.arange(B * T * C * H * W, dtype=torch.float32).view(B, T, C, H, W),
        'acquisition_times': (1_500_000_000 + torch.arange(T) * 432_000).expand(B, T),
        'mask_clear': clear,
    }


def test_planes_lie_along_the_diagonals(batch):
    view = DiagonalView(num_paths=30, length=12)(batch)
    paths = view['paths']
    assert paths.shape == (B, 30, 12)
    assert (paths % W).diff().eq(1).all()
    down = (paths // W).diff()
    assert set(down.unique().tolist()) == {-1, 1}
    assert (down == down[..., :1]).all()
    for b in range(B):
        for i in torch.where(view['valid'][b])[0]:
            time = view['acquisition_times'][b, i]
            (frame,) = torch.where(batch['acquisition_times'][b] == time)[0]
            pixels = batch['image'][b, frame].flatten(1)[:, paths[b]]
            assert torch.equal(view['planes'][b, :, :, i], pixels.transpose(0, 1))
            clear = batch['mask_clear'][b, frame].flatten()[paths[b]]
            assert torch.equal(view['mask_clear'][b, :, i], clear)


def test_a_set_shares_out_the_dates_and_replays(batch):
    multi = DiagonalViews(local_views=1, dates=(0.5, 0.5), augment=RandomGainOffset())
    views = multi(batch, generator=torch.Generator().manual_seed(0))
    assert (multi.global_views, multi.local_views) == (2, 1)
    assert [view['paths'].shape[-1] for view in views] == [16, 16, 8]
    first, second = (view['acquisition_times'][0].tolist() for view in views[:2])
    assert not set(first) & set(second)
    for one, other in zip(views, multi(batch, multi._params), strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one if key != 'size')
    for one, other in zip(
        views, multi(batch, generator=torch.Generator().manual_seed(0)), strict=True
    ):
        assert torch.equal(one['planes'], other['planes'])


def test_s1_lies_along_them_too(batch):
    batch['image_s1'] = torch.rand(B, 6, 2, H, W)
    batch['acquisition_times_s1'] = torch.arange(6).expand(B, 6) * 86400
    assert DiagonalView()(batch)['planes_s1'].shape == (B, 8, 2, 3, 16)


def test_too_long_diagonals_are_refused(batch):
    with pytest.raises(ValueError, match='21 pixels do not fit 24 x 20'):
        DiagonalView(length=21)(batch)
