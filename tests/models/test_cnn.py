"""CNNs of timm, cut at a stride."""

import pytest
import timm
import torch

from torchgeo_sits.models import register_models
from torchgeo_sits.models.deep_star import _build_cnn


@pytest.mark.parametrize(
    ('backbone', 'max_stride', 'dim', 'stride'),
    [
        # From the papers' tables: stages of 64 and 128 (ResNet), 40 and 80 channels (ConvNeXt).
        ('resnet18', 8, 128, 8),
        ('resnet18', 4, 64, 4),
        ('convnext_atto', 8, 80, 8),
        # No map of stride 3: the one before is taken.
        ('resnet18', 3, 64, 2),
        ('regnetx_002', 32, 368, 32),
    ],
)
def test_the_last_map_of_at_most_the_stride_is_taken(backbone, max_stride, dim, stride):
    network, *found = _build_cnn(backbone, 5, max_stride)
    assert found == [dim, stride]
    assert network.training
    with torch.no_grad():
        maps = network.eval()(torch.zeros(2, 5, 2 * stride, 3 * stride))
    assert [tuple(x.shape) for x in maps] == [(2, dim, 2, 3)]


def test_what_lies_behind_the_map_is_left_out():
    network, _, _ = _build_cnn('resnet18', 10, 8)
    whole = timm.create_model('resnet18', in_chans=10)
    kept = ('conv1', 'bn1', 'layer1', 'layer2')
    expected = sum(p.numel() for name in kept for p in getattr(whole, name).parameters())
    assert sum(p.numel() for p in network.parameters()) == expected


@pytest.mark.parametrize(
    ('backbone', 'message'),
    [
        ('resnett18', r"a model of timm, got 'resnett18': did you mean one of .*'resnet18'"),
        ('$', 'timm.list_models'),
        ('test_vit', r'max_stride of at least 16, got 8: test_vit has feature maps of the stride'),
        ('swin_tiny_patch4_window7_224', 'swin_tiny_patch4_window7_224 takes no images of 16 x 8'),
        ('test_mambaout', r'expected feature maps \(B, 32, H, W\) of test_mambaout'),
        ('sits_planar_vit_tiny', 'timm gives no feature maps of sits_planar_vit_tiny'),
    ],
)
def test_models_that_do_not_fit_are_named(backbone, message):
    register_models()
    with pytest.raises(ValueError, match=message):
        _build_cnn(backbone, 4, 8)
