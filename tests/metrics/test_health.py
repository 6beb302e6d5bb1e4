"""Measures of collapse against closed forms."""

import math

import pytest
import torch

from torchgeo_sits.metrics import (
    assignment_information,
    assignment_perplexity,
    effective_rank,
    mean_cosine,
    normalized_std,
)


def test_isotropic_embeddings_are_healthy():
    z = torch.randn(4000, 32, generator=torch.Generator().manual_seed(0))
    assert normalized_std(z).item() == pytest.approx(1, abs=0.02)
    assert mean_cosine(z).item() == pytest.approx(0, abs=0.01)
    assert effective_rank(z).item() == pytest.approx(32, rel=0.02)


def test_one_direction_is_collapsed():
    z = torch.ones(8, 4) * torch.arange(1.0, 9.0)[:, None]
    assert normalized_std(z).item() == pytest.approx(0, abs=1e-6)
    assert mean_cosine(z).item() == pytest.approx(1, abs=1e-6)
    assert effective_rank(z).item() == pytest.approx(1, abs=1e-4)


def test_constant_embeddings_have_rank_zero():
    assert effective_rank(torch.full((16, 8), 0.3)).item() == 0


def test_mean_cosine_equals_the_mean_over_pairs():
    z = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    cosines = torch.nn.functional.cosine_similarity(z[:, None], z[None], dim=-1)
    pairs = cosines[~torch.eye(7, dtype=torch.bool)]
    assert mean_cosine(z).item() == pytest.approx(pairs.mean().item(), abs=1e-6)


def test_effective_rank_of_known_spectrum():
    # Orthogonal rows about a zero mean with singular values 3 and 1, hence p = 3/4, 1/4.
    u = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]) / 2
    z = u @ torch.diag(torch.tensor([3.0, 1.0]))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert effective_rank(z).item() == pytest.approx(math.exp(entropy), rel=1e-5)


def test_perplexity_counts_the_prototypes_in_use():
    used = torch.eye(6)[:3].repeat(5, 1)
    assert assignment_perplexity(used).item() == pytest.approx(3, rel=1e-5)
    assert assignment_perplexity(torch.eye(6)[:1].repeat(4, 1)).item() == pytest.approx(1)


def test_information_is_nothing_for_one_assignment_and_log_k_for_sure_ones():
    assert assignment_information(torch.full((9, 4), 0.25)).item() == pytest.approx(0, abs=1e-6)
    assert assignment_information(torch.eye(4)).item() == pytest.approx(math.log(4), rel=1e-5)
