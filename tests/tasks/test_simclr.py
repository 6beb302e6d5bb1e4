"""SITSSimCLR: its loss against the paper's formula, its memory bank, what it refuses."""

import pytest
import torch

from torchgeo_sits.tasks import SITSSimCLR

from .two_views import BATCH, IDS, LEVELS, TwoViews, heads_of, weights_of

ENCODER = {'embed_dim': 5, 'depth': 1, 'num_heads': 1, 'time_dim': 8, 'time_heads': 2}
TINY = {'model_kwargs': ENCODER, 'in_channels': 2, 'hidden_dim': 7, 'output_dim': 6}


def nt_xent(a, b, temperature):
    """Eq. 1 of SimCLR, the mean over the 2N ordered pairs of positives."""
    z = torch.cat([a, b])
    z = z / z.norm(dim=1, keepdim=True)
    similarity = z @ z.T / temperature
    total = 0.0
    for i in range(len(z)):
        positive = (i + len(a)) % len(z)
        others = [k for k in range(len(z)) if k != i]
        total += torch.logsumexp(similarity[i, others], 0) - similarity[i, positive]
    return total / len(z)


@pytest.mark.parametrize('levels', LEVELS, ids=IDS)
def test_loss_is_nt_xent_of_projected_pairs(monkeypatch, levels):
    torch.manual_seed(0)
    task = SITSSimCLR(**TINY, **weights_of(levels), temperature=0.3).double()
    views = TwoViews()
    views.install(task, monkeypatch, 'siamese')
    heads = heads_of(task, 'projection_head')
    loss = task.training_step(views.batch, 0)['loss']
    expected = 0.0
    for level, weight in levels.items():
        ours, theirs = views.pairs(level)
        expected += weight * nt_xent(heads[level](ours), heads[level](theirs), 0.3)
    # The loss itself is computed in float32.
    torch.testing.assert_close(loss.double(), expected, atol=1e-6, rtol=1e-6)


def test_negatives_come_from_the_memory_bank_where_there_is_one(monkeypatch):
    torch.manual_seed(0)
    task = SITSSimCLR(**TINY, temperature=0.3, memory_bank_size=2 * BATCH).double()
    views = TwoViews()
    views.install(task, monkeypatch, 'siamese')
    task.criteria.float()  # as what it is given
    head = heads_of(task, 'projection_head')['image']
    bank = task.criteria['image'].memory_bank.bank.double()
    a, b = (torch.nn.functional.normalize(head(part)) for part in views.pairs('image'))
    for _ in range(3):
        # MoCo, https://arxiv.org/abs/1911.05722, eq. 1: the key against the queue.
        logits = torch.cat([(a * b).sum(1, keepdim=True), a @ bank.T], 1) / 0.3
        expected = (logits.logsumexp(1) - logits[:, 0]).mean()
        loss = task.training_step(views.batch, 0)['loss']
        torch.testing.assert_close(loss.double(), expected, atol=1e-6, rtol=1e-6)
        # The oldest keys leave for those of this step.
        bank = torch.cat([bank[BATCH:], b.detach()])


def test_memory_bank_is_part_of_a_checkpoint():
    task = SITSSimCLR(**TINY, memory_bank_size=8)
    other = SITSSimCLR(**TINY, memory_bank_size=8)
    bank = task.criteria['image'].memory_bank.bank
    assert not torch.equal(other.criteria['image'].memory_bank.bank, bank)
    other.load_state_dict(task.state_dict())
    assert torch.equal(other.criteria['image'].memory_bank.bank, bank)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'temperature': 0.0}, 'temperature above 0.*got 0.0'),
        ({'memory_bank_size': -1}, 'memory_bank_size of at least 0.* -1'),
        ({'views_kwargs': {'global_views': 3}}, 'global_views=2 and local_views=0, got 3 and 0'),
        ({'views_kwargs': {'local_views': 4}}, 'got 2 and 4'),
    ],
)
def test_refusals_name_the_value(options, message):
    with pytest.raises(ValueError, match=message):
        SITSSimCLR(**TINY, **options)
