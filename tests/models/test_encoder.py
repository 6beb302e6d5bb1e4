"""What the base class of encoders does for all of them."""

import pytest
import torch
from lightning.fabric.utilities import move_data_to_device

from torchgeo_sits.models import LTAE, FactorisedEncoder, Series

TENSORS = (
    torch.randn(2, 3, 4, 5, 6),
    (1_500_000_000 + torch.arange(3) * 10**6).expand(2, -1),
    torch.ones(2, 3, dtype=torch.bool),
    torch.rand(2, 3, 5, 6) > 0.3,
)


@pytest.mark.parametrize('method', ['features', 'embed', 'forward'])
def test_tensors_of_a_series_one_by_one_are_taken_with_a_warning(method):
    encoder = LTAE(4, embed_dim=8, pixel_dim=8, dim=8, num_heads=2).eval()
    call = encoder if method == 'forward' else getattr(encoder, method)
    expected = call(Series(*TENSORS))
    with pytest.warns(FutureWarning, match=rf'LTAE.{method}\(image.*Series') as caught:
        assert torch.equal(call(*TENSORS), expected)
    assert caught[0].filename == __file__
    with pytest.warns(FutureWarning):
        assert torch.equal(call(*TENSORS[:2], valid=TENSORS[2], mask_clear=TENSORS[3]), expected)
    with pytest.warns(FutureWarning):
        assert torch.equal(call(**Series(*TENSORS)._asdict()), expected)


def test_old_calls_keep_their_options():
    encoder = FactorisedEncoder(4, dim=16, s1_channels=2).eval()
    s1 = Series(torch.randn(2, 1, 2, 5, 6), *(x[:, :1] for x in TENSORS[1:]))
    expected = encoder.features(Series(*TENSORS, s1=s1), depth='early')
    with pytest.warns(FutureWarning):
        assert torch.equal(encoder.features(*TENSORS, depth='early', s1=s1), expected)


def test_series_of_a_batch():
    names = 'image', 'acquisition_times', 'valid', 'mask_clear'
    batch = dict(zip(names, TENSORS, strict=True)) | {'mask': torch.zeros(2, 5, 6)}
    assert all(one is other for one, other in zip(Series.from_batch(batch), TENSORS, strict=False))
    assert Series.from_batch({k: batch[k] for k in names[:3]}).mask_clear is None
    batch |= {f'{key}_s1': batch[key][:, :1] for key in names[:3]}
    assert Series.from_batch(batch).s1 is None
    s1 = Series.from_batch(batch, s1=True).s1
    assert s1.image is batch['image_s1']
    assert s1.mask_clear is None
    assert s1.s1 is None


def test_checked_series_have_the_pixels_that_count():
    encoder = LTAE(4, embed_dim=8, pixel_dim=8, dim=8, num_heads=2)
    image, times, valid, clear = TENSORS
    valid = torch.tensor([[True, True, False], [True, False, True]])
    checked = encoder.check_series(Series(image, times, valid, clear))
    assert torch.equal(checked.clear, clear & valid[:, :, None, None])
    checked = encoder.check_series(Series(image, times, valid))
    assert torch.equal(checked.clear, valid[:, :, None, None].expand(2, 3, 5, 6))
    with pytest.raises(ValueError, match='check_series'):
        Series(image, times, valid).clear  # noqa: B018


def test_planes_of_another_shape_are_refused():
    encoder = LTAE(4, embed_dim=8, pixel_dim=8, dim=8, num_heads=2)
    image, times, valid, clear = TENSORS
    with pytest.raises(ValueError, match=r'planes \(B, N, C, T, L\).*got \(3, 4, 5, 6\)'):
        encoder.encode_planes(Series(image[0], times, valid, clear))


def test_a_series_goes_through_compilers_and_to_devices():
    encoder = FactorisedEncoder(4, dim=16, s1_channels=2).eval()
    s1 = Series(torch.randn(2, 1, 2, 5, 6), *(x[:, :1] for x in TENSORS[1:]))
    moved = move_data_to_device(Series(*TENSORS), 'cpu')
    assert isinstance(moved, Series)
    for series in (moved, moved._replace(s1=s1)):
        with torch.no_grad():
            expected = encoder(series)
            compiled = torch.compile(encoder, backend='eager')(series)
            exported = torch.export.export(encoder, (series,)).module()(series)
        torch.testing.assert_close(compiled, expected)
        torch.testing.assert_close(exported, expected)
