"""OlmoEarth: a transformer of patches, months and sensors, pretrained by its authors."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, NamedTuple

import torch
from einops import rearrange, reduce, repeat
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from ..errors import SITSError
from ..keys import Series
from .dates import calendar_month
from .encoder import Depth, SITSEncoder, gap_to_cells, mean_seen
from .masked import chunk_length, list_where, map_chunks, unlist_where
from .monthly import month_span, month_table, monthly_means, plain_values
from .quantities import LIGHTS, OPTICAL, find_quantities

__all__ = ['BASE', 'RADAR', 'OlmoEarth', 'OlmoEarthEncoder', 'encoder_state', 'olmoearth_state']

#: Mean and standard deviation of what the models were trained on, reflectance times 10,000 and
#: decibels (https://github.com/allenai/olmoearth_pretrain, ``data/norm_configs/computed.json``),
#: and the wavelength of lights, in nanometres, by which the nearest is found.
_STATISTICS: Final[dict[str, tuple[float, float, float]]] = {
    'coastal': (1115.8494, 1955.6992, 443),
    'blue': (1188.9413, 1859.1924, 490),
    'green': (1407.7739, 1727.7387, 560),
    'red': (1513.0574, 1740.7757, 665),
    'rededge1': (1890.9893, 1754.7320, 705),
    'rededge2': (2483.7812, 1622.1173, 740),
    'rededge3': (2722.7282, 1621.8226, 783),
    'nir': (2755.4813, 1612.2566, 842),
    'nir08': (2885.5703, 1611.3588, 865),
    'nir09': (3269.8126, 2651.0884, 945),
    'swir16': (2562.8526, 1441.5472, 1610),
    'swir22': (1914.1383, 1328.8914, 2190),
    'VV': (-11.6490, 10.8404, 0),
    'VH': (-17.7454, 10.2163, 0),
}

#: Bands of Sentinel-1.
RADAR: Final = ('VV', 'VH')

#: Pixels along the side of the patches that the published projections are of.
BASE: Final = 8


class _Sensor(NamedTuple):
    """Where the values of a sensor are (0, or 1 for the Sentinel-1 series), and its groups."""

    source: int
    groups: tuple[str, ...]


class OlmoEarthEncoder(SITSEncoder):
    """What the versions of OlmoEarth have in common.

    Herzog et al. 2025, https://arxiv.org/abs/2511.13655: a token per patch, month and group of
    bands, and full attention among them.

    - Clear values of a calendar month are averaged (:func:`~.monthly.monthly_means`). A patch of
      which nothing was seen in a month is masked in the attention. Of a patch that was seen in
      part the rest is filled with the mean of what was seen, as the authors' mask is one of whole
      patches.
    - The projection is of patches of 8 x 8 pixels, to which smaller ones are resized. The smaller
      *patch_size*, the finer the map, and the dearer: tokens grow with its inverse square. The
      authors' choices go from 1 to 8; by default it is 4.
    - Attention is among the patches of a tile, *tile_size* of them along a side, for their number
      squared is the cost. The authors trained on 1 to 12; by default it is 8, of 32 pixels. Tiles
      do not see each other.
    - Positions are those of pixels of 10 m.

    Bands are found by their names (:func:`~.quantities.quantity`), in the image or, those of
    Sentinel-1, in a series beside it. A group of which no band is there is left out. Landsat,
    which the models know, too, is not among the inputs.

    Values are expected less the mean of each band, over its standard deviation, as
    :meth:`statistics` gives them. The encoder maps two standard deviations around the mean to 0
    and 1, as its authors do.

    A cell's vector is the mean of its tokens of each sensor, then of the sensors. All depths give
    the late features.

    Args:
        in_channels: Number of bands C.
        bands: Names of the bands; those of Sentinel-2 where there are 10 or 12.
        s1_channels: Number of bands of a Sentinel-1 series beside it, 2, or 0 for none.
        bands_s1: Names of these bands, VV and VH by default.
        patch_size: Pixels along the side of a patch, from 1 to 8: the stride of the maps.
        tile_size: Patches along the side of a tile.
        dim: Width D of a token.
        depth: Number of blocks.
        num_heads: Heads of the attention.
        mlp_ratio: Width of the hidden layer of a block over *dim*.
        max_months: Months that a series may span; the authors trained on 12 at most.
        chunk_size: Tokens held in memory at a time, but for those of one tile.

    Raises:
        SITSError: If bands are unknown or too few, or a size is out of its range.
    """

    #: Bands of each group, in the order of the weights.
    groups: ClassVar[Mapping[str, tuple[str, ...]]]
    #: Encoded months of the year.
    month_embedding: Tensor

    def __init__(
        self,
        in_channels: int,
        *,
        bands: Sequence[str] | None,
        s1_channels: int,
        bands_s1: Sequence[str] | None,
        patch_size: int,
        tile_size: int,
        dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        max_months: int,
        chunk_size: int,
        hidden_dim: int = 0,
    ) -> None:
        """Initialise a new OlmoEarthEncoder instance.

        Args:
            in_channels: See the class.
            bands: See the class.
            s1_channels: See the class.
            bands_s1: See the class.
            patch_size: See the class.
            tile_size: See the class.
            dim: See the class.
            depth: See the class.
            num_heads: See the class.
            mlp_ratio: See the class.
            max_months: See the class.
            chunk_size: See the class.
            hidden_dim: Width of the layer that pixels go through before their patch, 0 for none.
        """
        sizes = {'tile_size': tile_size, 'depth': depth, 'num_heads': num_heads}
        sizes |= {'max_months': max_months, 'chunk_size': chunk_size}
        for name, value in sizes.items():
            if value < 1:
                raise SITSError(f'expected {name} of at least 1, got {value}')
        if not 1 <= patch_size <= BASE:
            raise SITSError(f'expected patch_size from 1 to {BASE}, got {patch_size}')
        if dim < 16 or dim % 16 or dim % num_heads:
            raise SITSError(
                f'expected dim to be divisible by 16 and by num_heads={num_heads}, got {dim}'
            )
        super().__init__(in_channels=in_channels, embed_dim=dim, stride=patch_size)
        self.s1_channels = s1_channels
        self.patch_size, self.tile_size = patch_size, tile_size
        self.max_months, self.chunk_size = max_months, chunk_size
        self._channels: dict[str, list[int]] = {}
        self._sensors = self._find_sensors(bands, bands_s1)
        self.projections = nn.ModuleDict(
            {
                group: self.build_projection(len(of), dim, hidden_dim)
                for group, of in self.groups.items()
            }
        )
        self.group_embedding = nn.ParameterDict(
            {group: nn.Parameter(torch.zeros(dim // 4)) for group in self.groups}
        )
        self.blocks = nn.ModuleList(
            self.build_block(dim, num_heads, mlp_ratio) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)
        for name, module in self.named_modules():
            # The projections begin as PyTorch's layers do.
            if isinstance(module, nn.Linear) and not name.startswith('projections.'):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        # DDP stops at parameters that never get a gradient.
        used = {group for sensor in self._sensors for group in sensor.groups}
        for group in self.groups.keys() - used:
            self.projections[group].requires_grad_(False)
            self.group_embedding[group].requires_grad_(False)
        self.register_buffer('month_embedding', month_table(dim // 4), persistent=False)

    # -- what a version says ---------------------------------------------------------------

    @abstractmethod
    def build_projection(self, bands: int, dim: int, hidden_dim: int) -> nn.Module:
        """Build the projection of patches of so many *bands*."""

    @abstractmethod
    def build_block(self, dim: int, num_heads: int, mlp_ratio: float) -> nn.Module:
        """Build a block."""

    @abstractmethod
    def project(self, group: str, values: Tensor) -> Tensor:
        """Project patches of the base size.

        Args:
            group: Name of the group.
            values: ``(N, C, 8 h, 8 w)``.

        Returns:
            ``(N, h, w, D)``.
        """

    @staticmethod
    @abstractmethod
    def fill_band(wanted: str, own: Sequence[str]) -> str | None:
        """Name the band that stands for one that is missing; None for 0 after normalisation.

        Args:
            wanted: The missing band.
            own: Bands of Sentinel-2 that are there.
        """

    @abstractmethod
    def describe(self, group: str, slots: Tensor, months: Tensor, place: Tensor) -> Tensor:
        """Give what is added to the tokens of a group.

        Args:
            group: Name of the group.
            slots: ``(M,)``, numbers of the months in the series.
            months: ``(B, M)``, months of the year.
            place: ``(P, 2)``, row and column of each patch in its tile, in pixels of 10 m.

        Returns:
            ``(B, M, P, D)``.
        """

    @abstractmethod
    def attend(self, x: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """Run the blocks.

        Args:
            x: Tokens ``(B, N, D)``.
            mask: ``(B, N)`` bool, True for those that were seen.
            positions: ``(B, N, 3)``: months since 1970, row and column in pixels of 10 m.

        Returns:
            ``(B, N, D)``.
        """

    # -- bands -----------------------------------------------------------------------------

    @classmethod
    def statistics(cls, bands: Sequence[str]) -> tuple[list[float], list[float]]:
        """Mean and standard deviation that the values of bands are expected to be normalised by.

        Args:
            bands: Names of bands that the model knows.

        Returns:
            One value per band each, of reflectance times 10,000, or decibels.

        Raises:
            SITSError: If the model does not know a band.
        """
        found = [_STATISTICS[name] for name in find_quantities(cls.__name__, _STATISTICS, bands)]
        return [mean for mean, _, _ in found], [std for _, std, _ in found]

    def _find_sensors(
        self, bands: Sequence[str] | None, bands_s1: Sequence[str] | None
    ) -> list[_Sensor]:
        """Find the channels of each group, and how their values become the authors'."""
        kind = type(self).__name__
        if bands is None:
            known = {len(names): names for names in (OPTICAL, LIGHTS)}
            if self.in_channels not in known:
                raise SITSError(
                    f'{kind} finds its bands by their names: give bands, the {self.in_channels} '
                    'names of the channels, such as ["B02", "B03", "B04", "B08"]'
                )
            bands = known[self.in_channels]
        if bands_s1 is None:
            bands_s1 = RADAR if self.s1_channels else ()
        given = {'bands': (bands, self.in_channels), 'bands_s1': (bands_s1, self.s1_channels)}
        for name, (names, channels) in given.items():
            if len(names) != channels:
                raise SITSError(
                    f'{kind}: {name} has {len(names)} names, {list(names)}, for {channels} channels'
                )
        here = find_quantities(kind, LIGHTS if bands_s1 else _STATISTICS, bands)
        radar = find_quantities(kind, RADAR, bands_s1, 'bands_s1') if bands_s1 else here
        sensors = []
        if lights := [name for name in here if name in LIGHTS]:
            groups = tuple(
                group
                for group, members in self.groups.items()
                if group != 'S1' and set(members) & set(lights)
            )
            for group in groups:
                self._turn(group, here, lights)
            sensors.append(_Sensor(0, groups))
        if found := [name for name in radar if name in RADAR]:
            if len(found) < len(RADAR):
                raise SITSError(f'{kind} takes VV and VH of Sentinel-1 or neither, got {found}')
            self._turn('S1', radar, found)
            sensors.append(_Sensor(1 if bands_s1 else 0, ('S1',)))
        return sensors

    def _turn(self, group: str, given: Sequence[str], own: Sequence[str]) -> None:
        """Note the channels of a group, and the line from given values to the authors'."""
        self._channels[group] = []
        lines = []
        for wanted in self.groups[group]:
            taken = wanted if wanted in own else self.fill_band(wanted, own)
            self._channels[group].append(0 if taken is None else list(given).index(taken))
            if taken is None:
                lines.append((0.0, 0.0))
                continue
            (mean, std, _), (from_mean, from_std, _) = _STATISTICS[wanted], _STATISTICS[taken]
            lines.append((from_std / (4 * std), (from_mean - mean + 2 * std) / (4 * std)))
        self.register_buffer(f'_line_{group}', torch.tensor(lines), persistent=False)

    # -- the protocol ----------------------------------------------------------------------

    def forward_features(self, series: Series, depth: Depth) -> Tensor:
        """Features of the months of each patch.

        All depths give late features, *joined* twice.

        Returns:
            ``(B, D, H / s, W / s)``, rounded up, or 2 D channels for *joined*; zeros where no
            pixel of a patch was ever clear.

        Raises:
            SITSError: If a series spans more than *max_months* calendar months.
        """
        copies = self.feature_dim(depth) // self.embed_dim
        vectors, seen, _ = self._run(series)
        late = _mean(_mean(vectors, seen, 2), seen.any(2), 1)
        return torch.cat([late] * copies, 1)

    def forward_frames(self, series: Series) -> Tensor:
        """Features of the month of each frame.

        Returns:
            ``(B, T, D, H / s, W / s)``, zeros where nothing of a patch was seen in that month.

        Raises:
            SITSError: If a series spans more than *max_months* calendar months.
        """
        vectors, seen, slots = self._run(series)
        months = _mean(vectors, seen, 1)
        index = slots.clamp(0, months.shape[1] - 1)[:, :, None, None, None]
        return months.gather(1, index.expand(-1, -1, *months.shape[2:]))

    def pool_cells(self, late: Tensor, seen: Tensor) -> Tensor:
        """Mean of the cells that were seen."""
        return mean_seen(late, seen)

    def _run(self, series: Series) -> tuple[Tensor, Tensor, Tensor]:
        """Encode all tiles.

        Returns:
            Vectors ``(B, R, M, D, h, w)`` of R sensors, M months and h w patches; whether anything
            was seen of them ``(B, R, M, h, w)``; and the month of each frame ``(B, T)``.
        """
        both = [series] if series.s1 is None else [series, series.s1]
        sensors = [sensor for sensor in self._sensors if sensor.source < len(both)]
        first, length = month_span(both, self.max_months, type(self).__name__)
        sources = []
        for each in both:
            slots = calendar_month(each.acquisition_times) - first[:, None]
            sources.append(monthly_means(each.image, each.clear, slots, length))
        h, w = series.image.shape[-2:]
        gap = (0, gap_to_cells(w, self.patch_size), 0, gap_to_cells(h, self.patch_size))
        entries = [pad(x, gap) for source in sources for x in source]
        patches = [
            reduce(x, 'b m (h p) (w q) -> b m h w', 'max', p=self.patch_size, q=self.patch_size)
            for x in entries[1::2]
        ]
        side = self.tile_size * self.patch_size
        rows = []
        for top in range(0, h, side):
            row = []
            for left in range(0, w, side):
                tile = [x[..., top : top + side, left : left + side] for x in entries]
                row.append(self._encode_tile(tile, first, sensors))
            rows.append(torch.cat(row, -1))
        seen = torch.stack([patches[sensor.source] for sensor in sensors], 1)
        return torch.cat(rows, -2), seen, calendar_month(series.acquisition_times) - first[:, None]

    def _encode_tile(
        self, tile: Sequence[Tensor], first: Tensor, sensors: Sequence[_Sensor]
    ) -> Tensor:
        """Encode a tile ``(B, R, M, D, h, w)`` of means and of what was seen by turns."""
        where = torch.stack([tile[2 * sensor.source + 1].flatten(1).any(1) for sensor in sensors])
        where = where.any(0)
        groups = sum(len(sensor.groups) for sensor in sensors)
        tokens = tile[1][0].numel() // self.patch_size**2 * groups
        chunk = max(1, chunk_length(tile[0], self.chunk_size) // tokens)

        def run(first: Tensor, *tensors: Tensor) -> Tensor:
            return self._encode(first, tensors, sensors)

        entries = [list_where(x, where) for x in (first, *tile)]
        if not len(entries[0]):  # layers over patches take no empty batch
            h, w = (side // self.patch_size for side in tile[0].shape[-2:])
            months = tile[0].shape[1]
            return tile[0].new_zeros(len(first), len(sensors), months, self.embed_dim, h, w)
        return unlist_where(map_chunks(run, *entries, dim=0, chunk=chunk), where)

    def _encode(
        self, first: Tensor, tensors: Sequence[Tensor], sensors: Sequence[_Sensor]
    ) -> Tensor:
        """Encode tiles of which anything was seen, as :meth:`_encode_tile` does."""
        b, m, _, h, w = tensors[0].shape
        size = {'h': h // self.patch_size, 'w': w // self.patch_size}
        steps = self.patch_size * torch.arange(max(size.values()), device=first.device)
        place = torch.cartesian_prod(steps[: size['h']], steps[: size['w']]).view(-1, 2)
        tokens, masks, positions, kept = [], [], [], []
        for sensor in sensors:
            values, seen = tensors[2 * sensor.source : 2 * sensor.source + 2]
            slots = seen.flatten(2).any(2).any(0).nonzero()[:, 0]  # months that anything is of
            kept.append((slots, (b, len(sensor.groups), len(slots), len(place))))
            if not len(slots):
                continue
            filled, known = _fill_patches(values[:, slots], seen[:, slots], self.patch_size)
            month = first[:, None] + slots
            for group in sensor.groups:
                own = self._embed(group, filled)
                own = own + self.describe(group, slots, month.remainder(12), place)
                tokens.append(rearrange(own, 'b m p d -> b (m p) d'))
                masks.append(rearrange(known, 'b m h w -> b (m h w)'))
                spot = repeat(place, 'p c -> b m p c', b=b, m=len(slots))
                when = repeat(month, 'b m -> b m p 1', p=len(place))
                positions.append(rearrange(torch.cat([when, spot], -1), 'b m p c -> b (m p) c'))
        x, mask = torch.cat(tokens, 1), torch.cat(masks, 1)
        x = self.norm(self.attend(x, mask, torch.cat(positions, 1)))
        x = torch.where(mask[..., None], x, 0)
        vectors = []
        counts = [groups * months * patches for _, (_, groups, months, patches) in kept]
        for part, (slots, shape) in zip(x.split(counts, 1), kept, strict=True):
            vector = part.unflatten(1, shape[1:]).mean(1)
            vectors.append(vector.new_zeros(b, m, *vector.shape[2:]).index_copy(1, slots, vector))
        return rearrange(torch.stack(vectors, 1), 'b r m (h w) d -> b r m d h w', **size)

    def _embed(self, group: str, values: Tensor) -> Tensor:
        """Project the patches ``(B, M, P, D)`` of a group from values ``(B, M, C, h, w)``."""
        line = getattr(self, f'_line_{group}')[..., None, None]
        own = values[:, :, self._channels[group]] * line[:, 0] + line[:, 1]
        x = rearrange(own, 'b m c h w -> (b m) c h w')
        if self.patch_size != BASE:
            size = [BASE * (side // self.patch_size) for side in x.shape[-2:]]
            # Of the tile, not of each patch, as the authors do.
            x = interpolate(x, size, mode='bicubic', antialias=True)
        return rearrange(self.project(group, x), '(b m) h w d -> b m (h w) d', b=len(values))


class OlmoEarth(OlmoEarthEncoder):
    """OlmoEarth v1's encoder on Sentinel-2 and Sentinel-1.

    See :class:`OlmoEarthEncoder`, whose arguments it takes; defaults are those of the nano model.
    On months without gaps the tokens are those of :func:`torchgeo.models.olmoearth_v1`. Where some
    bands of a group are there, the others are copied from the band of the next wavelength, as the
    authors do for this version. Months are numbered from the first of a series; the authors
    trained on 12 of them.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.models import OlmoEarth, Series
        >>> encoder = OlmoEarth(4, bands=['B02', 'B03', 'B04', 'B08']).eval()
        >>> image, times = torch.rand(2, 5, 4, 8, 8), 2_600_000 * torch.arange(5).expand(2, 5)
        >>> series = Series(image, times, valid=torch.ones(2, 5, dtype=torch.bool))
        >>> encoder.features(series).shape
        torch.Size([2, 128, 2, 2])
    """

    groups = {
        'S2_10m': ('blue', 'green', 'red', 'nir'),
        'S2_20m': ('rededge1', 'rededge2', 'rededge3', 'nir08', 'swir16', 'swir22'),
        'S2_60m': ('coastal', 'nir09'),
        'S1': RADAR,
    }
    #: Encoded numbers of the months of a series.
    slot_embedding: Tensor

    def __init__(
        self,
        in_channels: int = 10,
        *,
        bands: Sequence[str] | None = None,
        s1_channels: int = 0,
        bands_s1: Sequence[str] | None = None,
        patch_size: int = 4,
        tile_size: int = 8,
        dim: int = 128,
        depth: int = 4,
        num_heads: int = 8,
        mlp_ratio: float = 4,
        max_months: int = 24,
        chunk_size: int = 2**16,
    ) -> None:
        arguments = {k: v for k, v in locals().items() if k not in ('self', '__class__')}
        super().__init__(**arguments)
        self.config = plain_values(arguments)
        slots = _sines(torch.arange(max_months), dim // 4)
        self.register_buffer('slot_embedding', slots, persistent=False)

    def build_projection(self, bands: int, dim: int, hidden_dim: int) -> nn.Module:
        """A convolution."""
        return nn.Conv2d(bands, dim, BASE, BASE)

    def build_block(self, dim: int, num_heads: int, mlp_ratio: float) -> nn.Module:
        """A block of timm."""
        return Block(dim, num_heads, mlp_ratio, qkv_bias=True, norm_layer=nn.LayerNorm)

    def project(self, group: str, values: Tensor) -> Tensor:
        """The convolution."""
        return rearrange(self.projections[group](values), 'n d h w -> n h w d')

    @staticmethod
    def fill_band(wanted: str, own: Sequence[str]) -> str | None:
        """The band of the next wavelength, the shorter of two."""
        length = {name: _STATISTICS[name][2] for name in (wanted, *own)}
        return min(own, key=lambda name: (abs(length[name] - length[wanted]), length[name]))

    def describe(self, group: str, slots: Tensor, months: Tensor, place: Tensor) -> Tensor:
        """Group, number of the month, month of the year and place, side by side."""
        b, m, p = *months.shape, len(place)
        width = self.slot_embedding.shape[1]
        # The authors put the columns first.
        where = torch.cat([_sines(place[:, axis], width // 2) for axis in (1, 0)], 1)
        return torch.cat(
            [
                repeat(self.group_embedding[group], 'd -> b m p d', b=b, m=m, p=p),
                repeat(self.slot_embedding[slots], 'm d -> b m p d', b=b, p=p),
                repeat(self.month_embedding[months], 'b m d -> b m p d', p=p),
                repeat(where.to(self.slot_embedding.dtype), 'p d -> b m p d', b=b, m=m),
            ],
            -1,
        )

    def attend(self, x: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """Positions are in the tokens already."""
        for block in self.blocks:
            x = block(x, attn_mask=mask[:, None, None])
        return x


def _fill_patches(values: Tensor, seen: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Fill what was not seen with the mean of its patch, or else of its tile.

    Resizing mixes pixels of patches that lie side by side, masked ones among them.

    Args:
        values: ``(B, M, C, h, w)``, 0 where not seen.
        seen: ``(B, M, h, w)`` bool.
        side: Pixels along the side of a patch.

    Returns:
        Filled values, and ``(B, M, h / side, w / side)`` bool, patches that anything was seen of.
    """
    count = seen[:, :, None].to(values.dtype)
    size = {'p': side, 'q': side}
    by_patch = 'b m c (h p) (w q) -> b m c h w'
    total, known = (reduce(x, by_patch, 'sum', **size) for x in (values, count))
    of_tile = total.sum((-2, -1), True) / known.sum((-2, -1), True).clamp(min=1)
    mean = torch.where(known > 0, total / known.clamp(min=1), of_tile)
    spread = repeat(mean, 'b m c h w -> b m c (h p) (w q)', **size)
    return torch.where(seen[:, :, None], values, spread), known[:, :, 0] > 0


def _mean(vectors: Tensor, seen: Tensor, axis: int) -> Tensor:
    """Mean of vectors ``(..., D, h, w)`` along an axis where *seen* ``(..., h, w)``, else 0."""
    weight = seen.to(vectors.dtype).unsqueeze(-3)
    return (vectors * weight).sum(axis) / weight.sum(axis).clamp(min=1)


def _sines(positions: Tensor, width: int) -> Tensor:
    """Sines, then cosines ``(N, width)``, of frequencies from 1 to 1 / 10, as Galileo's."""
    steps = torch.arange(width // 2, dtype=torch.float64, device=positions.device)
    angle = positions[:, None] * 10_000 ** -(steps / width / 2)
    return torch.cat([angle.sin(), angle.cos()], 1).float()


def encoder_state(
    published: Mapping[str, Tensor], places: Mapping[str, tuple[str, int]]
) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
    """Name the weights that all versions have as :class:`OlmoEarthEncoder` does.

    Args:
        published: Weights of the whole model, as their authors or TorchGeo name them.
        places: Where those of each group are: the name of the sensor, the number of the group.

    Returns:
        The state dict but for the projections, and their tensors by group and name.

    Raises:
        KeyError: If one is missing.
    """
    own = {
        name.removeprefix('model.').removeprefix('encoder.'): value
        for name, value in published.items()
        if name.removeprefix('model.').startswith('encoder.')
    }
    state = {name: own[name] for name in ('norm.weight', 'norm.bias')}
    for name, value in own.items():
        if name.startswith('blocks.') and '.attn.q.' in name:
            three = [own[name.replace('.attn.q.', f'.attn.{part}.')] for part in 'qkv']
            state[name.replace('.attn.q.', '.attn.qkv.')] = torch.cat(three)
        elif name.startswith('blocks.') and '.attn.k.' not in name and '.attn.v.' not in name:
            state[name] = value
    projections = {}
    for group, (sensor, row) in places.items():
        embedding = own[f'composite_encodings.per_modality_channel_embeddings.{sensor}']
        if len(embedding) != sum(name == sensor for name, _ in places.values()):
            raise KeyError(f'{len(embedding)} groups of {sensor}')
        state[f'group_embedding.{group}'] = embedding[row]
        prefix = f'patch_embeddings.per_modality_embeddings.{sensor}.{sensor}__{row}.'
        projections[group] = {n.removeprefix(prefix): own[n] for n in own if n.startswith(prefix)}
    return state, projections


#: Where the weights of each group are: the name of the sensor, and the number of the group.
_PLACES: Final = {
    'S2_10m': ('sentinel2_l2a', 0),
    'S2_20m': ('sentinel2_l2a', 1),
    'S2_60m': ('sentinel2_l2a', 2),
    'S1': ('sentinel1', 0),
}


def olmoearth_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name the weights of OlmoEarth v1's encoder as :class:`OlmoEarth` does.

    Args:
        published: Weights of the whole model, as their authors or
            :func:`torchgeo.models.olmoearth_v1` name them.

    Returns:
        The state dict.

    Raises:
        KeyError: If one is missing.
    """
    state, projections = encoder_state(published, _PLACES)
    for group, found in projections.items():
        for kind in ('weight', 'bias'):
            state[f'projections.{group}.{kind}'] = found[f'proj.{kind}']
    return state
