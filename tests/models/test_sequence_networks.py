"""ConvLSTM and 3D U-Net: their size, and what they make of time."""

import pytest
import torch

from torchgeo_sits.keys import Series
from torchgeo_sits.models import ConvLSTM, DenseHead, UNet3D


@pytest.mark.parametrize(
    ('encoder', 'published'),
    [(UNet3D(10), 1.55e6), (ConvLSTM(10), 1.01e6)],
    ids=['unet3d', 'convlstm'],
)
def test_parameters_are_near_those_published_for_pastis(encoder, published):
    # Garnot & Landrieu 2021, table 2. The linear head of ConvLSTM stands for one of 3 x 3.
    head = DenseHead(encoder.embed_dim, 20)
    total = sum(p.numel() for module in (encoder, head) for p in module.parameters())
    assert abs(total / published - 1) < (0.02 if isinstance(encoder, UNet3D) else 0.03)


def test_convlstm_is_torchgeos_network_on_the_frames_in_order():
    torch.manual_seed(0)
    encoder = ConvLSTM(2, hidden_dim=4).eval()
    image = torch.randn(1, 4, 2, 5, 6)
    times = torch.tensor([[300, 100, 400, 200]])
    valid = torch.tensor([[True, True, False, True]])
    clear = torch.rand(1, 4, 5, 6) > 0.3
    with torch.no_grad():
        found = encoder.features(Series(image, times, valid, clear))
        frames = torch.cat([image * clear[:, :, None], clear[:, :, None].float()], 2)
        states, _ = encoder.network.forward_features(frames[:, [1, 3, 0]])
    torch.testing.assert_close(found, states[-1][:, -1])


@pytest.mark.parametrize('encoder', [UNet3D(1, width=2), ConvLSTM(1, hidden_dim=8)])
def test_learns_when_something_happened(encoder):
    # Early or late in the year: a mean over time could not tell.
    torch.manual_seed(0)
    head = torch.nn.Linear(encoder.embed_dim, 2)
    image = torch.zeros(16, 8, 1, 4, 4)
    label = torch.arange(16) % 2
    for i, late in enumerate(label.tolist()):
        image[i, 5 if late else 2] = 1
    image += 0.1 * torch.randn_like(image)
    times = torch.arange(8).expand(16, -1) * 86_400 * 30
    valid = torch.ones(16, 8, dtype=torch.bool)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, 0.01)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(head(encoder(Series(image, times, valid))), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.2
