"""A module knows its neighbours only: the layers of the package, read from its imports."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'torchgeo_sits'

#: For each room, the rooms whose modules it may import.
MAY_IMPORT = {
    # The ground floor; every room may raise its errors.
    'errors': set(),
    'renamed': set(),  # old names of options, for one release
    'keys': set(),
    'weight_names': set(),
    'bands': set(),
    'grid': set(),
    'footprints': {'grid'},
    'whole_files': set(),
    'stopping': set(),
    'sidecars': {'whole_files'},
    'stacking': set(),
    'time_steps': set(),
    'collate': {'keys'},
    # Data, views, models and scores know the ground floor, never each other.
    'datasets': {'keys', 'bands', 'grid', 'collate', 'footprints', 'whole_files'},
    'samplers': {'keys', 'grid', 'collate', 'footprints'},
    'transforms': {'keys', 'collate', 'stacking'},
    # The root gives its version to checkpoints.
    'models': {'keys', 'bands', 'collate', 'stacking', 'weight_names', '__init__'},
    'metrics': {'keys', 'collate'},
    # What joins them.
    'datamodules': {'renamed', 'keys', 'grid', 'collate', 'datasets', 'samplers', 'transforms'},
    'mapping': {'grid', 'datasets', 'sidecars', 'time_steps', 'whole_files'},
    'explaining': {'keys', 'grid', 'datasets', 'sidecars'},
    'exploring': {
        'keys',
        'bands',
        'grid',
        'datasets',
        'mapping',
        'models',
        'tasks',
        'explaining',
        'sidecars',
        'whole_files',
    },
    'callbacks': {
        '__init__',
        'keys',
        'grid',
        'datasets',
        'mapping',
        'metrics',
        'samplers',
        'stopping',
        'time_steps',
        'transforms',
        'whole_files',
    },
    'tasks': {
        'keys',
        'callbacks',
        'mapping',
        'metrics',
        'models',
        'time_steps',
        'transforms',
        'weight_names',
    },
    'exporting': {'keys', 'models', 'tasks', 'transforms', 'weight_names', 'whole_files'},
    # Entry points.
    '__init__': {'datamodules', 'tasks', 'models'},
    'commands': {
        'keys',
        'mapping',
        'grid',
        'callbacks',
        'datamodules',
        'datasets',
        'explaining',
        'exploring',
        'exporting',
        'models',
        'samplers',
        'stopping',
        'tasks',
        'time_steps',
        'transforms',
        'weight_names',
        'whole_files',
    },
    'main': {'__init__', 'renamed', 'commands', 'stopping', 'whole_files'},
}


def room_of(path: Path) -> str:
    """Name of the room of a module: its folder, or its own name at the top."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported_rooms(path: Path) -> set[str]:
    """Rooms of the package that a module imports, at its top or in its functions."""
    rooms = set()
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name.split('.') for alias in node.names]
            rooms |= {(n[1:2] or ['__init__'])[0] for n in names if n[0] == 'torchgeo_sits'}
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or '').split('.') if node.module else []
            if node.level == 0 and module[:1] == ['torchgeo_sits']:
                module = module[1:]
            elif node.level != depth:
                continue
            if module:
                rooms.add(module[0])
            else:
                for alias in node.names:
                    is_room = (PACKAGE / alias.name).is_dir() or (
                        PACKAGE / f'{alias.name}.py'
                    ).is_file()
                    rooms.add(alias.name if is_room else '__init__')
    return rooms


@pytest.mark.parametrize('path', sorted(PACKAGE.rglob('*.py')), ids=lambda p: str(p.name))
def test_module_imports_only_its_neighbours(path):
    room = room_of(path)
    extra = imported_rooms(path) - MAY_IMPORT[room] - {room, 'errors'}
    assert not extra, f'{path.relative_to(PACKAGE)} imports {sorted(extra)}'


def test_reader_sees_relative_absolute_and_nested_imports(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), 'PACKAGE', tmp_path)
    (tmp_path / 'models').mkdir()
    (tmp_path / 'tasks').mkdir()
    module = tmp_path / 'models' / 'a.py'
    module.write_text(
        'from ..tasks import x\nimport torchgeo_sits.datasets\n'
        'def f():\n    from torchgeo_sits.callbacks import y\n'
        'from .b import z\nfrom .. import tasks\n'
    )
    assert imported_rooms(module) == {'tasks', 'datasets', 'callbacks'}
