import io

import pytest
import torch
from matplotlib import pyplot as plt

from torchgeo_sits.transforms import PlanarMultiView, ResamplingMultiView, plot_views


@pytest.mark.parametrize('bands', [1, 10])
@pytest.mark.parametrize('length', [9, 1, 0])
@pytest.mark.parametrize('multi_view', [PlanarMultiView(length=8), ResamplingMultiView()])
def test_any_sample_can_be_drawn(multi_view, length, bands):
    valid = torch.arange(9)[None] < length
    image = torch.rand(1, 9, bands, 16, 20)
    image[0, 0] = torch.nan
    batch = {
        'image': image,
        'acquisition_times': (1_500_000_000 + torch.arange(9) * 432_000)[None] * valid,
        'valid': valid,
        'mask_clear': (torch.rand(1, 9, 16, 20) < 0.5) & valid[..., None, None],
    }
    figure = plot_views(batch, multi_view(batch), class_mask=torch.zeros(16, 20))
    figure.savefig(io.BytesIO(), format='png', dpi=30)
    titles = [part.get_suptitle() for part in figure.subfigs]
    assert titles[0] == f'One sample: {max(1, length)} dates of 16 x 20 pixels'
    assert [title[:6] for title in titles[1:]] == ['View 1', 'View 2', 'View 6']
    plt.close(figure)


def test_a_plane_is_labelled_with_its_dates_in_utc():
    batch = {
        'image': torch.rand(1, 1, 3, 8, 8),
        'acquisition_times': torch.tensor([[1_546_300_799]]),  # a second before 2019
    }
    figure = plot_views(batch, PlanarMultiView(length=8, local_views=0)(batch))
    labels = [
        label.get_text() for axes in figure.subfigs[1].axes for label in axes.get_yticklabels()
    ]
    assert labels == ['2018-12-31']
    plt.close(figure)


def test_a_sample_that_is_not_there_is_named():
    batch = {'image': torch.rand(1, 1, 3, 8, 8), 'acquisition_times': torch.ones(1, 1).long()}
    with pytest.raises(ValueError, match='sample=1'):
        plot_views(batch, [{}], sample=1)
