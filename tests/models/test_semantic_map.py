"""Semantic maps: they add up to the scores, and point to what decides them."""

import pytest
import torch
from torch import nn

from torchgeo_sits.keys import Series
from torchgeo_sits.models import DeepSTaR, PlanarViT, semantic_map
from torchgeo_sits.tasks import SITSClassification

C = 2
SMALL = {'backbone': 'test_resnet', 'num_steps': 16, 'max_stride': 4}
CORNERS = [(0, 0), (0, 8), (8, 0), (8, 8)]


def series(b=2, t=5, h=7, w=6, *, seed=0):
    g = torch.Generator().manual_seed(seed)
    image = torch.randn(b, t, C, h, w, generator=g)
    clear = torch.rand(b, t, h, w, generator=g) > 0.3
    clear[:, :, :2, 3:] = False
    times = (18_000 + torch.randint(0, 400, (b, t), generator=g).sort(-1).values) * 86_400
    return image, times, torch.ones(b, t, dtype=torch.bool), clear


@pytest.mark.parametrize(
    'encoder', [lambda: DeepSTaR(C, **SMALL), lambda: PlanarViT(C)], ids=['deep_star', 'planar_vit']
)
@torch.no_grad()
def test_mean_of_the_map_and_bias_are_the_score(encoder):
    torch.manual_seed(0)
    encoder = encoder().eval()
    head = nn.Linear(encoder.embed_dim, 3)
    batch = series()
    found = semantic_map(encoder, head, Series(*batch))
    assert found.shape == (2, 3, 7, 6)
    seen = batch[-1].any(1)
    for i in range(2):
        score = found[i][:, seen[i]].mean(-1) + head.bias
        torch.testing.assert_close(score, head(encoder(Series(*batch)))[i], atol=1e-5, rtol=0)


@torch.no_grad()
def test_map_of_the_classifier_is_that_of_its_score():
    torch.manual_seed(0)
    task = SITSClassification(
        model='deep_star', model_kwargs=SMALL, in_channels=C, num_classes=4, depth='late'
    ).eval()
    image, times, valid, _ = series(h=6, w=6)
    found = semantic_map(task.encoder, task.head, Series(image, times, valid))
    batch = {'image': image, 'acquisition_times': times, 'valid': valid}
    torch.testing.assert_close(found.mean((2, 3)) + task.head.bias, task(batch))
    # On a square seen everywhere, the mean of the planes' scores is the same.
    task.hparams['aggregate'] = 'mean'
    torch.testing.assert_close(found.mean((2, 3)) + task.head.bias, task(batch))


def test_map_peaks_where_the_class_shows():
    """Labels of whole series; the class shows in one corner, by a season that the rest lacks."""
    torch.manual_seed(0)
    encoder = DeepSTaR(C, **SMALL)
    head = nn.Linear(encoder.embed_dim, 2)
    times = (18_000 + torch.arange(0, 360, 40))[None] * 86_400
    season = torch.sin(torch.linspace(0, 6.28, 9))[:, None, None, None]

    def sample(corners):
        image = 0.3 * torch.randn(len(corners), 9, C, 12, 12)
        for i, corner in enumerate(corners):
            if corner is not None:
                y, x = corner
                image[i, :, :, y : y + 4, x : x + 4] += 2 * season
        b = len(corners)
        return image, times.expand(b, -1), torch.ones(b, 9, dtype=torch.bool)

    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], 3e-3)
    for _ in range(30):
        label = torch.tensor([1, 1, 1, 1, 0, 0, 0, 0])
        scores = head(encoder(Series(*sample([*CORNERS, *[None] * 4]))))
        loss = nn.functional.cross_entropy(scores, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    encoder.eval()
    with torch.no_grad():
        batch = sample(CORNERS)
        found = semantic_map(encoder, head, Series(*batch))
        frames = semantic_map(encoder, head, Series(*batch), by_frame=True)
    assert frames.shape == (4, 9, 2, 12, 12)
    for maps in (found, frames.amax(1)):
        evidence = maps[:, 1] - maps[:, 0]
        for i, (y, x) in enumerate(CORNERS):
            peak = divmod(int(evidence[i].argmax()), 12)
            assert y <= peak[0] < y + 4, (i, peak)
            assert x <= peak[1] < x + 4, (i, peak)


@pytest.mark.parametrize(
    'head', [nn.Linear(5, 2), nn.Sequential(nn.Linear(48, 8), nn.Linear(8, 2)), nn.Conv2d(48, 2, 1)]
)
def test_other_heads_are_refused(head):
    with pytest.raises(ValueError, match=r'expected a head nn\.Linear on the 32 late features'):
        semantic_map(DeepSTaR(C, **SMALL), head, Series(*series()))
