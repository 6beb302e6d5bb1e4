"""SITSBarlowTwins: its losses against the papers' formulas, its mixtures, what it refuses."""

import numpy as np
import pytest
import torch

from torchgeo_sits.models import PlaneFeatures
from torchgeo_sits.tasks import SITSBarlowTwins, barlow_twins
from torchgeo_sits.tasks.comparison import Objects
from torchgeo_sits.transforms import superpixels

from .two_views import IDS, LEVELS, TwoViews, heads_of, weights_of

ENCODER = {'embed_dim': 5, 'depth': 1, 'num_heads': 1, 'time_dim': 8, 'time_heads': 2}
TINY = {'model_kwargs': ENCODER, 'in_channels': 2, 'hidden_dim': 7, 'output_dim': 6}


def normalised(z):
    """Columns of mean 0 and variance 1, but for the 1e-5 that batch normalisation adds."""
    return (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5)


def barlow(a, b, weight):
    """Eqs. 1 and 2 of Barlow Twins, of projections that are centred over the batch."""
    a, b = normalised(a), normalised(b)
    loss = 0.0
    for i in range(a.shape[1]):
        for j in range(a.shape[1]):
            c = sum(a[k, i] * b[k, j] for k in range(len(a))) / len(a)
            loss += (1 - c) ** 2 if i == j else weight * c**2
    return loss


@pytest.mark.parametrize('levels', LEVELS, ids=IDS)
def test_loss_is_that_of_the_paper(monkeypatch, levels):
    torch.manual_seed(0)
    task = SITSBarlowTwins(**TINY, **weights_of(levels), redundancy=0.1).double()
    views = TwoViews()
    views.install(task, monkeypatch, 'siamese')
    heads = heads_of(task, 'projection_head')
    loss = task.training_step(views.batch, 0)['loss']
    expected = 0.0
    for level, weight in levels.items():
        a, b = (heads[level](part).detach().numpy() for part in views.pairs(level))
        expected += weight * barlow(a, b, 0.1)
    # The loss itself is computed in float32.
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.fixture
def mixed_step(monkeypatch):
    """A step on known features of a mixed view: the task, its head before, and what was drawn."""
    torch.manual_seed(0)
    task = SITSBarlowTwins(
        **TINY, **weights_of({'object': 0.5}), redundancy=0.1, mixup_weight=2.0
    ).double()
    views = TwoViews()
    views.install(task, monkeypatch, 'siamese')
    late = torch.randn_like(views.late['backbone'][0])
    # Of one object of the first sample the mixture shows nothing.
    owner = superpixels(views.batch, size=views.object_size)[0].flatten()[views.paths[0][0]]
    seen = views.seen[0].clone()
    seen[0] &= owner != owner[seen[0]][0]
    drawn = []

    def draw(found, draw=barlow_twins._draw_partners):
        drawn.append((found, *draw(found)))
        return drawn[-1][1:]

    monkeypatch.setattr(barlow_twins, '_draw_partners', draw)
    monkeypatch.setattr(barlow_twins, '_mix_objects', lambda view, *args: view)
    monkeypatch.setattr(
        barlow_twins,
        'encode_view',
        lambda *args: PlaneFeatures(late.mean((1, 2)), late, late, seen),
    )
    return task, views, heads_of(task, 'projection_head')['object'], (late, seen), drawn


def test_mixtures_correlate_with_both_views_as_their_parts_do(mixed_step):
    task, views, head, (late, seen), drawn = mixed_step
    loss = task.training_step(views.batch, 0)['loss']
    [(found, partners, share)] = drawn
    ours, theirs = views.pairs('object')
    assert int(found.sum()) == len(ours)
    ids = superpixels(views.batch, size=views.object_size).flatten(1)
    place = {tuple(at): i for i, at in enumerate(found.nonzero().tolist())}
    rows, others, weights, mixed = [], [], [], []
    for (sample, one), row in place.items():
        tokens = seen[sample] & (ids[sample][views.paths[0][sample]] == one)
        if tokens.any():
            mixed.append(late[sample][tokens].mean(0))
            rows.append(row)
            others.append(place[sample, int(partners[sample, one])])
            weights.append(float(share[sample, one]))
    assert len(rows) == len(place) - 1
    assert rows != others
    a, b, m = (normalised(head(z).detach().numpy()) for z in (ours, theirs, torch.stack(mixed)))
    total = barlow(*(head(z).detach().numpy() for z in (ours, theirs)), 0.1)
    assert task.loss_weights['object'] == 0.5
    # The four matrices of the paper; the partner is of the first view, and has a share of its own.
    weight = np.array(weights)[:, None]
    regularisation = 0.0
    for z in (a, b):
        found_c = m.T @ z[rows] / len(m)
        wanted = ((weight * a[rows]).T @ z[rows] + ((1 - weight) * a[others]).T @ z[rows]) / len(m)
        regularisation += 0.5 * np.square(found_c - wanted).sum()
    assert regularisation > 1
    assert loss.item() == pytest.approx(0.5 * total + 2.0 * 0.1 * regularisation, rel=1e-5)


def view_of(layout, *, s1=False):
    """A view of three samples, a fifth of it under clouds that hold NaN, and its objects."""
    generator = torch.Generator().manual_seed(0)
    view = {'paths': torch.randint(0, 36, (3, 2, 8), generator=generator), 'size': (6, 6)}
    for suffix, dates in (('', 4), ('_s1', 3))[: 2 if s1 else 1]:
        image = torch.randn(3, dates, 2, 2, 8, generator=generator)
        clear = torch.rand(3, dates, 2, 8, generator=generator) > 0.4
        image[~clear[:, :, None].expand_as(image)] = torch.nan
        if layout == 'planes':
            image, clear = image.permute(0, 3, 2, 1, 4), clear.transpose(1, 2)
        view[('planes' if layout == 'planes' else 'image') + suffix] = image
        view['mask_clear' + suffix] = clear
    ids = torch.randint(0, 4, (3, 6, 6), generator=generator)
    return view, Objects(ids, 4)


@pytest.mark.parametrize('layout', ['planes', 'image'])
def test_a_pixel_is_mixed_with_the_mean_of_its_partner_where_both_are_clear(layout):
    view, (ids, number) = view_of(layout, s1=True)
    partners = torch.tensor([[1, 2, 3, 0], [0, 3, 1, 2], [2, 1, 0, 3]])
    share = torch.linspace(0, 1, 12).view(3, 4)
    before = {key: value.clone() for key, value in view.items() if isinstance(value, torch.Tensor)}
    mixed = barlow_twins._mix_objects(view, Objects(ids, number), partners, share)
    assert mixed.keys() == view.keys()
    clear_cells = hidden_cells = 0
    for suffix in ('', '_s1'):
        image = view[('planes' if layout == 'planes' else 'image') + suffix]
        clear = view['mask_clear' + suffix]
        values, seen = (
            mixed[('planes' if layout == 'planes' else 'image') + suffix],
            mixed['mask_clear' + suffix],
        )
        if layout == 'planes':
            image, values = (x.permute(0, 3, 2, 1, 4) for x in (image, values))
            clear, seen = clear.transpose(1, 2), seen.transpose(1, 2)
        assert values.isfinite().all()
        for b, t, n, at in np.ndindex(*seen.shape):
            owner = ids[b].flatten()[view['paths'][b]]
            one = int(owner[n, at])
            members = clear[b, t] & (owner == partners[b, one])
            known = bool(clear[b, t, n, at]) and bool(members.any())
            assert seen[b, t, n, at] == known
            hidden_cells += not known
            if known:
                other = image[b, t][:, members].mean(1)
                part = share[b, one]
                wanted = part * image[b, t, :, n, at] + (1 - part) * other
                torch.testing.assert_close(values[b, t, :, n, at], wanted)
                clear_cells += 1
    assert clear_cells > 40
    assert hidden_cells > 40
    for key, value in before.items():
        torch.testing.assert_close(view[key], value, equal_nan=True, rtol=0, atol=0)


def test_partners_are_found_objects_of_the_same_sample_in_any_order():
    torch.manual_seed(0)
    found = torch.rand(64, 9) > 0.3
    partners, share = barlow_twins._draw_partners(found)
    for row, known in zip(partners, found, strict=True):
        assert sorted(row[known].tolist()) == known.nonzero()[:, 0].tolist()
        assert not known[row[~known]].any()
    itself = (partners == torch.arange(9))[found].float().mean()
    # Of k objects in any order one of k stays in its place.
    assert itself == pytest.approx(1 / 6.3, abs=0.05)
    assert 0 <= share.min() < 0.05
    assert 0.95 < share.max() <= 1
    assert share.mean() == pytest.approx(0.5, abs=0.05)


def test_a_place_with_nothing_to_mix_gives_no_loss(mixed_step, monkeypatch):
    task, views, *_ = mixed_step
    views.seen[1].zero_()
    loss = task.training_step(views.batch, 0)['loss']
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'redundancy': -1.0}, 'redundancy must be at least 0, got -1.0'),
        ({'mixup_weight': -1.0, 'object_weight': 1.0}, "at least 0.*'mixup_weight': -1.0"),
        ({'mixup_weight': 1.0}, 'mixup_weight=1.0 mixes superpixels: expected object_weight above'),
        ({'views_kwargs': {'global_views': 1}}, 'SITSBarlowTwins.*global_views=2.*got 1 and 0'),
    ],
)
def test_refusals_name_the_value(options, message):
    with pytest.raises(ValueError, match=message):
        SITSBarlowTwins(**TINY, **options)
