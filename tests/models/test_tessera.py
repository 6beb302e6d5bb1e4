"""TESSERA: the outputs of its authors, promises, and bands."""

import pytest
import torch
from torchgeo.models.tessera import TransformerEncoder

from torchgeo_sits.models import Series, Tessera, check_encoder, tessera_state
from torchgeo_sits.models.dates import day_of_year

SMALL = {'latent_dim': 4, 'depth': 2, 'num_heads': 2, 'hidden_dim': 16}
BANDS = ['B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B11', 'B12']
THEIRS = ['B04', 'B02', 'B03', 'B08', 'B8A', 'B05', 'B06', 'B07', 'B11', 'B12']


def test_keeps_its_promises():
    torch.manual_seed(0)
    check_encoder(Tessera(bands=BANDS, **SMALL))


def test_gives_what_torchgeos_branch_gives():
    torch.manual_seed(0)
    theirs = TransformerEncoder(10, 4, 2, 2, 16).eval()
    ours = Tessera(bands=BANDS, **SMALL).eval()
    ours.load_state_dict(tessera_state(theirs.state_dict()))
    image = torch.randn(2, 7, 10, 1, 1)
    times = 1_600_000_000 + 86_400 * torch.tensor([[0, 9, 31, 80, 150, 200, 300]]).expand(2, -1)
    series = Series(image, times, torch.ones(2, 7, dtype=torch.bool))
    series = series._replace(mask_clear=torch.ones(2, 7, 1, 1, dtype=torch.bool))
    series.mask_clear[1, [2, 5]] = False
    for i, kept in enumerate(([0, 1, 2, 3, 4, 5, 6], [0, 1, 3, 4, 6])):
        values = image[i, kept, :, 0, 0][:, [BANDS.index(name) for name in THEIRS]]
        day = day_of_year(times[i, kept]) + 1
        with torch.no_grad():
            expected = theirs(torch.cat([values, day[:, None]], 1)[None])[0]
            found = ours(series)[i]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_weights_of_the_whole_model_hold_those_of_the_branch():
    branch = TransformerEncoder(10, 4, 2, 2, 16).state_dict()
    whole = {f's2_backbone.{name}': value for name, value in branch.items()}
    whole['dim_reducer.0.weight'] = torch.zeros(4, 32)
    Tessera(**SMALL).load_state_dict(tessera_state(whole))


def test_a_missing_band_is_named():
    with pytest.raises(ValueError, match=r"needs all ten of its bands.*\['swir22'\]"):
        Tessera(9, bands=BANDS[:-1], **SMALL)
