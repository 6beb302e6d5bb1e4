import pytest
import torch

from torchgeo_sits.models import Series, build_encoder
from torchgeo_sits.tasks.view_batches import encode_view, join_views
from torchgeo_sits.transforms import PlanarMultiView, ResamplingMultiView

VIEWS = {
    'planes': lambda: PlanarMultiView(num_paths=2, length=8, local_views=0),
    'images': lambda: ResamplingMultiView(crop=8, local_views=0),
}


def batch():
    g = torch.Generator().manual_seed(0)
    return {
        'image': torch.randn(2, 6, 3, 12, 12, generator=g),
        'acquisition_times': (1_500_000_000 + torch.arange(6) * 10**6).expand(2, -1),
        'image_s1': torch.randn(2, 9, 2, 12, 12, generator=g),
        'acquisition_times_s1': (1_500_300_000 + torch.arange(9) * 10**6).expand(2, -1),
        'valid_s1': torch.arange(9) < torch.tensor([[9], [0]]),
    }


@pytest.mark.parametrize('kind', list(VIEWS))
def test_an_encoder_sees_the_s1_of_a_view_if_it_takes_any(kind):
    torch.manual_seed(0)
    view = join_views(VIEWS[kind]()(batch()))
    encoder = build_encoder('factorised_tiny', 3, dim=16, patch_size=2, s1_channels=2)
    said = encode_view(encoder, view)
    keys = ('acquisition_times', 'valid', 'mask_clear')
    optical, s1 = ([view[key + end] for key in keys] for end in ('', '_s1'))
    if kind == 'planes':
        s1 = Series(view['planes_s1'], *s1)
        expected = encoder.encode_planes(Series(view['planes'], *optical, s1=s1))
    else:
        s1 = Series(view['image_s1'], *s1)
        expected = encoder.encode_image(Series(view['image'], *optical, s1=s1))
    for value, right in zip(said, expected, strict=True):
        torch.testing.assert_close(value, right)
    said.embed.square().sum().backward()
    assert encoder.frames_s1.patches[0].weight.grad.any()

    without = encode_view(encoder, {k: v for k, v in view.items() if not k.endswith('_s1')})
    differ = (said.embed - without.embed).abs().amax(1) > 1e-4
    assert differ.tolist() == [True, False, True, False], 'two views of two samples, one with S1'

    plain = build_encoder('factorised_tiny', 3, dim=16, patch_size=2)
    assert encode_view(plain, view).embed.shape == (4, 16)
