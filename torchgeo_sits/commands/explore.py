"""The command ``torchgeo-sits explore``: look, click, and get a map, in a browser."""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from ..callbacks import MapWriter, RunProgress
from ..datamodules import ImageOptions, SITSDataModule
from ..datasets import TimeSeries
from ..errors import SITSError
from ..exploring import (
    EmbeddedArea,
    Explorer,
    Overlay,
    PageServer,
    SeriesImages,
    Session,
    write_report,
)
from ..grid import grid_of
from ..models import SITSEncoder, load_encoder
from ..stopping import STOP
from ..tasks import SITSEmbedding
from .pages import PAGES
from .parser import CommandParser

__all__ = ['explore']

_PAGE = PAGES['explore']


def explore(args: Sequence[str]) -> None:
    """Serve a page for a series, or write it as a file.

    Args:
        args: The folders, and options; see ``torchgeo-sits explore --help``.

    Raises:
        SITSError: If embeddings, maps or session do not fit the series.
        OSError: If a file cannot be read or written, or the port is in use.
    """
    os.environ.setdefault('GDAL_CACHEMAX', '256')
    parser = CommandParser(prog='torchgeo-sits explore', description=_PAGE.text)
    parser.add_argument(
        'paths', nargs='+', metavar='DIR', help='folders of dated rasters, or cubes'
    )
    own: dict[str, tuple[Any, Any]] = {
        'weights': (str, None),
        'embeddings': (str, None),
        'classes': (str, None),
        'session': (str, 'explored'),
        'maps': (list[str], []),
        'html': (str, None),
        'port': (int, 0),
        'host': (str, '127.0.0.1'),
    }
    for name, (kind, default) in own.items():
        parser.add_argument(f'--{name}', type=kind, default=default, help=_PAGE.own[name])
    names = parser.add_class_arguments(ImageOptions, skip={'paths', 'mean', 'std'})
    options = parser.parse_args(list(args))
    images = ImageOptions(options.paths, **{name: getattr(options, name) for name in names})
    if options.weights is not None and options.embeddings is not None:
        raise SITSError(
            '--weights and --embeddings both say where the embeddings come from: give one of them'
        )
    series = images.open()  # before a folder is made for a series that is not there
    session = Session(options.session)
    try:
        explorer = _explorer(images, series, session, options)
    except BaseException:
        session.close()
        raise
    try:
        if options.html is not None:
            write_report(Path(options.html), explorer)
            print(f"'{options.html}' needs no server: open it in a browser, or send it")
            return
        _serve(explorer, options.host, options.port)
    finally:
        explorer.close()


def _explorer(images: ImageOptions, series: TimeSeries, session: Session, options: Any) -> Explorer:
    """Open the embeddings of a series, and all that is shown beside them."""
    grid = grid_of(series)
    encoder = None
    path = options.embeddings and Path(options.embeddings)
    if options.weights is not None:
        path = _embed(options.weights, images, session.folder)
        encoder = _raw_encoder(options.weights, series)
    path = path or session.embeddings
    area = None if path is None else EmbeddedArea(path, grid)
    if area is not None and path is not None:
        session.set_embeddings(path)
        grid = area.grid

    def open_bands(bands: Sequence[str] | None) -> TimeSeries:
        return series if bands is None else replace(images, bands=list(bands)).open()

    if options.classes:
        session.add_classes(options.classes.strip('[]').split(','))
    overlays = [Overlay(path, grid) for path in options.maps]
    shown = SeriesImages(open_bands, grid)
    return Explorer(shown, session, area, overlays=overlays, encoder=encoder)


def _embed(weights: str, images: ImageOptions, session: Path) -> Path:
    """Embed the series into the folder of the session, unless these weights did before."""
    content = Path(weights).read_bytes() if Path(weights).is_file() else weights.encode()
    folder = session / f'embeddings_{sha256(content).hexdigest()[:8]}'
    trainer = Trainer(logger=False, callbacks=[RunProgress(), MapWriter(str(folder))])
    trainer.predict(SITSEmbedding(weights), datamodule=SITSDataModule(images=images))
    return folder / 'embedding.tif'


def _raw_encoder(weights: str, series: TimeSeries) -> SITSEncoder | None:
    """Encoder that takes values as they are read; None where its card does not say how."""
    encoder, card = load_encoder(weights, bands=series.bands)
    return encoder if card['mean'] and not encoder.s1_channels else None


def _serve(explorer: Explorer, host: str, port: int) -> None:
    """Serve the page until a signal comes."""
    server = PageServer(explorer, host=host, port=port)
    STOP.advice = (
        f"The labels are saved in '{explorer.session.folder}': the same command goes on from there"
    )
    print(f'Open {server.url}')
    print('Who has this address sees the page and can label. Ctrl-C stops the server')
    sys.stdout.flush()
    with server:
        server.serve_forever()
