import re

import numpy as np
import pytest
import rasterio
import torch

from torchgeo_sits.transforms import count_superpixels, superpixels

T, C = 12, 2


def seasons(parcels, generator):
    """Image ``(1, T, C, H, W)`` of parcels that differ in their season, not in their mean."""
    curves = torch.rand(int(parcels.max()) + 1, T, C, generator=generator)
    curves = curves - curves.mean(1, keepdim=True)
    return curves[parcels].permute(2, 3, 0, 1)[None]


def crossed(ids, parcels):
    """Ids of superpixels with pixels of more than one parcel."""
    return [i for i in ids.unique().tolist() if parcels[ids == i].unique().numel() > 1]


def reference(image, clear, size, iterations, compactness):
    """SLIC as the docstring has it, by loops over pixels in float64; ``(T, C, H, W)``."""
    steps, bands, high, wide = image.shape
    image = image.astype(float)
    for t in range(steps):
        image[t] -= image[t][:, clear[t]].mean(1)[:, None, None]
    for c in range(bands):
        image[:, c] /= np.sqrt((image[:, c][clear] ** 2).mean())

    def apart(a, b, clear_a, clear_b):
        both = clear_a & clear_b
        return ((a - b)[both] ** 2).mean() if both.any() else 2.0

    def pair(p, q):
        return apart(image[:, :, *p], image[:, :, *q], clear[:, *p], clear[:, *q])

    rows, columns = -(-high // size), -(-wide // size)
    pixels = [(y, x) for y in range(high) for x in range(wide)]
    weight = (compactness / size) ** 2
    centres = {}
    for i in range(rows):
        for j in range(columns):
            middle = np.array([i, j]) * size + (size - 1) / 2
            scores = {}
            for y, x in pixels:
                if (y // size, x // size) != (i, j):
                    continue
                around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
                gradient = np.mean([pair((y, x), q) for q in around if q in pixels])
                way = ((np.array([y, x]) - middle) ** 2).sum()
                scores[y, x] = gradient - clear[:, y, x].mean() + weight * way
            best = min(scores, key=scores.get)
            centres[i, j] = image[:, :, *best], clear[:, *best], np.array(best)
    for _ in range(iterations):
        ids = np.zeros((high, wide), int)
        for y, x in pixels:
            near = {}
            for (i, j), (series, known, place) in centres.items():
                if max(abs(y // size - i), abs(x // size - j)) <= 1:
                    near[i * columns + j] = apart(image[:, :, y, x], series, clear[:, y, x], known)
                    near[i * columns + j] += weight * ((place - (y, x)) ** 2).sum()
            ids[y, x] = min(near, key=near.get)
        for i, j in list(centres):
            members = [p for p in pixels if ids[p] == i * columns + j]
            if not members:
                del centres[i, j]
                continue
            known = np.array([clear[:, *p] for p in members])
            total = sum(image[:, :, *p] * clear[:, *p][:, None] for p in members)
            series = total / np.maximum(known.sum(0), 1)[:, None]
            centres[i, j] = series, known.any(0), np.mean(members, 0)
    return ids


@pytest.mark.parametrize(('size', 'compactness'), [(3, 0.5), (4, 1.0), (5, 0.2)])
def test_ids_are_those_of_loops_over_pixels(size, compactness):
    generator = torch.Generator().manual_seed(size)
    image = torch.rand(1, 6, C, 11, 14, generator=generator)
    clear = torch.rand(1, 6, 11, 14, generator=generator) < 0.5
    clear[:, :, 3, 4] = False
    image[0, :, :, ~clear[0].any(0)] = float('nan')
    ids = superpixels(
        {'image': image, 'mask_clear': clear}, size=size, iterations=4, compactness=compactness
    )
    filled = image.nan_to_num(0.0)[0].numpy()
    expected = reference(filled, clear[0].numpy(), size, 4, compactness)
    assert np.array_equal(ids[0].numpy(), expected)


@pytest.mark.parametrize('seed', [17, 7])
def test_centres_that_lose_all_pixels_stay_without(seed):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(1, 2, 1, 11, 14, generator=generator)
    clear = torch.rand(1, 2, 11, 14, generator=generator) < (0.9 if seed == 17 else 0.5)
    batch = {'image': image, 'mask_clear': clear}
    ids = superpixels(batch, size=2, iterations=10, compactness=0.1)[0].numpy()
    assert len(np.unique(ids)) < count_superpixels(11, 14, size=2)
    assert np.array_equal(ids, reference(image[0].numpy(), clear[0].numpy(), 2, 10, 0.1))


def test_an_image_without_content_gives_the_grid():
    ids = superpixels({'image': torch.ones(1, T, C, 20, 25)}, size=5, iterations=1)
    grid = torch.arange(20)[:, None] // 5 * 5 + torch.arange(25) // 5
    assert torch.equal(ids[0], grid)


@pytest.mark.parametrize('size', [4, 8])
@pytest.mark.parametrize('border', range(9, 16))
def test_parcels_of_different_seasons_are_told_apart_exactly(size, border):
    parcels = torch.zeros(24, 28, dtype=torch.int64)
    parcels[:, border:] = 1
    image = seasons(parcels, torch.Generator().manual_seed(border))
    assert torch.allclose(image.mean(1), torch.zeros(()), atol=1e-6), 'the mean tells nothing'
    ids = superpixels({'image': image}, size=size)[0]
    assert not crossed(ids, parcels)
    grid = torch.arange(24)[:, None] // size * 100 + torch.arange(28) // size
    assert border % size == 0 or crossed(grid, parcels)


def test_clouds_on_half_of_the_dates_move_no_border():
    unmasked = []
    for border in range(9, 16):
        parcels = torch.zeros(24, 28, dtype=torch.int64)
        parcels[:, border:] = 1
        image = seasons(parcels, torch.Generator().manual_seed(border))
        clear = torch.ones(1, T, 24, 28, dtype=torch.bool)
        clear[:, ::4, 3:15, 5:20] = False  # across the border, in one place,
        clear[:, 2::4, :, 12:] = False  # and in another
        image = image.masked_fill(~clear[:, :, None], 50.0)
        batch = {'image': image, 'mask_clear': clear}
        assert not crossed(superpixels(batch, size=4)[0], parcels)
        unmasked += crossed(superpixels({'image': image}, size=4)[0], parcels)
    assert unmasked, 'without the mask the edges of the clouds count'


def test_samples_frames_of_padding_and_hidden_values_do_not_matter():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, T, C, 19, 23, generator=generator)
    clear = torch.rand(3, T, 19, 23, generator=generator) < 0.6
    clear[2] = False
    batch = {'image': image, 'mask_clear': clear}
    ids = superpixels(batch, size=5)
    assert ids.shape == (3, 19, 23)
    assert ids.dtype == torch.int64
    assert ids.min() >= 0
    assert ids.max() < count_superpixels(19, 23, size=5) == 4 * 5
    assert len(ids[2].unique()) == 20, 'nothing is known: the grid'
    assert not torch.equal(ids[0], ids[1])
    for i in range(3):
        alone = {key: value[i : i + 1] for key, value in batch.items()}
        assert torch.equal(superpixels(alone, size=5)[0], ids[i])
    padded = {
        'image': torch.cat([image, torch.full_like(image[:, :4], float('nan'))], 1),
        'mask_clear': torch.cat([clear, torch.ones_like(clear[:, :4])], 1),
        'valid': torch.arange(T + 4).expand(3, -1) < T,
    }
    padded['image'][:, :T].masked_fill_(~clear[:, :, None], float('nan'))
    assert torch.equal(superpixels(padded, size=5), ids)


def test_units_of_bands_and_half_precision_do_not_matter():
    image = torch.rand(2, T, C, 16, 16, generator=torch.Generator().manual_seed(0))
    ids = superpixels({'image': image}, size=4)
    scaled = image * torch.tensor([2.0**12, 2.0**-3])[:, None, None] + 8.0
    assert (superpixels({'image': scaled}, size=4) == ids).float().mean() > 0.99  # rounding
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(superpixels({'image': image}, size=4), ids)


@pytest.mark.parametrize('shape', [(1, 7), (7, 1), (1, 1), (3, 3)])
def test_images_smaller_than_a_cell(shape):
    ids = superpixels({'image': torch.rand(2, 3, C, *shape)}, size=4)
    assert ids.shape == (2, *shape)
    assert ids.max() < count_superpixels(*shape, size=4)


def test_superpixels_of_real_fields_are_pure(shared_data):
    folder = shared_data / 'wc_be_b'
    image, clear = [], []
    for path in sorted((folder / 's2').glob('*.tif')):
        date = re.findall(r'\d{8}', path.name)[-1]
        (scene,) = (folder / 'scl').glob(f'*{date}*.tif')
        with rasterio.open(path) as file, rasterio.open(scene) as classes:
            image.append(file.read().astype('float32'))
            seen = np.isin(classes.read(1, out_shape=file.shape), [2, 4, 5, 6, 7])
            clear.append(seen & (image[-1] > 0).all(0))
    with rasterio.open(folder / 'labels' / 'wc_be_b_CT_aligned_core.tif') as file:
        label = file.read(1).astype(int)
    batch = {
        'image': torch.from_numpy(np.stack(image))[None],
        'mask_clear': torch.from_numpy(np.stack(clear))[None],
    }
    high, wide = label.shape
    cell = np.arange(high)[:, None] // 8 * 100 + np.arange(wide) // 8

    def purity(ids):
        """Share of the labelled pixels that are of the majority of their group."""
        pixels = label > 0
        table = np.zeros((ids.max() + 1, label.max() + 1), int)
        np.add.at(table, (ids[pixels], label[pixels]), 1)
        return table.max(1).sum() / pixels.sum()

    assert purity(superpixels(batch, size=8)[0].numpy()) > 0.99
    assert purity(cell) < 0.92


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'size': 0}, 'size=0'),
        ({'iterations': 0}, 'iterations=0'),
        ({'compactness': 0.0}, 'compactness=0.0'),
    ],
)
def test_bad_options_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        superpixels({'image': torch.rand(1, 2, 2, 8, 8)}, **change)
    with pytest.raises(ValueError, match=r'\(2, 2, 8, 8\)'):
        superpixels({'image': torch.rand(2, 2, 8, 8)})
