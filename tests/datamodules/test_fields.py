"""Fields: whole, in one split only, few but nested; counted in the rasters themselves."""

import numpy as np
import pytest
import rasterio
import torch
from scipy import ndimage

from torchgeo_sits.datamodules import SITSDataModule
from torchgeo_sits.datamodules.fields import choose_fields, hold_out_fields
from torchgeo_sits.datasets.labels import connected_fields

from .grouped import grouped
from .one_band import write

CODES = {1200: 'maize', 2130: 'cabbage', 5100: 'potato', 7900: 'legume', 9120: 'grass'}


@pytest.fixture
def farm(tmp_path):
    """48 x 64 pixels in fields of 6 x 8, numbered, of classes 1 to 3, with margins."""
    folder = tmp_path / 'series'
    folder.mkdir()
    for i in range(4):
        write(folder / f's_2021{i + 1:02d}01.tif', np.full((48, 64), i + 1, 'uint16'))
    row, column = np.mgrid[:48, :64]
    number = (row // 6 * 8 + column // 8 + 1).astype('uint16')
    number[(row % 6 == 5) | (column % 8 == 7)] = 0
    kind = np.random.default_rng(3).choice([1, 1, 1, 2, 2, 3], 65).astype('uint8')
    labels = kind[number]
    labels[number == 0] = 0
    return {
        'paths': str(folder),
        'labels__paths': write(tmp_path / 'labels.tif', labels, nodata=0),
        'labels__field_paths': write(tmp_path / 'fields.tif', number, nodata=0),
    }


def module(files, **kwargs):
    options = {
        'patches__size': 8,
        'batch_size': 4,
        'patches__length': 8,
        'images__mean': [0.0],
        'images__std': [1.0],
    }
    made = SITSDataModule(**grouped(**options | files | kwargs))
    made.setup('fit')
    return made


def read(path):
    with rasterio.open(path) as file:
        return file.read(1)


def masks(made):
    """The mask of each split over all of the area, patch by patch as they are read."""
    parts = made.splits
    found = []
    for part in (parts.labelled_train, parts.labelled_val, parts.labelled_test):
        if part is None:
            continue
        whole = np.full((48, 64), -9)
        for x, y in made._gridded_patches(part):
            sample = part[x, y]
            row, column = round((5000000 - y.stop) / 10), round((x.start - 600000) / 10)
            whole[row : row + 8, column : column + 8] = sample['mask']
        found.append(whole)
    return found


@pytest.mark.parametrize('shape', [(40, 70), (1, 30), (30, 1), (1, 1)])
@pytest.mark.parametrize('kinds', [1, 2, 4])
def test_components_are_those_of_scipy(shape, kinds):
    rng = np.random.default_rng(kinds)
    mask, known = rng.integers(0, kinds, shape), rng.random(shape) < 0.8
    found, total = connected_fields(mask, known), 0
    assert (found[~known] == 0).all()
    for kind in range(kinds):
        expected, count = ndimage.label((mask == kind) & known)
        inside = expected > 0
        assert len(np.unique(np.stack([expected[inside], found[inside]]), axis=1).T) == count
        total += count
    assert set(np.unique(found[known])) == set(range(1, total + 1))


def test_components_wind(tmp_path):
    # One spiral: every turn joins runs that were apart until then.
    mask = np.zeros((41, 41), int)
    row = column = 20
    for step, (down, right) in zip(
        range(2, 41, 2), [(0, 1), (1, 0), (0, -1), (-1, 0)] * 5, strict=True
    ):
        for _ in range(step):
            if 0 <= row < 41 and 0 <= column < 41:
                mask[row, column] = 1
            row, column = row + down, column + right
    found = connected_fields(mask, mask == 1)
    assert found.max() == ndimage.label(mask)[1]


def test_fields_are_held_out_whole_class_by_class(farm):
    made = module(farm, split__by='fields', split__val_fraction=0.25, split__test_fraction=0.25)
    made.setup('test')
    labels, number = read(farm['labels__paths']), read(farm['labels__field_paths'])
    parts = masks(made)
    numbers = [set(np.unique(number[part > 0])) for part in parts]
    assert set.union(*numbers) == set(range(1, 65))
    assert sum(map(len, numbers)) == 64
    for part, own in zip(parts, numbers, strict=True):
        np.testing.assert_array_equal(part, np.where(np.isin(number, list(own)), labels, 0))
        assert set(np.unique(part)) == {0, 1, 2, 3}
    for kind in (1, 2, 3):
        fields = np.unique(number[labels == kind])
        counts = [len(own & set(fields)) for own in numbers]
        assert counts[1] == counts[2] == round(len(fields) / 4)


def test_real_fields_are_components_held_out_whole(shared_data):
    path = shared_data / 'wc_be_a' / 'labels' / 'wc_be_a_CT_aligned_core.tif'
    made = SITSDataModule(
        str(shared_data / 'wc_be_a' / 's2'),
        **grouped(
            labels__paths=str(path),
            labels__classes=CODES,
            labels__supervised=True,
            split__by='fields',
            patches__size=64,
            batch_size=2,
            patches__length=2,
            images__mean=[0.0] * 10,
            images__std=[1.0] * 10,
        ),
    )
    with pytest.warns(UserWarning, match=r"\['cabbage', 'potato'\] is left for validation"):
        made.setup('fit')
    codes = read(path)
    train, val = (
        part[:, :, ::50]['mask'].numpy()
        for part in (made.splits.labelled_train, made.splits.labelled_val)
    )
    assert not ((train > 0) & (val > 0)).any()
    for position, code in enumerate(CODES, start=1):
        np.testing.assert_array_equal((train == position) | (val == position), codes == code)
        components, count = ndimage.label(codes == code)
        held_out = set(np.unique(components[val == position])) - {0}
        assert not held_out & set(np.unique(components[train == position]))
        # A quarter, and one at least where two are there.
        assert len(held_out) == (max(1, round(count / 4)) if count > 1 else 0)


def test_fields_across_a_border_are_in_the_split_of_most_of_their_pixels(farm):
    labels, number = read(farm['labels__paths']), read(farm['labels__field_paths'])
    divided = 0
    for seed in range(3):
        made = module(farm, seed=seed, split__by='space')
        train, val = masks(made)
        held_out = np.zeros((48, 64), bool)
        for x, y in made._gridded_patches(made.splits.labelled_val):
            row, column = round((5000000 - y.stop) / 10), round((x.start - 600000) / 10)
            held_out[row : row + 8, column : column + 8] = True
        for field in range(1, 65):
            inside = number == field
            shares = (inside & ~held_out).sum(), (inside & held_out).sum()
            divided += min(shares) > 0
            assert not (train[inside] > 0).any() or not (val[inside] > 0).any()
            own, other = (train, val) if shares[0] >= shares[1] else (val, train)
            assert not (other[inside] > 0).any()
            seen = inside & (own != -9) & (held_out if own is val else ~held_out)
            np.testing.assert_array_equal(own[seen], labels[seen])
    assert divided


@pytest.mark.parametrize(
    ('options', 'by'),
    [
        ({}, 'fields'),  # of field_paths
        ({'labels__field_paths': None}, 'space'),
        ({'labels__field_paths': None, 'labels__fields_per_class': 2}, 'fields'),
        ({'labels__field_paths': None, 'labels__fraction': 0.5}, 'fields'),
        ({'labels__fields_per_class': 2, 'split__by': 'space'}, 'space'),
    ],
)
def test_fields_are_held_out_where_they_are_asked_for(farm, options, by):
    assert module(farm, **options).splits.by == by


def test_an_area_too_small_for_blocks_is_split_by_fields(farm):
    # 48 x 64 pixels have no two blocks of 40.
    farm['labels__field_paths'] = None
    with pytest.warns(UserWarning, match=r'whole fields are held out .* No area is large enough'):
        made = module(farm, patches__size=40)
    assert made.splits.by == 'fields'
    with pytest.raises(ValueError, match=r"split by fields or by time \(split.by='fields'"):
        module(farm, patches__size=40, split__by='space')


def test_a_class_without_a_field_for_training_is_refused(farm, tmp_path):
    # One class in the south, where validation is.
    labels = np.ones((48, 64), 'uint8')
    labels[::6] = labels[:, ::8] = 0
    labels[:, 32:] *= 2
    farm |= {'labels__paths': write(tmp_path / 'two.tif', labels), 'labels__field_paths': None}
    refused = 0
    for seed in range(8):
        options = {
            'seed': seed, 'patches__size': 24, 'split__by': 'space', 'split__val_fraction': 0.5,
            'labels__fields_per_class': 1,
        }  # fmt: skip
        try:
            with pytest.warns(UserWarning, match='no field of the classes'):
                module(farm, **options)
        except pytest.fail.Exception:
            continue
        with pytest.raises(ValueError, match=r"no field of the classes \[[12]\] .*by='fields'"):
            module(farm, labels__supervised=True, **options)
        refused += 1
    assert refused


def test_few_fields_are_part_of_more(farm):
    number = read(farm['labels__field_paths'])

    def labelled(**kwargs):
        train, val = masks(module(farm, split__by='fields', **kwargs))
        return set(np.unique(number[train > 0])), set(np.unique(number[val > 0]))

    everything, held_out = labelled()
    few = [labelled(labels__fields_per_class=n) for n in (1, 2, 3)]
    assert [len(train) for train, _ in few] == [3, 6, 9]
    some = [labelled(labels__fraction=share) for share in (0.01, 0.3, 0.6, 1.0)]
    for sets in ([train for train, _ in few], [train for train, _ in some]):
        for fewer, more in zip(sets, [*sets[1:], everything], strict=True):
            assert fewer <= more
    assert some[0][0] == few[0][0]
    assert some[-1][0] == everything
    # What is scored never changes.
    assert {frozenset(val) for _, val in few + some} == {frozenset(held_out)}
    assert labelled(labels__fields_per_class=1, seed=1)[0] != few[0][0]


def test_fewer_fields_than_asked_are_all_taken_and_named(farm):
    with pytest.warns(UserWarning, match=r"fewer fields .* labels.*class=15: \{'hop': 6\}"):
        made = module(
            farm,
            split__by='fields',
            labels__fields_per_class=15,
            labels__classes={3: 'hop', 1: 'rye'},
        )
    number, labels = read(farm['labels__field_paths']), read(farm['labels__paths'])
    train, val = masks(made)
    hops = set(np.unique(number[labels == 3]))
    assert set(np.unique(number[train == 1])) | set(np.unique(number[val == 1])) == hops


def test_small_fields_are_left_out(farm, tmp_path):
    labels = read(farm['labels__paths'])
    labels[:5, 4:7] = 0  # of field 1 remain 20 pixels of 35
    path = write(tmp_path / 'less.tif', labels, nodata=0)
    for least, expected in ((20, 64), (21, 63), (36, 0)):
        options = {'split__by': 'fields', 'labels__min_field_pixels': least}
        if expected:
            assert len(module({**farm, 'labels__paths': path}, **options).splits.fields) == expected
        else:
            with pytest.raises(
                ValueError, match=r'no labelled field of .* labels\.min_field_pixels'
            ):
                module({**farm, 'labels__paths': path}, **options)


@pytest.mark.parametrize('split', ['fields', 'space', 'time'])
def test_each_patch_of_supervised_training_holds_a_label(farm, split):
    made = module(
        farm,
        labels__supervised=True,
        labels__fields_per_class=1,
        split__by=split,
        patches__length=120,
        patches__num_dates=2,
        seed=2,
    )
    kinds = np.zeros(4)
    for batch in made.train_dataloader():
        assert ((batch['mask'] > 0).flatten(1).any(1)).all()
        for mask in batch['mask']:
            kinds[mask.unique()] += 1
    # A third of the draws is for each class, whatever the number of its fields.
    assert (kinds[1:] > 25).all()
    # The same from the start of an epoch whatever was drawn before.
    again = module(
        farm,
        labels__supervised=True,
        labels__fields_per_class=1,
        split__by=split,
        patches__length=120,
        patches__num_dates=2,
        seed=2,
    )
    assert [str(w) for w in again.train_sampler] == [
        str(w) for w in made.train_sampler.iter_epoch(0)
    ]


def test_patches_by_block_lie_at_labelled_fields(farm):
    made = module(
        farm,
        labels__supervised=True,
        labels__fields_per_class=1,
        split__by='fields',
        patches__by_block=True,
    )
    seen = [bool((mask > 0).any()) for batch in made.train_dataloader() for mask in batch['mask']]
    assert np.mean(seen) > 0.7


def test_probe_looks_up_few_fields_only(farm):
    made = module(farm, split__by='fields', labels__fields_per_class=2)
    number = read(farm['labels__field_paths'])
    bank, query = made.probe_dataloaders()
    sizes = [sum(int((batch['mask'] > 0).sum()) for batch in loader) for loader in (bank, query)]
    assert sizes == [(number == 1).sum() * n for n in (6, int(made.splits.kept[1].sum()))]


def test_few_fields_serve_all_frames_of_dated_maps(farm, tmp_path):
    labels = read(farm['labels__paths'])
    folder = tmp_path / 'dated'
    folder.mkdir()
    write(folder / 'l_20210115.tif', labels, nodata=0)
    write(folder / 'l_20210315.tif', np.where(labels == 1, 2, labels).astype('uint8'), nodata=0)
    made = module(
        {**farm, 'labels__paths': str(folder)},
        split__by='fields',
        labels__fields_per_class=1,
        labels__per_frame=True,
    )
    mask = made.splits.labelled_train[:, :]['mask'].numpy()
    kept = np.isin(read(farm['labels__field_paths']), np.flatnonzero(made.splits.kept[0]) + 1)
    expected = np.where(kept, labels, 0)
    assert (mask[0] == 0).all()
    np.testing.assert_array_equal(mask[1], expected)
    np.testing.assert_array_equal(mask[3], np.where(expected == 1, 2, expected))


def test_workers_and_other_grids_read_the_same_fields(farm, tmp_path):
    # The numbers at half the resolution and off the grid of the images.
    number = read(farm['labels__field_paths'])[::2, ::2]
    path = write(tmp_path / 'coarse.tif', np.ascontiguousarray(number), res=20, nodata=0)
    made = module(
        {**farm, 'labels__field_paths': path},
        split__by='fields',
        num_workers=1,
        labels__supervised=True,
    )
    coarse = np.repeat(np.repeat(number, 2, axis=0), 2, axis=1)
    labels = read(farm['labels__paths'])
    train, val = masks(made)
    np.testing.assert_array_equal(np.maximum(train, val), np.where(coarse > 0, labels, 0))
    assert (next(iter(made.train_dataloader()))['mask'] > 0).any()


def test_shares_of_classes_with_few_fields():
    for count, expected in ((1, (1, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1)), (40, (20, 10, 10))):
        split = hold_out_fields(np.full(count, 7), (0.5, 0.25, 0.25), seed=0)
        assert tuple(np.bincount(split, minlength=3)) == expected
    split = hold_out_fields(np.array([3, 3, -1]), (0.75, 0.0, 0.25), seed=0)
    assert np.bincount(split, minlength=3).tolist() == [2, 0, 1]


def test_choice_depends_on_no_other_class():
    classes = np.repeat([1, 2, 3], 20)
    among = np.random.default_rng(0).random(60) < 0.7
    whole = choose_fields(classes, among, fraction=0.2, seed=5)
    assert not (whole & ~among).any()
    alone = choose_fields(classes[20:40], among[20:40], fraction=0.2, seed=5)
    np.testing.assert_array_equal(whole[20:40], alone)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'labels__fields_per_class': 0}, 'fields_per_class must be at least 1, got 0'),
        ({'labels__fraction': 1.5}, r'labels.fraction must be .* got 1\.5'),
        ({'labels__fraction': 0.0}, r'labels.fraction must be .* got 0\.0'),
        ({'labels__fraction': 0.5, 'labels__fields_per_class': 2}, 'give one of them'),
        ({'labels__min_field_pixels': 0}, 'min_field_pixels must be at least 1'),
    ],
)
def test_options_that_cannot_work_are_refused(farm, options, message):
    with pytest.raises(ValueError, match=message):
        module(farm, **options)


@pytest.mark.parametrize('option', [{'split__by': 'fields'}, {'labels__fields_per_class': 1}])
def test_fields_need_labels(farm, option):
    with pytest.raises(
        ValueError,
        match=f'{next(iter(option)).replace("__", ".")}=.* needs labels: give labels.paths',
    ):
        module({'paths': farm['paths']}, **option)


def test_fields_of_another_place_are_named(farm, tmp_path):
    far = write(tmp_path / 'far.tif', np.ones((8, 8), 'uint8'), origin=(700000, 5000000))
    with pytest.raises(ValueError, match=r'field_paths=.*far\.tif.*labels of the same place'):
        module({**farm, 'labels__field_paths': far}, split__by='fields')
    halves = write(tmp_path / 'half.tif', np.full((48, 64), 1.5, 'float32'))
    with pytest.raises(ValueError, match=r'field_paths=.*half\.tif.*label 1\.5'):
        module({**farm, 'labels__field_paths': halves}, split__by='fields')


def test_labels_that_label_nothing_are_named(farm, tmp_path):
    empty = write(tmp_path / 'none.tif', np.zeros((48, 64), 'uint8'))
    with pytest.raises(ValueError, match=r'labels.paths=.*none\.tif.* hold no labelled field'):
        module({'paths': farm['paths'], 'labels__paths': empty}, split__by='fields')


def test_a_class_zero_has_fields(farm, tmp_path):
    labels = np.zeros((48, 64), 'uint8')
    labels[:, :10] = 1
    path = write(tmp_path / 'binary.tif', labels)
    files = {'paths': farm['paths'], 'labels__paths': path}
    made = module(files, split__by='time', labels__unlabelled=255, labels__fields_per_class=1)
    assert made.splits.fields.classes.tolist() == [1, 0]
    mask = made.splits.labelled_train[:, :]['mask']
    assert torch.equal(mask, torch.from_numpy(labels).long())
