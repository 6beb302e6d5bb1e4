"""Random features of two views, and by loops over pixels what of them must be compared."""

import copy

import torch

from torchgeo_sits.models import PlaneFeatures
from torchgeo_sits.transforms import superpixels

BATCH, PATHS, LENGTH, SIDE, DIM = 4, 3, 8, 6, 5
#: Weights that no two terms share.
WEIGHTS = {'image': 1.0, 'object': 0.5, 'pixel': 0.25}
LEVELS = [*({level: 1.0} for level in WEIGHTS), WEIGHTS]
IDS = ['image', 'object', 'pixel', 'weighted']


class TwoViews:
    """Two views of four samples, as encoders named ``backbone`` and ``teacher`` see them."""

    object_size = 3

    def __init__(self, names=('backbone',)):
        generator = torch.Generator().manual_seed(0)

        def draw(*shape):
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        self.paths = [
            torch.randint(0, SIDE**2, (BATCH, PATHS, LENGTH), generator=generator) for _ in range(2)
        ]
        self.seen = [torch.rand(p.shape, generator=generator) > 0.2 for p in self.paths]
        self.embed = {name: [draw(BATCH, DIM) for _ in range(2)] for name in names}
        self.late = {name: [draw(BATCH, PATHS, LENGTH, DIM) for _ in range(2)] for name in names}
        self.views = [{'paths': paths, 'size': (SIDE, SIDE)} for paths in self.paths]
        self.batch = {
            'image': draw(BATCH, 3, 2, SIDE, SIDE),
            'valid': torch.ones(BATCH, 3, dtype=torch.bool),
            'mask_clear': torch.ones(BATCH, 3, SIDE, SIDE, dtype=torch.bool),
        }

    def install(self, task, monkeypatch, module):
        """Let a task see these views and features in place of its own."""
        names = {id(getattr(task, name)): name for name in self.embed}

        def encode(encoder, view, token_mask=None):
            assert torch.equal(view['paths'], torch.cat(self.paths))
            name = names[id(encoder)]
            late = torch.cat(self.late[name])
            return PlaneFeatures(torch.cat(self.embed[name]), late, late, torch.cat(self.seen))

        monkeypatch.setattr(f'torchgeo_sits.tasks.{module}.encode_view', encode)
        monkeypatch.setattr(task, 'make_views', lambda batch: self.views)
        for name in ('log', 'log_dict'):
            monkeypatch.setattr(task, name, lambda *args, **kwargs: None)

    def pairs(self, level, first=('backbone', 0), second=('backbone', 1)):
        """Vectors ``(P, D)`` of an encoder in a view, and those of another that belong to them."""
        (a, i), (b, j) = first, second
        if level == 'image':
            return self.embed[a][i], self.embed[b][j]
        return self._pixels(a, i, b, j) if level == 'pixel' else self._objects(a, i, b, j)

    def _at(self, name, view, sample, wanted):
        """Tokens of a view of a sample whose pixel is wanted."""
        return [
            self.late[name][view][sample, n, at]
            for n in range(PATHS)
            for at in range(LENGTH)
            if self.seen[view][sample, n, at] and wanted(int(self.paths[view][sample, n, at]))
        ]

    def _pixels(self, a, i, b, j):
        ours, theirs = [], []
        for sample in range(BATCH):
            for pixel in range(SIDE**2):
                tokens = self._at(a, i, sample, pixel.__eq__)
                others = self._at(b, j, sample, pixel.__eq__)
                if tokens and others:
                    ours.append(torch.stack(tokens).mean(0))
                    theirs.append(torch.stack(others).mean(0))
        return torch.stack(ours), torch.stack(theirs)

    def _objects(self, a, i, b, j):
        ids = superpixels(self.batch, size=self.object_size).flatten(1)
        ours, theirs = [], []
        for sample in range(BATCH):
            for one in ids[sample].unique():
                members = (ids[sample] == one).nonzero()[:, 0].tolist()
                tokens = self._at(a, i, sample, members.__contains__)
                others = self._at(b, j, sample, members.__contains__)
                if tokens and others:
                    ours.append(torch.stack(tokens).mean(0))
                    theirs.append(torch.stack(others).mean(0))
        return torch.stack(ours), torch.stack(theirs)


def weights_of(levels):
    """Arguments of a task that compares these levels, and all pixels of a sample."""
    weights = {f'{level}_weight': levels.get(level, 0.0) for level in WEIGHTS}
    return {**weights, 'pixels': 10**6, 'object_size': TwoViews.object_size}


def heads_of(task, name):
    """The heads as they are, by level; those of a task change their statistics in a step."""
    return copy.deepcopy(getattr(task, name))
