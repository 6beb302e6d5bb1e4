"""What a page shows and does: images, embeddings, labels, the probe and its map."""

import io
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image
from pyproj import Transformer
from shapely.geometry import mapping

from ..errors import SITSError
from ..grid import crs_name
from ..models import SITSEncoder
from .dates import importance_of_dates
from .features import EmbeddedArea
from .full_map import MapStoppedError, class_map, draw_map
from .images import SeriesImages
from .labels import Label, label_pixels, parse_shape
from .overlay import Overlay
from .probe import HeldOut, LinearProbe, held_out, next_place
from .pyramid import TILE
from .session import Session

__all__ = ['Explorer', 'as_png']

#: Pixels up to which the whole map is drawn after each label; larger ones are asked for.
_DRAWN_UNASKED: Final = 4_000_000
#: Seconds without another label after which it is.
_PAUSE: Final = 1.0
#: Most labels: the file is written anew with each.
_MOST_LABELS: Final = 5000
#: Side, in pixels of the overview, of what counts as asked for around a label.
_AROUND: Final = 2
#: Cosines from no likeness to the same place, as colours from dark to light.
_LIKENESS: Final = colormaps['magma']
_CERTAINTY: Final = colormaps['cividis']


class Explorer:
    """State behind a page, for any number of tabs.

    Args:
        images: The series; its grid is that of the map.
        session: Folder that keeps labels and maps.
        area: Embeddings on the same pixels; without them places are looked at and labelled, and
            there is no map.
        overlays: Other maps to show.
        encoder: Encoder of the embeddings, for the dates that a class rests on.

    Examples:
        >>> import numpy as np, rasterio, tempfile
        >>> from torchgeo_sits.datasets import RasterTimeSeries, write_synthetic_series
        >>> from torchgeo_sits.exploring import EmbeddedArea, Explorer, SeriesImages, Session
        >>> folder = tempfile.TemporaryDirectory()
        >>> files = write_synthetic_series(f'{folder.name}/s', size=(32, 32), num_dates=4, days=60)
        >>> with rasterio.open(next(files.images.iterdir())) as file:
        ...     profile, values = file.profile | {'dtype': 'float32', 'nodata': None}, file.read()
        >>> with rasterio.open(f'{folder.name}/embedding.tif', 'w', **profile) as file:
        ...     file.write(values.astype('float32'))
        >>> area = EmbeddedArea(f'{folder.name}/embedding.tif')
        >>> images = SeriesImages(lambda bands: RasterTimeSeries(files.images, bands=bands), area.grid)
        >>> explorer = Explorer(images, Session(f'{folder.name}/session'), area)
        >>> for name, column in (('a', 3), ('b', 20)):
        ...     explorer.add_classes([name])
        ...     _ = explorer.add_label(name, {'type': 'Point', 'coordinates': [column, 9]})
        >>> explorer.state()['held_out'], explorer.tile('map', 0, 0, 0, {}).shape
        ({'right': 0, 'asked': 0}, (32, 32, 4))
        >>> explorer.close()
    """  # noqa: E501

    def __init__(
        self,
        images: SeriesImages,
        session: Session,
        area: EmbeddedArea | None = None,
        *,
        overlays: Sequence[Overlay] = (),
        encoder: SITSEncoder | None = None,
    ) -> None:
        self.images = images
        self.session = session
        self.area = area
        self.overlays = list(overlays)
        self.encoder = encoder
        self._lock = threading.RLock()
        self._version = 0  # of all that pages show
        self._fits = 0
        self._probe: LinearProbe | None = None
        self._held_out = HeldOut(0, 0)
        self._pixels: dict[int, NDArray[np.float16]] = {}
        self._map: dict[str, Any] = {'state': 'none', 'done': 0, 'total': 0, 'pixels': {}}
        self._timer: threading.Timer | None = None
        self._mapper: threading.Thread | None = None
        self._degrees = Transformer.from_crs(images.grid.crs.to_wkt(), 'EPSG:4326', always_xy=True)
        session.open_labels(images.grid)
        if area is not None:
            for label in session.labels:
                # Other embeddings may have holes where those of before had none.
                with suppress(SITSError):
                    self._pixels[label.number] = label_pixels(label.shape, area)
        self._next = 1 + max((one.number for one in session.labels), default=0)
        self._fit()
        if self._probe is not None and session.map_file.exists():
            self._map['state'] = 'old'

    # -- what the page asks ------------------------------------------------------------------

    def about(self) -> dict[str, Any]:
        """Describe what does not change: the grid, dates, pictures and layers."""
        grid = self.images.grid
        layers = [{'id': 'image', 'name': 'images'}]
        if self.area is not None:
            layers += [
                {'id': 'embedding', 'name': 'embedding as colours'},
                {'id': 'similarity', 'name': 'similarity to the place'},
                {'id': 'map', 'name': 'map of the labels'},
                {'id': 'certainty', 'name': 'certainty of the map'},
            ]
        for i, overlay in enumerate(self.overlays):
            layers.append({'id': f'overlay{i}', 'name': overlay.name})
        clear = {'hour': '%Y-%m-%d %H:%M', 'day': '%Y-%m-%d'}
        form = clear['day' if self.images.series.group_by == 'day' else 'hour']
        return {
            'width': grid.width,
            'height': grid.height,
            'levels': self.images.pyramid.levels,
            'crs': crs_name(grid.crs),
            'pixel': [grid.xres, grid.yres],
            'dates': [date.strftime(form) for date in self.images.dates],
            'first': self.images.clearest,
            'pictures': list(self.images.pictures),
            'layers': layers,
            'legends': {f'overlay{i}': o.legend for i, o in enumerate(self.overlays)},
            'explains': self.encoder is not None and self.area is not None,
            'folder': str(self.session.folder),
        }

    def state(self) -> dict[str, Any]:
        """Describe what changes: classes, labels, the score, and how far the map is."""
        with self._lock:
            return {
                'version': self._version,
                'classes': [asdict(one) for one in self.session.classes],
                'labels': [
                    {'number': one.number, 'name': one.name, 'shape': mapping(one.shape)}
                    for one in self.session.labels
                ],
                'has_map': self._probe is not None,
                'held_out': asdict(self._held_out),
                'map': dict(self._map),
            }

    def tile(
        self, layer: str, level: int, row: int, column: int, asked: dict[str, str]
    ) -> NDArray[np.uint8]:
        """Draw a tile of a layer.

        Args:
            layer: Its name, of :meth:`about`.
            level: See :meth:`Pyramid.tile`.
            row: See there.
            column: See there.
            asked: Of images ``date``, ``picture`` and ``marked``; of similarities ``at``, row and
                column with a comma between them.

        Returns:
            ``(h, w, 4)``, transparent where there is nothing.

        Raises:
            SITSError: If there is no such layer or tile.
            OSError: If a file cannot be read.
        """
        if layer == 'image':
            return self.images.tile(
                level, row, column,
                date=_number(asked, 'date'), picture=asked.get('picture', ''),
                marked=asked.get('marked', '1') == '1',
            )  # fmt: skip
        if layer.startswith('overlay') and layer[7:].isdecimal():
            if int(layer[7:]) >= len(self.overlays):
                raise SITSError(f'there is no layer {layer!r}')
            return self.overlays[int(layer[7:])].tile(level, row, column)
        if self.area is None or layer not in ('embedding', 'similarity', 'map', 'certainty'):
            raise SITSError(f'there is no layer {layer!r}')
        probe = self._probe
        features = self.area.tile(level, row, column)
        seen = np.isfinite(features[0])
        if layer == 'embedding':
            axes, (low, high) = self.area.colours
            flat = features.reshape(len(features), -1).astype(np.float32)
            span = np.maximum(high - low, 1e-6)[:, None]
            shown = np.clip((axes @ np.nan_to_num(flat) - low[:, None]) / span, 0, 1)
            picture = np.moveaxis(255 * shown.reshape(3, *seen.shape), 0, -1)
        elif layer == 'similarity':
            place = self._place(asked.get('at', ''))
            picture = 255 * _LIKENESS(np.clip(_cosine(features, self.area.at(*place)), 0, 1))
        elif probe is None:
            return np.zeros((*seen.shape, 4), np.uint8)
        else:
            values = probe.probabilities(features)
            output = class_map(probe, self.session.classes)
            if layer == 'map':
                palette = np.array([*output.palette, (0, 0, 0, 0)], np.uint8)
                return palette[output.choose(values)]
            second, first = np.partition(np.nan_to_num(values), -2, axis=0)[-2:]
            picture = 255 * _CERTAINTY(first - second)
        return np.concatenate([picture[..., :3], 255 * seen[..., None]], -1).astype(np.uint8)

    def whole(self, layer: str, asked: dict[str, str], *, most: int) -> NDArray[np.uint8]:
        """Draw all of a layer.

        Args:
            layer: See :meth:`tile`.
            asked: See there.
            most: Rows or columns of the picture, at most.

        Returns:
            ``(h, w, 4)``.
        """
        grid, pyramid = self.images.grid, self.images.pyramid
        longest = max(grid.height, grid.width)
        level = next(n for n in range(pyramid.levels) if -(-longest >> n) <= max(most, TILE))
        side = TILE << level
        rows = [
            np.concatenate(
                [
                    self.tile(layer, level, row, column, asked)
                    for column in range(-(-grid.width // side))
                ],
                1,
            )
            for row in range(-(-grid.height // side))
        ]
        return np.concatenate(rows)

    def place(self, row: int, column: int) -> dict[str, Any]:
        """Describe a pixel: where it lies, its series, and the probabilities of its classes.

        Args:
            row: Its row.
            column: Its column.

        Returns:
            Plain values; None in series where nothing was observed.

        Raises:
            SITSError: If it is outside.
            OSError: If a file cannot be read.
        """
        self._require_inside(row, column)
        x, y = self.images.grid.transform @ (column + 0.5, row + 0.5)
        longitude, latitude = self._degrees.transform(x, y)
        found = self.images.pixel(row, column)
        probabilities = None
        if self._probe is not None and self.area is not None:
            values = self._probe.probabilities(self.area.at(row, column))
            names = [self.session.classes[number].name for number in self._probe.classes]
            if np.isfinite(values).all():
                probabilities = dict(zip(names, values.round(4).tolist(), strict=True))
        return {
            'row': row,
            'column': column,
            'x': x,
            'y': y,
            'degrees': [longitude, latitude],
            'times': found.times.tolist(),
            'clear': found.clear.tolist(),
            'series': {band: _plain(values) for band, values in found.values.items()},
            'probabilities': probabilities,
        }

    def importance(self, row: int, column: int) -> dict[str, Any]:
        """Tell which dates the class of a pixel rests on.

        Args:
            row: Its row.
            column: Its column.

        Returns:
            Times, what the log-odds lose without each, and the class.

        Raises:
            SITSError: If there is no encoder, no map, or nothing was clear.
        """
        self._require_inside(row, column)
        if self.encoder is None or self.area is None or self._probe is None:
            raise SITSError(
                'which dates a class rests on is told with --weights X.ckpt, once two classes are '
                'labelled'
            )
        times, lost, number = importance_of_dates(
            self.encoder, self.area, self._probe, self.images, (row, column)
        )
        name = self.session.classes[number].name
        return {'times': times.tolist(), 'lost': _plain(lost), 'name': name}

    def suggestion(self, skipped: str = '') -> dict[str, int]:
        """Suggest where to label next: see :func:`next_place`.

        Args:
            skipped: Rows and columns of places that are not to be suggested again:
                ``ROW,COLUMN;ROW,COLUMN``.

        Returns:
            Row and column.

        Raises:
            SITSError: If there are no embeddings, or nothing is left to suggest.
        """
        if self.area is None:
            raise SITSError('a place to label is suggested with --embeddings or --weights')
        overview = self.area.overview
        height, width = overview.shape[1:]
        grid = self.images.grid
        taken = np.zeros((height, width), bool)
        with self._lock:
            probe = self._probe
            at = [label.shape.representative_point() for label in self.session.labels]
            places = [(int(point.y), int(point.x)) for point in at]
            places += [self._place(text) for text in skipped.split(';') if text]
            for place in places:
                row, column = place[0] * height // grid.height, place[1] * width // grid.width
                taken[
                    max(row - _AROUND, 0) : row + _AROUND + 1,
                    max(column - _AROUND, 0) : column + _AROUND + 1,
                ] = True
            known = self._training()[0]
        found = next_place(overview, probe, known, taken)
        if found is None:
            raise SITSError('there is no place left to suggest')
        row, column = found
        return {
            'row': min(int((row + 0.5) * grid.height / height), grid.height - 1),
            'column': min(int((column + 0.5) * grid.width / width), grid.width - 1),
        }

    # -- what the page changes ---------------------------------------------------------------

    def add_classes(self, names: Sequence[str]) -> None:
        """Add classes, see :meth:`Session.add_classes`."""
        with self._lock:
            self.session.add_classes(names)
            self._version += 1

    def add_label(self, name: str, geometry: Any) -> int:
        """Label a pixel or a polygon; it is on the disk when this returns.

        Args:
            name: Name of a class.
            geometry: GeoJSON in columns and rows.

        Returns:
            Number of the label.

        Raises:
            SITSError: If there is no such class, or nothing to be labelled there.
            OSError: If the label cannot be written; nothing has changed then.
        """
        shape = parse_shape(geometry, self.images.grid)
        with self._lock:
            if name not in [one.name for one in self.session.classes]:
                raise SITSError(f'there is no class {name!r}: add it first')
            labels = self.session.labels
            if len(labels) >= _MOST_LABELS:
                raise SITSError(f'there are {_MOST_LABELS} labels, which is the most')
            pixels = None if self.area is None else label_pixels(shape, self.area)
            number = self._next
            self.session.keep_labels([*labels, Label(number, name, shape)])
            self._next += 1
            if pixels is not None:
                self._pixels[number] = pixels
            self._changed()
            return number

    def remove_label(self, number: int) -> None:
        """Remove a label.

        Args:
            number: Its number.

        Raises:
            SITSError: If there is none of that number.
            OSError: If the labels cannot be written; nothing has changed then.
        """
        with self._lock:
            left = [one for one in self.session.labels if one.number != number]
            if len(left) == len(self.session.labels):
                raise SITSError(f'there is no label {number}: it may be gone already')
            self.session.keep_labels(left)
            self._pixels.pop(number, None)
            self._changed()

    def draw_map(self) -> None:
        """Begin to draw the map of the whole area in the background.

        Raises:
            SITSError: If two classes are not labelled yet.
        """
        with self._lock:
            if self._probe is None:
                raise SITSError('a map needs labels of two classes: label another class')
            if self._map['state'] == 'drawing':
                return
            self._map |= {'state': 'drawing', 'done': 0, 'total': 1}
            self._mapper = threading.Thread(target=self._draw, daemon=True)
            self._mapper.start()

    def file(self, name: str) -> Path:
        """Find a file of the session that may be fetched.

        Args:
            name: Its name.

        Raises:
            SITSError: If it is none of them, or is not there.
        """
        known = ('labels.gpkg', 'map.tif', 'certainty.tif')
        path = self.session.folder / name
        if name not in known or not path.is_file():
            raise SITSError(f'there is no file {name!r}: expected one of {", ".join(known)}')
        return path

    def close(self) -> None:
        """Stop what goes on in the background, and leave the folder to others."""
        with self._lock:
            self._fits += 1  # a map that is being drawn is no longer wanted
            self._probe = None
            if self._timer is not None:
                self._timer.cancel()
        if self._mapper is not None:
            self._mapper.join()
        self.session.close()

    # -- behind them ---------------------------------------------------------------------------

    def _changed(self) -> None:
        """Fit again, and draw the map when no other label comes."""
        self._fit()
        self._fits += 1
        self._version += 1
        if self._timer is not None:
            self._timer.cancel()
        if self._map['state'] in ('done', 'old', 'failed'):
            self._map['state'] = 'old'
        grid = self.images.grid
        if self._probe is not None and grid.height * grid.width <= _DRAWN_UNASKED:
            self._timer = threading.Timer(_PAUSE, self._draw_unasked)
            self._timer.daemon = True
            self._timer.start()

    def _draw_unasked(self) -> None:
        try:
            self.draw_map()
        except SITSError:  # labels were removed in between
            return

    def _training(
        self,
    ) -> tuple[NDArray[np.float16], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Features ``(N, D)``, classes, weights and labels ``(N,)`` of all labelled pixels.

        Each label weighs as much as any other, whatever its number of pixels.
        """
        numbers = {one.name: i for i, one in enumerate(self.session.classes)}
        features, classes, weights, owners = [], [], [], []
        for label in self.session.labels:
            pixels = self._pixels.get(label.number)
            if pixels is not None:
                features.append(pixels)
                classes.append(np.full(len(pixels), numbers[label.name]))
                weights.append(np.full(len(pixels), 1 / len(pixels)))
                owners.append(np.full(len(pixels), label.number))
        if not features:
            width = 0 if self.area is None else self.area.features
            none = np.zeros(0, np.int64)
            return np.zeros((0, width), np.float16), none, none.astype(np.float64), none
        parts = (np.concatenate(part) for part in (features, classes, weights, owners))
        return tuple(parts)  # type: ignore[return-value]

    def _fit(self) -> None:
        features, classes, weights, owners = self._training()
        if len(np.unique(classes)) < 2:
            self._probe, self._held_out = None, HeldOut(0, 0)
            return
        self._probe = LinearProbe.fit(features, classes, weights)
        self._held_out = held_out(features, classes, weights, owners)

    def _draw(self) -> None:
        """Draw the map of the whole area; what came of it is told by :meth:`state`."""
        with self._lock:
            fits, probe, classes = self._fits, self._probe, self.session.classes
            score, labels = self._held_out, len(self.session.labels)
        if probe is None or self.area is None:
            self._map |= {'state': 'none'}
            return
        tags = {
            'EMBEDDINGS': self.area.path.name,
            'LABELS': str(labels),
            'HELD_OUT': f'{score.right} of {score.asked} labels right that the probe did not see',
        }

        def progress(done: int, total: int) -> None:
            self._map |= {'done': done, 'total': total}

        def is_stale() -> bool:
            return self._fits != fits

        try:
            pixels = draw_map(
                self.session.map_file, self.area, probe, classes,
                tags=tags, progress=progress, is_stale=is_stale,
            )  # fmt: skip
        except MapStoppedError:
            self._map |= {'state': 'old'}
        except (OSError, SITSError) as error:
            self._map |= {'state': 'failed', 'error': str(error)}
        else:
            with self._lock:
                self._map |= {'state': 'old' if is_stale() else 'done', 'pixels': pixels}

    def _place(self, text: str) -> tuple[int, int]:
        try:
            row, column = map(int, text.split(','))
        except ValueError as error:
            raise SITSError(f'expected ROW,COLUMN, got {text!r}') from error
        self._require_inside(row, column)
        return row, column

    def _require_inside(self, row: int, column: int) -> None:
        grid = self.images.grid
        if not (0 <= row < grid.height and 0 <= column < grid.width):
            raise SITSError(
                f'row {row}, column {column} is outside of the {grid.height} x {grid.width} pixels '
                'of the map'
            )


def as_png(picture: NDArray[np.uint8]) -> bytes:
    """Write ``(h, w, 4)`` as a PNG, fast rather than small."""
    file = io.BytesIO()
    Image.fromarray(picture, 'RGBA').save(file, 'PNG', compress_level=1)
    return file.getvalue()


def _cosine(features: NDArray[np.float16], own: NDArray[np.float16]) -> NDArray[np.float32]:
    """Cosine ``(h, w)`` between features ``(D, h, w)`` and those of a place ``(D,)``."""
    flat = np.nan_to_num(features.reshape(len(features), -1).astype(np.float32))
    place = np.nan_to_num(own.astype(np.float32))
    norms = np.linalg.norm(flat, axis=0) * np.linalg.norm(place)
    cosine: NDArray[np.float32] = (place @ flat) / np.maximum(norms, 1e-9)
    return cosine.reshape(features.shape[1:])


def _plain(values: NDArray[np.float32]) -> list[float | None]:
    """Numbers for JSON, None for those that are none."""
    return [float(f'{v:.6g}') if np.isfinite(v) else None for v in values.tolist()]


def _number(asked: dict[str, str], name: str) -> int:
    text = asked.get(name, '')
    if not text.isdecimal() or len(text) > 9:
        raise SITSError(f'expected a number as {name}, got {text!r}')
    return int(text)
