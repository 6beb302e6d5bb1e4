"""Who is compared: each contender's name, and what it is made of."""

from dataclasses import dataclass, field
from typing import Any, Literal

#: Kinds of path, and the mixture of those that are curves or walks.
KINDS = ('rows', 'columns', 'snake', 'hilbert', 'walk', 'guided', 'mixed')

#: Views hold about as many pixels, planar (6 paths of 16) or not (a square of 10 x 10).
PLANES = {'num_paths': 6, 'length': 16}
SQUARES = {'crop': 10}

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

type Group = Literal['ours', 'torchgeo', 'untrained', 'random', 'classic', 'supervised']


@dataclass(frozen=True)
class Contender:
    """One line of the tables.

    Attributes:
        name: Its name in results and tables.
        group: What it is made of.
        method: Name of the method or model.
        views: Views of this project's methods, or how TorchGeo's tasks are given series.
        kind: Kind of path of planar views.
        options: Further arguments of the task.
    """

    name: str
    group: Group
    method: str
    views: str = ''
    kind: str = ''
    options: dict[str, Any] = field(default_factory=dict, hash=False)


def ours(method: str, views: str, kind: str = '', **options: Any) -> Contender:
    """A method of this project on some views."""
    arguments = dict(SQUARES) if views == 'resampling' else PLANES | {'kind': kind}
    if method == 'DINO':
        arguments['local_views'] = 0
    options = METHODS[method] | {'views': views, 'views_kwargs': arguments} | options
    name = f'{method}, {views}' + (f', {kind}' if kind else '')
    return Contender(name, 'ours', method, views, kind, options)


#: Each method on the views that are compared most.
MAIN = [
    ours(method, *views)
    for method in METHODS
    for views in (('planar', 'mixed'), ('resampling', ''))
]
#: The kinds of path, for the method ahead on development data.
BY_KIND = [ours('VICReg', 'planar', kind) for kind in KINDS if kind != 'mixed']
TORCHGEO = [
    Contender(f'TorchGeo {method}, {frames} frames', 'torchgeo', method, frames)
    for method in ('SimCLR', 'MoCo', 'BYOL', 'MAE')
    for frames in ('stacked', 'single')
]
FROZEN = [
    Contender('untrained PlanarViT', 'untrained', 'PlanarViT'),
    Contender('TorchGeo RCF', 'random', 'RCF'),
]
CLASSIC = [
    Contender(f'{model}, {bins} bins', 'classic', model, bins)
    for model in ('random forest', 'logistic regression')
    for bins in ('season', 'elapsed')
]
SUPERVISED = [
    Contender(f'{name} from scratch', 'supervised', name)
    for name in ('planar_vit', 'utae', 'tempcnn', 'convlstm')
]
CONTENDERS = {c.name: c for c in MAIN + TORCHGEO + FROZEN + CLASSIC + SUPERVISED + BY_KIND}
