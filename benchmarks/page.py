"""The page "Benchmarks" of the documentation, made from the files of results.

    python -m benchmarks.page    # prints it

No figure stands in this module: tables are made from results/*.json and from what
``python -m study --report`` wrote. Links and pictures are those of a page ``docs/benchmarks.md``.
"""

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from study.records import read

from . import harness

STUDY = harness.ROOT / 'study'
RUNS = STUDY / 'results' / 'runs.jsonl.gz'
#: Pictures of the page, by where it looks for them.
IMAGES: dict[str, Path] = {
    f'img/{name}.png': STUDY / 'results' / f'{name}.png'
    for name in ('steps', 'budgets', 'contenders')
}


def benchmarks_page() -> str:
    """Make the page.

    Returns:
        Markdown, with a heading of the first level.
    """
    sections = (
        _introduction(),
        _runs(),
        _planes(),
        _loading(),
        _cubes(),
        _remote(),
        _cf(),
        _published_reading(),
        _index(),
        _samplers(),
        _steps(),
        _encoders(),
        _collapse(),
        _explanations(),
        _maps(),
        _cheaper(),
        _costs(),
        _rolling(),
        _exploring(),
        _change(),
        _sentinel1(),
        _fuel_moisture(),
        _published(),
        _finetuned(),
        _study(),
        _faults(),
        _journeys(),
    )
    return '\n\n'.join(sections) + '\n'


# -- Markdown -------------------------------------------------------------------------------


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    names = list(head)
    lines = [names, ['---'] * len(names), *([str(cell) for cell in row] for row in rows)]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def _measured(name: str, results: dict[str, Any]) -> str:
    """Where figures come from: the module, and the commit and machine that were measured."""
    machine, versions = results['machine'], results['versions']
    facts = [f'commit `{results["commit"]}`' if 'commit' in results else 'commit not recorded']
    facts.append(machine['processor'])
    for key in ('cores', 'threads'):
        if key in machine:
            number = machine[key]
            facts.append(f'{number} {key[:-1] if number == 1 else key}')
    if 'torch' in versions:
        facts.append(f'torch {versions["torch"]}')
    return f'*`python -m benchmarks.{name}`: {", ".join(facts)}.*'


def _spread(found: dict[str, float], unit: str, digits: int) -> str:
    """Median, with the quartiles or else the least and the largest."""
    low, high = ('q1', 'q3') if f'q1_{unit}' in found else ('min', 'max')
    median, *ends = (f'{found[f"{key}_{unit}"]:,.{digits}f}' for key in ('median', low, high))
    return f'{median} ({ends[0]} to {ends[1]})'


def _times(ratio: float, digits: int = 1) -> str:
    """A factor."""
    return f'{ratio:.{digits}f} x'


def _or_blank(found: dict[str, Any], key: str, form: str) -> str:
    """A figure, or nothing where it was not measured."""
    return format(found[key], form) if key in found else ''


# -- sections -------------------------------------------------------------------------------


def _introduction() -> str:
    return """# Benchmarks

All of this was measured on two cores of a shared x86-64 machine without a GPU; a GPU has not been
tried yet. Each benchmark is a module in `benchmarks/`, run as the line under its heading says, and
`benchmarks/results/` has all of its figures. That line also names the commit that was measured: the
code may have changed since. Where a range follows a median, it is that of the quartiles, or of all
rounds where there are few."""


def _runs() -> str:
    results = harness.load('runs')
    rows = [
        (
            f'{name}, {len(runs)} runs' if len(runs) > 1 else name,
            runs[0]['steps'],
            ' to '.join(
                f'{s:.0f}' for s in sorted({f([r['seconds'] for r in runs]) for f in (min, max)})
            ),
            'yes' if all(run['finite'] for run in runs) else 'no',
        )
        for name, runs in results['figures'].items()
        if all(run['returncode'] == 0 for run in runs)
    ]
    return f"""## The first command

{_measured('runs', results)}

`torchgeo-sits fit --config conf/dino.yaml` from start to end in a process of its own, on the
simulated series and on real ones.

{_table(('series', 'steps', 'seconds', 'finite loss'), rows)}"""


def _planes() -> str:
    results = harness.load('planes')
    figures, shape = results['figures'], results['settings']['image']
    tables = [
        _table(
            ('what', 'ms', 'against the first'),
            (
                (name, _spread(found, 'ms', 1), _times(found['ratio'], 2))
                for name, found in figures[part].items()
            ),
        )
        for part in ('against_clone', 'against_flips')
    ]
    return f"""## Planes and views

{_measured('planes', results)}

Planes of a batch of {' x '.join(map(str, shape))} against a copy of the same bytes, in interleaved
rounds. Paths are shared by all samples, or each sample has its own.

{tables[0]}

The six views of DINO of the same batch, against Kornia's flips of it.

{tables[1]}"""


def _loading() -> str:
    results = harness.load('loading')
    size, samples = next(iter(results['figures']['samples'].items()))
    multi, single = (
        samples[f'TorchGeo RasterDataset, {kind}']['median_ms']
        for kind in ('multi-band', 'file per band')
    )
    rows = [
        (
            name,
            _spread(found, 'ms', 1),
            f'{found["p95_ms"]:.1f}',
            _times((single if 'file per' in name else multi) / found['median_ms']),
        )
        for name, found in samples.items()
    ]
    loaders = [
        (
            name,
            *(
                f'{found[name]["samples_per_s"]:.1f}; {found[name]["peak_MB"]:.0f} MB'
                for found in results['figures']['loaders'].values()
            ),
        )
        for name in next(iter(results['figures']['loaders'].values()))
    ]
    return f"""## Reading

{_measured('loading', results)}

A sample of {size}, with ten bands, from GeoTIFFs with blocks of 256 x 256 and from the same scene
as a cube. In each round all contenders read at the same random places; GDAL keeps 64 MB of decoded
blocks at most. TorchGeo's `RasterDataset` is warm: its files are open. `BlockPatchSampler` draws
several patches from each block, and time is per patch.

{_table(('contender', 'ms a sample', 'p95', 'as fast as `RasterDataset`'), rows)}

A whole `DataLoader`, once: samples a second, and the peak memory of all of its processes above that
at the start.

{_table(('contender', *results['figures']['loaders']), loaders)}"""


def _cubes() -> str:
    results = harness.load('cubes')
    rows = [
        (
            size,
            name,
            _spread(found, 'ms', 1),
            f'{found["cpu_ms"]:.1f}',
            *(
                f'{found[key]["median"]:.2f} ({found[key]["q1"]:.2f} to {found[key]["q3"]:.2f})'
                if (key := f'against tensorstore, {other}') in found
                else ''
                for other in ('raw', 'as a sample')
            ),
        )
        for size, contenders in results['figures'].items()
        for name, found in contenders.items()
    ]
    head = ('window', 'contender', 'ms', 'of the processor', 'against raw', 'against a sample')
    return f"""## Reading cubes against tensorstore

{_measured('cubes', results)}

The cube of {results['settings']['dates']} dates and ten bands from above. Raw is what tensorstore
gives, pixels of 16 bits alone; as a sample it reads the mask as well and makes float32 of the
pixels, as samples hold them. Ratios are speeds in the same rounds, above 1 where `ZarrTimeSeries`
is faster.

{_table(head, rows)}"""


def _remote() -> str:
    results = harness.load('remote')
    settings = results['settings']
    rows = [
        (layout, name, _spread(found, 's', 2), found['requests'], _times(found['as_fast']))
        for layout, contenders in results['figures'].items()
        for name, found in contenders.items()
    ]
    dates = ', '.join(f'{number} dates of a {name}' for name, number in settings['dates'].items())
    return f"""## Reading from a server

{_measured('remote', results)}

A window of {settings['window']} x {settings['window']} pixels of Cloud Optimized GeoTIFFs with ten
bands ({dates}) on a server of this machine that answers each request {settings['latency_ms']:.0f}
ms late. First the files are opened, then another window is read of files that are open.

{_table(('layout', 'contender', 'seconds', 'requests', 'as fast as the loop'), rows)}"""


def _cf() -> str:
    results = harness.load('cf')
    settings = results['settings']
    rows = [
        (layout, name, _spread(found, 'ms', 1), f'{found["cpu_ms"]:.1f}', _times(found['ratio'], 2))
        for layout, contenders in results['figures'].items()
        for name, found in contenders.items()
    ]
    return f"""## Reading NetCDF and Zarr of others

{_measured('cf', results)}

A sample of {settings['dates']} dates and {settings['bands']} bands as variables, of
{settings['window']} x {settings['window']} pixels at any place. xarray alone selects the window of
each band and reads it as it is stored, to one array of float32; decoded, it does what the CF
conventions ask for itself. The ratio is that of the time of the processor.

{_table(('layout', 'contender', 'ms a sample', 'of the processor', 'against xarray'), rows)}"""


def _published_reading() -> str:
    results = harness.load('published_reading')
    rounds = results['settings']['rounds']
    row_ms = 1000 / results['figures']['a table in HDF5']['torchgeo_sits']['samples_per_s']
    rows = [
        (
            family,
            found['what'],
            *(
                f'{found[name]["samples_per_s"]:,.0f}' if name in found else ''
                for name in ('torchgeo_sits', 'plain read', 'TorchGeo')
            ),
            _times(found['plain read']['ratio'], 2),
            _times(found['TorchGeo']['ratio'], 2) if 'TorchGeo' in found else '',
        )
        for family, found in results['figures'].items()
    ]
    head = (
        *('family', 'a sample', 'samples a second', 'plain read', 'TorchGeo'),
        *('against the plain read', 'against TorchGeo'),
    )
    return f"""## Reading published data sets

{_measured('published_reading', results)}

Releases of random numbers in the layouts and sizes of the data sets, in the memory that the system
keeps of files; medians of {rounds} rounds in turn. The *plain read* opens the same files and turns
images and labels to tensors, which is the least that any loader must do; the data sets here also
look up the dates, sort the frames, and mark what has no data or is clouded. TorchGeo's data sets
read the same files where it has them, without dates and clouds. A row of a table is so small that
most of the {row_ms:.1f} ms is what any sample costs.

{_table(head, rows)}"""


def _index() -> str:
    results = harness.load('index')
    rows = [
        (title, name, _spread(found, 's', 2))
        for title, contenders in results['figures'].items()
        for name, found in contenders.items()
    ]
    return f"""## The start over many files

{_measured('index', results)}

The time until a data set over so many files is built. The first start reads all headers, the second
one finds them in the cache.

{_table(('collection', 'contender', 'seconds'), rows)}"""


def _samplers() -> str:
    results = harness.load('samplers')
    rows = [
        (
            found['what'].rstrip('.'),
            name,
            f'{found["construction"][name]["median_s"]:.2f}',
            _spread(found['draw'][name], 'ms', 3),
        )
        for found in results['figures'].values()
        for name in found['draw']
    ]
    return f"""## Samplers

{_measured('samplers', results)}

A place and its dates, drawn from an index of {results['settings']['rows']:,} footprints:
`RandomSeriesPatchSampler @ RandomDateCountSampler` against TorchGeo's `RandomPatchSampler @
RandomTimedeltaSampler`, whose windows hold about as many dates. Of the scattered chips TorchGeo's
are given a tenth.

{_table(('footprints', 'samplers', 'construction, s', 'a draw, ms'), rows)}"""


def _steps() -> str:
    results = harness.load('ssl_step')
    figures, settings = results['figures']['tiny'], results['settings']
    ratios = figures['ratios']
    rows = []
    for pair, ratio in ratios.items():
        ours, theirs = pair.split(' / ')
        if ',' in pair:  # Heads of other sizes, or other levels.
            continue
        own = figures[ours]
        rows.append(
            (
                f'`{ours}`',
                f'{own["step_s"]:.2f}',
                f'{own["peak_mib"]:.0f}',
                theirs,
                _times(ratio['step_s'], 2),
                _times(ratio['peak_mib'], 2),
            )
        )
    batch = ' x '.join(map(str, settings['batch']))
    head = ('task', 'seconds', 'MiB', "TorchGeo's task", 'time', 'memory')
    return f"""## A step of pretraining

{_measured('ssl_step', results)}

All that Lightning does from one batch to the next, on a batch of {batch}: views, forward, backward
and optimiser, with `planar_vit_tiny`. TorchGeo's tasks take the same frames stacked as channels,
with a ViT of about as many parameters and heads as wide; factors are ours over theirs. They cut
whole stacks into patches of 4 x 4 pixels, where a token here is one pixel on its own dates: that is
what the factor pays for.

{_table(head, rows)}"""


def _encoders() -> str:
    results = harness.load('encoders')
    rows = [
        (
            f'`{name}`' if ',' not in name else name,
            f'{found["parameters"] / 1e6:.2f} M' if 'parameters' in found else '',
            _spread(found['map'], 's', 2),
            _or_blank(found.get('train', {}), 'step_s', '.1f'),
            _or_blank(found.get('train', {}), 'peak_mib', ',.0f'),
        )
        for name, found in results['figures'].items()
    ]
    head = ('encoder', 'parameters', 'features, s', 'training step, s', 'its memory, MiB')
    return f"""## Encoders

{_measured('encoders', results)}

Features of all pixels of a patch of {' x '.join(map(str, results['settings']['patch']))} without
gradients, and a training step on it (forward and backward) with the peak of its memory.

{_table(head, rows)}"""


def _collapse() -> str:
    results = harness.load('collapse')
    runs = results['figures']['runs']
    broken = [run for run in runs if run['broken'] is not None]
    healthy = [run for run in runs if run['broken'] is None]
    stopped = [run['stopped_at_step'] for run in broken if run['stopped_at_step'] is not None]
    false = [run for run in healthy if run['stopped_at_step'] is not None]
    kinds: dict[str, list[int | None]] = {}
    for run in [*broken, *healthy]:
        kinds.setdefault(run['broken'] or 'healthy', []).append(run['stopped_at_step'])
    rows = []
    for kind, steps in kinds.items():
        at = [step for step in steps if step is not None]
        rows.append((kind, len(steps), len(at), f'{min(at)} to {max(at)}' if at else ''))
    return f"""## The watch for collapse

{_measured('collapse', results)}

Each method of pretraining for {results['settings']['steps']} steps, as it is and broken on purpose.
`EmbeddingHealth` stopped {len(stopped)} of {len(broken)} broken runs, and {len(false)} of
{len(healthy)} healthy ones.

{_table(('runs', 'number', 'stopped', 'at step'), rows)}"""


def _explanations() -> str:
    results = harness.load('explanation')
    settings, figures = results['settings'], results['figures']
    tables = []
    for kind in ('dates', 'pixels'):
        names = list(dict.fromkeys(n for found in figures.values() for n in found[kind]))
        names.sort(key=lambda name: name != 'random')
        rows = [
            (
                title,
                *(
                    f'{found[kind][name]["insertion - deletion"]:.2f}'
                    if name in found[kind]
                    else ''
                    for name in names
                ),
            )
            for title, found in figures.items()
        ]
        tables.append(_table((kind, *names), rows))
    right = _table(
        ('model', 'predicted right'),
        (
            (
                title,
                f'{sum(found["places predicted right"])} of '
                f'{settings["seeds"] * settings["places_of_each_seed"]}',
            )
            for title, found in figures.items()
        ),
    )
    return f"""## Explanations

{_measured('explanation', results)}

Dates and pixels are ranked, then taken away the most important first (deletion), or put back the
most important first (insertion). Figures are the area under the curve of the class's probability
for insertion less that for deletion (Petsiuk et al. 2018), about 0 for an order that says nothing.
Small models were trained for {settings['steps']} steps, and {settings['places_of_each_seed']}
places explained with each of {settings['seeds']} seeds; *pixels* are maps, *series* whole fields.
Only dates that are clear at a place, and pixels that its answer depends on, take part.

{tables[0]}

{tables[1]}

Attention over dates alone says no more than chance; times its gradient it says about as much as
occlusion. `torchgeo-sits explain` gives occlusion: it fits all encoders and is far from chance in
every row, though not the best in each. On wc_be_b gradients rank the dates of Deep-STaR better, and
for pixels in the maps of PlanarViT hardly anything beats nearest first. An explanation is of what
is predicted, right or wrong:

{right}"""


def _maps() -> str:
    results = harness.load('mapping')
    parity = _table(
        ('raster, encoder', 'largest difference', 'mean', 'same class'),
        (
            (
                name,
                f'{found["largest difference"]:.1g}',
                f'{found["mean difference"]:.1g}',
                f'{100 * found["same class"]:.2f} %',
            )
            for name, found in results['parity']['figures'].items()
        ),
    )
    apart = results['encoders']['figures']
    sizes = list(next(iter(apart.values())))
    encoders = _table(
        ('encoder', *sizes),
        ((name, *(f'{found[size]:.1g}' for size in sizes)) for name, found in apart.items()),
    )
    speed = _table(
        ('encoder, raster', 'how', 'pixels a second', 'against the loop'),
        (
            (title, name, f'{found["pixels per second"]:,}', _times(found['times the plain loop']))
            for title, contenders in results['speed']['figures'].items()
            for name, found in contenders.items()
        ),
    )
    memory = _table(
        (
            'raster, encoder, depth',
            'peak memory',
            'pixels a second',
            'hours for 10,000 km2 at 10 m',
        ),
        (
            (
                name,
                f'{found["peak GB"]:.2f} GB',
                f'{found["pixels per second"]:,}',
                found['hours per 10,000 km2 at 10 m'],
            )
            for name, found in results['memory']['figures'].items()
        ),
    )
    kills = results['kills']['figures']
    waiting = [state['windows'] for state in kills['kills'] if state['windows']]
    return f"""## Maps

{_measured('mapping parity', results['parity'])}

Encoders have random weights. Probabilities of windows that were joined, against one pass over the
whole raster. Where a window holds the whole raster the two are equal, bit for bit. These are maps
of windows that see their own rows and columns only, as `planar_vit` had before `--map.exact`.

{parity}

{_measured('mapping encoders', results['encoders'])}

The largest difference from one pass with windows of three sizes, of each encoder:

{encoders}

{_measured('mapping speed', results['speed'])}

`MapWriter` against a loop over TorchGeo's `GriddedPatchSampler`, with an overlap of 32 pixels. The
gain is that fewer pixels are computed twice, and that reading goes on meanwhile.

{speed}

{_measured('mapping memory', results['memory'])}

The peak memory of all processes, for rasters of two sizes with a light encoder, and for the default
one.

{memory}

{_measured('mapping kills', results['kills'])}

{len(kills['kills'])} runs were killed at random moments and started again: {kills['same bytes']}
end with the bytes of a run that was left alone. {len(kills['kills']) - len(waiting)} of them were
through before the kill; the others had {min(waiting)} to {max(waiting)} windows by then."""


def _cheaper() -> str:
    whole = harness.load('cheaper')
    speed, price = whole['speed'], whole['price']
    gains, prices = speed['figures'], price['figures']
    heads = list(prices['all']['f1'])
    rows = []
    for name, found in gains.items():
        paid = prices.get(name)
        rows.append(
            (
                name,
                f'{found["pixels_per_cpu_s"]:,}',
                _times(found['times_before']),
                *((f'{paid["f1"][head]:.1f}' for head in heads) if paid else [''] * len(heads)),
                f'{paid["change"]:+.1f}' if paid and name != 'all' else '',
            )
        )
    settings = price['settings']
    return f"""## Cheaper embeddings

{_measured('cheaper', speed)}

`planar_vit_tiny`, features of 128 x 128 pixels on 43 dates with ten bands, in CPU seconds of one
thread; *before* is commit `{speed['settings']['before']}` in the same run, and *gain* how much more
a CPU second does than there. Macro F1 in points is that of the linear probe on development data of
the study (columns say the labels), after {settings['steps']} steps of VICReg, {settings['seeds']}
{'initialisation' if settings['seeds'] == 1 else 'initialisations'}; *change* is its mean against
*all*, which is two path blocks, single precision and late features. The encoders at the end were
pretrained anew, and differ by chance, too. Early features are eight times as many, so that writing
them takes longer.

{_table(('what is run', 'pixels a CPU second', 'gain', *heads, 'change'), rows)}"""


def _costs() -> str:
    results = harness.load('costs')
    settings = results['settings']
    rows = [
        (
            f'`{name.split(",")[0]}`' + ''.join(f',{part}' for part in name.split(',')[1:]),
            found['million_parameters'],
            f'{found["pixels_per_cpu_s"]:,.0f} ({found["least"]:,.0f} to {found["most"]:,.0f})',
            f'{found["cpu_hours"]:,.1f}',
            found['features'],
            f'{found["gb_in_bytes"]:,.1f}',
        )
        for name, found in results['figures'].items()
    ]
    head = (
        'encoder',
        'million parameters',
        'pixels a CPU second',
        'CPU hours',
        'features',
        'GB in bytes',
    )
    return f"""## What 10,000 km2 cost

{_measured('costs', results)}

CPU hours of one thread, and storage with `--map.quantise true`, of the embeddings of 100 million
pixels of 10 m on {settings['dates']} dates of a year with ten bands, a third of the values clouded;
reading and writing are not counted. Weights are random, models of others have the sizes that are
published (TESSERA: its branch of Sentinel-2 alone). An encoder with a stride stores a value for
each of its cells.

{_table(head, rows)}"""


def _rolling() -> str:
    results = harness.load('rolling')
    settings, figures = results['settings'], results['figures']
    encoders = {name: found for name, found in figures.items() if ',' not in name}
    rows = [
        (
            f'`{name}`',
            title,
            found[title]['steps'],
            _spread(found['the year once'], 's', 2),
            _spread(found[title], 's', 2),
            _spread(found[f'{title}, one by one'], 's', 2),
            f'{found[title]["largest_difference"]:.0e}',
        )
        for name, found in encoders.items()
        for title in ('growing', 'sliding')
    ]
    head = (
        'encoder',
        'steps',
        'number',
        'the year once, s',
        'all steps, s',
        'one by one, s',
        'differ',
    )
    whole = figures['command, planar_vit_tiny']
    commands = [
        (
            title,
            _spread(found, 's', 0),
            _times(found['median_s'] / whole['the year once']['median_s']),
        )
        for title, found in whole.items()
    ]
    tiny = encoders['planar_vit_tiny']
    ratio = tiny['growing']['median_s'] / tiny['the year once']['median_s']
    gain = tiny['growing, one by one']['median_s'] / tiny['growing']['median_s']
    return f"""## Embeddings step by step

{_measured('rolling', results)}

The Sentinel-2 images of wc_be_a of 2018, {' x '.join(map(str, settings['series'][1:]))}, embedded
every {settings['every']}: the dates up to each step (*growing*), or those of the last
{settings['over']} (*sliding*). Features of all pixels without gradients, by `rolling_features` and
by one call for each step, in CPU seconds; *differ* is the largest difference between the two.

{_table(head, rows)}

Growing steps of `planar_vit_tiny` are {_times(gain)} as fast as one by one, and take
{_times(ratio)} the time of the year: dates are embedded once, but the layers along rows and columns
run for each step. Sliding steps share nothing. The whole command (without steps after the last
image), in CPU seconds of all its processes, with its start of some seconds, reading once, and
writing bytes:

{_table(('command', 'CPU seconds', 'against the year once'), commands)}"""


def _change() -> str:
    results = harness.load('change')
    rows = [
        (
            *title.split(': '),
            *(
                f'{found[f"{score}_trained_on_{part}"]:.2f}'
                for part in (0, 1)
                for score in ('f1', 'iou')
            ),
        )
        for title, found in results['figures'].items()
    ]
    head = ('set', 'model', 'F1, one way', 'IoU', 'F1, the other way', 'IoU')
    return f"""## Change detection

{_measured('change', results)}

F1 and IoU of change: one part of the area trains, the other one is scored, both ways. The encoder
is trained from scratch for 100 steps (median of {results['settings']['seeds']} seeds); the
threshold lies on the difference of yearly medians, and is chosen where the encoder trains. On tura
the reference is BFAST Monitor's map. On modis_dtwsat_mt all points that change were of one class
before, and no other point was: that much is told by the first season alone.

{_table(head, rows)}"""


def _sentinel1() -> str:
    results = harness.load('sentinel1')
    settings = results['settings']
    titles = [title.split(': ') for title in results['figures']]
    rows = [
        (
            where,
            model,
            *(
                f'{100 * results["figures"][name]["f1_mean"]:.1f}'
                if (name := f'{where}: {model}, {sensors}') in results['figures']
                else ''
                for sensors in ('s2', 's1', 's2+s1')
            ),
        )
        for where in dict.fromkeys(where for where, _ in titles)
        for model in dict.fromkeys(what.split(', ')[0] for _, what in titles)
    ]
    head = ('set, labelled fields per class', 'model', 'Sentinel-2', 'Sentinel-1', 'both')
    return f"""## Sentinel-1 beside Sentinel-2

{_measured('sentinel1', results)}

Macro F1 of the pixels of half of the fields, where one or five fields per class of the other half
train: the mean of {settings['seeds']} seeds, in percent. *linear* is a logistic regression on the
medians of months; *factorised_tiny* was trained from scratch for {settings['steps']} steps, far too
few to come near it: with one field per class it learns the field by heart. Few fields are scored,
so that seeds differ by much more than sensors do (all runs are in the file).

{_table(head, rows)}"""


def _fuel_moisture() -> str:
    results = harness.load('fuel_moisture')
    settings = results['settings']
    train, val, test = settings['points']
    rows = [
        (
            name,
            *(
                f'{found[f"{score}_mean"]:.{digits}f} ± {found[f"{score}_sd"]:.{digits}f}'
                for score, digits in (('rmse', 1), ('mae', 1), ('r2', 2))
            ),
            f'{100 * found["coverage_mean"]:.1f} ± {100 * found["coverage_sd"]:.1f}',
            f'{found["width_mean"]:.0f}',
            found['seconds'],
        )
        for name, found in results['figures'].items()
    ]
    head = ('contender', 'RMSE', 'MAE', 'R2', 'covered, %', 'interval', 'seconds')
    return f"""## Live fuel moisture

{_measured('fuel_moisture', results)}

Moisture in percent of dry mass from three months of Sentinel-1, Sentinel-2, weather and terrain, at
153 sites, by the split that was published with the data: {test} points of other sites are the test.
Mean and standard deviation of {settings['seeds']} seeds; each draws anew the quarter of the sites
of training that are held out (first {train} points for training, {val} for validation), from which
intervals of {100 * settings['coverage']:.0f} % get their width. *Seconds* are those of training and
prediction, where other work ran beside them; frozen features are computed by the first that asks
for them. The published models take the place too, as the second forest does and no other.

{_table(head, rows)}"""


def _published() -> str:
    results = harness.load('published')
    settings, figures = results['settings'], results['figures']
    rows = [
        (
            name,
            f'{figures[f"{name}: largest difference"]:.1e}'
            if f'{name}: largest difference' in figures
            else '',
            f'{figures[f"{name}: pixels per CPU second"]:.0f}',
        )
        for name in ('presto', 'galileo_nano', 'planar_vit_tiny')
    ]
    head = ('encoder', 'difference', 'pixels per CPU second')
    return f"""## Published models as encoders

{_measured('published', results)}

*Difference* is the largest from embeddings by TorchGeo's Presto and by the authors' Galileo, with
the published weights, over {settings['pixels']} pixels of {settings['months']} months without gaps.
Cost is that of dense features of {settings['side']} x {settings['side']} pixels on
{settings['dates']} dates of a year, a third of the values clouded, on one thread.

{_table(head, rows)}"""


def _finetuned() -> str:
    results = harness.load('finetuned')
    titles = {'presto': 'Presto', 'galileo_nano': 'Galileo nano'}
    frozen = {
        (record['contender'].split(',')[0], scores['site']): scores['f1']
        for record in read(RUNS)
        if record['contender'].endswith(', mean of tokens') and record['set'] == 'belgium'
        for scores in record['scores']
        if (scores['budget'], scores['probe']) == ('1', 'linear')
    }
    rows = []
    for name, found in results['figures'].items():
        model, site = name.split(', ')
        before = statistics.mean(frozen[titles[model], site][: len(found['f1_runs'])]) / 10
        rows.append(
            (
                titles[model],
                site,
                f'{before:.1f}',
                f'{100 * found["f1_mean"]:.1f}',
                f'{100 * min(found["f1_runs"]):.0f} to {100 * max(found["f1_runs"]):.0f}',
                f'{found["training_cpu_s"]:.0f} s',
            )
        )
    head = ('model', 'series', 'frozen, linear', 'fine-tuned', 'of the draws', 'CPU time of one')
    return f"""## Published models, fine-tuned

{_measured('finetuned', results)}

Macro F1 in percent with one labelled field of each class, the mean of
{results['settings']['draws']} draws of fields: a linear probe on the frozen features, as the study
has it, and the model trained for {results['settings']['steps']} steps on the same fields.

{_table(head, sorted(rows, reverse=True))}"""


def _study() -> str:
    text = (STUDY / 'FINDINGS.md').read_text().strip()
    summary = (STUDY / 'results' / 'summary.md').read_text().strip()
    for there, here in (('# ', '## '), ('](results/', '](img/'), ('](../docs/', '](')):
        text = text.replace(there, here, 1) if there == '# ' else text.replace(there, here)
    return f"""{text}

Differences that were asked for and found are in bold type. In the second table are the means of all
contenders.

{summary}

![Macro F1 of all contenders](img/contenders.png)

![Macro F1 over the number of labels](img/budgets.png)"""


def _faults() -> str:
    results = harness.load('faults')
    rows = []
    for name, found in results['figures'].items():
        killed, term = found['killed'], found['SIGTERM']
        disks = [_survived(found[disk]) for disk in ('full disk', 'read-only disk')]
        same = 'same bytes' if killed['same_bytes'] else 'other bytes'
        rests = f'{killed["hidden_rests"]} rests'
        ended = 'hangs' if term['hangs'] else f'{term["seconds_to_end"]:.1f} s, {term["status"]}'
        rows.append((f'`{name}`', f'{killed["kills"]} kills: {same}, {rests}', ended, *disks))
    head = ('command', 'SIGKILL', 'SIGTERM: ends after, status', 'full disk', 'read-only disk')
    return f"""## Runs that are killed, terminated, or have no room

{_measured('faults', results)}

Each command is killed at random moments and given again until it ends; then what it wrote is held
against what a run wrote that nobody touched (of a training, the weights of its last checkpoint).
SIGTERM comes after a third of the time that the command takes. [What is promised](robust.md).

{_table(head, rows)}"""


def _survived(found: dict[str, Any] | None) -> str:
    """How a run on a disk of its own ended."""
    if found is None:
        return ''
    said = 'a traceback' if found['traceback'] else 'one line'
    return f'{said}, status {found["status"]}' if found['status'] else 'written'


def _exploring() -> str:
    results = harness.load('exploring')
    settings = results['settings']
    rows = [
        (
            f'{int(size):,} x {int(size):,}',
            f'{found["file_mib"]:,.0f} MiB',
            _spread(found['label'], 's', 2),
            _spread(found['view'], 's', 2),
            _spread(found['click_to_map'], 's', 2),
            f'{found["first_view_s"]:.2f}',
            _or_blank(found, 'whole_map_s', '.1f'),
            f'{found["peak_of_views_mib"] - found["imported_mib"]:,.0f}',
        )
        for size, found in sorted(results['figures'].items(), key=lambda item: int(item[0]))
    ]
    heads = (
        'pixels', 'file', 'label (s)', 'view (s)', 'click to map (s)', 'first view (s)',
        'whole map (s)', 'memory of views (MiB)',
    )  # fmt: skip
    return f"""## From a click to a map

{_measured('exploring', results)}

The page of `explore` on embeddings of {settings['features']} features in a byte each, not
compressed, with up to {settings['labels']} labels: *label* until the last is on the disk and the
probe is fitted and scored, *view* until the map of the whole area is drawn as tiles for a screen of
{settings['screen']} x {settings['screen']} pixels, as PNG; median of {settings['rounds']}
(quartiles). The *first view* reads the file. The *whole map* is that of all pixels, in the
background, of sizes of which it is drawn unasked. Memory is beside that of the packages which
are imported.

{_table(heads, rows)}"""


def _journeys() -> str:
    results = harness.load('journeys')
    labels = [label for label in ('before', 'after') if label in results]
    counts = ('files', 'lines', 'functions', 'lines_of_functions')
    rows = [
        (
            name,
            *(
                ' → '.join(f'{results[label]["journeys"][name][count]:,}' for label in labels)
                for count in counts
            ),
        )
        for name in results[labels[0]]['journeys']
    ]
    commits = ', '.join(f'{label} at commit `{results[label]["commit"]}`' for label in labels)
    return f"""## How much code a reader opens

*`python -m benchmarks.journeys`: {commits}.*

Each journey through the package is run, and counted is what is entered meanwhile: files with all of
their lines, functions with theirs. *Before* is the package before its files were folded together.

{_table(('journey', 'files', 'lines', 'functions', 'lines of functions'), rows)}"""


if __name__ == '__main__':
    print(benchmarks_page())
