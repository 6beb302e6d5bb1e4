"""Statistics per band against NumPy."""

import numpy as np
import pytest
import torch

from torchgeo_sits.datamodules.base import band_statistics


def sample(seed, *, frames, offset=0.0):
    generator = torch.Generator().manual_seed(seed)
    clear = torch.rand(frames, 6, 7, generator=generator) > 0.3
    image = torch.rand(frames, 3, 6, 7, generator=generator) + offset
    # What is not clear must not count, whatever it holds.
    image = torch.where(clear[:, None], image, torch.nan)
    return {'image': image, 'mask_clear': clear}


@pytest.mark.parametrize('offset', [0.0, 1e4])
def test_equals_numpy_over_all_clear_pixels(offset):
    samples = [sample(i, frames=i + 1, offset=offset) for i in range(4)]
    mean, std = band_statistics(samples)
    pixels = np.concatenate(
        [s['image'].movedim(1, -1)[s['mask_clear']].double().numpy() for s in samples]
    )
    np.testing.assert_allclose(mean, pixels.mean(0), rtol=1e-6)
    np.testing.assert_allclose(std, pixels.std(0), rtol=1e-4)


def test_constant_band_keeps_a_harmless_deviation():
    one = {'image': torch.full((2, 1, 3, 3), 7.0), 'mask_clear': torch.ones(2, 3, 3) > 0}
    assert band_statistics([one])[1].tolist() == [1.0]


def test_no_clear_pixel_is_an_error():
    one = {'image': torch.zeros(2, 1, 3, 3), 'mask_clear': torch.zeros(2, 3, 3) > 0}
    with pytest.raises(ValueError, match='clear_values'):
        band_statistics([one])


def test_fill_values_that_files_do_not_declare_are_refused():
    image = torch.zeros(1, 2, 4, 4)
    image[:, 1, 0, 0] = -3.4e38
    sample = {'image': image, 'mask_clear': torch.ones(1, 4, 4, dtype=torch.bool)}
    with pytest.raises(ValueError, match=r'bands number \[2\].*`nodata`'):
        band_statistics([sample])
