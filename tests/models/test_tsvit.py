"""TSViT against what its paper and its public configuration say."""

import pandas as pd
import torch

from torchgeo_sits.keys import Series
from torchgeo_sits.models import DenseHead, TSViT
from torchgeo_sits.models.dates import day_of_year


def test_parameters_are_those_of_the_paper():
    # 1.66 M on PASTIS: Tarasiou et al. 2023, table 4; 19 classes, patches of 2 pixels,
    # 128 channels, 4 + 4 blocks (the public configs/PASTIS24/TSViT_fold1.yaml).
    encoder = TSViT(10, num_tokens=19)
    head = DenseHead(encoder.embed_dim, 19, stride=encoder.stride)
    total = sum(p.numel() for module in (encoder, head) for p in module.parameters())
    assert abs(total / 1.66e6 - 1) < 0.02


def test_day_of_year_is_that_of_the_calendar():
    days = pd.date_range('1895-01-01', '2105-12-31')
    seconds = torch.tensor((days - pd.Timestamp('1970-01-01')).days.values) * 86_400
    expected = torch.tensor(days.day_of_year.values) - 1
    assert torch.equal(day_of_year(seconds + 86_399), expected.long())


def test_masked_dates_are_as_if_they_had_not_been():
    torch.manual_seed(0)
    encoder = TSViT(2, num_tokens=3, dim=16, temporal_depth=2, spatial_depth=1).eval()
    image, valid = torch.randn(1, 5, 2, 4, 4), torch.ones(1, 5, dtype=torch.bool)
    times = torch.arange(5)[None] * 40 * 86_400
    clear = torch.ones(1, 5, 4, 4, dtype=torch.bool)
    clear[:, [1, 3]] = False
    kept = [0, 2, 4]
    with torch.no_grad():
        masked = encoder.features(Series(image, times, valid, clear))
        short = encoder.features(Series(image[:, kept], times[:, kept], valid[:, kept]))
        other = encoder.features(
            Series(image[:, kept], times[:, kept] + 20 * 86_400, valid[:, kept])
        )
    torch.testing.assert_close(masked, short, atol=1e-5, rtol=0)
    # Dates are looked up: the same pixels on other days are another series.
    assert (other - short).abs().max() > 1e-3


def test_one_patch_does_not_see_the_pixels_of_another_before_the_spatial_encoder():
    torch.manual_seed(0)
    encoder = TSViT(2, num_tokens=3, dim=16, temporal_depth=1, spatial_depth=1).eval()
    image, times = torch.randn(1, 3, 2, 4, 6), torch.arange(3)[None] * 86_400 * 30
    moved = image.clone()
    moved[..., :2, :2] += 1
    valid = torch.ones(1, 3, dtype=torch.bool)
    with torch.no_grad():
        change = {
            depth: (
                encoder.features(Series(image, times, valid), depth=depth)
                - encoder.features(Series(moved, times, valid), depth=depth)
            ).abs()
            for depth in ('early', 'late')
        }
    assert change['early'][0, :, 0, 0].max() > 1e-3
    assert not change['early'][0, :, 1:].any()
    assert change['late'][0, :, 1:].max() > 1e-6
