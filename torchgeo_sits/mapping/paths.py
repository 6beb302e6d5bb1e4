"""Rows and columns of a whole raster, of which windows give the tokens."""

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import conv2d

from ..errors import SITSError
from .window_store import WindowStore
from .windows import OverlappingWindows

__all__ = ['PathEncoder', 'PathMap', 'path_encoder', 'path_windows']

type Way = Literal['rows', 'columns']

#: Numbers that a strip of rows or of columns holds: 64 MB.
_STRIP: Final = 1 << 24


class PathEncoder(Protocol):
    """Encoder with a path stage, such as :class:`~torchgeo_sits.models.PlanarViT`.

    Attributes:
        embed_dim: Width D of a token.
        segment: Pixels of a token along its path.
        sees_path: Whether the tokens of the row and of the column of a pixel are others.
        path_margin: Pixels beside it that a token hangs on.
        exchange: Stands in for the path stage.
    """

    embed_dim: int
    segment: int
    sees_path: bool
    path_margin: int
    exchange: Any
    path_stage: Any

    def unseen_token(self) -> Tensor:
        """Token ``(D,)`` of what was never observed."""
        ...

    def run_paths(self, tokens: Tensor) -> Tensor:
        """Run the path stage on paths ``(N, S, D)``."""
        ...


def path_encoder(task: Any) -> PathEncoder | None:
    """Give the encoder of a task, if it has one with a path stage of any block."""
    encoder: Any = getattr(task, 'encoder', None)
    has_paths = hasattr(encoder, 'run_paths') and not encoder.independent_pixels
    return encoder if has_paths else None


def path_windows(encoder: PathEncoder, height: int, width: int, size: int) -> OverlappingWindows:
    """Cut a raster into windows whose tokens are those of the whole raster.

    Windows overlap only where tokens hang on pixels beside their own.

    Args:
        encoder: The encoder.
        height: Rows of the raster.
        width: Columns of the raster.
        size: Largest side of a window in pixels.
    """
    return OverlappingWindows(
        height, width, size, overlap=4 * encoder.path_margin, align=encoder.segment
    )


@dataclass
class PathMap:
    """Path stage of a map: tokens of windows in, late features of windows out.

    All is kept in files, one for each window and for each strip of rows or of columns, which are
    written as a whole, by any process. Memory is that of a window and of a strip.

    Attributes:
        folder: Folder of the files.
        run: What tells this run from others.
        windows: Windows of the map.
        wanted: Numbers of those that are computed; elsewhere nothing was observed.
        encoder: The encoder.
        joining: Convolution of single pixels that joins early and late features, so that what
            early ones add is kept and not computed again; None where a task has none.
    """

    folder: Path
    run: str
    windows: OverlappingWindows
    wanted: Sequence[int]
    encoder: PathEncoder
    joining: nn.Module | None = None

    def __post_init__(self) -> None:
        ways: list[Way] = ['rows', 'columns'] if self.encoder.sees_path else ['rows']
        self.tokens = {way: WindowStore(self.folder / f'tokens-{way}', self.run) for way in ways}
        self.late = WindowStore(self.folder / 'late', self.run)
        self.beside = WindowStore(self.folder / 'beside', self.run)
        self.stores = [*self.tokens.values(), self.late, self.beside]

    def begin(self) -> None:
        """Make the folders, and drop what was spoilt."""
        for store in self.stores:
            store.folder.mkdir(parents=True, exist_ok=True)
            store.drop_spoilt()

    # -- tokens of windows ------------------------------------------------------------------

    @property
    def layers(self) -> int | None:
        """How often a prediction runs the path stage; None while it is unknown."""
        note = self.late.read_note('layers')
        return None if note is None else int(note['number'])

    def has_tokens(self, number: int) -> bool:
        """Tell whether the tokens of a window are there, or none are needed."""
        return self.tokens['rows'].has(number) or self.layers == 0

    def keep(self, number: int, recorder: 'PathRecorder') -> None:
        """Keep what was recorded of a window.

        Raises:
            SITSError: If its prediction ran the path stage more or less often than another one.
            OSError: If there is no room.
        """
        layers = len(recorder.tokens['rows'])
        if (known := self.layers) is None:
            self._check_room(recorder)
            self.late.note('layers', {'number': layers})
        elif known != layers:
            raise SITSError(
                f'window {number} runs the path stage {layers} times, others {known} times: set '
                '--map.exact false'
            )
        if not layers:
            return
        if recorder.beside is not None:
            self.beside.write(number, recorder.beside)
        # Rows last: where they are all is there.
        for way in reversed(self.tokens):
            self.tokens[way].write(number, np.stack(recorder.tokens[way]))

    def _check_room(self, recorder: 'PathRecorder') -> None:
        """Raise OSError if tokens, late features and what is kept beside will not fit the disk."""
        layers, pixels = len(recorder.tokens['rows']), self.windows.height * self.windows.width
        # Tokens of each way that has its own, then the late features of rows and of columns.
        vectors = layers * (len(self.tokens) + 2)
        needed = 4 * vectors * self.encoder.embed_dim * pixels // self.encoder.segment
        if recorder.beside is not None:
            needed += 4 * len(recorder.beside) * pixels
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise OSError(
                f'rows and columns of the whole map need up to {needed / 1e9:.2f} GB in '
                f'{self.folder.parent} while it is made, {free / 1e9:.2f} GB are free: free some, '
                'choose another disk with --map.folder, or blend windows with --map.exact false'
            )

    # -- strips of rows and of columns --------------------------------------------------------

    @cached_property
    def strips(self) -> list[tuple[Way, int, slice]]:
        """Strips of lines: their way, the number of the layer, and their lines."""
        return [
            (way, layer, cut)
            for way in ('rows', 'columns')
            for layer in range(self.layers or 0)
            for cut in self._cuts(way)
        ]

    def run_strip(self, number: int, device: torch.device) -> None:
        """Run the path stage on a strip, and keep the late features of its lines."""
        tokens = torch.from_numpy(self._strip(*self.strips[number])).to(device)
        late = self.encoder.run_paths(tokens)
        self.late.write(number, late.float().cpu().numpy())

    def _cuts(self, way: Way) -> list[slice]:
        """Lines of the strips of one way."""
        lines, length = self.windows.height, self.windows.width
        if way == 'columns':
            lines, length = length, lines
        cells = math.ceil(length / self.encoder.segment)
        step = max(1, _STRIP // (cells * self.encoder.embed_dim))
        return [slice(i, min(i + step, lines)) for i in range(0, lines, step)]

    def _strip(self, way: Way, layer: int, lines: slice) -> NDArray[np.float32]:
        """Tokens ``(N, S, D)`` of a strip."""
        windows, segment, margin = self.windows, self.encoder.segment, self.encoder.path_margin
        is_row = way == 'rows'
        length = windows.width if is_row else windows.height
        side = windows.shape[1 if is_row else 0]
        cells = math.ceil(length / segment)
        unseen = self.encoder.unseen_token().float().cpu().numpy()
        out = np.tile(unseen, (lines.stop - lines.start, cells, 1))
        everything = slice(0, length)
        wanted = set(self.wanted)
        for number in windows.over(*((lines, everything) if is_row else (everything, lines))):
            if number not in wanted:
                continue
            corner = windows.corner(number)
            across, along = corner if is_row else corner[::-1]
            part = self.tokens[way if way in self.tokens else 'rows'].read(number)[layer]
            if way not in self.tokens:
                part = part.swapaxes(0, 1)
            # Tokens at an edge hang on pixels beyond it; a neighbour has them.
            first = 0 if along == 0 else math.ceil(margin / segment)
            last = len(part[0]) if along + side == length else (side - margin) // segment
            top, bottom = max(lines.start, across), min(lines.stop, across + len(part))
            start = along // segment
            out[top - lines.start : bottom - lines.start, start + first : start + last] = part[
                top - across : bottom - across, first:last
            ]
        return out

    # -- late features of windows -------------------------------------------------------------

    def late_features(self, number: int, layer: int) -> NDArray[np.float32]:
        """Late features ``(h, w, D)`` of a window."""
        row, column = self.windows.corner(number)
        height, width = self.windows.shape
        rows = self._read('rows', layer, slice(row, row + height), slice(column, column + width))
        columns = self._read(
            'columns', layer, slice(column, column + width), slice(row, row + height)
        )
        both: NDArray[np.float32] = (rows + columns.swapaxes(0, 1)) / np.float32(2)
        return both

    def _read(self, way: Way, layer: int, lines: slice, pixels: slice) -> NDArray[np.float32]:
        """Late features ``(N, L, D)`` of some pixels of lines of one way."""
        segment = self.encoder.segment
        cells = slice(pixels.start // segment, math.ceil(pixels.stop / segment))
        cuts = self._cuts(way)
        before = layer * len(cuts)
        if way == 'columns':
            before += (self.layers or 0) * len(self._cuts('rows'))
        found = []
        for number, cut in enumerate(cuts, before):
            top, bottom = max(lines.start, cut.start), min(lines.stop, cut.stop)
            if top < bottom:
                found.append(self.late.read(number)[top - cut.start : bottom - cut.start, cells])
        late = np.concatenate(found)
        return late.repeat(segment, 1)[:, : pixels.stop - pixels.start] if segment > 1 else late

    # -- exchanges with the encoder -----------------------------------------------------------

    @contextmanager
    def recording(self) -> Iterator['PathRecorder']:
        """Let predictions record their tokens in place of running their paths.

        Yields:
            What is recorded of one window.
        """
        recorder = PathRecorder(self.encoder.sees_path)
        hook = None if self.joining is None else self.joining.register_forward_hook(recorder.see)
        try:
            with self._exchanging(recorder):
                yield recorder
        finally:
            if hook is not None:
                hook.remove()

    @contextmanager
    def replaying(self, number: int) -> Iterator[None]:
        """Give predictions of a window its late features, when all strips are there.

        Args:
            number: Number of the window.

        Yields:
            Nothing.
        """
        replay = PathReplay(lambda layer: self.late_features(number, layer))
        layer: Any = self.joining
        with self._exchanging(replay):
            if layer is None or not self.beside.has(number):
                yield
                return
            replay.wants_early = False

            def add_late(late: Tensor) -> Tensor:
                early = torch.tensor(self.beside.read(number)).to(late)
                return early[None] + conv2d(late, layer.weight[:, -late.shape[1] :])

            layer.forward = add_late
            try:
                yield
            finally:
                del layer.forward

    @contextmanager
    def _exchanging(self, exchange: Any) -> Iterator[None]:
        """Put something in the place of the path stage."""
        self.encoder.exchange = exchange
        try:
            yield
        finally:
            self.encoder.exchange = None


class PathRecorder:
    """Tokens of the predictions of a window, which get late features of 0.

    Args:
        sees_path: Whether tokens of columns are others than those of rows.

    Attributes:
        tokens: Of each way the tokens ``(N, S, D)`` of each run of the path stage.
        beside: What the joining layer gives without late features ``(K, h, w)``.
    """

    has_late = False
    wants_early = True

    def __init__(self, sees_path: bool) -> None:
        ways: list[Way] = ['rows', 'columns'] if sees_path else ['rows']
        self.tokens: dict[Way, list[NDArray[np.float32]]] = {way: [] for way in ways}
        self.beside: NDArray[np.float32] | None = None

    def __call__(self, tokens: Callable[[], tuple[Tensor, Tensor]], image: Tensor) -> Tensor:
        """Record the tokens of a window ``(1, N, S, D)``."""
        both = tokens()
        for found, each in zip(self.tokens.values(), both, strict=False):
            found.append(each[0].float().cpu().numpy())
        height, width = image.shape[-2:]
        return both[0].new_zeros(1, height, width, both[0].shape[-1])

    def see(self, layer: nn.Module, inputs: Any, out: Tensor) -> None:
        """Record what the joining layer gives."""
        self.beside = out[0].float().cpu().numpy()


class PathReplay:
    """Late features of a window in the order in which its tokens were recorded.

    Args:
        read: Gives those ``(h, w, D)`` of a run of the path stage.
    """

    has_late = True
    wants_early = True

    def __init__(self, read: Callable[[int], NDArray[np.float32]]) -> None:
        self._read = read
        self._layer = 0

    def __call__(self, tokens: Callable[[], tuple[Tensor, Tensor]], image: Tensor) -> Tensor:
        """Give the late features ``(1, h, w, D)`` of the next run of the path stage."""
        late = torch.from_numpy(self._read(self._layer)).to(image.device)
        self._layer += 1
        return late[None]
