"""The weights that are shipped: any of their bands, by name, in the units of the data."""

import pytest
import torch
from torchgeo.models import get_model, get_weight

from torchgeo_sits.errors import SITSError
from torchgeo_sits.models import Series, build_encoder, load_bare_encoder, register_models
from torchgeo_sits.models.quantities import OPTICAL

TEN = ['B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B11', 'B12']


def series(channels, seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(2, 6, channels, 4, 5, generator=generator)
    times = 86_400 * (17_000 + 30 * torch.arange(6)).expand(2, 6)
    clear = torch.rand(2, 6, 4, 5, generator=generator) > 0.2
    return Series(image, times, torch.ones(2, 6, dtype=torch.bool), clear)


def test_a_band_that_is_left_out_is_as_one_at_its_mean():
    whole, _ = load_bare_encoder('sits_s2_tiny', bands=TEN)
    some, _ = load_bare_encoder('sits_s2_tiny', bands=['nir', 'B04'])  # in any order
    given = series(2)
    image = torch.zeros(2, 6, 10, 4, 5)
    image[:, :, [6, 2]] = given.image
    for depth in ('early', 'late', 'joined'):
        expected = whole.features(given._replace(image=image), depth=depth)
        torch.testing.assert_close(some.features(given, depth=depth), expected)


def test_the_card_says_how_each_band_is_normalised():
    _, whole = load_bare_encoder('sits_s2_tiny', bands=TEN)
    _, some = load_bare_encoder('sits_s2_tiny', bands=['B12', 'B02'])
    assert (some['mean'], some['std']) == (
        [whole['mean'][9], whole['mean'][0]],
        [whole['std'][9], whole['std'][0]],
    )
    assert some['licence'] == 'MIT'
    # Reflectance times 10,000: plants are bright in the near infrared, and dark in red.
    assert 100 < whole['mean'][2] < whole['mean'][6] < 10_000


def test_they_are_trained_and_pixels_are_by_themselves():
    encoder, _ = load_bare_encoder('sits_s2_tiny', bands=TEN)
    torch.manual_seed(0)
    fresh = build_encoder('sits_s2_tiny', 10).state_dict()
    moved = [not torch.equal(value, fresh[name]) for name, value in encoder.state_dict().items()]
    assert sum(moved) > len(moved) / 2
    given = series(10)
    alone = given._replace(image=given.image[..., :1], mask_clear=given.mask_clear[..., :1])
    torch.testing.assert_close(
        encoder.features(given)[..., :1], encoder.features(alone), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(('bands', 'said'), [(['B01'], r"\['B01'\]"), (['B04', 'red'], 'twice')])
def test_other_bands_are_refused(bands, said):
    with pytest.raises(SITSError, match=said) as error:
        load_bare_encoder('sits_s2_tiny', bands=bands)
    assert '\n' not in str(error.value)


def test_other_numbers_of_bands_are_refused():
    with pytest.raises(SITSError, match=r"in_channels=2.*\['B04', 'B08'\], got 3"):
        build_encoder('sits_s2_tiny', 3, bands=['B04', 'B08'])


def test_arguments_that_change_the_encoder_are_named():
    with pytest.raises(SITSError, match=r"\{'depth': 2\}.*leave model_kwargs out"):
        load_bare_encoder('sits_s2_tiny', bands=TEN, depth=2)


def test_torchgeo_finds_them_by_name():
    register_models()
    weights = get_weight('SITSS2Tiny_Weights.SENTINEL2')
    assert weights.meta['bands'] == OPTICAL
    encoder, _ = load_bare_encoder('sits_s2_tiny')  # all ten
    for channels, bands in ((10, None), (2, ['B8A', 'B02'])):
        found = get_model('sits_s2_tiny', in_channels=channels, bands=bands, weights=weights)
        expected, _ = load_bare_encoder('sits_s2_tiny', bands=bands)
        given = series(channels)
        assert torch.equal(found.eval().features(given), expected.features(given))
    for name, value in weights.get_state_dict().items():
        assert torch.equal(value, encoder.state_dict()[name])
