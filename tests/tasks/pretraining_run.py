"""Tiny runs of every pretraining method, alone or as one process of two. See test_long_runs.py."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch.optim import SGD

from torchgeo_sits.callbacks import KNNProbe
from torchgeo_sits.datamodules import PatchOptions, SyntheticSITSDataModule
from torchgeo_sits.tasks import (
    SITSBYOL,
    SITSDINO,
    SITSMAE,
    SITSBarlowTwins,
    SITSSimCLR,
    SITSVICReg,
    barlow_twins,
)
from torchgeo_sits.tasks.pretraining import SITSPretraining
from torchgeo_sits.transforms import RandomPlaneMask

ENCODER = {'embed_dim': 16, 'depth': 1, 'num_heads': 2, 'time_dim': 8, 'time_heads': 2}
VIEWS = {'num_paths': 2, 'length': 16}
SMALL = {'model_kwargs': ENCODER, 'views_kwargs': VIEWS, 'hidden_dim': 16, 'output_dim': 8}
DINO = {
    'model_kwargs': ENCODER,
    'views_kwargs': VIEWS | {'local_views': 2, 'local_num_paths': 2, 'local_length': 8},
    'num_prototypes': 16,
    'hidden_dim': 16,
    'bottleneck_dim': 8,
    'freeze_last_layer': 0,
}
LEVELS = {'pixel_weight': 0.5, 'object_weight': 0.5, 'object_size': 4}

#: Each method, with all that has a state or looks at other samples.
VARIANTS: dict[str, tuple[type[SITSPretraining], dict[str, Any]]] = {
    'dino': (SITSDINO, DINO),
    'dino, all terms': (SITSDINO, DINO | LEVELS | {'ibot_weight': 0.5, 'koleo_weight': 0.1}),
    'dino, sinkhorn': (SITSDINO, DINO | LEVELS | {'centering': 'sinkhorn'}),
    'simclr': (SITSSimCLR, SMALL | LEVELS),
    'simclr, memory bank': (SITSSimCLR, SMALL | {'memory_bank_size': 16}),
    'byol': (SITSBYOL, SMALL | LEVELS),
    'vicreg': (SITSVICReg, SMALL | LEVELS),
    'vicreg and reconstruction': (SITSVICReg, SMALL | {'reconstruction_weight': 1.0}),
    'barlow twins': (SITSBarlowTwins, SMALL | LEVELS),
    'barlow twins, mixed': (SITSBarlowTwins, SMALL | LEVELS | {'mixup_weight': 5.0}),
    'mae': (SITSMAE, {'model_kwargs': ENCODER, 'views_kwargs': VIEWS}),
}


def build(name: str, **kwargs: Any) -> SITSPretraining:
    kind, options = VARIANTS[name]
    return kind(**options | kwargs)


def data(folder: str | Path, **kwargs: Any) -> SyntheticSITSDataModule:
    options = {'batch_size': 4, 'patches': PatchOptions(16, length=16), **kwargs}
    return SyntheticSITSDataModule(str(folder), size=64, num_dates_written=8, **options)


def trainer(folder: str | Path, callbacks: Sequence[Callback] = (), **kwargs: Any) -> Trainer:
    """A trainer of a few quiet steps, without the probe that tasks bring."""
    options = {
        'accelerator': 'cpu',
        'max_epochs': 2,
        'num_sanity_val_steps': 0,
        'limit_val_batches': 0,
        'enable_checkpointing': False,
        **kwargs,
    }
    return Trainer(
        logger=False,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[KNNProbe(every_n_epochs=0), *callbacks],
        **options,
    )


@contextmanager
def drawn_by_sample() -> Iterator[None]:
    """Draw views and masks by the sample alone, whatever its batch, and step with plain SGD.

    What is drawn for a batch depends on its size. Adam hides a wrong factor of the gradient
    and makes the noise of gradients near zero as large as any step, SGD does neither.
    """
    draw_views, draw_mask = SITSPretraining.make_views, RandomPlaneMask.forward
    draw_partners = barlow_twins._draw_partners

    seeds: list[int] = []

    def alone(batch: dict[str, Any], i: int) -> dict[str, Any]:
        return {k: v[i : i + 1] if isinstance(v, torch.Tensor) else v for k, v in batch.items()}

    def make_views(task: SITSPretraining, batch: dict[str, Any]) -> list[dict[str, Any]]:
        seeds[:] = [hash(tuple(bounds.tolist())) % 2**31 for bounds in batch['bounds']]
        drawn = []
        for i, seed in enumerate(seeds):
            torch.manual_seed(seed)
            drawn.append(draw_views(task, alone(batch, i)))
        return [
            {
                key: torch.cat([view[key] for view in views])
                if isinstance(value, torch.Tensor)
                else value
                for key, value in views[0].items()
            }
            for views in zip(*drawn, strict=True)
        ]

    def plane_mask(self: RandomPlaneMask, view: dict[str, Any]) -> torch.Tensor:
        hidden = []
        for i, seed in enumerate(seeds):
            torch.manual_seed(seed)
            hidden.append(draw_mask(self, alone(view, i)))
        return torch.cat(hidden)

    def partners(found: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        drawn = []
        for objects, seed in zip(found, seeds, strict=True):
            torch.manual_seed(seed)
            drawn.append(draw_partners(objects[None]))
        first, second = zip(*drawn, strict=True)
        return torch.cat(first), torch.cat(second)

    def token_mask(seen: torch.Tensor, ratio: float) -> torch.Tensor:
        # Not equally many in all samples, as under clouds.
        masks = []
        for tokens, seed in zip(seen, seeds * (len(seen) // len(seeds)), strict=True):
            noise = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(seed))
            masks.append(tokens & (noise < ratio))
        return torch.stack(masks)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SITSPretraining, 'make_views', make_views)
        patch.setattr(RandomPlaneMask, 'forward', plane_mask)
        patch.setattr('torchgeo_sits.tasks.dino._draw_token_mask', token_mask)
        patch.setattr(barlow_twins, '_draw_partners', partners)
        patch.setattr('torchgeo_sits.tasks.pretraining.AdamW', SGD)
        yield


def train(
    name: str, folder: str | Path, *, batch_size: int, **kwargs: Any
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Weights before and after four steps, on batches that are not flipped."""
    torch.manual_seed(0)
    task = build(name, in_channels=10, lr=0.01, clip_grad=0.0, pixels=1000)
    before = {key: value.clone() for key, value in task.state_dict().items()}
    datamodule = data(folder, batch_size=batch_size)
    datamodule.prepare_data()
    datamodule.setup('fit')
    # Lightning sets it up once more; flips are drawn by the batch.
    datamodule.setup = lambda stage: None
    datamodule.train_aug = datamodule.aug
    run = trainer(folder, **kwargs)
    run.fit(task, datamodule)
    assert run.global_step == 4
    return before, task.state_dict()


def main(folder: str) -> None:
    for name in VARIANTS:
        with drawn_by_sample():
            _, after = train(name, folder, batch_size=4, devices=2, strategy='ddp')
        torch.save(after, Path(folder) / f'{name}, {torch.distributed.get_rank()}.pt')
