"""OlmoEarth: the outputs of its authors, promises, months, patches, bands and weights."""

from datetime import UTC, datetime

import pytest
import torch
from safetensors.torch import save_file

from torchgeo_sits.models import (
    OlmoEarth,
    OlmoEarthEncoder,
    OlmoEarthV12,
    Series,
    check_encoder,
    load_bare_encoder,
    olmoearth_state,
    olmoearth_v1_2_state,
)

THEIRS = ['B02', 'B03', 'B04', 'B08', 'B05', 'B06', 'B07', 'B8A', 'B11', 'B12', 'B01', 'B09']
TEN = ['B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B11', 'B12']
SMALL = {'dim': 16, 'depth': 1, 'num_heads': 2}
VERSIONS = {
    'v1': (OlmoEarth, olmoearth_state),
    'v1.2': (OlmoEarthV12, olmoearth_v1_2_state),
}
both = pytest.mark.parametrize('kind', [OlmoEarth, OlmoEarthV12])
#: Shapes of the weights of a block of the small model, as its authors name them.
SHAPES = {
    'norm1.weight': (16,),
    'norm1.bias': (16,),
    **{f'attn.{part}.weight': (16, 16) for part in ('q', 'k', 'v', 'proj')},
    **{f'attn.{part}.bias': (16,) for part in ('q', 'k', 'v', 'proj')},
    'norm2.weight': (16,),
    'norm2.bias': (16,),
    'mlp.fc1.weight': (64, 16),
    'mlp.fc1.bias': (64,),
    'mlp.fc2.weight': (16, 64),
    'mlp.fc2.bias': (16,),
}


def times_of(*months: int) -> torch.Tensor:
    return torch.tensor([[int(datetime(2021, m, 15, tzinfo=UTC).timestamp()) for m in months]])


def series_of(image: torch.Tensor, *months: int, **more: object) -> Series:
    times = times_of(*months).expand(len(image), -1)
    return Series(image, times, torch.ones(image.shape[:2], dtype=torch.bool), **more)


def lively[E: OlmoEarthEncoder](encoder: E) -> E:
    """Zeros and ones among the weights would hide faults."""
    torch.manual_seed(0)
    for name, parameter in encoder.named_parameters():
        if not name.endswith('.frequencies'):
            torch.nn.init.normal_(parameter, std=0.2)
    return encoder.eval()


def wave(shape: tuple[int, ...], start: float) -> torch.Tensor:
    """Numbers that any machine computes alike."""
    steps = torch.arange(int(torch.tensor(shape).prod()), dtype=torch.float64)
    return (steps * 0.7 + start).sin().view(shape).float()


def small_weights(version: str) -> dict[str, torch.Tensor]:
    """Weights of a small model, by the names of its authors."""
    shapes = {f'blocks.0.{name}': shape for name, shape in SHAPES.items()}
    shapes |= {'norm.weight': (16,), 'norm.bias': (16,)}
    of_version = {'v1': (4, 6, 2), 'v1.2': (12,)}
    if version == 'v1.2':
        shapes['blocks.0.attn.rope_mixed_freqs'] = (3, 2, 4)
    for sensor, sizes in (('sentinel2_l2a', of_version[version]), ('sentinel1', (2,))):
        prefix = 'composite_encodings.per_modality_channel_embeddings'
        shapes[f'{prefix}.{sensor}'] = (len(sizes), 4)
        for i, bands in enumerate(sizes):
            prefix = f'patch_embeddings.per_modality_embeddings.{sensor}.{sensor}__{i}'
            shapes[f'{prefix}.proj.bias'] = (16,)
            if version == 'v1':
                shapes[f'{prefix}.proj.weight'] = (16, bands, 8, 8)
            else:
                shapes[f'{prefix}.pixel_proj.0.weight'] = (12, bands)
                shapes[f'{prefix}.pixel_proj.0.bias'] = (12,)
                shapes[f'{prefix}.proj.weight'] = (16, 64 * 12)
    return {
        f'encoder.{name}': 0.3 * wave(shape, float(i))
        for i, (name, shape) in enumerate(shapes.items())
    }


@pytest.mark.parametrize(('kind', 'beside'), [(OlmoEarth, True), (OlmoEarthV12, False)])
def test_keeps_its_promises(kind, beside):
    names = ['B02', 'B08', 'B01', *([] if beside else ['VH', 'VV'])]
    options = SMALL | {'patch_size': 2, 'tile_size': 2, 'max_months': 24}
    more = {'s1_channels': 2} if beside else {}
    check_encoder(lively(kind(len(names), bands=names, **options, **more)))


@pytest.mark.parametrize('version', VERSIONS)
@pytest.mark.parametrize('patch_size', [1, 3, 8])
def test_gives_what_torchgeos_and_its_authors_give(version, patch_size):
    package = pytest.importorskip('olmoearth_pretrain_minimal')
    from olmoearth_pretrain_minimal.olmoearth_pretrain_v1.nn.flexi_vit import PoolingType
    from olmoearth_pretrain_minimal.olmoearth_pretrain_v1.utils.constants import Modality
    from olmoearth_pretrain_minimal.olmoearth_pretrain_v1.utils.datatypes import (
        MaskedOlmoEarthSample,
    )
    from torchgeo.models import olmoearth_v1

    torch.manual_seed(0)
    if version == 'v1':
        theirs = olmoearth_v1().eval()
    else:
        theirs = package.OlmoEarthPretrain_v1(model_size='nano', model_version=version).eval()
    for name, parameter in theirs.named_parameters():
        if parameter.requires_grad and not name.endswith('freqs'):
            torch.nn.init.normal_(parameter, std=0.1)
    kind, rename = VERSIONS[version]
    # The one that is not there is filled as the authors do.
    there = [name for name in THEIRS if name != 'B8A']
    ours = kind(11, bands=there, s1_channels=2, patch_size=patch_size).eval()
    ours.load_state_dict(rename(theirs.state_dict()))

    side = 3 * patch_size
    optical, radar = 3000 * torch.rand(2, 5, 12, side, side), -25 * torch.rand(2, 5, 2, side, side)
    values, images = {}, []
    normalise = package.Normalizer(model_type=version).normalize
    optical[:, :, THEIRS.index('B8A')] = float('nan')
    for sensor, raw, names in (
        (Modality.SENTINEL2_L2A, optical, THEIRS),
        (Modality.SENTINEL1, radar, ['VV', 'VH']),
    ):
        given = raw.permute(0, 3, 4, 1, 2).numpy()
        values[sensor.name] = torch.as_tensor(normalise(sensor, given), dtype=torch.float32)
        mean, std = (torch.tensor(x)[:, None, None] for x in ours.statistics(names))
        images.append((raw - mean) / std)
    images[0] = images[0][:, :, [THEIRS.index(name) for name in there]]
    sets = ours.groups.keys() - {'S1'}
    # A month without optical images: in the third place of theirs, and left out of ours.
    months, kept = [3, 4, 5, 6, 7], [0, 1, 3, 4]
    masks = {'sentinel2_l2a_mask': torch.zeros(2, side, side, 5, len(sets))}
    masks['sentinel2_l2a_mask'][:, :, :, 2] = 3
    masks['sentinel1_mask'] = torch.zeros(2, side, side, 5, 1)
    stamps = torch.tensor([[1, m - 1, 2021] for m in months]).expand(2, -1, -1)
    sample = MaskedOlmoEarthSample(timestamps=stamps, **values, **masks)
    series = series_of(
        images[0][:, kept], *(months[i] for i in kept), s1=series_of(images[1], *months)
    )
    with torch.no_grad():
        tokens = theirs.encoder(sample, patch_size=patch_size)['tokens_and_masks']
        optical, radar = tokens.sentinel2_l2a[:, :, :, kept].mean(-2), tokens.sentinel1.mean(-2)
        expected = (optical.mean(-2) + radar.mean(-2)) / 2
        found = ours.features(series).permute(0, 2, 3, 1)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        frames = ours.frame_features(series).permute(0, 3, 4, 1, 2)
        torch.testing.assert_close(frames, (optical + radar[..., kept, :]) / 2, atol=1e-5, rtol=0)

        # Without gaps: what their own pooling gives.
        whole = sample._replace(sentinel2_l2a_mask=torch.zeros(2, side, side, 5, len(sets)))
        tokens = theirs.encoder(whole, patch_size=patch_size)['tokens_and_masks']
        expected = tokens.pool_spatially(PoolingType.MEAN)
        series = series_of(images[0], *months, s1=series_of(images[1], *months))
        found = ours.features(series).permute(0, 2, 3, 1)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


#: The means that the authors' encoders of this size (olmoearth-pretrain-minimal 0.1.5) gave.
GIVEN = {
    'v1': (
        *(-0.317408, -0.204204, 0.026295, 0.188454, 0.249413, 0.288613, 0.420792, 0.415717),
        *(-0.124105, -0.234524, -0.068447, 0.024244, 0.122761, 0.244055, 0.324399, 0.370464),
    ),
    'v1.2': (
        *(-0.323076, -0.185467, 0.221578, 0.175718, 0.261520, 0.290396, 0.538784, 0.575070),
        *(-0.073169, -0.155378, -0.004252, 0.189861, 0.003677, 0.242469, 0.436109, 0.453224),
    ),
}


@pytest.mark.parametrize('version', VERSIONS)
def test_gives_what_its_authors_code_gave(version):
    """Of weights and images that are written down, where their package is not at hand."""
    kind, rename = VERSIONS[version]
    ours = kind(12, bands=THEIRS, s1_channels=2, patch_size=4, **SMALL).eval()
    ours.load_state_dict(rename(small_weights(version)))
    image, radar = wave((1, 3, 12, 8, 8), 0.5), wave((1, 3, 2, 8, 8), 0.25)
    with torch.no_grad():
        found = ours(series_of(image, 10, 11, 12, s1=series_of(radar, 10, 11, 12)))
    torch.testing.assert_close(found[0], torch.tensor(GIVEN[version]), atol=1e-5, rtol=0)


@both
def test_a_tile_does_not_see_the_next_one(kind):
    encoder = lively(kind(10, patch_size=2, tile_size=3, **SMALL))
    image = torch.randn(1, 3, 10, 6, 10)
    with torch.no_grad():
        found = encoder.features(series_of(image, 1, 2, 3))
        for left, right in ((0, 6), (6, 10)):
            alone = encoder.features(series_of(image[..., left:right], 1, 2, 3))
            torch.testing.assert_close(found[..., left // 2 : right // 2], alone)


@both
def test_gaps_of_a_patch_are_filled_with_its_mean(kind):
    encoder = lively(kind(10, patch_size=4, **SMALL))
    image = torch.randn(1, 2, 10, 1, 1).expand(-1, -1, -1, 8, 8)
    series = series_of(image, 1, 2)
    clear = torch.rand(1, 2, 8, 8) > 0.5
    clear[..., ::4, ::4] = True
    # The corner of a patch is where the authors read their mask.
    clear[0, 0, 0, 0] = False
    with torch.no_grad():
        found = encoder.features(series._replace(mask_clear=clear))
        torch.testing.assert_close(found, encoder.features(series), atol=1e-5, rtol=0)


@both
def test_months_without_images_are_counted(kind):
    encoder = lively(kind(10, **SMALL))
    image = torch.randn(1, 2, 10, 4, 4)
    with torch.no_grad():
        near, far = encoder(series_of(image, 1, 2)), encoder(series_of(image, 1, 4))
    assert not torch.allclose(near, far, atol=1e-3)


@both
def test_the_order_of_bands_does_not_matter(kind):
    one, other = (lively(kind(10, bands=names, **SMALL)) for names in (TEN, TEN[::-1]))
    other.load_state_dict(one.state_dict())
    image = torch.randn(1, 3, 10, 4, 4)
    with torch.no_grad():
        found = other(series_of(image.flip(2), 1, 2, 3))
        torch.testing.assert_close(one(series_of(image, 1, 2, 3)), found)


def test_a_missing_band_is_0_to_those_who_were_trained_so():
    names = ['B02', 'B03', 'B04', 'B08']
    whole = lively(OlmoEarthV12(4, bands=names, **SMALL))
    part = lively(OlmoEarthV12(3, bands=['B02', 'B04', 'B08'], **SMALL))
    part.load_state_dict(whole.state_dict())
    image = torch.randn(1, 2, 4, 4, 4)
    image[:, :, 1] = -2  # two standard deviations below the mean
    with torch.no_grad():
        expected = whole(series_of(image, 1, 2))
        torch.testing.assert_close(part(series_of(image[:, :, [0, 2, 3]], 1, 2)), expected)


def test_a_missing_band_is_that_of_the_next_wavelength():
    names = ['B02', 'B03', 'B04', 'B08']
    whole = lively(OlmoEarth(4, bands=names, **SMALL))
    part = lively(OlmoEarth(3, bands=['B02', 'B04', 'B08'], **SMALL))
    raw = 3000 * torch.rand(1, 2, 4, 4, 4)
    raw[:, :, 1] = raw[:, :, 0]  # 490 and 665 nm lie around 560
    mean, std = (torch.tensor(x)[:, None, None] for x in whole.statistics(names))
    image = (raw - mean) / std
    with torch.no_grad():
        expected = whole(series_of(image, 1, 2))
        torch.testing.assert_close(part(series_of(image[:, :, [0, 2, 3]], 1, 2)), expected)


@pytest.mark.parametrize(
    ('bands', 'expected'),
    [
        (['B02', 'B03', 'B10'], r"does not know the bands \['B10'\].*bands=\['B02', 'B03'\]"),
        (['B02', 'B03', 'red', 'B04'], r"\['red'\] is there twice"),
        (['B02', 'VV'], r"VV and VH of Sentinel-1 or neither, got \['VV'\]"),
        (['SR_B2', 'SR_B3'], 'does not know.*by their light'),
        (None, 'give bands, the 3 names'),
    ],
)
def test_bands_that_do_not_fit_are_named(bands, expected):
    with pytest.raises(ValueError, match=expected):
        OlmoEarth(len(bands or 'abc'), bands=bands, **SMALL)


def test_radar_stands_in_the_image_or_beside_it():
    with pytest.raises(ValueError, match=r"does not know the bands \['VV', 'VH'\]"):
        OlmoEarth(3, bands=['B02', 'VV', 'VH'], s1_channels=2, **SMALL)


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({'patch_size': 9}, 'patch_size from 1 to 8, got 9'),
        ({'dim': 24}, 'divisible by 16'),
        ({'tile_size': 0}, 'tile_size of at least 1, got 0'),
    ],
)
def test_sizes_that_do_not_fit_are_named(options, expected):
    with pytest.raises(ValueError, match=expected):
        OlmoEarth(10, **(SMALL | options))


@both
def test_series_of_more_months_than_the_model_knows_are_refused(kind):
    encoder = kind(10, **SMALL).eval()
    first, last = (
        int(datetime(*day, tzinfo=UTC).timestamp()) for day in ((2015, 1, 1), (2019, 12, 31))
    )
    series = series_of(torch.randn(1, 2, 10, 4, 4), 1, 2)
    series = series._replace(acquisition_times=torch.tensor([[first, last]]))
    with pytest.raises(ValueError, match=r'spans 60 calendar months, OlmoEarth.* takes 24'):
        encoder(series)


@both
def test_places_are_refused(kind):
    series = series_of(torch.randn(1, 2, 10, 4, 4), 1, 2, location=torch.tensor([[51.0, 4.0]]))
    with pytest.raises(ValueError, match=r'got location, but OlmoEarth.* takes none'):
        kind(10, **SMALL).eval()(series)


@pytest.mark.parametrize(('version', 'other'), [('v1', 'v1.2'), ('v1.2', 'v1')])
def test_weights_of_another_model_are_refused(tmp_path, version, other):
    name = f'olmoearth_{version.replace(".", "_")}_nano'
    for content in (
        {'encoder.x': torch.zeros(2)},
        small_weights(version),  # of another size
        small_weights(other),
    ):
        save_file(content, tmp_path / 'x.safetensors')
        with pytest.raises(ValueError, match=f'tensors are not those of {name}') as error:
            load_bare_encoder(f'{name}:{tmp_path}/x.safetensors', bands=TEN)
        assert '\n' not in str(error.value)


@pytest.mark.parametrize('version', VERSIONS)
def test_published_weights_come_with_a_card(tmp_path, version):
    name = f'olmoearth_{version.replace(".", "_")}_nano'
    content = small_weights(version) | {'decoder.x': torch.zeros(2)}
    torch.save(content, tmp_path / 'weights.pth')
    weights = f'{name}:{tmp_path}/weights.pth'
    encoder, card = load_bare_encoder(weights, bands=TEN, s1_channels=2, **SMALL)
    kind, rename = VERSIONS[version]
    assert type(encoder) is kind
    for key, value in rename(content).items():
        assert torch.equal(encoder.state_dict()[key], value)
    assert card['licence'] == 'OlmoEarth Artifact License'
    assert card['mean'][0] == pytest.approx(1188.9413)
    assert card['std_s1'] == pytest.approx([10.8404, 10.2163])
