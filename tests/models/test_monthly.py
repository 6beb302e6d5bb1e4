"""Presto and Galileo: months, groups of bands, places, and the outputs of their authors."""

from datetime import UTC, datetime

import pytest
import torch
from torch.nn.functional import interpolate
from torchgeo.models import presto

from torchgeo_sits.models import Galileo, Presto, Series, galileo_state, presto_state
from torchgeo_sits.models.dates import calendar_month
from torchgeo_sits.models.monthly import STATISTICS, monthly_means
from torchgeo_sits.models.quantities import quantity

OPTICAL = ['B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B11', 'B12']
SMALL = {'dim': 16, 'depth': 1, 'num_heads': 2}


def seconds(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp())


def middles(first: tuple[int, int], months: int) -> torch.Tensor:
    """The middle of so many months from (year, month) on."""
    year, month = first
    days = [divmod(month - 1 + i, 12) for i in range(months)]
    return torch.tensor([[seconds(year + y, m + 1, 15) for y, m in days]])


def normalised(values: torch.Tensor, names: list[str]) -> torch.Tensor:
    """What a data module makes of values in the units of the statistics."""
    table = torch.tensor([STATISTICS[str(quantity(name))] for name in names])
    return (values - table[:, 0]) / table[:, 1]


@pytest.mark.parametrize('year', [1600, 1899, 1970, 2000, 2023, 2024])
def test_calendar_months_are_those_of_the_calendar(year):
    for month in range(1, 13):
        times = torch.tensor([seconds(year, month, 1), seconds(year, month, 28, 23, 59, 59)])
        assert calendar_month(times).tolist() == [12 * (year - 1970) + month - 1] * 2


def test_means_of_months_do_not_see_what_is_unclear():
    image = torch.tensor([2.0, 4.0, float('nan'), 10.0]).view(1, 4, 1, 1, 1).requires_grad_()
    clear = torch.tensor([True, True, False, True]).view(1, 4, 1, 1)
    means, seen = monthly_means(image, clear, torch.tensor([[0, 0, 0, 2]]), 3)
    assert means.flatten().tolist() == [3, 0, 10]
    assert seen.flatten().tolist() == [True, False, True]
    means.sum().backward()
    assert image.grad.flatten().tolist() == [0.5, 0.5, 0, 1]


def test_presto_gives_what_torchgeos_gives():
    torch.manual_seed(0)
    theirs = presto().eval()
    for parameter in theirs.parameters():
        if parameter.requires_grad:  # zeros and ones among them would hide faults
            torch.nn.init.normal_(parameter, std=0.1)
    ours = Presto(12, bands=[*OPTICAL, 'elevation', 'slope'], s1_channels=2).eval()
    ours.load_state_dict(presto_state(theirs.state_dict()))

    names = ['VV', 'VH', *OPTICAL, 't2m', 'tp', 'elevation', 'slope', 'NDVI']
    x = torch.rand(3, 12, 17) * 0.5 + 0.1
    x[..., 14:16] = x[:, :1, 14:16]
    x[..., 16] = (x[..., 8] - x[..., 4]) / (x[..., 8] + x[..., 4])
    mask = torch.zeros_like(x)
    mask[..., 12:14] = 1
    place = torch.tensor([[50.5, 4.5], [-33.0, 151.0], [0.0, -60.0]])
    nothing = torch.full((3, 12), 9)
    with torch.no_grad():
        tokens = []
        theirs.encoder.norm.register_forward_hook(lambda _, given, __: tokens.append(given[0]))
        theirs.encoder(x, nothing, place, mask=mask, month=3)
        expected = theirs.encoder.norm(tokens[0].mean(1))

    scales = torch.tensor([ours.scales.get(str(quantity(n)), (0.0, 1.0)) for n in names])
    raw = x * scales[:, 1] + scales[:, 0]
    times = middles((2021, 4), 12).expand(3, -1)
    valid = torch.ones(3, 12, dtype=torch.bool)
    radar = normalised(raw[..., :2], ['VV', 'VH'])[..., None, None]
    own = [*OPTICAL, 'elevation', 'slope']
    image = normalised(raw[..., [*range(2, 12), 14, 15]], own)[..., None, None]
    with torch.no_grad():
        found = ours(Series(image, times, valid, s1=Series(radar, times, valid), location=place))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('kind', [Presto, Galileo])
def test_the_order_of_bands_does_not_matter(kind):
    torch.manual_seed(0)
    one = kind(10, bands=OPTICAL, **SMALL).eval()
    other = kind(10, bands=OPTICAL[::-1], **SMALL).eval()
    other.load_state_dict(one.state_dict())
    image = torch.randn(1, 3, 10, 2, 2)
    series = Series(image, middles((2020, 1), 3), torch.ones(1, 3, dtype=torch.bool))
    assert torch.allclose(one(series), other(series._replace(image=image.flip(2))), atol=1e-6)


def test_months_of_january_stand_first():
    torch.manual_seed(0)
    encoder = Presto(10, pool='months', **SMALL).eval()
    image = torch.randn(1, 3, 10, 2, 2)
    series = Series(image, middles((2020, 12), 3), torch.ones(1, 3, dtype=torch.bool))
    series = series._replace(mask_clear=torch.ones(1, 3, 2, 2, dtype=torch.bool))
    series.mask_clear[0, 1, 0, 0] = False  # January
    by_month = encoder.features(series).unflatten(1, (12, 16))
    filled = by_month.abs().sum(2)[0] > 0
    assert filled[:, 1, 1].nonzero().flatten().tolist() == [0, 1, 11]
    assert filled[:, 0, 0].nonzero().flatten().tolist() == [1, 11]


def test_a_place_changes_the_features_and_an_unknown_one_does_not():
    torch.manual_seed(0)
    encoder = Galileo(10, **SMALL).eval()
    image, times = torch.randn(1, 3, 10, 2, 2), middles((2020, 1), 3)
    series = Series(image, times, torch.ones(1, 3, dtype=torch.bool))
    without = encoder(series)
    nowhere = encoder(series._replace(location=torch.full((1, 2), float('nan'))))
    assert torch.allclose(without, nowhere, atol=1e-6)
    somewhere = encoder(series._replace(location=torch.tensor([[51.0, 4.0]])))
    assert not torch.allclose(without, somewhere, atol=1e-3)
    with pytest.raises(ValueError, match=r'latitude and longitude in degrees, got \[600000'):
        encoder(series._replace(location=torch.tensor([[600_000.0, 5_000_000.0]])))


def test_series_of_more_months_than_the_model_knows_are_refused():
    encoder = Presto(10, **SMALL).eval()
    times = torch.tensor([[seconds(2015, 1, 1), seconds(2019, 12, 31)]])
    series = Series(torch.randn(1, 2, 10, 1, 1), times, torch.ones(1, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match='spans 60 calendar months, Presto takes 24'):
        encoder(series)


@pytest.mark.parametrize(
    ('bands', 'expected'),
    [
        (['B02', 'B03', 'B04', 'B01'], r"does not know the bands \['B01'\].*bands=\['B02', 'B03'"),
        (['B02', 'B03', 'red', 'B04'], r"\['red'\] is there twice"),
        (['B02', 'B03'], 'whole in none of its groups'),
        (['SR_B2', 'SR_B3', 'SR_B4'], 'does not know.*by their light'),
        (None, 'give bands'),
    ],
)
def test_bands_that_do_not_fit_are_named(bands, expected):
    with pytest.raises(ValueError, match=expected):
        Presto(len(bands or 'abc'), bands=bands, **SMALL)


def test_weights_of_patches_are_resized_as_flexivit_does():
    """A kernel that resizes a patch and weighs its pixel, then, has that weight for a pixel."""
    torch.manual_seed(0)
    encoder = Galileo(10, **SMALL)
    published = {'norm.weight': torch.ones(16), 'norm.bias': torch.zeros(16)}
    each = torch.eye(64).view(64, 1, 8, 8)
    resizing = interpolate(each, (1, 1), mode='bicubic', antialias=True).view(8, 8)
    weight = torch.randn(16, 3)
    kernel = weight[..., None, None] * resizing
    for group, members in encoder.groups.items():
        bands = max(1, len(members))
        room = 'space_embed' if group == 'SRTM' else 'space_time_embed'
        published[f'{room}.{group}.proj.weight'] = (
            kernel if group == 'S2_RGB' else torch.randn(16, bands, 8, 8)
        )
        published[f'{room}.{group}.proj.bias'] = torch.zeros(16)
    published |= {'time_embed.ERA5.weight': torch.zeros(16, 2)}
    published |= {'time_embed.ERA5.bias': torch.zeros(16)}
    published |= {'static_embed.location.weight': torch.zeros(16, 3)}
    published |= {'static_embed.location.bias': torch.zeros(16)}
    for name, rows in (('s_t', 7), ('sp', 3), ('t', 3), ('st', 4)):
        published[f'{name}_channel_embed'] = torch.zeros(rows, 4)
    state = galileo_state(published)
    torch.testing.assert_close(state['projections.S2_RGB.weight'], weight, atol=1e-3, rtol=1e-3)
