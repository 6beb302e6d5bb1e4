"""Epochs by seed and number: exact resume at any point, and lengths known beforehand."""

import json
from itertools import islice

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from torchgeo.samplers import (
    GriddedPatchSampler,
    RandomPatchSampler,
    RandomTimedeltaSampler,
    RandomTimestampSampler,
    SequentialTimestampSampler,
)

from torchgeo_sits.samplers import (
    GriddedSeriesPatchSampler,
    RandomDateCountSampler,
    RandomSeriesPatchSampler,
    SeasonSampler,
    SeededSampler,
    ShardedSampler,
)

pytestmark = pytest.mark.filterwarnings('ignore:.*places of this epoch', 'ignore:random_sampler')


@pytest.fixture(scope='module')
def data(footprints):
    """Two areas that overlap, one of them with gaps in time, and one without any summer."""
    days = pd.date_range('2019-01-05', periods=40, freq='17D')
    shapes = [shapely.box(0, -300, 400, 0), shapely.box(250, -330, 700, -40)]
    shapes = [shapes[i % 3 == 1] for i in range(39)] + [shapely.box(900, -200, 1100, 0)]
    return footprints(days, shapes)


SPRING = pd.Interval(pd.Timestamp('2019-01-01'), pd.Timestamp('2019-03-01'))
HERE = shapely.box(0, -300, 400, 0)
KINDS = {
    'random': lambda d, s: RandomSeriesPatchSampler(d, size=8, length=23, generator=s),
    'gridded': lambda d, s: GriddedSeriesPatchSampler(d, size=12, stride=9),
    'dates': lambda d, s: RandomDateCountSampler(d, count=3, length=9, generator=s),
    'random @ dates': lambda d, s: (
        KINDS['random'](d, s) @ RandomDateCountSampler(d, count=3, generator=s)
    ),
    'gridded @ dates': lambda d, s: KINDS['gridded'](d, s) @ KINDS['dates'](d, s),
    'gridded @ seasons': lambda d, s: KINDS['gridded'](d, s) @ SeasonSampler(d),
    'random @ seasons': lambda d, s: KINDS['random'](d, s) @ SeasonSampler(d),
    "random @ TorchGeo's random": lambda d, s: (
        KINDS['random'](d, s) @ RandomTimestampSampler(d, generator=s)
    ),
    "gridded @ TorchGeo's random": lambda d, s: (
        GriddedSeriesPatchSampler(d, size=25) @ RandomTimestampSampler(d, toi=SPRING, generator=s)
    ),
    "gridded @ TorchGeo's sequential": lambda d, s: (
        GriddedSeriesPatchSampler(d, size=25) @ SequentialTimestampSampler(d, toi=SPRING)
    ),
    "TorchGeo's @ dates": lambda d, s: SeededSampler(
        RandomPatchSampler(d, size=2, length=9, generator=s)
        @ RandomDateCountSampler(d, count=3, generator=s)
    ),
    "TorchGeo's": lambda d, s: SeededSampler(
        GriddedPatchSampler(d, size=25, roi=HERE)
        @ RandomTimestampSampler(d, toi=SPRING, generator=s)
    ),
    "TorchGeo's days": lambda d, s: SeededSampler(
        RandomPatchSampler(d, size=2, length=9, generator=s)
        @ RandomTimedeltaSampler(d, delta=pd.Timedelta('10h'), generator=s)
    ),
    'shared': lambda d, s: ShardedSampler(
        KINDS['random @ dates'](d, s), num_replicas=3, rank=1, drop_last=True
    ),
    'shared, padded': lambda d, s: ShardedSampler(
        KINDS['gridded @ seasons'](d, s), num_replicas=4, rank=3
    ),
}


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('seed', [5, None])
@settings(max_examples=6, deadline=None)
@given(before=st.integers(0, 2), share=st.floats(0, 1))
def test_rest_of_an_interrupted_epoch_and_those_after_it(data, kind, seed, before, share):
    whole, cut, resumed = KINDS[kind](data, seed), KINDS[kind](data, seed), KINDS[kind](data, 99)
    whole.load_state_dict(cut.state_dict())
    epochs = [list(whole) for _ in range(before + 3)]
    for epoch in epochs[:before]:
        assert list(cut) == epoch
    stop = round(share * (len(epochs[before]) - 1))
    assert list(islice(cut, stop)) == epochs[before][:stop]
    state = json.loads(json.dumps(cut.state_dict()))
    len(resumed)  # Of other seeds: not to be remembered.
    resumed.load_state_dict(state)
    assert len(resumed) == len(epochs[before])
    assert list(resumed) == epochs[before][stop:]
    assert list(resumed) == epochs[before + 1]
    # Interrupted for a second time.
    resumed.load_state_dict(state)
    head = list(islice(resumed, min(2, len(epochs[before]) - stop)))
    cut.load_state_dict(resumed.state_dict())
    assert head + list(cut) == epochs[before][stop:]
    resumed.set_epoch(before + 2)
    assert list(resumed) == epochs[before + 2]


@pytest.mark.parametrize('kind', KINDS)
def test_length_is_that_of_each_epoch_and_draws_nothing(data, kind):
    sampler, other = (KINDS[kind](data, 3) for _ in range(2))
    for _ in range(3):
        length = len(other)
        windows = list(other)
        assert length == len(windows) > 0
        assert list(sampler) == windows


@pytest.mark.parametrize(
    'kind', ['gridded', 'gridded @ dates', 'gridded @ seasons', "gridded @ TorchGeo's random"]
)
def test_length_is_counted_without_making_windows(data, kind, monkeypatch):
    expected = len(list(KINDS[kind](data, 3)))
    sampler = KINDS[kind](data, 3)

    def refuse(*_):
        raise AssertionError('a window was made to count it')

    monkeypatch.setattr('torchgeo_sits.samplers.temporal.AcquisitionSampler._window', refuse)
    if '@' not in kind:
        monkeypatch.setattr('torchgeo_sits.samplers.spatial._slices', refuse)
    if 'TorchGeo' in kind:
        # Its own length it finds by drawing; ours follows from it and the places.
        monkeypatch.setattr(sampler.temporal_sampler, '_length', 4, raising=False)
        monkeypatch.setattr(sampler.temporal_sampler, '_iter_subset', refuse)
    assert len(sampler) == expected


def test_an_iteration_keeps_to_its_epoch_whatever_is_set_meanwhile(data):
    sampler = KINDS['random @ dates'](data, 0)
    sampler.set_epoch(4)
    expected = list(sampler)
    sampler.set_epoch(4)
    iterator = iter(sampler)
    windows = [next(iterator) for _ in range(5)]
    sampler.set_epoch(4)
    assert sampler.state_dict()['position'] == 0
    windows += [next(iterator)]
    assert (sampler.state_dict()['epoch'], sampler.state_dict()['position']) == (4, 6)
    sampler.set_epoch(7)
    assert windows + list(iterator) == expected
    assert sampler.state_dict()['epoch'] == 7


def test_setting_the_epoch_that_was_loaded_keeps_the_position(data):
    sampler = KINDS['random'](data, 0)
    epochs = [list(sampler) for _ in range(3)]
    state = sampler.state_dict() | {'epoch': 1, 'position': 20}
    sampler.load_state_dict(state)
    sampler.set_epoch(1)
    assert list(sampler) == epochs[1][20:]
    sampler.load_state_dict(state)
    sampler.set_epoch(2)
    assert list(sampler) == epochs[2]
    # What was handed out to workers and not used comes again.
    sampler.set_epoch(0)
    assert len(list(islice(sampler, 12))) == 12
    sampler.load_state_dict(sampler.state_dict(consumed=4))
    assert list(sampler) == epochs[0][4:]


def test_all_of_an_epoch_used_leaves_nothing_of_it(data):
    sampler = KINDS['random'](data, 0)
    epochs = [list(sampler) for _ in range(2)]
    sampler.load_state_dict(sampler.state_dict() | {'epoch': 0, 'position': 23})
    assert list(sampler) == []
    assert list(sampler) == epochs[1]


def test_seeds_that_do_not_fit_are_refused(data):
    state = KINDS['random @ dates'](data, 0).state_dict()
    with pytest.raises(ValueError, match=r'takes 1 seeds, got 2: .*made alike'):
        KINDS['random'](data, 0).load_state_dict(state)
    with pytest.raises(ValueError, match='takes 0 seeds, got 2'):
        KINDS['gridded'](data, 0).load_state_dict(state)
    with pytest.raises(ValueError, match=r'generator .* got -1'):
        KINDS['random'](data, -1)


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize(
    'kind', ['random @ dates', "random @ TorchGeo's random", "TorchGeo's days", 'shared']
)
def test_in_torchdatas_stateful_loader(data, kind, workers):
    loaders = pytest.importorskip('torchdata.stateful_dataloader')

    def loader(seed):
        return loaders.StatefulDataLoader(
            data, batch_size=2, sampler=KINDS[kind](data, seed), num_workers=workers, drop_last=True
        )

    def values(batches):
        return [np.stack(batch).tolist() for batch in batches]

    one = loader(None)
    whole = [values(DataLoader(data, batch_size=2, sampler=one.sampler, drop_last=True))]
    whole += [values(one) for _ in range(2)]
    for stop in (1, len(whole[0]) - 1):
        one.sampler.set_epoch(1)
        iterator = iter(one)
        assert values(islice(iterator, stop)) == whole[1][:stop]
        state = one.state_dict()
        resumed = loader(99)
        resumed.load_state_dict(state)
        assert values(resumed) == whole[1][stop:]
        assert values(resumed) == whole[2]
