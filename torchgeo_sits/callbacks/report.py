"""A report of a run in one HTML file, for people who do not run TensorBoard."""

import platform
import warnings
from base64 import b64encode
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from io import BytesIO
from math import isfinite
from pathlib import Path
from typing import Any

import jinja2
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from matplotlib import pyplot as plt

from .. import __version__
from ..metrics import Confusion
from .knn import KNNProbe
from .pictures import run_folder
from .scores import ScoreTable

__all__ = ['RunReport']

#: Most points of a curve that are kept.
_MOST_POINTS = 400
#: Pictures in the folder of a run, and what they show.
_PICTURES = {
    'learned.png': 'What was learned: the features of each pixel as colours, and where there are '
    'labels the classes that pixels take from their neighbours among the features. Where training '
    'is labelled, pixels find themselves, which flatters',
    'prediction-0.png': 'Labels and predictions of a sample at the last validation',
    'prediction-1.png': 'Labels and predictions of another sample',
    'views.png': 'A sample and its views at the first step',
}
#: Groups of curves by what is in their names; what is in none comes last.
_GROUPS = {
    'Losses': ('loss',),
    'k-NN probe': ('knn',),
    'Health of the embeddings': (
        'embedding', 'projection', 'prototypes', 'assignment', 'weight_change',
    ),
    'Scores': ('',),
}  # fmt: skip


class RunReport(Callback):
    """Write ``report.html`` into the folder of a run, at its end and where it is stopped.

    One file that needs no network: the command, the curves of what was logged, the scores of the
    k-NN probe, those of each class and the confusion matrix, the pictures in the folder, versions
    and configuration. A run that logs nothing has no folder, and no report. The command ``fit``
    brings it; in Python it is given to the trainer.

    Examples:
        >>> from lightning.pytorch import Trainer
        >>> from torchgeo_sits.callbacks import RunReport
        >>> trainer = Trainer(accelerator='cpu', callbacks=[RunReport()])
    """

    def __init__(self, command: str = '') -> None:
        """Initialize a new RunReport instance.

        Args:
            command: The command that started the run, to be shown.
        """
        self.command = command
        self.curves: dict[str, _Curve] = {}
        self._by_step: set[str] = set()

    def state_dict(self) -> dict[str, Any]:
        """Curves so far, at most some hundred points of each, in plain values."""
        curves = {name: (curve.every, curve.points) for name, curve in self.curves.items()}
        return {'curves': curves, 'by_step': sorted(self._by_step)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._by_step = set(state_dict['by_step'])
        for name, (every, points) in state_dict['curves'].items():
            self.curves[name] = _Curve(every, [tuple(point) for point in points])

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Go behind the callbacks of the task, to see what they log and score."""
        own: Any = trainer
        callbacks = [callback for callback in own.callbacks if callback is not self]
        first = next((i for i, c in enumerate(callbacks) if isinstance(c, Checkpoint)), None)
        # A list of its own: Lightning goes through the old one. Checkpoints stay the last.
        callbacks.insert(len(callbacks) if first is None else first, self)
        own.callbacks = callbacks

    # -- what is logged ---------------------------------------------------------------------

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take what is logged by step: what the first step has logged."""
        every = max(1, getattr(trainer, 'log_every_n_steps', 1))
        if not trainer.is_global_zero or (self._by_step and trainer.global_step % every):
            return
        known = trainer.callback_metrics
        if not self._by_step:
            self._by_step = {name for name in known if not name.startswith(('val_', 'knn_'))}
        self._take(trainer.global_step, {k: known[k] for k in self._by_step if k in known})

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the scores of a validation."""
        if trainer.is_global_zero and not trainer.sanity_checking:
            known = trainer.callback_metrics
            found = {name: value for name, value in known.items() if name.startswith('val_')}
            self._take(trainer.global_step, found)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take what the end of the last epoch has logged."""
        if trainer.is_global_zero:
            self._take_epoch(trainer)

    def _take_epoch(self, trainer: Trainer) -> None:
        """Take what is logged by epoch."""
        known = trainer.callback_metrics
        found = {
            name: value
            for name, value in known.items()
            if name not in self._by_step and not name.startswith(('val_', 'knn_'))
        }
        self._take(trainer.global_step, found)

    def _take(self, step: int, found: Mapping[str, Any]) -> None:
        """Add to the curves; a score of one class is in the tables."""
        for name, value in found.items():
            if 'Classwise' not in name:
                self.curves.setdefault(name, _Curve(1, [])).add(step, float(value))

    # -- the file ---------------------------------------------------------------------------

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Write when the run is stopped."""
        if self.curves:  # what is refused before the first step has nothing to report
            why = ' '.join(str(exception).split()) or type(exception).__name__
            self._write(trainer, f'Stopped in epoch {trainer.current_epoch}: {why}')

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write when the training and all that is drawn after it are over."""
        if stage == 'fit' and self.curves:
            self._write(trainer, f'Finished, {trainer.current_epoch} epochs')

    def _write(self, trainer: Trainer, state: str) -> None:
        """Write the file; a run does not fail by its report."""
        folder = run_folder(trainer)
        if not trainer.is_global_zero or folder is None:
            return
        try:
            self._take_epoch(trainer)
            folder.mkdir(parents=True, exist_ok=True)
            text = self._render(trainer, folder, f'{state}, {trainer.global_step} steps.')
            draft = folder / '.report.html'
            draft.write_text(text, encoding='utf-8')
            draft.replace(folder / 'report.html')
        except Exception as error:
            reason = ' '.join(f'{type(error).__name__}: {error}'.split())
            warnings.warn(f'report.html was not written: {reason}', UserWarning, stacklevel=2)
        else:
            print(f'\nReport: {folder / "report.html"}', flush=True)

    def _render(self, trainer: Trainer, folder: Path, state: str) -> str:
        """Text of the report."""
        tables = [c for c in trainer.callbacks if isinstance(c, ScoreTable)]  # type: ignore[attr-defined]
        best = tables[0].best if tables else {}
        probes = [c for c in trainer.callbacks if isinstance(c, KNNProbe)]  # type: ignore[attr-defined]
        history = sorted(probes[0].history.items()) if probes else []
        names = sorted({name for _, scores in history for name in scores})
        config = folder / 'config.yaml'
        environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
        template = environment.from_string(
            Path(__file__).with_name('report.html').read_text(encoding='utf-8')
        )
        return template.render(
            title=f'Run {folder.parent.name}/{folder.name}',
            state=state,
            command=self.command,
            knn={'names': names, 'rows': [(e, [s[n] for n in names]) for e, s in history]}
            if history
            else None,
            best=best,
            confusion=Confusion(**best['confusion']) if best.get('confusion') else None,
            pictures=[
                (name, caption, b64encode((folder / name).read_bytes()).decode())
                for name, caption in _PICTURES.items()
                if (folder / name).is_file()
            ],
            groups=list(_draw_groups(self._shown(trainer))),
            versions={
                'torchgeo_sits': __version__,
                **{name: version(name) for name in ('torchgeo', 'lightning', 'torch')},
                'Python': platform.python_version(),
            },
            config=config.read_text(encoding='utf-8') if config.is_file() else '',
        )

    def _shown(self, trainer: Trainer) -> dict[str, '_Curve']:
        """Curves to draw: of a task that names its main scores those, and the losses."""
        main = getattr(trainer.lightning_module, 'main_scores', ())
        return {
            name: curve
            for name, curve in sorted(self.curves.items())
            if not main or 'loss' in name or name.partition('_')[2] in main or 'knn' in name
        }


class _Curve:
    """Points ``(step, value)`` of a curve, means of neighbours where there would be too many."""

    def __init__(self, every: int, points: list[tuple[float, float]]) -> None:
        self.every = every
        self.points = points
        self._pending: list[tuple[float, float]] = []

    def add(self, step: int, value: float) -> None:
        """Add a value, the first one of a step and what is finite."""
        if not isfinite(value) or (self.points and step <= self.points[-1][0]):
            return
        self._pending.append((step, value))
        if len(self._pending) < self.every:
            return
        self.points.append((step, sum(v for _, v in self._pending) / len(self._pending)))
        self._pending = []
        if len(self.points) > _MOST_POINTS:
            pairs = zip(self.points[::2], self.points[1::2], strict=False)
            self.points = [(b[0], (a[1] + b[1]) / 2) for a, b in pairs]
            self.every *= 2


def _draw_groups(curves: Mapping[str, _Curve]) -> Iterable[tuple[str, list[tuple[str, str]]]]:
    """Pictures of the curves by group, those of training and validation in one."""
    charts: dict[str, dict[str, _Curve]] = {}
    for name, curve in curves.items():
        stage, _, rest = name.partition('_')
        chart = rest if stage in ('train', 'val') else name
        charts.setdefault(chart, {})[name] = curve
    left = list(charts)
    for group, parts in _GROUPS.items():
        names = [name for name in left if any(part in name for part in parts)]
        left = [name for name in left if name not in names]
        drawn = [(name, _draw(charts[name])) for name in names]
        if drawn:
            yield group, drawn


def _draw(curves: Mapping[str, _Curve]) -> str:
    """SVG of curves that share a scale, in base 64."""
    with plt.rc_context({'svg.fonttype': 'none', 'font.family': 'sans-serif'}):
        figure, axes = plt.subplots(figsize=(4.4, 2.5), layout='constrained')
        for name, curve in curves.items():
            marker = 'o' if len(curve.points) < 30 else None
            steps, values = zip(*curve.points, strict=True) if curve.points else ((), ())
            axes.plot(steps, values, label=name, linewidth=1.4, marker=marker, markersize=3)
        axes.set_title(', '.join(curves), fontsize=9, parse_math=False)
        axes.set_xlabel('step', fontsize=8)
        axes.tick_params(labelsize=8)
        axes.spines[['top', 'right']].set_visible(False)
        if len(curves) > 1:
            for text in axes.legend(fontsize=8, frameon=False).get_texts():
                text.set_parse_math(False)
        file = BytesIO()
        figure.savefig(file, format='svg', metadata={'Date': None})
        plt.close(figure)
    return b64encode(file.getvalue()).decode()
