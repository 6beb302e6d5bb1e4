"""The contenders, each with its name and what it is made of, and the runs of them."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

#: Kinds of path, and the mixture of those that are curves or walks.
KINDS = ('rows', 'columns', 'snake', 'hilbert', 'walk', 'guided', 'mixed')

#: Views hold about as many pixels, planar (6 paths of 16) or not (a square of 10 x 10).
PLANES = {'num_paths': 6, 'length': 16}
SQUARES = {'crop': 10}

#: Factors on the optimiser steps, and what they add to a name.
LENGTHS = {
    1: '',
    4: ', four times the steps',
    16: ', sixteen times the steps',
    64: ', sixty-four times the steps',
}

#: Superpixels are compared, as the package's own configurations do.
OBJECTS = {'image_weight': 0.0, 'object_weight': 1.0}
DINO = {
    'num_prototypes': 256,
    'center_momentum': 0.5,
    'koleo_weight': 0.1,
    'freeze_last_layer': 0,
    **OBJECTS,
}
#: Arguments of each method of this project.
METHODS: dict[str, dict[str, Any]] = {
    'VICReg': OBJECTS,
    'SimCLR': OBJECTS,
    'BYOL': OBJECTS,
    'DINO': DINO,
    'MAE': {},
}

#: Initialisations of a contender.
SEEDS = 5

type Group = Literal[
    'ours', 'torchgeo', 'untrained', 'random', 'published', 'classic', 'supervised'
]


@dataclass(frozen=True)
class Architecture:
    """An encoder of this project.

    Attributes:
        model: Its name.
        arguments: What is changed of it.
    """

    model: str
    arguments: dict[str, Any] = field(default_factory=dict, hash=False)


#: A smaller PlanarViT than by default, so that two cores train hundreds of them.
FIRST = Architecture('planar_vit_tiny', {'embed_dim': 64, 'depth': 2, 'time_dim': 48})
SECOND = Architecture('planar_vit_v2_tiny', {'embed_dim': 64, 'depth': 2})
#: Encoders of about 0.65 million floating-point operations for a pixel of a view of 24 dates, as
#: torch counts them: time alone 0.65, planes 0.68 (as an image 1.35), images by a U-TAE 0.66 (as
#: planes 0.61), and by a transformer that takes frames first, then dates, 0.66 (0.47).
FAMILIES = {
    'pixels': Architecture(SECOND.model, {'embed_dim': 64, 'depth': 0, 'time_dim': 72}),
    'planes': Architecture(SECOND.model, SECOND.arguments | {'reach': 1}),
    'images': Architecture(
        'utae',
        {
            'encoder_widths': (16, 16, 32),
            'decoder_widths': (40, 16, 32),
            'num_heads': 4,
            'dim': 64,
        },
    ),
    'frames': Architecture(
        'factorised_tiny',
        {
            'dim': 24,
            'num_heads': 2,
            'mlp_ratio': 1.0,
            'patch_size': 1,
            'spatial_depth': 1,
            'temporal_depth': 1,
        },
    ),
}


@dataclass(frozen=True)
class Contender:
    """One line of the tables.

    Attributes:
        name: Its name in results and tables.
        group: What it is made of.
        method: Name of the method or model.
        views: Views of this project's methods, how TorchGeo's tasks are given series, or how
            published models pool their tokens.
        kind: Kind of path of planar views.
        options: Further arguments of the task.
        longer: Factor on the optimiser steps.
        seeds: Number of initialisations.
        changes: Name of the contender in which this one changes one thing, or the steps.
        encoder: The encoder, of this project's methods and of what is not trained at all.
    """

    name: str
    group: Group
    method: str
    views: str = ''
    kind: str = ''
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    longer: int = 1
    seeds: int = SEEDS
    changes: str = ''
    encoder: Architecture = FIRST


def ours(method: str, views: str, kind: str = '') -> Contender:
    """A method of this project on some views."""
    arguments = dict(SQUARES) if views == 'resampling' else PLANES | {'kind': kind}
    if method == 'DINO':
        arguments['local_views'] = 0
    options = METHODS[method] | {'views': views, 'views_kwargs': arguments}
    name = ', '.join(part for part in (method, views, kind) if part)
    return Contender(name, 'ours', method, views, kind, options)


def ablation(
    changed: Contender, remark: str, *, views: dict[str, Any] | None = None, **options: Any
) -> Contender:
    """A contender with one thing changed; it explains a claim and is none, so fewer runs do."""
    arguments = changed.options['views_kwargs'] | (views or {})
    return replace(
        changed,
        name=f'{changed.name}, {remark}',
        options=changed.options | options | {'views_kwargs': arguments},
        seeds=3,
        changes=changed.name,
    )


def lengthened(contender: Contender, times: int, *, seeds: int = 3) -> Contender:
    """A contender that is trained for so many times the steps, one of ``LENGTHS``."""
    name = at_length(contender.name, times)
    return replace(contender, name=name, longer=times, seeds=seeds, changes=contender.name)


def at_length(name: str, times: int) -> str:
    """Name of a contender of that name with so many times the steps."""
    return name + LENGTHS[times]


#: Each method on the views that are compared most.
MAIN = [
    ours(method, *views)
    for method in METHODS
    for views in (('planar', 'mixed'), ('resampling', ''))
]
#: The kinds of path, for the method ahead on development data.
BY_KIND = [ours('VICReg', 'planar', kind) for kind in KINDS if kind != 'mixed']
PLANAR, RESAMPLING = ours('VICReg', 'planar', 'mixed'), ours('VICReg', 'resampling')
#: What the result hangs on: one thing changed in each.
ABLATIONS = [
    ablation(PLANAR, 'pixels', object_weight=0.0, pixel_weight=1.0),
    ablation(PLANAR, 'images', object_weight=0.0, image_weight=1.0),
    ablation(PLANAR, 'reconstruction too', reconstruction_weight=5.0),
    ablation(PLANAR, 'all dates', views={'dates': (1.0, 1.0)}),
    ablation(PLANAR, 'paths of 32', views={'num_paths': 3, 'length': 32}),
    ablation(PLANAR, 'paths of 8', views={'num_paths': 12, 'length': 8}),
    ablation(
        ours('DINO', 'planar', 'mixed'),
        'images and pixels',
        object_weight=0.0,
        image_weight=1.0,
        pixel_weight=1.0,
    ),
]
TORCHGEO = [
    Contender(f'TorchGeo {method}, {frames} frames', 'torchgeo', method, frames)
    for method in ('SimCLR', 'MoCo', 'BYOL', 'MAE')
    for frames in ('stacked', 'single')
]
FROZEN = [
    Contender('untrained PlanarViT', 'untrained', 'PlanarViT'),
    Contender('TorchGeo RCF', 'random', 'RCF'),
]
#: Weights that others have published, frozen: there is nothing to initialise. Mean or months is how
#: tokens are pooled.
PUBLISHED = [
    Contender(f'{title}, {pooled}', 'published', weights, pool, seeds=1)
    for title, weights in (('Presto', 'presto'), ('Galileo nano', 'galileo_nano'))
    for pooled, pool in (('mean of tokens', 'mean'), ('means of months', 'months'))
]
#: Sets with the bands that they know. The published sets are Sentinel-2, too, but are scored on
#: patches without the units of their bands; MODIS is another sensor.
PUBLISHED_SETS = ('belgium', 'synthetic')
CLASSIC = [
    Contender(f'{model}, {bins} bins', 'classic', model, bins)
    for model in ('random forest', 'logistic regression')
    for bins in ('season', 'elapsed')
]
#: Ours as often as the encoder that it is held against; the others take minutes each.
SUPERVISED = [
    Contender(f'{name} from scratch', 'supervised', name, seeds=seeds)
    for name, seeds in (
        ('planar_vit', SEEDS),
        ('utae', 3),
        ('tempcnn', 3),
        ('TorchGeo ConvLSTM', 3),
    )
]
#: Whether more steps change what is found: of the views that are compared, TorchGeo's tasks,
#: another method, and walks alone.
_WALKS = next(c for c in BY_KIND if c.kind == 'walk')
_STACKED = [c for c in TORCHGEO if c.views == 'stacked']
_DINO = [c for c in MAIN if c.method == 'DINO']
LONGER = [
    *(lengthened(c, times, seeds=SEEDS) for times in (4, 16) for c in (PLANAR, RESAMPLING)),
    *(lengthened(c, times) for times in (4, 16) for c in _STACKED),
    *(lengthened(c, 16) for c in (_WALKS, *_DINO)),
]
# -- the second round, see docs/claims.md -----------------------------------------------------

#: What views vary beside dates and bands; chosen on development data.
VARIATION = {'vigour': 0.3, 'soil': 0.4}


def _second(kind: str, name: str, encoder: Architecture) -> Contender:
    """VICReg on planes, or on resampled dates of images, with another encoder and variation."""
    plain = PLANAR if kind == 'planar' else RESAMPLING
    options = plain.options | VARIATION
    return replace(plain, name=f'{name}, {kind}', encoder=encoder, options=options)


#: The second version of PlanarViT, untrained and trained, and each family of encoders on both
#: kinds of view.
UNTRAINED_SECOND = Contender(
    'untrained PlanarViT, second version', 'untrained', 'PlanarViT', encoder=SECOND
)
VERSIONS = [
    UNTRAINED_SECOND,
    *(_second(kind, 'second version', SECOND) for kind in ('planar', 'resampling')),
]
BY_FAMILY = [
    _second(kind, f'family of {name}', encoder)
    for name, encoder in FAMILIES.items()
    for kind in ('planar', 'resampling')
]
#: The second version on single pixels, in a step two thirds as many as planes hold; variation and
#: learning rate chosen on development data.
SINGLE = replace(
    VERSIONS[1],
    name='second version, single pixels',
    views='pixels',
    kind='',
    options={
        'views': 'pixels',
        'views_kwargs': {'pixels': 64},
        'vigour': 0.5,
        'soil': 0.8,
        'lr': 1e-3,
    },
)
#: Sets with Sentinel-1.
RADAR_SETS = ('belgium',)
#: Single pixels, of which one view shows Sentinel-2 and the other Sentinel-1; nothing of it is at
#: inference. Options were chosen on points of Canada.
TWO_SENSORS = replace(
    SINGLE,
    name='second version, pixels of two sensors',
    views='sensor_pixels',
    options={
        'views': 'sensor_pixels',
        'views_kwargs': {'pixels': 64},
        's1_channels': 2,
        'covariance': 5.0,
        'lr': 3e-3,
    },
)
#: The same without Sentinel-1.
ONE_SENSOR = replace(
    TWO_SENSORS,
    name='second version, pixels of one sensor',
    views='pixels',
    options={**TWO_SENSORS.options, 'views': 'pixels', 's1_channels': None},
)
RADAR = [TWO_SENSORS, ONE_SENSOR]
SECOND_ROUND = [*VERSIONS, SINGLE, *RADAR, *BY_FAMILY]
_TRAINED = [c for c in (*VERSIONS, SINGLE) if c.group == 'ours']
#: Finalists: all kinds of view of the second version, and the families of planes and of pixels.
SECOND_LONGER = [
    *(lengthened(c, 16, seeds=SEEDS) for c in _TRAINED),
    *(lengthened(c, 16, seeds=SEEDS) for c in RADAR),
    *(
        lengthened(c, 16)
        for c in BY_FAMILY
        if c.name in ('family of pixels, planar', 'family of planes, planar')
    ),
    *(lengthened(c, 64) for c in _TRAINED),
]
#: What comes when all others are through.
LAST = SUPERVISED[1:] + BY_KIND
CONTENDERS = {
    c.name: c
    for c in [
        *MAIN,
        *TORCHGEO,
        *FROZEN,
        *PUBLISHED,
        *CLASSIC,
        *SUPERVISED,
        *LONGER,
        *BY_KIND,
        *ABLATIONS,
        *SECOND_ROUND,
        *SECOND_LONGER,
    ]
}


@dataclass(frozen=True)
class Job:
    """One contender, one set, one initialisation.

    Attributes:
        contender: Who.
        set: Name of the set.
        seed: Number of the initialisation.
        steps: Optimiser steps of a pretraining.
        lr: Learning rate of a pretraining, None for the task's own.
        data: Folder of the set.
        scratch: Folder of the simulated series.
        weights: Folder of published weights.
        development: Score what choices are made on, not the test.
    """

    contender: Contender
    set: str
    seed: int
    steps: int
    lr: float | None
    data: Path
    scratch: Path
    weights: Path = Path()
    development: bool = False

    @property
    def key(self) -> tuple[str, str, int]:
        """Contender, set and initialisation, which tell its record from others."""
        return self.contender.name, self.set, self.seed
