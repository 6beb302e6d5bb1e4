"""The protocol of PASTIS: folds, normalisation, few labels, whole epochs of test."""

from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from matplotlib import pyplot as plt

from torchgeo_sits.datamodules import PASTISDataModule
from torchgeo_sits.main import main
from torchgeo_sits.tasks import SITSClassification, SITSSegmentation

from ..pastis_release import CLASSES, labels_of, patch_ids, write_release
from .grouped import grouped

CONF = Path(__file__).resolve().parents[2] / 'conf'

#: fold_sequence of the authors' train_semantic.py.
ROTATION = [
    ([1, 2, 3], [4], [5]),
    ([2, 3, 4], [5], [1]),
    ([3, 4, 5], [1], [2]),
    ([4, 5, 1], [2], [3]),
    ([5, 1, 2], [3], [4]),
]


@pytest.fixture(scope='module')
def release(tmp_path_factory):
    return str(write_release(tmp_path_factory.mktemp('data') / 'PASTIS-R'))


def opened(release, **options):
    module = PASTISDataModule(release, **grouped(**options))
    for stage in ('fit', 'test'):
        module.setup(stage)
    return module


def patches_of(loader):
    return [patch for batch in loader for patch in batch['patch'].tolist()]


def trainer(tmp_path, **options):
    return Trainer(
        accelerator='cpu',
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        default_root_dir=tmp_path,
        **options,
    )


@pytest.mark.parametrize('fold', [1, 2, 3, 4, 5])
def test_folds_rotate_as_the_authors_do_and_no_patch_is_dropped(release, fold):
    module = opened(release, fold=fold, batch_size=3)
    train, val, test = ROTATION[fold - 1]
    assert (set(module.folds['train']), module.folds['val'], module.folds['test']) == (
        set(train),
        tuple(val),
        tuple(test),
    )
    # Two patches are less than a batch of three, and are scored all the same.
    assert sorted(patches_of(module.val_dataloader())) == sorted(patch_ids(val[0]))
    assert sorted(patches_of(module.test_dataloader())) == sorted(patch_ids(test[0]))
    expected = {patch for f in train for patch in patch_ids(f)}
    assert set(patches_of(module.train_dataloader())) == expected
    module.setup('predict')
    assert patches_of(module.predict_dataloader()) == patches_of(module.test_dataloader())


def test_splits_are_normalised_by_their_own_folds_before_padding(release):
    module = opened(release, fold=4, batch_size=2)
    batches = {
        'train': (module.aug, next(iter(module.train_dataloader()))),
        'val': (module.val_aug, next(iter(module.val_dataloader()))),
        'test': (module.test_aug, next(iter(module.test_dataloader()))),
    }
    # Fold f has a mean of 1000 f + c and a deviation of 100 f + 10 c in band c; the splits are
    # the folds 4, 5 and 1 (10 / 3 on average), 2, and 3.
    for split, average in (('train', 10 / 3), ('val', 2.0), ('test', 3.0)):
        normalise, batch = batches[split]
        found = normalise(batch)
        assert len(set(batch['length'].tolist())) > 1
        band = torch.arange(10.0).view(10, 1, 1)
        expected = (batch['image'] - (1000 * average + band)) / (100 * average + 10 * band)
        seen = batch['mask_clear'][:, :, None].expand_as(expected)
        torch.testing.assert_close(found['image'][seen], expected[seen], rtol=1e-5, atol=1e-4)
        assert not found['image'][~batch['valid']].any()
        assert not found['image'][~seen].any()


def test_lightning_normalises_each_stage_by_its_own_folds(release, tmp_path):
    module = PASTISDataModule(release, batch_size=2)
    seen = {}

    class Task(SITSSegmentation):
        def _shared_step(self, batch, stage):
            seen[stage] = batch
            return super()._shared_step(batch, stage)

    task = Task(model='planar_vit_tiny')
    run = trainer(tmp_path, limit_train_batches=1, num_sanity_val_steps=0)
    run.fit(task, module)
    run.test(task, module, verbose=False)
    assert run.callback_metrics['test_loss'].isfinite()
    for stage, dataset, fold in (('val', module.val_dataset, 4), ('test', module.test_dataset, 5)):
        raw, found = dataset[0], seen[stage]
        frames = int(raw['length'])
        expected = (raw['image'][:, 0] - 1000 * fold) / (100 * fold)
        clear = raw['mask_clear']
        torch.testing.assert_close(
            found['image'][0, :frames, 0][clear], expected[clear], rtol=1e-5, atol=1e-4
        )


def test_normalisation_of_a_checkpoint_and_of_the_user_is_for_all_splits(release):
    mean, std = [900.0 + c for c in range(10)], [300.0] * 10
    taken = opened(release)
    with pytest.warns(UserWarning, match='looks unlike'):
        taken.normalise_as(mean, std)
    given = opened(release, mean=mean, std=std)
    resumed = opened(release)
    resumed.load_state_dict(given.state_dict())
    for module in (taken, given, resumed):
        assert module.statistics[0].tolist() == mean
        assert module.val_aug is module.test_aug is None
        assert module.card == {'bands': module.bands, 'mean': mean, 'std': std}
    own = opened(release)
    again = opened(release)
    again.load_state_dict(own.state_dict())
    # Its own statistics, through a checkpoint: the splits keep theirs.
    assert again.test_aug.mean.tolist() == [5000.0 + c for c in range(10)]
    with pytest.raises(ValueError, match='was trained on the bands'):
        opened(release, bands=['B02']).load_state_dict(own.state_dict())


def test_another_run_is_not_scored_with_a_checkpoint_that_trained_on_its_test(release):
    state = opened(release, fold=1).state_dict()
    with pytest.raises(ValueError, match=r'fold=1, the data of fold=2.*use fold=1'):
        opened(release, fold=2).load_state_dict(state)


def test_a_checkpoint_of_the_same_folds_leaves_each_split_its_own_statistics(release):
    module = opened(release)
    module.normalise_as(module.card['mean'], module.card['std'])
    assert module.val_aug.mean.tolist() == [4000.0 + c for c in range(10)]
    given = opened(release, mean=[1.0] * 10, std=[2.0] * 10)
    with pytest.warns(UserWarning, match='mean and std that were given'):
        given.normalise_as([3.0] * 10, [2.0] * 10)
    assert given.statistics[0].tolist() == [1.0] * 10


def test_says_what_tasks_read(release):
    module = PASTISDataModule(release, modality='s1d')
    assert module.bands == ['S1D_VV', 'S1D_VH', 'S1D_VV_VH']
    assert module.in_channels == 3
    assert module.num_classes == len(module.class_names) == 20
    assert module.class_names[0] == 'background'
    assert module.class_names[module.unlabelled] == 'void_label'
    module.setup('fit')
    assert next(iter(module.train_dataloader()))['image'].shape[2] == 3


def labels_seen(module):
    """Number of labelled pixels of each patch and parcel, with and without an id."""
    seen = {}
    for i in range(len(module.train_dataset)):
        sample = module.train_dataset[i]
        patch = int(sample['patch'])
        _, parcels = labels_of(patch, 32)
        labelled = sample['mask'].numpy() != 19
        parcels = np.where(parcels == 0, -patch, parcels)
        for parcel in np.unique(parcels[labelled]):
            seen[int(parcel)] = int((labelled & (parcels == parcel)).sum())
    return seen


@pytest.mark.parametrize(
    'steps', [{'labels__fraction': [0.1, 0.4, 0.8]}, {'labels__fields_per_class': [1, 2, 5]}]
)
@pytest.mark.parametrize('seed', [0, 1])
def test_few_labels_are_whole_parcels_of_each_class_and_nested(release, steps, seed):
    [(name, values)] = steps.items()
    chosen = [labels_seen(opened(release, seed=seed, **{name: value})) for value in values]
    everything = labels_seen(opened(release))
    for fewer, more in zip(chosen, [*chosen[1:], everything], strict=True):
        assert fewer.items() < more.items()
    # Six training patches with one parcel of each class, and background as one.
    wanted = [max(1, round(v * 6)) if name == 'labels__fraction' else v for v in values]
    for few, number in zip(chosen, wanted, strict=True):
        kinds = [parcel % 10 if parcel > 0 else -1 for parcel in few]
        assert sorted(kinds) == sorted([*range(len(CLASSES) - 1), -1] * number)


def test_ids_of_parcels_may_begin_anew_in_each_patch(tmp_path):
    write_release(tmp_path, size=32, satellites=['S2'])
    for path in (tmp_path / 'ANNOTATIONS').glob('ParcelIDs_*.npy'):
        parcels = np.load(path)
        np.save(path, np.where(parcels > 0, parcels % 10 + 1, 0))
    module = opened(tmp_path, labels__fields_per_class=2)
    count = 0
    for i in range(len(module.train_dataset)):
        mask = module.train_dataset[i]['mask']
        count += len(mask[mask != 19].unique())
    # Two of each of the five classes of parcels, and two of background.
    assert count == 12


def test_few_labels_depend_on_the_seed_alone(release):
    first, again, other = (
        set(labels_seen(opened(release, labels__fraction=0.3, seed=seed))) for seed in (0, 0, 1)
    )
    assert first == again != other


def test_share_of_patches_is_nested(release):
    def chosen(share):
        module = opened(release, labels__fraction=share, label_unit='patch', batch_size=1)
        return set(patches_of(module.train_dataloader()))

    few, more, every = chosen(0.2), chosen(0.5), chosen(1.0)
    assert (len(few), len(more), len(every)) == (1, 3, 6)
    assert few < more < every


def test_fewer_patches_than_a_batch_are_one_batch(release):
    module = opened(release, labels__fraction=0.4, label_unit='patch', batch_size=4)
    [batch] = module.train_dataloader()
    assert len(batch['image']) == 2


def test_few_labels_leave_validation_and_test_as_they_are(release):
    module, plain = opened(release, labels__fraction=0.1), opened(release)
    for split in ('val', 'test'):
        [few], [every] = (getattr(m, f'{split}_dataloader')() for m in (module, plain))
        assert torch.equal(few['mask'], every['mask'])


def test_random_crops_keep_images_and_labels_together_and_hold_labels(release):
    module = opened(release, crop=7, labels__fields_per_class=1, batch_size=2)
    torch.manual_seed(0)
    whole = {int(s['patch']): s for s in (opened(release).train_dataset[i] for i in range(6))}
    corners = set()
    for _ in range(8):
        for i in range(len(module.train_dataset)):
            sample = module.train_dataset[i]
            assert sample['image'].shape[-2:] == sample['mask'].shape == (7, 7)
            assert (sample['mask'] != 19).any()
            image = whole[int(sample['patch'])]['image']
            windows = image.unfold(2, 7, 1).unfold(3, 7, 1)
            hits = (windows == sample['image'][:, :, None, None]).flatten(4).all(4).all(0).all(0)
            [(y, x)] = hits.nonzero().tolist()
            labels = whole[int(sample['patch'])]['mask'][y : y + 7, x : x + 7]
            known = sample['mask'] != 19
            assert torch.equal(sample['mask'][known], labels[known])
            corners.add((y, x))
    assert len(corners) > 10
    assert module.val_dataset[0]['image'].shape[-2:] == (32, 32)


def epoch_of(loader):
    return torch.cat([batch['image'][:, :2].flatten() for batch in loader])


def test_squares_follow_from_the_seed_and_the_epoch_whatever_reads_them(release):
    options = {'crop': 7, 'batch_size': 2}
    loaders = [
        opened(release, **options, seed=seed, num_workers=workers).train_dataloader()
        for seed, workers in ((0, 0), (0, 2), (1, 0))
    ]
    first = []
    for i, loader in enumerate(loaders):
        torch.manual_seed(i)  # nothing is drawn from torch's own generator
        first.append(epoch_of(loader))
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])
    assert not torch.equal(first[0], epoch_of(loaders[0]))  # the second epoch


def test_a_resumed_epoch_goes_on_with_the_squares_it_has_not_seen(release):
    def loader():
        return opened(release, crop=7, batch_size=2).train_dataloader()

    whole = [batch['image'] for batch in loader()]
    stopped = loader()
    iterator = iter(stopped)
    next(iterator)
    resumed = loader()
    resumed.load_state_dict(stopped.state_dict())
    rest = [batch['image'] for batch in resumed]
    assert len(rest) == len(whole) - 1 == 2
    assert all(map(torch.equal, rest, whole[1:]))


def test_a_crop_larger_than_the_patch_is_the_patch(release):
    module = opened(release, crop=100)
    assert module.train_dataset[0]['image'].shape[-2:] == (32, 32)


@pytest.mark.parametrize('crop', [None, 9])
def test_parcels_are_samples_of_their_own(release, crop):
    module = opened(release, labels__target='field', crop=crop)
    # Void parcels have no class, and background is no parcel.
    assert len(module.val_dataset) == 2 * (len(CLASSES) - 1)
    patches = {}
    for i in range(len(module.val_dataset)):
        sample = module.val_dataset[i]
        patches.setdefault(int(sample['patch']), []).append(int(sample['label']))
        inside = sample['mask'] != 19
        assert inside.any()
        assert (sample['mask'][inside] == sample['label']).all()
        assert not sample['mask_clear'][:, ~inside].any()
        assert sample['mask_clear'][:, inside].any()
    assert patches == {patch: list(CLASSES[:-1]) for patch in sorted(patch_ids(4))}


def test_classifies_parcels(release, tmp_path):
    module = opened(
        release, labels__target='field', crop=8, batch_size=8, labels__fields_per_class=1
    )
    run = trainer(tmp_path, num_sanity_val_steps=0)
    run.fit(SITSClassification(model='planar_vit_tiny'), module)
    assert run.callback_metrics['val_loss'].isfinite()


def test_probe_sees_labelled_squares_of_both_splits(release):
    module = opened(release, crop=16, batch_size=4)
    bank, query = module.probe_dataloaders()
    assert sorted(patches_of(bank)) == sorted(p for f in (1, 2, 3) for p in patch_ids(f))
    assert sorted(patches_of(query)) == sorted(patch_ids(4))
    assert next(iter(query))['image'].shape[-2:] == (16, 16)


def test_picture_shows_labels_and_prediction(release):
    module = opened(release)
    sample = module.val_dataset[0]
    figure = module.plot({**sample, 'prediction': sample['mask']})
    assert len([axis for axis in figure.axes if axis.images]) == 3
    plt.close(figure)


@pytest.mark.parametrize('task', ['segmentation', 'classification', 'dino'])
def test_data_configuration_goes_behind_any_other(release, tmp_path, task, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = [f'--config={CONF / task}.yaml', f'--config={CONF / "data" / "pastis.yaml"}']
    args += [f'--data.root={release}', '--data.crop=8', '--trainer.max_epochs=1']
    args += ['--trainer.accelerator=cpu', '--trainer.limit_train_batches=1']
    main(['fit', *args])
    [path] = tmp_path.glob('logs/**/*.ckpt')
    state = torch.load(path, weights_only=True)
    assert state['sits']['bands'][:2] == ['B02', 'B03']
    assert state['PASTISDataModule']['fold'] == 1


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'fold': 7}, 'fold=7.*1 to 5'),
        ({'modality': 's3'}, "unknown modality 's3'"),
        ({'crop': 0}, 'crop=0'),
        ({'labels__fraction': 0.0}, r'labels.fraction .* got 0\.0'),
        ({'labels__fraction': 5}, 'labels.fraction .* got 5'),
        ({'labels__fields_per_class': 0}, 'labels.fields_per_class .* got 0'),
        ({'labels__fields_per_class': 3, 'label_unit': 'patch'}, 'fields_per_class counts parcels'),
        ({'labels__fields_per_class': 3, 'labels__fraction': 0.1}, 'give one of them'),
        ({'mean': [0.0] * 10}, 'both mean and std'),
    ],
)
def test_names_options_out_of_range(release, options, message):
    with pytest.raises(ValueError, match=message):
        PASTISDataModule(release, **grouped(**options))
