"""Shares of an epoch: disjoint, equally many, together all of it; in two gloo processes, too."""

import json
import multiprocessing
from datetime import timedelta
from itertools import islice

import pandas as pd
import pytest
import shapely
from torch import distributed
from torch.utils.data import DistributedSampler
from torchgeo.samplers import RandomPatchSampler, RandomTimestampSampler

from torchgeo_sits.samplers import (
    GriddedSeriesPatchSampler,
    RandomDateCountSampler,
    RandomSeriesPatchSampler,
    ShardedSampler,
)


@pytest.fixture(scope='module')
def data(footprints):
    return footprints(['2020-01-01'], [shapely.box(0, -900, 900, 0)])


def shards(make, number, **options):
    return [ShardedSampler(make(), num_replicas=number, rank=i, **options) for i in range(number)]


@pytest.mark.parametrize('number', [1, 2, 3, 5, 64])
@pytest.mark.parametrize('drop_last', [False, True])
def test_shares_are_equal_disjoint_and_cover_the_epoch(data, number, drop_last):
    def make():
        return GriddedSeriesPatchSampler(data, size=20)

    everything = list(make())
    assert len(everything) == 25
    parts = shards(make, number, drop_last=drop_last)
    shares = [list(part) for part in parts]
    assert {len(share) for share in shares} == {len(part) for part in parts}
    dealt = [window for group in zip(*shares, strict=True) for window in group]
    if drop_last:
        assert dealt == everything[: 25 // number * number]
    else:
        # Then the first again, until each has as many.
        assert dealt == (everything * 3)[: -(-25 // number) * number]


def test_resumed_by_another_number_of_processes(data):
    def make():
        return RandomSeriesPatchSampler(data, size=3, length=60, generator=1)

    everything = list(make())
    before = shards(make, 4)
    heads = [list(islice(part, 6)) for part in before]
    after = shards(make, 3)
    for part in after:
        # Six windows of each of four, which any of them knows.
        part.load_state_dict(before[2].state_dict())
    tails = [list(part) for part in after]
    dealt = [w for shares in (heads, tails) for group in zip(*shares, strict=True) for w in group]
    assert dealt == everything


def test_lightning_takes_it_for_its_own_and_alone_it_changes_nothing(data):
    sampler = ShardedSampler(RandomSeriesPatchSampler(data, size=3, length=9, generator=1))
    assert isinstance(sampler, DistributedSampler)
    assert (sampler.num_replicas, sampler.rank) == (1, 0)
    assert list(sampler) == list(sampler.sampler.iter_epoch(0))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'rank': 1}, 'give both num_replicas and rank, or neither, got None and 1'),
        ({'num_replicas': 2}, 'got 2 and None'),
        ({'num_replicas': 2, 'rank': 2}, 'below num_replicas=2, got 2'),
    ],
)
def test_bad_arguments_are_named(data, options, message):
    with pytest.raises(ValueError, match=message):
        ShardedSampler(GriddedSeriesPatchSampler(data, size=20), **options)


def make_without_seed(kind, data):
    """Each process draws a seed of its own, and only one may count."""
    if kind == 'grid':
        return ShardedSampler(GriddedSeriesPatchSampler(data, size=10_000))
    if kind == 'foreign':
        places = RandomPatchSampler(data, size=4, length=15)
        return ShardedSampler(places @ RandomTimestampSampler(data), drop_last=True)
    places = RandomSeriesPatchSampler(data, size=4, length=15)
    return ShardedSampler(places @ RandomDateCountSampler(data, count=2), drop_last=True)


def corners(windows):
    return [[w[0].start, w[1].start, *(t.start.value for t in w[2:])] for w in windows]


def take_part(rank, data, folder):
    """Write the windows of two epochs, and of a third that is interrupted and taken up."""
    samplers = {kind: make_without_seed(kind, data) for kind in ('grid', 'foreign', 'ours')}
    # After the samplers were made, which must not ask for the others too early.
    distributed.init_process_group(
        'gloo',
        init_method=f'file://{folder}/meeting',
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=30),
    )
    seen = {}
    for kind, sampler in samplers.items():
        epochs = [corners(sampler) for _ in range(2)]
        head = corners(islice(sampler, 3))
        told = [sampler.state_dict()]
        # Lightning saves what the first process says, and gives it to all.
        distributed.broadcast_object_list(told, src=0)
        resumed = make_without_seed(kind, data)
        resumed.load_state_dict(told[0])
        epochs.append(head + corners(resumed))
        seen[kind] = {
            'epochs': epochs,
            'length': len(sampler),
            'whole': [corners(sampler.sampler.iter_epoch(epoch)) for epoch in range(3)],
        }
    (folder / f'{rank}.json').write_text(json.dumps(seen))
    distributed.destroy_process_group()


@pytest.fixture(scope='module')
def seen(footprints, tmp_path_factory):
    """What two processes got, whose samplers were made without seeds."""
    days = pd.date_range('2020-01-01', periods=9, freq='8D')
    data = footprints(days, [shapely.box(0, -400_000, 500_000, 0)] * 9)
    folder = tmp_path_factory.mktemp('gloo')
    # Forked: to import torch and TorchGeo twice takes half a minute.
    context = multiprocessing.get_context('fork')
    running = [context.Process(target=take_part, args=(i, data, folder)) for i in range(2)]
    for process in running:
        process.start()
    for process in running:
        process.join(timeout=60)
        process.kill()
    assert [process.exitcode for process in running] == [0, 0]
    return [json.loads((folder / f'{rank}.json').read_text()) for rank in range(2)]


@pytest.mark.parametrize('kind', ['grid', 'foreign', 'ours'])
def test_two_processes_share_each_epoch_without_a_seed(seen, kind):
    one, other = (part[kind] for part in seen)
    # All know the whole epochs alike, also one that was taken up in its middle.
    assert one['whole'] == other['whole']
    for epoch, whole in enumerate(one['whole']):
        shares = [part['epochs'][epoch] for part in (one, other)]
        assert one['length'] == other['length'] == len(shares[0]) == len(shares[1])
        dealt = [window for pair in zip(*shares, strict=True) for window in pair]
        assert dealt == whole[: len(whole) // 2 * 2]
        assert len({tuple(window) for window in dealt}) == len(dealt)
        assert len(whole) == (20 if kind == 'grid' else 15)
    if kind != 'grid':
        assert len({tuple(map(tuple, whole)) for whole in one['whole']}) == 3
