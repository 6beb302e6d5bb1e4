"""Transformers of tokens by month and group of bands, as Presto and Galileo are."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, NamedTuple

import torch
from einops import rearrange, repeat
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from ..errors import SITSError
from ..keys import Series
from .dates import calendar_month
from .encoder import Depth, SITSEncoder
from .masked import chunk_length, list_where, map_chunks, unlist_where
from .quantities import OPTICAL, find_quantities

__all__ = [
    'STATISTICS',
    'MonthlyTransformer',
    'mean_where',
    'month_span',
    'month_table',
    'monthly_means',
    'plain_values',
]


def monthly_means(
    image: Tensor, clear: Tensor, slots: Tensor, months: int
) -> tuple[Tensor, Tensor]:
    """Average the clear values of each month.

    A sum by weights of 0 and 1, so that neither the order of the frames nor padding matters, and
    that gradients reach every clear value.

    Args:
        image: ``(B, T, C, H, W)``; anything, NaN too, where it is not clear.
        clear: ``(B, T, H, W)`` bool.
        slots: ``(B, T)`` int64, the month of each frame, counted from the first of the series.
        months: Number of months M; frames of later ones do not count.

    Returns:
        Means ``(B, M, C, H, W)``, 0 where nothing was clear, and ``(B, M, H, W)`` bool, where
        anything was.

    Examples:
        >>> import torch
        >>> image = torch.tensor([1.0, 3.0, 7.0]).view(1, 3, 1, 1, 1)
        >>> clear = torch.ones(1, 3, 1, 1, dtype=torch.bool)
        >>> means, seen = monthly_means(image, clear, torch.tensor([[0, 0, 2]]), 3)
        >>> means.flatten().tolist(), seen.flatten().tolist()
        ([2.0, 0.0, 7.0], [True, False, True])
    """
    member = slots[:, :, None] == torch.arange(months, device=slots.device)
    values = torch.where(clear[:, :, None], image, 0)
    # Not by autocast: sums of a month would be rounded to three digits.
    with torch.autocast(image.device.type, enabled=False):
        share = member.to(values.dtype)
        total = torch.einsum('btm,btchw->bmchw', share, values)
        count = torch.einsum('btm,bthw->bmhw', share, clear.to(values.dtype))
    return total / count.clamp(min=1)[:, :, None], count > 0


def month_span(both: Sequence[Series], most: int, model: str) -> tuple[Tensor, int]:
    """Find the calendar months that series span.

    Args:
        both: The series of each sensor, B each.
        most: Months that a model takes.
        model: Its name, for messages.

    Returns:
        The first month ``(B,)`` of each series, since 1970, and the most that one spans; *most*
        in an exported graph.

    Raises:
        SITSError: If a series spans more than *most* months.
    """
    far = 10**6
    month = torch.cat([calendar_month(each.acquisition_times) for each in both], 1)
    valid = torch.cat([each.valid for each in both], 1)
    first = torch.where(valid, month, far).amin(1)
    last = torch.where(valid, month, -far).amax(1)
    first = torch.where(valid.any(1), first, 0)
    if torch.compiler.is_exporting():
        return first, most
    length = int(torch.where(valid.any(1), last - first + 1, 1).max())
    if length > most:
        raise SITSError(
            f'a series spans {length} calendar months, {model} takes {most} at most: choose a '
            'shorter time, or allow more by max_months (--model.model_kwargs.max_months), which it '
            'was not trained on'
        )
    return first, length


class _Source(NamedTuple):
    """One sensor's months of P pixels: values ``(P, M, C)`` and seen ``(P, M)``."""

    values: Tensor
    seen: Tensor


class MonthlyTransformer(SITSEncoder):
    """Transformer of the months of single pixels, with one token per month and group of bands.

    Clear values of a calendar month are averaged (:func:`monthly_means`); months and groups
    that nothing was seen of are masked in the attention, as the authors of these models do. There
    is no spatial context: *early* features are the late ones.

    Bands are found by their names (:func:`~.quantities.quantity`), in the image or in the
    Sentinel-1 series beside it. A group of which a band is missing is left out; the NDVI is
    computed. The place is a token of its own where the series bring it.

    Values are expected less the mean of each band, over its standard deviation, as of any encoder
    of this package: here those that :meth:`statistics` gives. The encoder turns them back, and
    scales them as its authors do.

    Args:
        in_channels: Number of bands C.
        bands: Names of the bands; those of Sentinel-2 that the model knows where there are ten.
        s1_channels: Number of bands of a Sentinel-1 series beside it, 0 for none.
        bands_s1: Names of these bands, VV and VH by default.
        pool: What a pixel's vector is: the mean of all tokens (mean), or one mean per calendar
            month, January first, zeros where nothing was seen (months).
        dim: Width of a token.
        depth: Number of blocks.
        num_heads: Heads of the attention.
        mlp_ratio: Width of the hidden layer of a block over *dim*.
        max_months: Months that a series may span.
        chunk_size: Tokens held in memory at a time.

    Raises:
        SITSError: If bands are unknown or too few, or a size is out of its range.
    """

    #: Bands of each group, in the order of Presto's weights; the NDVI is computed.
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        'S1': ('VV', 'VH'),
        'S2_RGB': ('blue', 'green', 'red'),
        'S2_Red_Edge': ('rededge1', 'rededge2', 'rededge3'),
        'S2_NIR_10m': ('nir',),
        'S2_NIR_20m': ('nir08',),
        'S2_SWIR': ('swir16', 'swir22'),
        'ERA5': ('temperature_2m', 'total_precipitation'),
        'SRTM': ('elevation', 'slope'),
        'NDVI': (),
    }
    #: Groups that do not change with time, and have one token.
    static_groups: ClassVar[frozenset[str]] = frozenset({'SRTM'})
    #: What the authors subtract from a quantity, and what they divide it by then; in the units of
    #: :data:`STATISTICS`.
    scales: ClassVar[Mapping[str, tuple[float, float]]]
    #: Encoded numbers of the months of a series, and months of the year.
    slot_embedding: Tensor
    month_embedding: Tensor
    takes_location = True
    independent_pixels = True

    def __init__(
        self,
        in_channels: int,
        *,
        bands: Sequence[str] | None,
        s1_channels: int,
        bands_s1: Sequence[str] | None,
        pool: Literal['mean', 'months'],
        dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        max_months: int,
        chunk_size: int,
        widths: tuple[int, int, int],
    ) -> None:
        """Initialise a new MonthlyTransformer instance.

        Args:
            in_channels: See the class.
            bands: See the class.
            s1_channels: See the class.
            bands_s1: See the class.
            pool: See the class.
            dim: See the class.
            depth: See the class.
            num_heads: See the class.
            mlp_ratio: See the class.
            max_months: See the class.
            chunk_size: See the class.
            widths: Channels of a token that tell the group, the month's number in the series, and
                the month of the year.
        """
        if pool not in ('mean', 'months'):
            raise SITSError(f"expected pool to be 'mean' or 'months', got {pool!r}")
        sizes = {'dim': dim, 'depth': depth, 'num_heads': num_heads, 'max_months': max_months}
        for name, value in (sizes | {'chunk_size': chunk_size}).items():
            if value < 1:
                raise SITSError(f'expected {name} of at least 1, got {value}')
        if dim % 8 or dim % num_heads:
            raise SITSError(
                f'expected dim to be divisible by 8 and by num_heads={num_heads}, got {dim}'
            )
        super().__init__(in_channels=in_channels, embed_dim=dim * (12 if pool == 'months' else 1))
        self.s1_channels = s1_channels
        self.pool = pool
        self.max_months = max_months
        self.chunk_size = chunk_size
        # Where each group's bands are: of which series, and which channels.
        self._places, quantities = self._find_groups(bands, bands_s1)
        for i, names in enumerate(quantities):
            known, own = ([table[n] for n in names] for table in (STATISTICS, self.scales))
            for kind, values in (('known', known), ('own', own)):
                table = torch.tensor(values, dtype=torch.float32).reshape(-1, 2)
                self.register_buffer(f'_{kind}_{i}', table, persistent=False)
        of_group, of_slot, of_month = widths
        self.projections = nn.ModuleDict(
            {name: nn.Linear(max(1, len(of)), dim) for name, of in self.groups.items()}
        )
        self.place_projection = nn.Linear(3, dim)
        self.group_embedding = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(of_group)) for name in self.groups}
        )
        self.blocks = nn.ModuleList(
            Block(dim, num_heads, mlp_ratio, qkv_bias=True, norm_layer=nn.LayerNorm)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        # DDP stops at parameters that never get a gradient; the place may be missing.
        for name in self.groups.keys() - self._places.keys():
            self.projections[name].requires_grad_(False)
            self.group_embedding[name].requires_grad_(False)
        tables = self.slot_table(max_months, of_slot), month_table(of_month)
        for name, table in zip(('slot_embedding', 'month_embedding'), tables, strict=True):
            self.register_buffer(name, table, persistent=False)

    # -- what a model says -----------------------------------------------------------------

    @staticmethod
    @abstractmethod
    def slot_table(length: int, width: int) -> Tensor:
        """Encode the numbers ``(length, width)`` of the months of a series."""

    @abstractmethod
    def describe(self, group: str, slot: Tensor, month: Tensor) -> Tensor:
        """Give what is added to the tokens of a group.

        Args:
            group: Name of the group.
            slot: ``(P, M, ...)``, the encoded number of each month in its series.
            month: ``(P, M, ...)``, the encoded month of the year.

        Returns:
            ``(P, M, D)``, or ``(P, 1, D)`` of a group that does not change.
        """

    @abstractmethod
    def describe_place(self, tokens: Tensor) -> Tensor:
        """Give the tokens ``(P, 1, D)`` of the place from its projection, of the same shape."""

    @abstractmethod
    def pool_tokens(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """Pool tokens ``(P, N, D)`` where *seen* ``(P, N)``: ``(P, D)``, 0 where none was."""

    @classmethod
    def statistics(cls, bands: Sequence[str]) -> tuple[list[float], list[float]]:
        """Mean and standard deviation that the values of bands are expected to be normalised by.

        Args:
            bands: Names of bands that the model knows.

        Returns:
            Those of :data:`STATISTICS`, one value per band each.

        Raises:
            SITSError: If the model does not know a band.
        """
        found = cls.quantities(bands)
        return [STATISTICS[name][0] for name in found], [STATISTICS[name][1] for name in found]

    @classmethod
    def quantities(cls, bands: Sequence[str], option: str = 'bands') -> list[str]:
        """Find what bands hold.

        Args:
            bands: Names of the bands.
            option: Name of the option that chooses them, for messages.

        Returns:
            See :func:`~.quantities.quantity`.

        Raises:
            SITSError: If the model does not know one, or two are the same.
        """
        return find_quantities(cls.__name__, cls.scales, bands, option)

    def _find_groups(
        self, bands: Sequence[str] | None, bands_s1: Sequence[str] | None
    ) -> tuple[dict[str, tuple[int, list[int]]], list[list[str]]]:
        """Find where the bands of each group are that is whole, and what all bands hold.

        Returns:
            The series (0, or 1 for Sentinel-1) and the channels, by group; the quantities of the
            channels of both series.
        """
        kind = type(self).__name__
        optical = [name for of in self.groups.values() for name in of if name in OPTICAL]
        if bands is None:
            if self.in_channels != len(optical):
                raise SITSError(
                    f'{kind} finds its bands by their names: give bands, the {self.in_channels} '
                    'names of the channels, such as ["B02", "B03", "B04", "B08"]'
                )
            bands = optical
        if bands_s1 is None and self.s1_channels:
            bands_s1 = ('VV', 'VH')
        given = {'bands': (bands, self.in_channels), 'bands_s1': (bands_s1 or (), self.s1_channels)}
        for name, (names, channels) in given.items():
            if len(names) != channels:
                raise SITSError(
                    f'{kind}: {name} has {len(names)} names, {list(names)}, for {channels} channels'
                )
        found = [self.quantities(names, name) for name, (names, _) in given.items()]
        places: dict[str, tuple[int, list[int]]] = {}
        for group, members in self.groups.items():
            wanted = members or ('nir', 'red')  # of the NDVI
            for series, own in enumerate(found):
                if group not in places and set(wanted) <= set(own):
                    places[group] = series, [own.index(name) for name in wanted]
        if not places.keys() - self.static_groups:
            raise SITSError(
                f'{kind}: the bands {list(bands)} are whole in none of its groups '
                f'{dict(self.groups)}: add bands'
            )
        return places, found

    # -- the protocol ----------------------------------------------------------------------

    def forward_features(self, series: Series, depth: Depth) -> Tensor:
        """Features of each pixel's months.

        All depths give late features, *joined* twice.

        Returns:
            ``(B, D, H, W)``, or ``(B, 2 D, H, W)`` for *joined*; zeros where a pixel was never
            clear.

        Raises:
            SITSError: If a series spans more than *max_months* calendar months.
        """
        copies = self.feature_dim(depth) // self.embed_dim
        pixels, _ = self._run(series, self._pixel_vectors)
        size = (series.image.shape[0], *series.image.shape[-2:])  # not len(): graphs would fix it
        late = rearrange(pixels.unflatten(0, size), 'b h w d -> b d h w')
        return torch.cat([late] * copies, 1)

    def forward_frames(self, series: Series) -> Tensor:
        """Features of the month of each frame.

        Returns:
            ``(B, T, D, H, W)``, zeros where a pixel was not seen in that month. With one vector
            per calendar month, the others are zeros.

        Raises:
            SITSError: If a series spans more than *max_months* calendar months.
        """
        h, w = series.image.shape[-2:]
        pixels, slots = self._run(series, self._month_vectors)
        months = rearrange(pixels, '(b h w) m d -> b m d h w', h=h, w=w)
        index = slots.clamp(0, months.shape[1] - 1)[:, :, None, None, None]
        frames = months.gather(1, index.expand(-1, -1, *months.shape[2:]))
        if self.pool == 'mean':
            return frames
        of_year = calendar_month(series.acquisition_times).remainder(12)
        member = of_year[..., None] == torch.arange(12, device=of_year.device)
        return rearrange(
            frames[:, :, None] * member[..., None, None, None], 'b t m d h w -> b t (m d) h w'
        )

    def _run(self, series: Series, function: Any) -> tuple[Tensor, Tensor]:
        """Apply a function to the months of all pixels of which anything was seen.

        Returns:
            ``(P, ...)`` of all P = B H W pixels, and the month of each frame ``(B, T)``.
        """
        h, w = series.image.shape[-2:]
        both = [series] if series.s1 is None else [series, series.s1]
        first, length = month_span(both, self.max_months, type(self).__name__)
        found = []
        slots = calendar_month(series.acquisition_times) - first[:, None]
        for i, each in enumerate(both):
            own = calendar_month(each.acquisition_times) - first[:, None]
            values, seen = monthly_means(each.image, each.clear, own, length)
            mean, std = getattr(self, f'_known_{i}').T
            found += [
                rearrange(values, 'b m c h w -> (b h w) m c') * std + mean,
                rearrange(seen, 'b m h w -> (b h w) m'),
            ]
        # What has no group counts as unseen.
        used = {source for source, _ in self._places.values()}
        for source in range(len(both)):
            if source not in used:
                found[2 * source + 1] = torch.zeros_like(found[2 * source + 1])
        where = torch.stack([seen.any(1) for seen in found[1::2]]).any(0)
        per_pixel = [repeat(first, 'b -> (b h w)', h=h, w=w)]
        if series.location is not None:
            known = series.location.isfinite().all(-1, keepdim=True)
            places = torch.where(known, series.location, 0)
            per_pixel += [repeat(x, 'b d -> (b h w) d', h=h, w=w) for x in (places, known)]
        entries = [list_where(each, where) for each in (*per_pixel, *found)]

        def run(first: Tensor, *tensors: Tensor) -> Tensor:
            place, tensors = (
                (None, tensors)
                if series.location is None
                else ((tensors[0], tensors[1][:, 0]), tensors[2:])
            )
            sources = [_Source(*pair) for pair in zip(tensors[::2], tensors[1::2], strict=True)]
            return function(sources, first, place)

        tokens = 1 + length * len(self._places)
        chunk = max(1, chunk_length(series.image, self.chunk_size) // tokens)
        out = map_chunks(run, *entries, dim=0, chunk=chunk)
        return unlist_where(out, where), slots

    # -- tokens ----------------------------------------------------------------------------

    def _encode(
        self, sources: Sequence[_Source], first: Tensor, place: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run the transformer on P pixels.

        Args:
            sources: Months of each series.
            first: ``(P,)``, first month since 1970.
            place: Latitude and longitude ``(P, 2)`` in degrees, and whether they are known
                ``(P,)``; None where none is.

        Returns:
            Tokens ``(P, N, D)``, which of them were seen ``(P, N)`` bool, and the month of each
            ``(N,)``, -1 for those without one.
        """
        p, length = sources[0].seen.shape
        index = torch.arange(length, device=first.device)
        month = self.month_embedding[(first[:, None] + index).remainder(12)]
        slot = self.slot_embedding[:length].expand(p, -1, -1)
        tokens, seen, months = [], [], []
        if place is not None:
            tokens.append(self.describe_place(self.place_projection(_on_sphere(place[0]))[:, None]))
            seen.append(place[1][:, None])
            months.append(index.new_full((1,), -1))
        for group, (source, channels) in self._places.items():
            if source == len(sources):
                continue  # Sentinel-1 is not there
            values, known = sources[source]
            values = values[..., channels]
            if self.groups[group]:
                shift, scale = getattr(self, f'_own_{source}')[channels].T
                values = (values - shift) / scale
            else:
                values = _ndvi(values)
            if group in self.static_groups:
                weight = known.to(values.dtype)[..., None]
                values = (values * weight).sum(1, True) / weight.sum(1, True).clamp(min=1)
                known = known.any(1, keepdim=True)
                months.append(index.new_full((1,), -1))
            else:
                months.append(index)
            tokens.append(self.projections[group](values) + self.describe(group, slot, month))
            seen.append(known)
        x, mask, at = torch.cat(tokens, 1), torch.cat(seen, 1), torch.cat(months)
        if not torch.compiler.is_exporting():
            # Months that no pixel of the slice was seen in, as all months of a winter.
            keep = mask.any(0)
            x, mask, at = x[:, keep], mask[:, keep], at[keep]
        for block in self.blocks:
            x = block(x, attn_mask=mask[:, None, None])
        return x, mask, at

    def _pixel_vectors(
        self, sources: Sequence[_Source], first: Tensor, place: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        """Pool the tokens of P pixels: ``(P, D)``, or ``(P, 12 D)`` by calendar month."""
        tokens, seen, months = self._encode(sources, first, place)
        if self.pool == 'mean':
            return self.pool_tokens(tokens, seen)
        of_year = torch.where(months < 0, -1, (first[:, None] + months).remainder(12))
        vectors = [self.pool_tokens(tokens, seen & (of_year == month)) for month in range(12)]
        return torch.cat(vectors, -1)

    def _month_vectors(
        self, sources: Sequence[_Source], first: Tensor, place: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        """Pool the tokens of each month of P pixels: ``(P, M, D)``."""
        tokens, seen, months = self._encode(sources, first, place)
        length = sources[0].seen.shape[1]
        vectors = [self.pool_tokens(tokens, seen & (months == slot)) for slot in range(length)]
        return torch.stack(vectors, 1)


#: Mean and standard deviation of what the models were trained on: reflectance x 10,000, decibels,
#: kelvin, metres (of water in a month, or of height) and degrees. Of Galileo's pretraining on
#: 127,155 places (https://github.com/nasaharvest/galileo, ``config/normalization.json``).
STATISTICS: Final[dict[str, tuple[float, float]]] = {
    'VV': (-11.7287, 4.8871),
    'VH': (-18.8556, 5.7303),
    'blue': (1395.3409, 917.7041),
    'green': (1338.4027, 913.2989),
    'red': (1343.0988, 1092.6787),
    'rededge1': (1543.8608, 1047.2206),
    'rededge2': (2186.2022, 1048.0101),
    'rededge3': (2525.0933, 1143.6903),
    'nir': (2410.3377, 1098.9792),
    'nir08': (2750.2855, 1204.4728),
    'swir16': (2234.9111, 1145.9774),
    'swir22': (1474.5311, 980.2430),
    'temperature_2m': (271.5675, 79.8083),
    'total_precipitation': (0.0855, 0.1167),
    'elevation': (673.0153, 983.0697),
    'slope': (5.9301, 8.1674),
}


def _ndvi(values: Tensor) -> Tensor:
    """Compute the NDVI ``(P, M, 1)`` of near infrared and red ``(P, M, 2)``, 0 where both are."""
    nir, red = values.unbind(-1)
    total = nir + red
    some = total.abs() > 1e-6
    # Inside as well: the gradient of what `where` leaves out must be finite, too.
    return torch.where(some, (nir - red) / torch.where(some, total, 1), 0)[..., None]


def mean_where(tokens: Tensor, seen: Tensor) -> Tensor:
    """Mean of tokens ``(P, N, D)`` where *seen* ``(P, N)``: ``(P, D)``, 0 where none was."""
    weight = seen.to(tokens.dtype)[..., None]
    return (tokens * weight).sum(1) / weight.sum(1).clamp(min=1)


def plain_values(arguments: dict[str, Any]) -> dict[str, Any]:
    """Turn sequences among the arguments of an encoder into lists, as a checkpoint keeps them."""
    return {k: list(v) if isinstance(v, list | tuple) else v for k, v in arguments.items()}


def month_table(width: int) -> Tensor:
    """Encode the months of the year ``(12, width)``: the same sine, then the same cosine.

    Presto, https://arxiv.org/abs/2304.14065, section 3.1, and after it Galileo.
    """
    angle = torch.arange(12) * (2 * torch.pi / 12)
    half = width // 2
    return torch.cat(
        [repeat(angle.sin(), 'm -> m d', d=half), repeat(angle.cos(), 'm -> m d', d=half)], 1
    )


def _on_sphere(place: Tensor) -> Tensor:
    """Turn latitude and longitude ``(P, 2)`` in degrees into a point of the sphere ``(P, 3)``."""
    latitude, longitude = place.deg2rad().unbind(-1)
    return torch.stack(
        [
            latitude.cos() * longitude.cos(),
            latitude.cos() * longitude.sin(),
            latitude.sin(),
        ],
        -1,
    )
