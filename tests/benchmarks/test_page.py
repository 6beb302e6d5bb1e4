import itertools
import json
import re
import shutil

import pytest

from benchmarks import harness
from benchmarks.page import IMAGES, benchmarks_page


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A copy of the results, which may be changed."""
    folder = shutil.copytree(harness.RESULTS, tmp_path / 'results')
    monkeypatch.setattr(harness, 'RESULTS', folder)
    return folder


def change(path, function):
    found = json.loads(path.read_text())
    function(found)
    path.write_text(json.dumps(found))


def test_figures_of_the_page_are_those_of_the_results(results):
    def slower(found):
        found['commit'] = 'abc1234'
        found['figures']['utae']['map'] = {'median_s': 1.25, 'min_s': 1.125, 'max_s': 1.5}
        found['figures']['utae']['train'] = {'step_s': 7.5, 'peak_mib': 1234}

    change(results / 'encoders.json', slower)
    lines = benchmarks_page().splitlines()
    assert '| `utae` | 1.08 M | 1.25 (1.12 to 1.50) | 7.5 | 1,234 |' in lines
    [source] = [line for line in lines if line.startswith('*`python -m benchmarks.encoders`')]
    assert 'commit `abc1234`' in source
    # Each benchmark that writes results has a line that says what was measured.
    for path in results.glob('*.json'):
        assert any(line.startswith(f'*`python -m benchmarks.{path.stem}') for line in lines)


def test_all_tables_are_whole():
    """As many cells in each row as in the head."""
    lines = benchmarks_page().splitlines()
    tables = 0
    for line, following in itertools.pairwise(lines):
        if re.fullmatch(r'\|( --- \|)+', following):
            tables += 1
        if line.startswith('|') and following.startswith('|'):
            assert line.count('|') == following.count('|'), following
    assert tables > 15


def test_pictures_and_links_of_the_page_lead_somewhere():
    places = set(re.findall(r'\]\(([^)]*)\)', benchmarks_page()))
    pictures = {place for place in places if place.endswith('.png')}
    assert pictures == set(IMAGES)
    assert all(path.is_file() for path in IMAGES.values())
    for place in places - pictures:
        assert (harness.ROOT / 'docs' / place.split('#')[0]).is_file()


def test_findings_of_the_study_are_on_the_page():
    page = benchmarks_page()
    assert '**Planar views help in part.**' in page
    summary = (harness.ROOT / 'study' / 'results' / 'summary.md').read_text()
    assert all(line in page for line in summary.splitlines())


def test_journeys_before_and_after(results):
    def fold(found):
        before = {'files': 22, 'lines': 3469, 'functions': 84, 'lines_of_functions': 1284}
        after = {'files': 11, 'lines': 2000, 'functions': 80, 'lines_of_functions': 1200}
        found.clear()
        for label, counts in (('before', before), ('after', after)):
            found[label] = {'commit': label, 'journeys': {'image to batch': counts}}

    change(results / 'journeys.json', fold)
    row = '| image to batch | 22 → 11 | 3,469 → 2,000 | 84 → 80 | 1,284 → 1,200 |'
    assert row in benchmarks_page()
    change(results / 'journeys.json', lambda found: found.pop('after'))
    assert '| image to batch | 22 | 3,469 | 84 | 1,284 |' in benchmarks_page()
