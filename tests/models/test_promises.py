"""A check of encoders says which promise a broken one does not keep."""

import pytest
import torch
from torch import nn

from torchgeo_sits.models import LTAE, FactorisedEncoder, SITSEncoder, check_encoder


class Honest(SITSEncoder):
    """The mean of the clear values of a pixel, and a linear layer on it."""

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__(in_channels=in_channels, embed_dim=4)
        self.config = {'in_channels': in_channels}
        self.linear = nn.Conv2d(in_channels, 4, 1)

    def mean(self, series):
        clear = series.clear[:, :, None]
        return torch.where(clear, series.image, 0).sum(1) / clear.sum(1).clamp(min=1)

    def forward_features(self, series, depth):
        late = self.linear(self.mean(series))
        return torch.cat([late, late], 1) if depth == 'joined' else late

    def forward_frames(self, series):
        image = torch.where(series.clear[:, :, None], series.image, 0)
        return self.linear(image.flatten(0, 1)).unflatten(0, image.shape[:2])


class CountsPadding(Honest):
    def mean(self, series):
        return torch.where(series.clear[:, :, None], series.image, 0).mean(1)


class MultipliesPadding(Honest):
    def mean(self, series):
        clear, valid = series.clear[:, :, None], series.valid[:, :, None, None, None]
        # A product: infinity times zero is NaN.
        seen = torch.where(clear | ~valid, series.image.nan_to_num(posinf=torch.inf), 0) * valid
        return seen.sum(1) / clear.sum(1).clamp(min=1)


class SeesUnclearPixels(Honest):
    def mean(self, series):
        valid = series.valid[:, :, None, None, None]
        seen = torch.where(valid, series.image.nan_to_num(), 0)
        return seen.sum(1) / valid.sum(1).clamp(min=1)


class NormsTheBatch(Honest):
    def mean(self, series):
        mean = super().mean(series)
        return mean - mean.mean(0)


class LikesTheFirst(Honest):
    def mean(self, series):
        # The last clear frame as they come.
        weights = series.clear.long().cumsum(1)[:, :, None] * series.clear[:, :, None]
        image = torch.where(series.clear[:, :, None], series.image, 0)
        return (image * weights).sum(1) / weights.sum(1).clamp(min=1)


class LiesAboutItsChannels(Honest):
    def forward_features(self, series, depth):
        return super().forward_features(series, 'late')


class NotForOnePixel(Honest):
    def mean(self, series):
        mean = super().mean(series)
        if mean.shape[-1] == 1:
            raise RuntimeError('kernel larger than the image')
        return mean


class NotFiniteWithoutFrames(Honest):
    def mean(self, series):
        clear = series.clear[:, :, None]
        return torch.where(clear, series.image, 0).sum(1) / clear.sum(1)


class EmbedsOtherwise(Honest):
    def forward_image(self, series, token_mask):
        found = super().forward_image(series, token_mask)
        return found._replace(embed=found.embed + 1)


class OtherTokens(Honest):
    def forward_image(self, series, token_mask):
        found = super().forward_image(series, token_mask)
        return found._replace(early=found.early + 1)


class JoinsLateFirst(Honest):
    def forward_features(self, series, depth):
        late = self.linear(self.mean(series))
        early = late + 1
        return {'early': early, 'late': late, 'joined': torch.cat([late, early], 1)}[depth]


class SeesNothing(Honest):
    def forward_image(self, series, token_mask):
        found = super().forward_image(series, token_mask)
        return found._replace(seen=torch.zeros_like(found.seen))


class PeeksAtHiddenCells(Honest):
    def forward_image(self, series, token_mask):
        return super().forward_image(series, None)


class PeeksAtHiddenTokens(Honest):
    def forward_planes(self, planes, token_mask):
        found = super().forward_planes(planes, token_mask)
        leak = torch.where(planes.clear[:, :, None], planes.image, 0).sum((2, 3))
        return found._replace(late=found.late + leak[..., None])


class WithoutConfig(Honest):
    def __init__(self, in_channels: int = 3) -> None:
        super().__init__(in_channels)
        self.config = {}


class ForgetsAnArgument(Honest):
    def __init__(self, in_channels: int = 3, *, scale: float = 1.0) -> None:
        super().__init__(in_channels)
        self.scale = scale

    def mean(self, series):
        return super().mean(series) * self.scale


class ConfigIsNotPlain(Honest):
    def __init__(self, in_channels: int = 3) -> None:
        super().__init__(in_channels)
        self.config = {'in_channels': in_channels, 'mean': torch.zeros(1)}


class LearnsOutsideOfItsState(Honest):
    def __init__(self, in_channels: int = 3) -> None:
        super().__init__(in_channels)
        self.offset = torch.randn(1)

    def mean(self, series):
        return super().mean(series) + self.offset


class RootOfUnclear(Honest):
    def mean(self, series):
        clear = series.clear[:, :, None]
        image = series.image.clamp(min=0.1) * self.linear.weight.abs().sum()
        return torch.where(clear, image.sqrt(), 0).sum(1) / clear.sum(1).clamp(min=1)


BROKEN = {
    CountsPadding: 'padding frames.*change no output: ',
    MultipliesPadding: 'padding frames, here full of inf, change no output: ',
    SeesUnclearPixels: 'unclear pixels.*change no output: ',
    NormsTheBatch: 'other series of the batch change no output: ',
    LikesTheFirst: 'order of the frames changes no output: ',
    LiesAboutItsChannels: 'expected 8 channels .* got 4',
    NotFiniteWithoutFrames: 'finite values',
    EmbedsOtherwise: 'the same agree: encode_image and embed',
    OtherTokens: 'the same agree: encode_image and features, early',
    JoinsLateFirst: 'the same agree: joined features',
    SeesNothing: 'seen tells',
    PeeksAtHiddenCells: 'encode_image does not see what is hidden',
    PeeksAtHiddenTokens: 'encode_planes does not see what is hidden',
    WithoutConfig: 'config holds.*in_channels None',
    LearnsOutsideOfItsState: 'state dict holds',
    RootOfUnclear: 'gradients are finite.*linear',
}


@pytest.mark.parametrize('kind', BROKEN)
def test_a_broken_promise_is_named(kind):
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=f'{kind.__name__} breaks the promise.*{BROKEN[kind]}'):
        check_encoder(kind())


def test_an_argument_that_config_leaves_out_is_found():
    check_encoder(ForgetsAnArgument())
    with pytest.raises(ValueError, match='state dict holds all'):
        check_encoder(ForgetsAnArgument(scale=2.0))


def test_other_errors_say_what_was_checked():
    with pytest.raises(TypeError, match='not JSON serializable') as caught:
        check_encoder(ConfigIsNotPlain())
    assert 'config holds plain values' in caught.value.__notes__[0]
    with pytest.raises(RuntimeError, match='kernel larger') as caught:
        check_encoder(NotForOnePixel())
    assert '1 frames of 1 x 1 pixels' in caught.value.__notes__[0]


def test_honest_encoders_pass_and_are_left_as_they_are():
    for encoder in (Honest(), LTAE(3, embed_dim=4, pixel_dim=8, dim=8, num_heads=2)):
        encoder.train()
        before = {key: value.clone() for key, value in encoder.state_dict().items()}
        check_encoder(encoder)
        assert encoder.training
        assert all(parameter.grad is None for parameter in encoder.parameters())
        assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


class SeesUnclearS1(FactorisedEncoder):
    def forward_image(self, series, token_mask):
        if series.s1 is not None:
            s1 = series.s1
            image = torch.where(s1.valid[:, :, None, None, None], s1.image.nan_to_num(), 0)
            s1 = s1._replace(image=image, mask_clear=s1.valid[..., None, None].expand_as(s1.clear))
            series = series._replace(s1=s1)
        return super().forward_image(series, token_mask)


def test_sentinel_1_is_checked_too():
    encoder = SeesUnclearS1(3, s1_channels=2, dim=8, num_heads=1, spatial_depth=1)
    with pytest.raises(ValueError, match='breaks the promise'):
        check_encoder(encoder)
