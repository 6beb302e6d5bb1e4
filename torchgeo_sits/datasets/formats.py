"""Formats that rasters may have: pixels of their own, or a VRT of files in its own folder."""

import os
from xml.etree import ElementTree

from rasterio import Env
from rasterio.env import ensure_env_with_credentials
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from ..errors import SITSError

__all__ = ['FORMATS', 'is_on_server', 'looking_beside', 'open_raster', 'require_own_pixels']

#: Drivers of GDAL that read pixels from the file itself, or from one of the same name beside it.
#: Others read what a file of text names, which may be any file or a server (WMS, WMTS, STACIT,
#: GTI, MRF, TIL, ERS, ...), or run queries.
FORMATS = (
    *('GTiff', 'COG', 'JP2OpenJPEG', 'JP2KAK', 'JP2ECW', 'JP2MrSID', 'JP2Lura', 'HFA', 'ENVI'),
    *('EHdr', 'GenBin', 'AAIGrid', 'GRASSASCIIGrid', 'GSAG', 'GSBG', 'GS7BG', 'RST', 'NITF', 'BT'),
    *('SAGA', 'ILWIS', 'SRTMHGT', 'USGSDEM', 'PNM', 'BLX', 'LCP', 'NTv2', 'PCRaster', 'WEBP'),
    *('JPEG', 'PNG', 'GIF', 'BIGGIF', 'BMP', 'MrSID', 'ECW', 'MAP', 'XPM'),
)

#: File systems of GDAL that ask a server.
_SERVERS = ('/vsicurl', '/vsis3', '/vsigs', '/vsiaz', '/vsiadls', '/vsioss', '/vsiswift')

#: Elements of a VRT whose text may be anything, and names no file that is opened.
_WORDS = {'SRS', 'GeoTransform', 'Description', 'MDI', 'Category', 'Metadata', 'UnitType', 'WKT'}
#: Elements, and keys of metadata, that name a file.
_NAMES = {'SourceFilename', 'SourceDataset', 'X_DATASET', 'Y_DATASET', 'OVERVIEW_FILE'}
#: Elements that hold code.
_CODE = {'PixelFunctionCode', 'PixelFunctionLanguage'}
#: Masks and overviews beside a raster, which GDAL opens by whatever format they are in.
_BESIDE = ('.msk', '.ovr')


def is_on_server(path: str) -> bool:
    """Tell whether reading a raster asks a server, as in ``/vsizip//vsicurl/...`` too.

    Args:
        path: Path, address, or ``/vsi...`` path of GDAL.

    Returns:
        True for addresses, and for GDAL's file systems on the network.

    Examples:
        >>> from torchgeo_sits.datasets.formats import is_on_server
        >>> is_on_server('/vsis3/bucket/a.tif'), is_on_server('/vsizip/a.zip/a.tif')
        (True, False)
    """
    return '://' in path or any(system in path for system in _SERVERS)


def looking_beside(path: str) -> Env:
    """Settings of GDAL on which files it looks for beside a raster that is opened.

    By default GDAL lists the whole folder, which is as slow as opening ten rasters where there are
    thousands of files; and it asks a server that lists none for ten names beside each raster. So
    it asks disks for each name, and takes a raster on a server as it is, as odc-stac and stackstac
    do, unless the environment says GDAL_DISABLE_READDIR_ON_OPEN=FALSE.

    Args:
        path: Path, address, or ``/vsi...`` path of GDAL.

    Returns:
        The settings, a context.
    """
    option = 'GDAL_DISABLE_READDIR_ON_OPEN'
    if not is_on_server(path):
        return Env(**{option: 'TRUE'})
    return Env(**({} if os.environ.get(option) == 'FALSE' else {option: 'EMPTY_DIR'}))


def open_raster(path: str, **options: object) -> DatasetReader:
    """Open a raster that holds pixels of its own; by the name ``.vrt``, one that joins files.

    What a VRT joins is not looked at: :func:`require_own_pixels` is asked before.

    Args:
        path: The raster.
        **options: Options of GDAL's driver, such as ``overview_level``.

    Returns:
        The open raster, whose handle nobody else has.

    Raises:
        RasterioError: If it does not open.
        SITSError: If it is text that names servers or other files.
    """
    try:
        return _open(path, [*FORMATS, 'VRT'] if _is_vrt(path) else list(FORMATS), options)
    except RasterioError as error:
        if _begins_as_text(path):
            raise SITSError(
                f"'{path}' holds no pixels but text, which may name servers or other files, and is "
                'not read: give the rasters themselves, or a VRT of files in its own folder, with '
                'the ending .vrt'
            ) from error
        raise


@ensure_env_with_credentials
def _open(path: str, drivers: list[str], options: dict[str, object]) -> DatasetReader:
    """Open by some drivers alone: `rasterio.open` takes one or all."""
    return DatasetReader(path, driver=drivers, sharing=False, **options)


def require_own_pixels(path: str) -> None:
    """Refuse a raster that names servers, or files outside its own folder.

    Asked once, before a raster is opened for the first time: opening may connect already.

    Args:
        path: The raster.

    Raises:
        SITSError: If a VRT lies on a server or in an archive, names what is not in its folder or
            below, or holds code; or a mask or overviews beside a raster are text.
    """
    if _is_vrt(path):
        _require_own_sources(path, ())
    for ending in _BESIDE:
        if _begins_as_text(path + ending):
            raise SITSError(
                f"'{path}{ending}' holds no pixels but text, which may name servers or other "
                'files: remove it, or write the mask or overviews anew'
            )


def _is_vrt(path: str) -> bool:
    """Tell whether the name of a raster says that it joins others."""
    return path.lower().endswith('.vrt')


def _begins_as_text(path: str) -> bool:
    """Tell whether a local file begins like XML or JSON."""
    try:
        with open(path, 'rb') as file:
            start = file.read(64)
    except (OSError, ValueError):
        return False
    return start.removeprefix(b'\xef\xbb\xbf').lstrip()[:1] in (b'<', b'{', b'[')


def _require_own_sources(path: str, joined_by: tuple[str, ...]) -> None:
    """Refuse a VRT unless all that it names lies in its folder, below it too."""
    if '://' in path or path.startswith('/vsi'):
        raise SITSError(
            f"'{path}' is a VRT on a server or in an archive, whose sources are not looked up "
            'there: give the rasters that it joins, or fetch it together with them'
        )
    if path in joined_by:
        raise SITSError(f"'{path}' joins itself: write it again")
    folder = os.path.dirname(os.path.abspath(path))
    for name, is_relative in _names_in(path):
        full = os.path.abspath(os.path.join(folder, name) if is_relative else name)
        # GDAL takes apart names such as NETCDF:"a.nc":b, which are no files.
        known = '://' not in name and '/vsi' not in name.lower()
        known = known and (':' not in name or os.path.exists(full))
        if not known or not full.startswith(os.path.join(folder, '')):
            raise SITSError(
                f"'{path}' names '{name}', which is not in its folder '{folder}': a VRT is read "
                'where it joins files of its own folder only. Write it there (gdalbuildvrt), or '
                'give the rasters themselves'
            )
        if _is_vrt(full):
            _require_own_sources(full, (*joined_by, path))
        elif os.path.isfile(full):
            require_own_pixels(full)
            try:
                open_raster(full).close()
            except RasterioError as error:
                raise SITSError(
                    f"'{path}' joins '{name}', which does not open as a raster ({error}): write "
                    'it again'
                ) from error


def _names_in(path: str) -> list[tuple[str, bool]]:
    """List the files that a VRT names, and whether each is relative to it.

    Raises:
        SITSError: If it holds code, or is no XML.
    """
    try:
        with open(path, 'rb') as file:
            text = file.read()
        if b'<!DOCTYPE' in text or b'<!ENTITY' in text:
            raise ElementTree.ParseError('it declares entities')
        root = ElementTree.fromstring(text)
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise SITSError(f"'{path}' is no VRT that can be read ({error}): write it again") from error
    found = []
    for element in root.iter():
        if element.tag in _CODE:
            raise SITSError(
                f"'{path}' holds code for its pixels ({element.tag}), which is not run: write the "
                'values to a raster'
            )
        words = (element.text or '').strip()
        names = element.tag in _NAMES or element.get('key') in _NAMES
        if words and (names or (element.tag not in _WORDS and ('/' in words or '\\' in words))):
            found.append((words, element.get('relativeToVRT') == '1'))
    return found
