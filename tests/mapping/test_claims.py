"""Units of work that several processes share: whom they are taken from, and whom not."""

import os
import threading
import time

import pytest

from torchgeo_sits.mapping.claims import SharedWork


@pytest.fixture
def pair(tmp_path):
    """Two members of one process, so that none counts as gone by its number."""
    members = SharedWork(tmp_path), SharedWork(tmp_path)
    for member in members:
        member.join()
    yield members
    for member in members:
        member.leave()


def age(folder, seconds):
    """Let all claims look as old as that by the clock of the folder."""
    then = time.time() - seconds
    for claim in (folder / 'claims').iterdir():
        os.utime(claim, (then, then))


def test_a_window_is_taken_from_a_process_that_is_alive_and_slow(pair, tmp_path):
    slow, fast = pair
    done = set()
    assert next(slow.free('window', [0], done.__contains__)) == 0  # and it hangs there
    age(tmp_path, 11)
    threading.Timer(5, done.add, [0]).start()  # or a mistake would wait forever
    [taken] = (done.add(number) or number for number in fast.rest('window', [0], done.__contains__))
    assert taken == 0
    slow.leave()  # what is another's by now stays so
    assert (tmp_path / 'claims/window-0').read_text() == fast.name


def test_a_process_that_was_slow_itself_waits_three_times_as_long(pair, tmp_path, monkeypatch):
    other, own = pair
    clock = iter([0.0, 10.0])  # one window of ten seconds
    monkeypatch.setattr('torchgeo_sits.mapping.claims.time.monotonic', lambda: next(clock))
    done = set()
    for number in own.free('window', [0], done.__contains__):
        done.add(number)
    monkeypatch.undo()
    assert next(other.free('window', [1], done.__contains__)) == 1
    age(tmp_path, 25)
    # It is done by the one that has it, half a second later.
    threading.Timer(0.5, done.add, [1]).start()
    assert list(own.rest('window', [1], done.__contains__)) == []


def test_maps_are_not_drawn_by_two_because_one_is_slow(pair, tmp_path):
    slow, fast = pair
    done = set()
    assert next(slow.free('draw', [0], done.__contains__)) == 0
    age(tmp_path, 1000)
    threading.Timer(0.5, done.add, [0]).start()
    assert list(fast.rest('draw', [0], done.__contains__, from_slow=False)) == []


def test_a_silent_process_of_another_machine_is_gone_after_a_minute(pair, tmp_path):
    _, own = pair
    path = tmp_path / 'claims/window-0'
    path.write_text('elsewhere.1.abcdef')
    member = tmp_path / 'members/elsewhere.1.abcdef'
    member.touch()
    assert list(own.free('window', [0], {}.__contains__)) == []  # it was heard of just now
    silent = time.time() - 61
    os.utime(member, (silent, silent))
    assert next(own.free('window', [0], {}.__contains__)) == 0
