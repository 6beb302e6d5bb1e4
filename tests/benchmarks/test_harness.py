import json
import mmap
import os

import pytest

from benchmarks import harness


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, 'RESULTS', tmp_path / 'results')
    return tmp_path / 'results'


def test_contenders_take_turns_and_the_warm_up_does_not_count():
    calls = []
    times = harness.interleave(
        {name: lambda name=name: calls.append(name) for name in 'ab'},
        3,
        warm_up=2,
        before=lambda name: calls.append(name.upper()),
    )
    assert ''.join(calls) == 'AaBb' * 5
    assert {name: len(seconds) for name, seconds in times.items()} == {'a': 3, 'b': 3}


def test_times_are_those_of_the_function_alone(monkeypatch):
    clock = iter([0.0, 1.0, 10.0, 13.0])
    monkeypatch.setattr(harness.time, 'perf_counter', lambda: next(clock))
    times = harness.interleave({'a': lambda: None}, 2, warm_up=0)
    assert times == {'a': [1.0, 3.0]}


def test_spread_in_milliseconds_a_call():
    found = harness.spread([4.0, 2.0, 8.0, 6.0, 10.0], 'ms', calls=100)
    assert found == {'median_ms': 60, 'q1_ms': 40, 'q3_ms': 80, 'min_ms': 20, 'max_ms': 100}


def test_results_are_found_again(results):
    assert harness.load('some') == {}
    described = harness.describe('numpy', rounds=3)
    harness.save('some', described | {'figures': {'a_s': 1.5}})
    found = json.loads((results / 'some.json').read_text())
    assert set(found) == {'commit', 'machine', 'versions', 'settings', 'figures'}
    assert set(found['versions']) == {'python', 'torch', 'numpy'}
    assert found['settings'] == {'rounds': 3}
    assert harness.load('some') == found


def test_peak_memory_is_that_of_what_was_held_and_left():
    # Mapped, as bytes of Python may lie where this process let others go before, and then it does
    # not grow. Looks at a large process are slow, so that one of them is waited for.
    with harness.PeakMemory(interval=0.01) as memory, mmap.mmap(-1, 100_000_000) as held:
        held.write(b'1' * len(held))
        end = harness.time.monotonic() + 30
        while memory.peak - memory.start < 0.9e8 and harness.time.monotonic() < end:
            harness.time.sleep(0.01)
    assert 0.9e8 < memory.peak - memory.start < 3e8


def test_functions_run_in_a_process_of_their_own():
    assert harness.in_new_process(os.getpid) != os.getpid()
