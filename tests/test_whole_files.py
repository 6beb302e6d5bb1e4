"""Files that are there whole or not at all."""

import errno
import io
import os
import socket
import subprocess
import sys
import threading

import pytest
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from torchgeo_sits import main, whole_files
from torchgeo_sits.callbacks import WholeCheckpointIO
from torchgeo_sits.errors import SITSError
from torchgeo_sits.whole_files import is_full_disk, remove_rests, whole_file

FULL = OSError(errno.ENOSPC, 'No space left on device')


class FullFile(io.RawIOBase):
    """A file on a disk without room."""

    def writable(self):
        return True

    def write(self, content):
        raise FULL


@pytest.mark.parametrize('error', [FULL, ValueError('of a library'), KeyboardInterrupt()])
def test_what_was_there_stays_where_writing_fails(tmp_path, error):
    path = tmp_path / 'a.txt'
    path.write_text('before')

    def fail():
        with whole_file(path) as draft:
            draft.write_text('half')
            raise error

    with pytest.raises(type(error)):
        fail()
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {'a.txt': 'before'}


def test_files_and_folders_are_on_the_disk_before_they_get_their_names(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, 'fsync', lambda handle: (synced.append(handle), fsync(handle)))
    with whole_file(tmp_path / 'folder') as draft:
        (draft / 'in').mkdir(parents=True)
        (draft / 'in/a').touch()
        draft.with_name('style.qml').touch()  # goes with it
        assert not (tmp_path / 'folder').exists()
    assert len(synced) == 3  # two files, and the names in the folder
    assert sorted(p.name for p in tmp_path.iterdir()) == ['folder', 'style.qml']


@pytest.mark.parametrize(
    ('error', 'said'),
    [
        (FULL, 'no room left in .* for a.txt: free some space'),
        (RuntimeError('PytorchStreamWriter failed writing file data/3'), 'no room left'),
        (OSError(errno.EROFS, 'Read-only file system'), 'cannot write a.txt .*allow writing'),
        (SITSError('of this package'), 'of this package'),
    ],
)
def test_errors_of_the_disk_say_what_to_do(tmp_path, error, said):
    with pytest.raises((OSError, SITSError), match=said), whole_file(tmp_path / 'a.txt'):
        raise error
    with pytest.raises(OSError, match=r'no folder .*nowhere.* for a\.txt: make it first'):
        whole_file(tmp_path / 'nowhere/a.txt').__enter__()


def test_full_disks_are_known_whatever_pytorch_makes_of_them():
    with pytest.raises((RuntimeError, OSError)) as found:
        torch.save({'weights': torch.zeros(1 << 16)}, FullFile())
    assert is_full_disk(found.value)
    assert not is_full_disk(RuntimeError('mat1 and mat2 shapes cannot be multiplied'))


def test_full_disks_are_one_line_whatever_library_and_thread_meets_them(capsys):
    lost = RuntimeError('PytorchStreamWriter failed writing file data/3: file write failed')
    with pytest.raises(SystemExit), main._plain_refusals():
        raise lost
    with main._plain_threads():
        writer = threading.Thread(target=FullFile().write, args=[b'event'])
        writer.start()
        writer.join()
    error, warning = capsys.readouterr().err.splitlines()
    assert error.startswith('torchgeo-sits: error: no room left on a disk: free some space')
    assert warning.startswith('torchgeo-sits: warning: no room left on a disk')


def test_read_only_disks_are_one_line(capsys):
    with pytest.raises(SystemExit), main._plain_refusals():
        raise OSError(errno.EROFS, 'Read-only file system', '/data/logs')
    assert capsys.readouterr().err == (
        "torchgeo-sits: error: cannot write to '/data/logs' (Read-only file system): "
        'choose another folder for what is written\n'
    )


def test_rests_of_the_dead_are_removed_and_drafts_of_the_living_stay(tmp_path):
    dead = subprocess.Popen([sys.executable, '-c', ''])
    dead.wait()
    here = socket.gethostname()
    names = {
        'dead': f'.torchgeo-sits-part.{here}.{dead.pid}.abc',
        'alive': f'.torchgeo-sits-part.{here}.{os.getpid()}.abc',
        'elsewhere': f'.torchgeo-sits-part.node-7.cluster.{dead.pid}.abc',
        'elsewhere, long ago': f'.torchgeo-sits-part.node-7.{dead.pid}.old',
        'of the user': '.torchgeo-sits-part',
    }
    for name in names.values():
        (tmp_path / name).mkdir()
        (tmp_path / name / 'half.tif').write_bytes(b'half')
    os.utime(tmp_path / names['elsewhere, long ago'], (0, 0))
    remove_rests(tmp_path)
    left = {what for what, name in names.items() if (tmp_path / name).exists()}
    assert left == {'alive', 'elsewhere', 'of the user'}


def test_checkpoints_are_lightnings_to_the_byte_and_whole(tmp_path, monkeypatch):
    checkpoint = {'state_dict': {'a': torch.arange(5.0)}, 'epoch': 3}
    TorchCheckpointIO().save_checkpoint(checkpoint, tmp_path / 'lightning.ckpt')
    path = tmp_path / 'new' / 'own-epoch=03.ckpt'
    WholeCheckpointIO().save_checkpoint(checkpoint, path)
    before = path.read_bytes()
    assert before == (tmp_path / 'lightning.ckpt').read_bytes()

    def full(handle):
        raise FULL

    monkeypatch.setattr(whole_files.os, 'fsync', full)
    with pytest.raises(OSError, match=r'no room left in .*new.* for own-epoch=03\.ckpt'):
        WholeCheckpointIO().save_checkpoint({**checkpoint, 'epoch': 4}, path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]
