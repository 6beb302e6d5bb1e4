"""Quality layers of known products, and which of their pixels are clear."""

import os
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import SITSError
from .filenames import parse_description, parse_name
from .files import RasterFile

__all__ = ['QUALITY_LAYERS', 'ClearRule', 'Mask', 'QualityLayer', 'QualityNames']


@dataclass(frozen=True, slots=True)
class ClearRule:
    """Which values of a quality layer mean clear.

    Args:
        values: Values that do; None where bits say it.
        bits: Bits, from 0, none of which a clear pixel sets.
        fields: Numbers of several bits: the first bit, how many bits, and the number that a
            clear pixel does not hold.

    Examples:
        >>> import numpy as np
        >>> from torchgeo_sits.datasets.quality import ClearRule
        >>> ClearRule(values=(4, 5))(np.array([4, 8]))
        array([ True, False])
        >>> ClearRule(bits=(3,), fields=((8, 2, 3),))(np.array([0, 8, 256, 768], 'uint16'))
        array([ True, False,  True, False])
    """

    values: tuple[int, ...] | None = None
    bits: tuple[int, ...] = ()
    fields: tuple[tuple[int, int, int], ...] = ()

    def __call__(self, quality: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which pixels are clear.

        Args:
            quality: ``(H, W)``, as it is stored.

        Returns:
            ``(H, W)`` bool.
        """
        if self.values is not None:
            return np.isin(quality, self.values)
        if np.issubdtype(quality.dtype, np.inexact):  # as Earth Engine exports whole images
            quality = np.where(np.isfinite(quality), quality, -1)  # -1 sets all bits
        whole = quality.astype(np.int64)  # from 16 bits with a sign, the same bits
        clear: NDArray[np.bool_] = whole & sum(1 << bit for bit in self.bits) == 0
        for first, count, number in self.fields:
            clear &= (whole >> first) & ((1 << count) - 1) != number
        return clear

    def __str__(self) -> str:
        """Say the rule, as cubes keep it."""
        if self.values is not None:
            return ', '.join(map(str, self.values))
        told = f'not bits {", ".join(map(str, self.bits))}'
        fields = [
            f'not {number} in {count} bits from {first}' for first, count, number in self.fields
        ]
        return ', '.join([told, *fields])

    @classmethod
    def of_bits(cls, bits: Sequence[int]) -> 'ClearRule':
        """Make the rule of bits that a user lists.

        Args:
            bits: Bits, from 0, that make a pixel not clear.

        Returns:
            The rule.

        Raises:
            SITSError: If there is none, or one is no bit of a whole number.
        """
        odd = [bit for bit in bits if isinstance(bit, bool) or bit != int(bit) or not 0 <= bit < 63]
        if odd or not bits:
            raise SITSError(
                f'cloud_bits={list(bits)} must list bits by their number, from 0 for the last one '
                'to 62: for instance (1, 2, 3, 4) in QA_PIXEL of Landsat'
            )
        return cls(bits=tuple(int(bit) for bit in bits))


@dataclass(frozen=True, slots=True)
class QualityLayer:
    """A layer that a product ships to tell what is clear.

    Attributes:
        name: Its name, as the option ``quality`` takes it.
        product: Whose layer it is.
        spelling: Regular expression of what files and bands call it, whatever the case.
        rule: Which pixels are clear; one that says nothing where only a user knows.
        band: Name of the band that says it where the layer has several.
        source: Where its values are documented.
    """

    name: str
    product: str
    spelling: str
    rule: ClearRule
    source: str
    band: str | None = None

    def is_named_in(self, text: str) -> bool:
        """Tell whether a name of a file without its folder, or of a band, holds this layer's."""
        return _pattern(self.spelling).search(text) is not None


_LAYERS = (
    QualityLayer(
        'SCL',
        'Sentinel-2 Level-2A',
        'SCL',
        # Dark features, vegetation, bare soil, water, and unclassified, which holds little
        # cloud; snow (11) is not the ground.
        ClearRule(values=(2, 4, 5, 6, 7)),
        'ESA, Sentinel-2 Products Specification Document, S2-PDGS-TAS-DI-PSD, issue 14.9, scene '
        'classification',
    ),
    QualityLayer(
        'QA_PIXEL',
        'Landsat Collection 2',
        'QA_PIXEL',
        # Fill, dilated cloud, cirrus (Landsat 8 and 9), cloud, shadow.
        ClearRule(bits=(0, 1, 2, 3, 4)),
        'USGS, Landsat 8-9 Collection 2 Level 2 Science Product Guide, LSDS-1619, version 5.0, '
        'table 6-2',
    ),
    QualityLayer(
        'pixel_qa',
        'Landsat Collection 1 Level-2',
        'PIXEL_QA',
        # Fill, shadow, cloud; cirrus of high confidence (Landsat 8).
        ClearRule(bits=(0, 3, 5), fields=((8, 2, 3),)),
        'USGS, Landsat 8 Collection 1 Land Surface Reflectance Code Product Guide, LSDS-1368, '
        'pixel quality band',
    ),
    QualityLayer(
        'BQA',
        'Landsat Collection 1 Level-1',
        'BQA',
        # Fill, cloud; shadow and cirrus of high confidence.
        ClearRule(bits=(0, 4), fields=((7, 2, 3), (11, 2, 3))),
        'USGS, Landsat Collection 1 Level-1 Quality Assessment Band',
    ),
    QualityLayer(
        'oa_fmask',
        'Digital Earth Australia',
        'OA_FMASK',
        # Valid land, snow, water.
        ClearRule(values=(1, 4, 5)),
        'Geoscience Australia, DEA Surface Reflectance, product definition, oa_fmask',
    ),
    QualityLayer(
        'Fmask',
        'HLS 2.0',
        'FMASK',
        # Cloud, beside cloud or shadow, shadow. 255 is fill and sets them all.
        ClearRule(bits=(1, 2, 3)),
        'NASA, Harmonized Landsat and Sentinel-2 Product User Guide, version 2.0, table 9',
    ),
    QualityLayer(
        'UDM2',
        'PlanetScope',
        'UDM2',
        ClearRule(values=(1,)),
        'Planet, Usable Data Masks, UDM 2.1: band 1 is 1 where the pixel is clear',
        band='clear',
    ),
    QualityLayer(
        'UDM',
        'PlanetScope, RapidEye',
        'UDM',
        ClearRule(values=(0,)),
        'Planet, Imagery Product Specifications, unusable data mask: every bit is a fault',
    ),
    QualityLayer(
        'pixel_reliability',
        'MODIS vegetation indices (MOD13, MYD13)',
        r'PIXEL[ _]RELIABILITY|SUMMARYQA',
        ClearRule(values=(0, 1)),  # good and marginal data; 2 is snow, 3 cloud, -1 fill
        "MODIS Vegetation Index User's Guide (Collection 6.1), table 4",
    ),
    QualityLayer(
        'VI_Quality',
        'MODIS vegetation indices (MOD13, MYD13)',
        r'VI[ _]QUALITY|DETAILEDQA',
        # Most probably cloudy or not produced, beside cloud, mixed with cloud, shadow possible.
        ClearRule(bits=(1, 8, 10, 15)),
        "MODIS Vegetation Index User's Guide (Collection 6.1), table 5",
    ),
    QualityLayer(
        'QA60',
        'Sentinel-2 on Earth Engine',
        'QA60',
        ClearRule(bits=(10, 11)),  # opaque clouds, cirrus
        'Google, Earth Engine Data Catalog, COPERNICUS/S2_SR_HARMONIZED, band QA60',
    ),
    QualityLayer(
        'CLM',
        'Sentinel-2 on Sentinel Hub (s2cloudless)',
        'CLM',
        ClearRule(values=(0,)),
        'Sinergise, Sentinel Hub documentation, Sentinel-2 cloud masks: CLM, 255 is no data',
    ),
)

#: Layers that are known, by their names. Of several beside an image the first one counts.
QUALITY_LAYERS: dict[str, QualityLayer] = {layer.name: layer for layer in _LAYERS}


@lru_cache
def _pattern(spelling: str) -> re.Pattern[str]:
    """Compile what a name must hold: the layer's, and no letter or digit next to it."""
    return re.compile(rf'(?<![A-Za-z0-9])(?:{spelling})(?![A-Za-z0-9])', re.IGNORECASE)


class Mask(NamedTuple):
    """A raster that says what is clear.

    Attributes:
        raster: The file, with the one band that says it.
        layer: Which layer it is, None where no name tells.
    """

    raster: RasterFile
    layer: QualityLayer | None


class QualityNames:
    """Names by which layers of quality are found among files and bands.

    Args:
        quality: Name of the layer that a user asks for: a known one or any other.
        own: Name of the layer that a kind of series has. It counts before all others.

    Examples:
        >>> from torchgeo_sits.datasets.quality import QualityNames
        >>> names = QualityNames()
        >>> names.of_file('LC08_L2SP_198025_20180802_20200831_02_T1_QA_PIXEL.TIF').name
        'QA_PIXEL'
        >>> names.of_file('scl_20180802_B04.tif') is None  # a band of a place of that name
        True
    """

    def __init__(self, quality: str | None = None, own: str | None = None) -> None:
        known = tuple(QUALITY_LAYERS.values())
        self.asked = None if quality is None else _layer(quality)
        self.own = None if own is None else _layer(own)
        first = [layer for layer in (self.asked, self.own) if layer is not None]
        #: All layers, the first one found counts.
        self._all = tuple(dict.fromkeys([*first, *known]))
        spellings = '|'.join(layer.spelling for layer in self._all)
        self._any = _pattern(spellings)

    def of_band(self, text: str) -> QualityLayer | None:
        """Find the layer that the name of a band tells of."""
        return next((layer for layer in self._all if layer.is_named_in(text)), None)

    def of_file(self, path: str) -> QualityLayer | None:
        """Find the layer that the name of a file tells of.

        Args:
            path: The file; it is not opened.

        Returns:
            The layer; None for files of another band, whatever else their names hold.
        """
        stem = os.path.splitext(os.path.basename(path))[0]
        layer = None if self._any.search(stem) is None else self.of_band(stem)
        if layer is None:
            return None
        told = _pattern(layer.spelling).findall(stem)[-1]
        name = parse_name(path)
        band = None if name is None else name.band
        return layer if band is None or band.lower() in told.lower() else None

    def of_files(self, paths: Iterable[str]) -> dict[str, QualityLayer]:
        """Find the files whose names tell of a layer, and which."""
        return {path: layer for path in paths if (layer := self.of_file(path)) is not None}

    def chosen(self, found: dict[str, QualityLayer]) -> dict[str, QualityLayer]:
        """Choose the masks that count.

        Args:
            found: What :meth:`of_files` found.

        Returns:
            Those of the layer that is asked for, or else of the kind's own if there are any, or
            else all, those that count first in front.
        """
        only = self.asked or (self.own if self.own in found.values() else None)
        kept = {path: layer for path, layer in found.items() if only in (None, layer)}
        return dict(sorted(kept.items(), key=lambda item: self._all.index(item[1])))

    def mask(self, raster: RasterFile, layer: QualityLayer | None) -> Mask:
        """Choose the band of a mask that says what is clear.

        Args:
            raster: The file.
            layer: Which layer its name tells, if any.

        Returns:
            The mask, of the first band unless the names of bands tell of another.
        """
        for i, text in enumerate(raster.descriptions):
            named = self.of_band(text)
            if named is not None and layer in (None, named) and self.asked in (None, named):
                return Mask(_with_bands(raster, [i]), named)
            if layer is not None and layer.band is not None and text.lower() == layer.band:
                return Mask(_with_bands(raster, [i]), layer)
        return Mask(_with_bands(raster, [0]), layer)

    def take_out(
        self, rasters: Sequence[RasterFile], keep: Collection[str]
    ) -> tuple[list[RasterFile], list[Mask]]:
        """Part bands of quality from those of light, by their names in the files.

        Args:
            rasters: Images.
            keep: Names of bands that a user asks for as channels: they stay in any case.

        Returns:
            The images without bands of quality, and the masks made of these. Files of nothing
            else are masks where there are other files, and images where there are none.
        """
        images: list[RasterFile] = []
        masks: list[Mask] = []
        alone: list[RasterFile] = []
        stay = {name.upper() for name in keep}
        for raster in rasters:
            found = {
                i: layer
                for i, text in enumerate(raster.descriptions)
                if (layer := self.of_band(text)) is not None
            }
            kept = [
                i
                for i in range(len(raster.indexes))
                if i not in found or raster.descriptions[i].upper() in stay
            ]
            if not found:
                images.append(raster)
            elif kept:
                images.append(_with_bands(raster, kept))
                masks += [Mask(_of_date(raster, i), layer) for i, layer in found.items()]
            else:
                alone.append(raster)
        if not images:
            return list(rasters), []
        masks += [self.mask(raster, None) for raster in alone]
        kinds = {mask.layer for mask in masks}
        only = self.asked or (self.own if self.own in kinds else None)
        chosen = [mask for mask in masks if mask.layer is not None and only in (None, mask.layer)]
        return images, sorted(chosen, key=lambda mask: self._all.index(mask.layer))


def _layer(name: str) -> QualityLayer:
    """Look up a layer by any of its names, or make one that only a user knows."""
    for layer in QUALITY_LAYERS.values():
        if name.lower() == layer.name.lower() or _pattern(layer.spelling).fullmatch(name):
            return layer
    return QualityLayer(name, '', re.escape(name), ClearRule(), '')


def _of_date(raster: RasterFile, place: int) -> RasterFile:
    """One band of a file, with the date of its own in a file of many dates."""
    told = parse_description(raster.descriptions[place])
    band = _with_bands(raster, [place])
    return band if told is None else replace(band, name=told[0])


def _with_bands(raster: RasterFile, kept: Sequence[int]) -> RasterFile:
    """The same file with some of its bands, by their places from 0."""
    return replace(
        raster,
        indexes=tuple(raster.indexes[i] for i in kept),
        descriptions=tuple(raster.descriptions[i] for i in kept) if raster.descriptions else (),
        dtypes=tuple(raster.dtypes[i] for i in kept),
        nodata=tuple(raster.nodata[i] for i in kept),
        scales=tuple(raster.scales[i] for i in kept),
        offsets=tuple(raster.offsets[i] for i in kept),
    )
