"""The command ``torchgeo-sits explain``: dates and pixels that a prediction rests on."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib import pyplot as plt
from rasterio.warp import transform, transform_bounds
from torchgeo.datamodules import BaseDataModule
from torchgeo.datasets import GeoDataset
from torchgeo.tasks import BaseTask

from ..errors import SITSError
from ..explaining import (
    PlacePrediction,
    explain_prediction,
    importance_limit,
    plot_dates,
    plot_pixels,
    write_dates,
    write_importance,
)
from ..grid import Grid, crs_name, grid_of
from ..keys import IMAGE
from ..samplers import ListedSampler
from ..tasks import SITSClassification, SITSSegmentation
from ..tasks.base import class_names
from ..whole_files import whole_file
from .training import TrainingCLI, on_own_data, with_run

__all__ = ['explain']

#: Share of the effect from which a class rests on the pixel itself.
_ALONE = 0.9


def explain(args: Sequence[str]) -> None:
    """Explain the prediction of a checkpoint at a place.

    Args:
        args: Options; see ``torchgeo-sits explain --help``.
    """
    args = _with_joined_place(on_own_data(with_run('explain', args)))
    _ExplainCLI(['explain', *args], trainer_class=_Explainer, has_logs=False)


def _with_joined_place(args: Sequence[str]) -> list[str]:
    """Join ``--at -3,50`` to ``--at=-3,50``: a western longitude looks like an option."""
    rest = iter(args)
    return [f'--at={next(rest, "")}' if arg == '--at' else arg for arg in rest]


class _ExplainCLI(TrainingCLI):
    """Command line with the one subcommand ``explain``."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Names of the subcommands, and the arguments of their methods that are no options."""
        return {'explain': {'model', 'datamodule'}}


class _Explainer(Trainer):
    """Trainer that explains a prediction in place of mapping the data."""

    callbacks: list[Callback]

    def explain(
        self,
        model: BaseTask,
        datamodule: BaseDataModule,
        ckpt_path: str,
        at: str | None = None,
        output: str = 'explanation',
    ) -> None:
        """Explain the prediction at a place.

        Args:
            model: The task.
            datamodule: The data.
            ckpt_path: Checkpoint of a segmentation or classification.
            at: Longitude and latitude of the place in degrees (``--at 4.35,50.85``), or x and y
                in the coordinate reference system of the data where these are larger than degrees
                can be. The middle of the data by default. Of fields the one around it is taken.
            output: Folder for dates.png, dates.csv, pixels.png, pixels.tif and explanation.json.

        Raises:
            SITSError: If task, data or place do not fit.
        """
        if not isinstance(model, SITSSegmentation | SITSClassification):
            raise SITSError(
                'expected SITSSegmentation or SITSClassification, whose classes can be explained, '
                f'got {type(model).__name__}: choose conf/segmentation.yaml or '
                'conf/classification.yaml and a checkpoint of it'
            )
        reader = _PlaceReader(at)
        self.callbacks.append(reader)
        self.predict(model, datamodule, ckpt_path=ckpt_path, return_predictions=False)
        model.to(self.strategy.root_device).eval()
        batch = {
            key: value.to(model.device) if isinstance(value, torch.Tensor) else value
            for key, value in reader.batch.items()
        }
        model.requires_grad_(False)
        _write(Path(output), model, datamodule, batch, reader.patch, Path(ckpt_path).name)


class Patch(NamedTuple):
    """Pixels around a place.

    Attributes:
        grid: The pixels of the patch.
        pixel: Row and column of the place in it.
    """

    grid: Grid
    pixel: tuple[int, int]


_DEGREES = 'EPSG:4326'


def locate(text: str, data: Grid) -> tuple[float, float]:
    """Read the coordinates of a place in the data.

    Args:
        text: ``LON,LAT`` in degrees (WGS 84), or ``X,Y`` in the coordinate reference system of
            the data where either number is beyond what degrees can be.
        data: All pixels of the data.

    Returns:
        x and y in the coordinate reference system of the data.

    Raises:
        SITSError: If *text* is no pair of numbers, or no place in the data.
    """
    try:
        x, y = map(float, text.split(','))
    except ValueError as error:
        raise SITSError(
            'expected --at LON,LAT in degrees, such as --at=4.35,50.85, or X,Y in '
            f'{crs_name(data.crs)}, got {text!r}'
        ) from error
    west, south, east, north = data.bounds
    in_degrees = abs(x) <= 180 and abs(y) <= 90
    if in_degrees:
        [at_x], [at_y] = transform(_DEGREES, data.crs, [x], [y])[:2]
    else:
        at_x, at_y = x, y
    if west <= at_x < east and south < at_y <= north:
        return float(at_x), float(at_y)
    if in_degrees:
        west, south, east, north = transform_bounds(data.crs, _DEGREES, *data.bounds)
        extent = f'longitude {west:.6f} to {east:.6f} and latitude {south:.6f} to {north:.6f}'
    else:
        extent = (
            f'x from {west:.10g} to {east:.10g} and y from {south:.10g} to {north:.10g} in '
            f'{crs_name(data.crs)}'
        )
    raise SITSError(f'--at {text} is not in the data: expected a place in it, {extent}')


def patch_around(data: Grid, point: tuple[float, float], size: int) -> Patch:
    """Find the patch around a point, moved into the data where it would reach beyond.

    Args:
        data: All pixels of the data.
        point: x and y in the data, in its coordinate reference system.
        size: Side of the patch in pixels; data that is smaller is taken whole.

    Returns:
        The patch, on the pixels of the data.
    """
    west, _, _, north = data.bounds
    x, y = point
    column = min(int((x - west) / data.xres), data.width - 1)
    row = min(int((north - y) / data.yres), data.height - 1)
    height, width = min(size, data.height), min(size, data.width)
    top = min(max(row - height // 2, 0), data.height - height)
    left = min(max(column - width // 2, 0), data.width - width)
    grid = Grid(
        west + left * data.xres,
        north - top * data.yres,
        data.xres,
        data.yres,
        width,
        height,
        data.crs,
    )
    return Patch(grid, (row - top, column - left))


def _field_patch(windows: Any, data: Grid, point: tuple[float, float]) -> Patch:
    """Find the window of the field whose middle is nearest to a point."""

    def distance(window: Any) -> float:
        return math.dist([(axis.start + axis.stop) / 2 for axis in window[:2]], point)

    x, y = min(windows, key=distance)[:2]
    width, height = round((x.stop - x.start) / data.xres), round((y.stop - y.start) / data.yres)
    grid = Grid(x.start, y.stop, data.xres, data.yres, width, height, data.crs)
    return Patch(grid, (height // 2, width // 2))


class _PlaceReader(Callback):
    """Let the data module read the patch around a place and nothing else, and keep it."""

    patch: Patch
    batch: dict[str, Any]

    def __init__(self, at: str | None) -> None:
        self.at = at

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Choose the patch.

        Raises:
            SITSError: If the data lies nowhere, or not at the place.
        """
        datamodule: Any = getattr(trainer, 'datamodule', None)
        dataset = getattr(datamodule, 'predict_dataset', None)
        if not isinstance(dataset, GeoDataset):
            raise SITSError(
                f'expected data with places, such as SITSDataModule, got '
                f'{type(datamodule).__name__}: its samples lie nowhere'
            )
        data = grid_of(dataset)
        if self.at is None:
            west, south, east, north = data.bounds
            point = (west + east) / 2, (south + north) / 2
        else:
            point = locate(self.at, data)
        self.patch = patch_around(data, point, datamodule.patch_size)
        if getattr(datamodule, 'target', None) == 'field':
            self.patch = _field_patch(datamodule.predict_sampler, data, point)
        west, south, east, north = self.patch.grid.bounds
        window = slice(west, east, data.xres), slice(south, north, data.yres)
        datamodule.predict_sampler = ListedSampler(lambda: [window])
        datamodule.predict_batch_size = 1
        datamodule.num_workers = 0

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the patch, as it was normalised."""
        with torch.inference_mode(False):  # gradients are taken of it
            self.batch = {k: v.clone() if hasattr(v, 'clone') else v for k, v in batch.items()}


def _write(
    folder: Path, task: Any, datamodule: Any, batch: dict[str, Any], patch: Patch, checkpoint: str
) -> None:
    """Explain a place, write all files, and say what was found."""
    place = PlacePrediction.of(task, batch, patch.pixel, s1=bool(task.encoder.s1_channels))
    found = explain_prediction(place, task.encoder)
    row, column = patch.pixel
    probability = float(place.log_odds(place.clear[None]).sigmoid())
    named = class_names(task)[place.explained]
    x, y = patch.grid.transform @ (column + 0.5, row + 0.5)

    mean, std = (value.to(batch[IMAGE])[:, None] for value in datamodule.statistics)
    values = (batch[IMAGE][0, :, :, row, column].T * std + mean).double().cpu().numpy()
    observed = dict(zip(datamodule.bands, values, strict=True))
    times, clear = place.times.tolist(), place.clear[:, row, column].cpu().numpy()
    importance = found.dates.double().cpu().numpy()
    attention = {}
    if found.attention is not None:
        attention = {
            'attention': found.attention.place.double().cpu().numpy(),
            'attention_patch_mean': found.attention.patch.double().cpu().numpy(),
        }
    columns = {'importance': importance, **attention}
    table: list[Any] = [times, clear, columns, observed]
    beside = None
    if place.s1 is not None and found.dates_s1 is not None:
        beside = place.s1.acquisition_times.tolist(), found.dates_s1.double().cpu().numpy()
        mean, std = (value.to(batch[IMAGE])[:, None] for value in datamodule.statistics_s1)
        values = (place.s1.image[:, :, row, column].T * std + mean).double().cpu().numpy()
        observed_s1 = dict(zip(datamodule.bands_s1, values, strict=True))
        clear_s1 = place.s1.clear[:, row, column].cpu().numpy()
        table = _both_sensors(table, [beside[0], clear_s1, {'importance': beside[1]}, observed_s1])
    title = f'{named}, probability {probability:.2f}, at x={x:.10g} y={y:.10g}'
    share = found.share_of(patch.pixel) if place.dense else math.nan
    pixels_title = title
    if math.isfinite(share):
        alone = 'the class rests on the pixel itself: ' if share >= _ALONE else ''
        pixels_title += f'\n{alone}{share:.0%} of the effect of all pixels is its own'
    labels = dict(zip(('at the place', 'mean of the patch'), attention.values(), strict=False))
    said = {
        'class': named,
        'probability': probability,
        'place': {'x': x, 'y': y, 'crs': patch.grid.crs.to_string(), 'pixel': [row, column]},
        'checkpoint': checkpoint,
        'dates': asdict(found.date_areas),
        'pixels': asdict(found.pixel_areas),
        'share_of_pixel_itself': share if math.isfinite(share) else None,
    }
    tags = {'CLASS': named, 'PLACE': f'{x:.10g},{y:.10g}', 'CHECKPOINT': checkpoint}
    limit = importance_limit(found.pixels, patch.pixel if place.dense else None)
    folder.mkdir(parents=True, exist_ok=True)
    # All files, or none: those of before stay together.
    with whole_file(folder / 'explanation.json') as draft:
        write_dates(draft.with_name('dates.csv'), *table)
        figure = plot_dates(times, clear, observed, importance, labels, title=title, s1=beside)
        figure.savefig(draft.with_name('dates.png'), dpi=130)
        plt.close(figure)
        write_importance(draft.with_name('pixels.tif'), found.pixels, patch.grid, tags, limit=limit)
        figure = plot_pixels(found.pixels, patch.grid, patch.pixel, limit=limit, title=pixels_title)
        figure.savefig(draft.with_name('pixels.png'), dpi=130)
        plt.close(figure)
        draft.write_text(json.dumps(said, indent=2) + '\n')
    print(f'{pixels_title[0].upper()}{pixels_title[1:]}')
    for kind, areas in (('dates', found.date_areas), ('pixels', found.pixel_areas)):
        print(
            f'  {kind}: deletion {areas.deletion:.2f}, insertion {areas.insertion:.2f}; '
            f'in random order {areas.random_deletion:.2f} and {areas.random_insertion:.2f}'
        )
    print(f'Explanation: {folder}/dates.png, dates.csv, pixels.png, pixels.tif, explanation.json')


def _both_sensors(optical: list[Any], s1: list[Any]) -> list[Any]:
    """Join the arguments of `write_dates` of two sensors, in the order of the dates."""
    lengths = len(optical[0]), len(s1[0])
    times = np.array([*optical[0], *s1[0]])
    order = np.argsort(times, kind='stable')

    def column(name: str, tables: tuple[dict[str, Any], dict[str, Any]]) -> Any:
        parts = [
            table.get(name, np.full(length, np.nan))
            for table, length in zip(tables, lengths, strict=True)
        ]
        return np.concatenate(parts)[order]

    joined = [
        {name: column(name, tables) for name in dict.fromkeys([*tables[0], *tables[1]])}
        for tables in zip(optical[2:], s1[2:], strict=True)
    ]
    clear = np.concatenate([optical[1], s1[1]])[order]
    sensors = np.repeat(['optical', 'Sentinel-1'], lengths)[order].tolist()
    return [times[order].tolist(), clear, *joined, sensors]
