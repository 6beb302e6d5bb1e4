"""Padding in time keeps every key and every value."""

import pytest
import torch

from torchgeo_sits.collate import pad_time


def sample(frames, *, per_frame_mask=False):
    generator = torch.Generator().manual_seed(frames)
    size = (frames, 4, 5) if per_frame_mask else (4, 5)
    return {
        'image': torch.rand(frames, 3, 4, 5, generator=generator),
        'acquisition_times': torch.arange(1, frames + 1) * 86400,
        'valid': torch.ones(frames, dtype=torch.bool),
        'mask_clear': torch.ones(frames, 4, 5, dtype=torch.bool),
        'mask': torch.randint(1, 9, size, generator=generator),
        'label': torch.tensor(frames),
        'bounds': torch.rand(9, generator=generator, dtype=torch.float64),
        'name': f'{frames} frames',
    }


@pytest.mark.parametrize('per_frame_mask', [False, True])
def test_pads_every_frame_key_and_no_other(per_frame_mask):
    samples = [sample(n, per_frame_mask=per_frame_mask) for n in (2, 5, 1)]
    batch = pad_time(samples)
    assert set(batch) == {*samples[0], 'length'}
    assert batch['length'].tolist() == [2, 5, 1]
    assert batch['valid'].sum(1).tolist() == [2, 5, 1]
    assert batch['name'] == ['2 frames', '5 frames', '1 frames']
    assert batch['bounds'].dtype == torch.float64
    frame_keys = ['image', 'acquisition_times', 'mask_clear'] + ['mask'] * per_frame_mask
    for key in frame_keys:
        for i, one in enumerate(samples):
            n = len(one['image'])
            assert torch.equal(batch[key][i, :n], one[key])
            assert not batch[key][i, n:].any()
    if not per_frame_mask:
        assert torch.equal(batch['mask'], torch.stack([one['mask'] for one in samples]))


def test_names_the_key_that_does_not_fit():
    a, b = sample(2), sample(3)
    b['mask'] = b['mask'][:2]
    with pytest.raises(ValueError, match=r"'mask' has different shapes.*\(2, 5\).*\(4, 5\)"):
        pad_time([a, b])


def test_names_a_key_that_some_samples_lack():
    a, b = sample(2), sample(3)
    del b['label']
    with pytest.raises(ValueError, match='label'):
        pad_time([a, b])


def test_a_series_of_sentinel_1_is_padded_to_a_length_of_its_own():
    samples = []
    for frames, frames_s1 in ((2, 3), (4, 1)):
        other = sample(frames_s1)
        keys = ('image', 'acquisition_times', 'valid', 'mask_clear')
        samples.append(sample(frames) | {f'{key}_s1': other[key] for key in keys})
    batch = pad_time(samples)
    assert batch['image'].shape[1] == 4
    assert batch['image_s1'].shape[1] == 3
    assert batch['valid_s1'].tolist() == [[True] * 3, [True, False, False]]
    assert torch.equal(batch['image_s1'][1, 0], samples[1]['image_s1'][0])
    assert not batch['mask_clear_s1'][1, 1:].any()
    assert not batch['acquisition_times_s1'][1, 1:].any()
