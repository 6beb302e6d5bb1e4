"""Files beside a raster that tell GIS software the names and colours of its values."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree as Xml

import numpy as np
import rasterio
from matplotlib import colormaps
from pandas import DataFrame
from pyogrio import write_dataframe

from .whole_files import whole_file

__all__ = ['LegendEntry', 'legend_files', 'write_diverging_style', 'write_legend']

#: What XML 1.0 cannot hold.
_NO_TEXT: Final = re.compile('[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]')
#: Types and usages of the columns of GDAL's attribute tables (GDALRATFieldType and -Usage).
_COLUMNS: Final = (
    ('Value', '0', '5'),
    ('Count', '0', '1'),
    ('Class', '2', '2'),
    ('Red', '0', '6'),
    ('Green', '0', '7'),
    ('Blue', '0', '8'),
    ('Alpha', '0', '9'),
)
#: Largest value that GDAL's list of names, which counts from 0, goes up to.
_LAST_LISTED: Final = 255


class LegendEntry(NamedTuple):
    """A value of a raster, its name and its colour.

    Attributes:
        value: The value.
        name: Name of its class.
        colour: Red, green, blue and opacity from 0 to 255.

    Examples:
        >>> from torchgeo_sits.sidecars import LegendEntry
        >>> LegendEntry(1200, 'maize', (255, 169, 14, 255)).name
        'maize'
    """

    value: int
    name: str
    colour: tuple[int, int, int, int]


def legend_files(raster: Path) -> list[Path]:
    """List the files that :func:`write_legend` writes.

    Args:
        raster: Path of the raster.

    Returns:
        The attribute table that GDAL reads, the style of QGIS, and the attribute table of ArcGIS
        with its encoding.

    Examples:
        >>> from pathlib import Path
        >>> from torchgeo_sits.sidecars import legend_files
        >>> [path.name for path in legend_files(Path('maps/class.tif'))]
        ['class.tif.aux.xml', 'class.qml', 'class.tif.vat.dbf', 'class.tif.vat.cpg']
    """
    table = raster.with_name(f'{raster.name}.vat.dbf')
    gdal = raster.with_name(f'{raster.name}.aux.xml')
    return [gdal, raster.with_suffix('.qml'), table, table.with_suffix('.cpg')]


def write_legend(raster: Path, entries: Sequence[LegendEntry]) -> None:
    """Write names and colours of the values of a raster as GDAL, QGIS and ArcGIS read them.

    GDAL, and all that rests on it, finds an attribute table with the value, the number of pixels,
    the name and the colour of each class; where no value is above 255 it finds the list of names
    too, which counts from 0. QGIS takes its style when it opens the raster, and ArcGIS its table.

    Args:
        raster: Path of a raster of whole numbers in one band, which is read block by block.
        entries: The values that it may hold.

    Examples:
        >>> import numpy as np, rasterio, tempfile
        >>> from pathlib import Path
        >>> from torchgeo_sits.sidecars import LegendEntry, write_legend
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / 'class.tif'
        ...     where = {'crs': 'EPSG:32631', 'transform': rasterio.Affine(10, 0, 0, 0, -10, 10)}
        ...     with rasterio.open(
        ...         path, 'w', count=1, width=2, height=1, dtype='uint16', **where
        ...     ) as file:
        ...         file.write(np.array([[[1200, 1200]]], np.uint16))
        ...     write_legend(path, [LegendEntry(1200, 'maize', (255, 169, 14, 255))])
        ...     [row] = (path.parent / 'class.tif.aux.xml').read_text().split('<Row')[1:]
        >>> 'maize' in row
        True
    """
    table, style, *_ = legend_files(raster)
    counts = _count(raster, entries)
    _save(_attribute_table(entries, counts), table)
    _write_dbf(raster, entries, counts)
    root, renderer = _style('paletted')
    palette = Xml.SubElement(renderer, 'colorPalette')
    for value, name, colour in entries:
        shown = {'value': str(value), 'label': _text(name), 'color': _hex(colour)}
        Xml.SubElement(palette, 'paletteEntry', shown, alpha=str(colour[3]))
    _save(root, style, '<!DOCTYPE qgis>\n')


def write_diverging_style(raster: Path, limit: float, *, colours: str) -> None:
    """Write a style of QGIS that shows values from -limit to limit, 0 in the middle.

    Args:
        raster: Path of a raster of one band.
        limit: Value of the last colour, above 0; values beyond have it too.
        colours: Name of a colour map of matplotlib's.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from torchgeo_sits.sidecars import write_diverging_style
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_diverging_style(Path(folder) / 'pixels.tif', 2.0, colours='RdBu')
        ...     'classificationMax="2"' in (Path(folder) / 'pixels.qml').read_text()
        True
    """
    root, renderer = _style('singlebandpseudocolor')
    renderer.attrib |= {'classificationMin': f'{-limit:.6g}', 'classificationMax': f'{limit:.6g}'}
    ramp = Xml.SubElement(
        Xml.SubElement(renderer, 'rastershader'),
        'colorrampshader',
        colorRampType='INTERPOLATED',
        classificationMode='1',
        clip='0',
        minimumValue=f'{-limit:.6g}',
        maximumValue=f'{limit:.6g}',
    )
    for place in np.linspace(-1, 1, 9):
        value = f'{place * limit:.6g}'
        colour = [round(255 * part) for part in colormaps[colours]((place + 1) / 2)]
        Xml.SubElement(
            ramp, 'item', value=value, label=value, color=_hex(colour), alpha=str(colour[3])
        )
    _save(root, raster.with_suffix('.qml'), '<!DOCTYPE qgis>\n')


def _count(raster: Path, entries: Sequence[LegendEntry]) -> list[int]:
    """Number of pixels of each value."""
    values = np.array([entry.value for entry in entries])
    counts = np.zeros(len(values), np.int64)
    with rasterio.open(raster) as file:
        for _, window in file.block_windows(1):
            found, number = np.unique(file.read(1, window=window), return_counts=True)
            same = values[:, None] == found
            counts += (same * number).sum(1)
    return counts.tolist()


def _attribute_table(entries: Sequence[LegendEntry], counts: Sequence[int]) -> Xml.Element:
    """Side file of GDAL's with an attribute table, and names by their place in a list."""
    root = Xml.Element('PAMDataset')
    band = Xml.SubElement(root, 'PAMRasterBand', band='1')
    names = {entry.value: entry.name for entry in entries}
    if min(names) >= 0 and max(names) <= _LAST_LISTED:
        listed = Xml.SubElement(band, 'CategoryNames')
        for value in range(max(names) + 1):
            Xml.SubElement(listed, 'Category').text = _text(names.get(value, ''))
    table = Xml.SubElement(band, 'GDALRasterAttributeTable', tableType='thematic')
    for i, (name, kind, usage) in enumerate(_COLUMNS):
        column = Xml.SubElement(table, 'FieldDefn', index=str(i))
        for key, text in (('Name', name), ('Type', kind), ('Usage', usage)):
            Xml.SubElement(column, key).text = text
    for i, (entry, count) in enumerate(zip(entries, counts, strict=True)):
        row = Xml.SubElement(table, 'Row', index=str(i))
        for cell in (entry.value, count, entry.name, *entry.colour):
            Xml.SubElement(row, 'F').text = _text(str(cell))
    return root


def _write_dbf(raster: Path, entries: Sequence[LegendEntry], counts: Sequence[int]) -> None:
    """Write the attribute table of ArcGIS, whose files get their names when they are whole."""
    colours = np.array([entry.colour[:3] for entry in entries], np.int32)
    table = DataFrame(
        {
            'Value': np.array([entry.value for entry in entries], np.int32),
            'Count': np.array(counts, np.float64),
            'Class': [_text(entry.name) for entry in entries],
            **dict(zip(('Red', 'Green', 'Blue'), colours.T, strict=True)),
        }
    )
    with whole_file(legend_files(raster)[2]) as draft:
        write_dataframe(
            table,
            draft,
            driver='ESRI Shapefile',
            encoding='UTF-8',
            DBF_DATE_LAST_UPDATE='2000-01-01',  # the same bytes on any day
        )


def _style(kind: str) -> tuple[Xml.Element, Xml.Element]:
    """Style of QGIS for band 1, and its renderer to be filled."""
    root = Xml.Element('qgis', version='3.28', styleCategories='Symbology')
    renderer = Xml.SubElement(
        Xml.SubElement(root, 'pipe'),
        'rasterrenderer',
        type=kind,
        band='1',
        opacity='1',
        alphaBand='-1',
        nodataColor='',
    )
    return root, renderer


def _hex(colour: Sequence[int]) -> str:
    """Red, green and blue as they stand in styles."""
    return '#{:02x}{:02x}{:02x}'.format(*colour[:3])


def _text(name: str) -> str:
    """A name as XML can hold it."""
    return _NO_TEXT.sub(' ', name)


def _save(root: Xml.Element, path: Path, head: str = '') -> None:
    """Write a file, which gets its name when it is whole."""
    Xml.indent(root)
    with whole_file(path) as draft:
        draft.write_text(head + Xml.tostring(root, encoding='unicode') + '\n', encoding='utf-8')
