"""Tiny runs of every pretraining method; as a script, one process of two. See test_long_runs.py."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch.optim import SGD

from torchgeo_sits.datamodules import SyntheticSITSDataModule
from torchgeo_sits.tasks import SITSBYOL, SITSDINO, SITSMAE, SITSSimCLR, SITSVICReg
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
TERMS = LEVELS | {'ibot_weight': 0.5, 'koleo_weight': 0.1}

#: Each method, with all that has a state or looks at other samples.
VARIANTS: dict[str, tuple[type[SITSPretraining], dict[str, Any]]] = {
    'dino': (SITSDINO, DINO),
    'dino, all terms': (SITSDINO, DINO | TERMS),
    'dino, all terms, sinkhorn': (SITSDINO, DINO | TERMS | {'centering': 'sinkhorn'}),
    'simclr': (SITSSimCLR, SMALL | LEVELS),
    'simclr, memory bank': (SITSSimCLR, SMALL | {'memory_bank_size': 16}),
    'byol': (SITSBYOL, SMALL | LEVELS),
    'vicreg': (SITSVICReg, SMALL | LEVELS),
    'vicreg and reconstruction': (SITSVICReg, SMALL | {'reconstruction_weight': 1.0}),
    'mae': (SITSMAE, {'model_kwargs': ENCODER, 'views_kwargs': VIEWS}),
}


def build(name: str, **kwargs: Any) -> SITSPretraining:
    kind, options = VARIANTS[name]
    return kind(**options | kwargs)


def data(folder: str | Path, **kwargs: Any) -> SyntheticSITSDataModule:
    options = {'batch_size': 4, 'patch_size': 16, 'length': 16, **kwargs}
    return SyntheticSITSDataModule(str(folder), size=64, num_dates_written=8, **options)


def trainer(folder: str | Path, **kwargs: Any) -> Trainer:
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
        **options,
    )


@contextmanager
def drawn_by_sample() -> Iterator[None]:
    """Draw views and masks by the sample alone, whatever its batch, and step with plain SGD.

    What is drawn for a batch depends on its size. Adam hides a wrong factor of the gradient
    and makes the noise of gradients near zero as large as any step, SGD does neither.
    """
    draw_views, draw_mask = SITSPretraining.make_views, RandomPlaneMask.forward

    def alone(batch: dict[str, Any], i: int) -> dict[str, Any]:
        tensors = {k: v[i : i + 1] for k, v in batch.items() if isinstance(v, torch.Tensor)}
        return batch | tensors

    def make_views(task, batch):
        views = []
        for i, bounds in enumerate(batch['bounds']):
            torch.manual_seed(hash(tuple(bounds.tolist())) % 2**31)
            views.append(draw_views(task, alone(batch, i)))
        return [
            {
                key: torch.cat([part[key] for part in parts])
                if isinstance(value, torch.Tensor)
                else value
                for key, value in parts[0].items()
            }
            for parts in zip(*views, strict=True)
        ]

    def plane_mask(self, view):
        hidden = []
        for i, times in enumerate(view['acquisition_times']):
            torch.manual_seed(int(times.sum()) % 2**31)
            hidden.append(draw_mask(self, alone(view, i)))
        return torch.cat(hidden)

    def token_mask(seen, ratio):
        noise = torch.rand(seen[0].shape, generator=torch.Generator().manual_seed(0))
        return seen & (noise < ratio)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SITSPretraining, 'make_views', make_views)
        patch.setattr(RandomPlaneMask, 'forward', plane_mask)
        patch.setattr('torchgeo_sits.tasks.dino.draw_token_mask', token_mask)
        patch.setattr('torchgeo_sits.tasks.pretraining.AdamW', SGD)
        yield


def train(
    name: str, folder: str | Path, *, batch_size: int, **kwargs: Any
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Weights before and after four steps."""
    torch.manual_seed(0)
    task = build(name, in_channels=10, lr=0.05, clip_grad=0.0, pixels=1000)
    before = {k: v.clone() for k, v in task.state_dict().items()}
    datamodule = data(folder, batch_size=batch_size, length=16)
    run = trainer(folder, max_epochs=2, **kwargs)
    datamodule.prepare_data()
    datamodule.setup('fit')
    # Flips are drawn by batch, too.
    datamodule.setup = lambda stage: setattr(datamodule, 'train_aug', datamodule.aug)
    run.fit(task, datamodule)
    assert run.global_step == 4
    return before, task.state_dict()


def main(folder: str, *names: str) -> None:
    torch.set_num_threads(1)
    for name in names:
        with drawn_by_sample():
            _, after = train(name, folder, batch_size=4, devices=2, strategy='ddp')
        rank = torch.distributed.get_rank()
        torch.save(after, Path(folder) / f'{name} {rank}.pt')


if __name__ == '__main__':
    main(*sys.argv[1:])
