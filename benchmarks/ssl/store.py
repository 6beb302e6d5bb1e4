"""Records of finished runs, one JSON document per line."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / 'results'


def read(path: Path) -> list[dict[str, Any]]:
    """All complete records of a file; a line that a kill cut off is left out."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def append(path: Path, record: dict[str, Any]) -> None:
    """Add a record, on a line of its own even after one that was cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cut = path.exists() and not path.read_bytes().endswith(b'\n') and path.stat().st_size > 0
    with path.open('a') as file:
        file.write('\n' * cut + json.dumps(record, separators=(',', ':')) + '\n')
