"""The ablation of methods: on development data alone, one thing changed, and its table."""

from pathlib import Path

from study import between_fields, development
from study.records import Records
from torchgeo_sits.tasks import SITSBarlowTwins


def test_rows_differ_by_the_method_alone_and_see_no_test():
    jobs = between_fields.jobs(Path('data'), Path('scratch'))
    assert all(job.development for job in jobs)
    assert {job.set for job in jobs} == {'mato_grosso', 'synthetic'}
    assert len({job.key for job in jobs}) == len(jobs) == 30
    assert {(job.steps, job.lr) for job in jobs} == {(400, None)}
    untrained, first, *others = between_fields.ROWS
    assert untrained.encoder == first.encoder
    for row in others:
        assert row.encoder == first.encoder
        assert row.options.keys() >= first.options.keys()
        changed = [key for key, value in row.options.items() if first.options.get(key) != value]
        assert changed in ([], ['lr'], ['mixup_weight'])
        SITSBarlowTwins(in_channels=2, **row.options)


def test_table_gives_means_and_deviations_of_initialisations():
    def run(name, seed, score):
        entries = [
            {'site': site, 'budget': budget, 'probe': probe, 'depth': depth, 'f1': [score, score]}
            for site, budget, probe, depth in between_fields.COLUMNS
        ]
        return {'contender': name, 'set': 'all', 'seed': seed, 'scores': entries}

    runs = [run('VICReg', seed, 400 + 100 * seed) for seed in range(3)]
    head, _, line = development.table(
        Records(runs), between_fields.ROWS, between_fields.COLUMNS
    ).splitlines()
    assert 'synthetic, 5, late' in head
    assert line.count('50.0 ± 10.0') == 10
    assert 'Barlow' not in line
