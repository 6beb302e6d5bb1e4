"""The promises of an encoder, and a check that holds any encoder to them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..errors import SITSError
from ..keys import Series
from .encoder import Depth, SITSEncoder, count_cells, image_as_planes, series_within

__all__ = ['check_encoder']

#: Frames, height and width of small series, for one weight file must fit all of them.
_SIZES = (1, 1, 1), (1, 3, 8), (40, 3, 2), (3, 1, 9), (2, 7, 1), (3, 5, 33)

_DEPTHS: tuple[Depth, ...] = 'early', 'late', 'joined'


def check_encoder(encoder: SITSEncoder, *, tolerance: float = 1e-5) -> None:
    """Hold an encoder to the promises that tasks, maps and explanations rely on.

    - Padding frames, what padding and unclear pixels hold (NaN and infinity included), the other
      series of the batch, and the order of the frames change no output of any method.
    - Outputs have the shapes that :class:`~.encoder.SITSEncoder` says, for series of any size,
      are finite, and agree where two methods say the same.
    - What ``token_mask`` hides does not show in the late features.
    - Gradients are finite.
    - ``config`` holds plain values that rebuild the encoder, and its state dict all that it has
      learned.

    It is meant for the tests of an encoder of one's own, as scikit-learn's ``check_estimator``,
    and takes seconds for a small one.

    Args:
        encoder: The encoder; a copy of it is checked.
        tolerance: Largest difference of an output to be taken for none.

    Raises:
        SITSError: If a promise is broken; the message says which, and how.

    Examples:
        >>> from torchgeo_sits.models import LTAE
        >>> check_encoder(LTAE(4, embed_dim=8, pixel_dim=8, dim=8, num_heads=2))
    """
    encoder = deepcopy(encoder).eval()
    with torch.no_grad():
        takes_more = bool(encoder.s1_channels) or encoder.takes_location
        for more in (False, True) if takes_more else (False,):
            _check_sizes(encoder, more)
            # One series with pixels that nothing was seen of, one with nothing seen at all.
            series = _random_series(encoder, 3, 5, 7, 6, more)
            series.clear[1, :, :5] = False
            series.valid[2] = False
            _check_agreement(encoder, series, tolerance)
            series = _random_series(encoder, 3, 5, 5, 6, more)
            _check_padding(encoder, series, tolerance)
            _check_content(encoder, series, tolerance)
            _check_batch_mates(encoder, series, tolerance)
            _check_order(encoder, series, tolerance)
            _check_hidden_tokens(encoder, _random_series(encoder, 2, 5, 7, 9, more), tolerance)
        _check_rebuilding(encoder, tolerance)
    _check_gradients(encoder)


def _check_rebuilding(encoder: SITSEncoder, tolerance: float) -> None:
    with _promise(encoder, 'config holds plain values that rebuild the encoder'):
        config = json.loads(json.dumps(encoder.config))
        if config.get('in_channels') != encoder.in_channels:
            raise SITSError(f'config has in_channels {config.get("in_channels")}')
        again = type(encoder)(**config).eval()
        if again.config != encoder.config:
            raise SITSError(f'config {encoder.config} became {again.config}')
    with _promise(encoder, 'the state dict holds all that the encoder has learned'):
        again.load_state_dict(encoder.state_dict())
        again.to(_device(encoder))
        series = _random_series(encoder, 2, 5, 5, 6)
        _compare_all(_outputs(encoder, series), _outputs(again, series), tolerance)


def _check_sizes(encoder: SITSEncoder, more: bool) -> None:
    for t, h, w in _SIZES:
        with _promise(encoder, f'it encodes {t} frames of {h} x {w} pixels'):
            series = _random_series(encoder, 2, t, h, w, more)
            _check_shapes(encoder, series, _outputs(encoder, series))
    with _promise(encoder, 'it encodes series without a clear pixel, or without a frame'):
        series = _random_series(encoder, 2, 5, 5, 6, more)
        series.clear[0] = False
        series.valid[1] = False
        _check_shapes(encoder, series, _outputs(encoder, series))


def _check_shapes(encoder: SITSEncoder, series: Series, found: dict[str, Tensor]) -> None:
    """Raise where outputs have another shape than the protocol says, or are not finite."""
    b, t, _, h, w = series.image.shape
    rows, columns = count_cells(h, encoder.stride), count_cells(w, encoder.stride)
    tall, wide = encoder.plane_cell
    expected: dict[str, tuple[int, ...]] = {
        f'features, {depth}': (b, encoder.feature_dim(depth), rows, columns) for depth in _DEPTHS
    }
    expected['frame_features'] = b, t, encoder.embed_dim, rows, columns
    expected['embed'] = expected['forward'] = b, encoder.embed_dim
    for method, tokens in (
        ('encode_image', (rows, columns)),
        ('encode_planes', (count_cells(h, tall), count_cells(w, wide))),
    ):
        expected |= {
            f'{method}, embed': (b, encoder.embed_dim),
            f'{method}, early': (b, *tokens, encoder.early_dim),
            f'{method}, late': (b, *tokens, encoder.embed_dim),
            f'{method}, seen': (b, *tokens),
        }
    for name, shape in expected.items():
        if found[name].shape != shape:
            raise SITSError(f'{name}: expected {shape}, got {tuple(found[name].shape)}')
        if not found[name].isfinite().all():
            raise SITSError(f'{name}: expected finite values, got others')


def _check_agreement(encoder: SITSEncoder, series: Series, tolerance: float) -> None:
    with _promise(encoder, 'methods that say the same agree'):
        found = _outputs(encoder, series)
        maps = [found['features, early'], found['features, late']]
        _compare('joined features', torch.cat(maps, 1), found['features, joined'], tolerance)
        _compare('forward and embed', found['forward'], found['embed'], tolerance)
        _compare('encode_image and embed', found['encode_image, embed'], found['embed'], tolerance)
        for depth, each in zip(('early', 'late'), maps, strict=True):
            tokens = found[f'encode_image, {depth}'].movedim(-1, 1)
            _compare(f'encode_image and features, {depth}', tokens, each, tolerance)
    with _promise(encoder, 'rolling_features gives what features gives of each span alone'):
        middle, end = int(series.acquisition_times.median()), 2**40
        spans = [(0, middle), (0, end), (middle, end)]
        for span, rolled in zip(spans, encoder.rolling_features(series, spans), strict=True):
            alone = encoder.features(series_within(series, span))
            _compare(f'rolling_features of {span}', rolled, alone, tolerance)
    with _promise(encoder, 'seen tells the cells of which any pixel was clear'):
        clear = (series.clear & series.valid[:, :, None, None]).any(1)
        if series.s1 is not None:
            clear = clear | (series.s1.clear & series.s1.valid[:, :, None, None]).any(1)
        s = encoder.stride
        clear = pad(clear, (0, -clear.shape[-1] % s, 0, -clear.shape[-2] % s))
        cells = clear.unflatten(2, (-1, s)).unflatten(1, (-1, s)).any(-1).any(2)
        _compare('encode_image, seen', found['encode_image, seen'], cells, tolerance)


def _check_padding(encoder: SITSEncoder, series: Series, tolerance: float) -> None:
    before = _outputs(encoder, series)
    for value in (0.0, float('nan'), float('inf'), 1e30):
        with _promise(encoder, f'padding frames, here full of {value}, change no output'):
            padded = _with_padding(series, value)
            after = _outputs(encoder, padded)
            frames = after['frame_features']
            if frames[~padded.valid].any():
                raise SITSError('frame_features: expected zeros in padding frames, got others')
            after['frame_features'] = frames[padded.valid].view_as(before['frame_features'])
            _compare_all(before, after, tolerance)


def _check_content(encoder: SITSEncoder, series: Series, tolerance: float) -> None:
    before = _outputs(encoder, series)
    for value in (0.0, 1e30):
        with _promise(encoder, f'unclear pixels, NaN or here {value}, change no output'):
            other = _map_series(series, lambda x: x.nan_to_num(nan=value))  # noqa: B023
            _compare_all(before, _outputs(encoder, other), tolerance)


def _check_batch_mates(encoder: SITSEncoder, series: Series, tolerance: float) -> None:
    together = _outputs(encoder, series)
    for i in range(len(series.image)):
        with _promise(encoder, 'the other series of the batch change no output'):
            one = _map_series(series, lambda x: x[i : i + 1])  # noqa: B023
            if series.location is not None:
                one = one._replace(location=series.location[i : i + 1])
            alone = _outputs(encoder, one)
            _compare_all({name: x[i : i + 1] for name, x in together.items()}, alone, tolerance)


def _check_order(encoder: SITSEncoder, series: Series, tolerance: float) -> None:
    def mixed(frames: Tensor) -> Tensor:
        order = torch.randperm(frames.shape[1], generator=torch.Generator().manual_seed(0))
        return frames[:, order]

    with _promise(encoder, 'the order of the frames changes no output'):
        before = _outputs(encoder, series)
        before['frame_features'] = mixed(before['frame_features'])
        _compare_all(before, _outputs(encoder, _map_series(series, mixed)), tolerance)


def _check_hidden_tokens(encoder: SITSEncoder, series: Series, tolerance: float) -> None:
    b, _, _, h, w = series.image.shape
    for method, (tall, wide) in (
        ('encode_image', (encoder.stride, encoder.stride)),
        ('encode_planes', encoder.plane_cell),
    ):
        with _promise(encoder, f'{method} does not see what is hidden by token_mask'):
            shape = b, count_cells(h, tall), count_cells(w, wide)
            hidden = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.4
            hidden[:, 0, 0] = True
            hidden = hidden.to(series.image.device)
            pixels = hidden.repeat_interleave(tall, 1).repeat_interleave(wide, 2)[:, :h, :w]
            other = torch.where(pixels[:, None, None], series.image + 5, series.image)
            views = [series, series._replace(image=other)]
            if method == 'encode_planes':
                views = [image_as_planes(view) for view in views]
            encode = getattr(encoder, method)
            one, two = (encode(view, token_mask=hidden) for view in views)
            _compare('late', one.late, two.late, tolerance)
            if torch.equal(encode(views[0]).late, one.late):
                raise SITSError('late: expected token_mask to change it, but it does not')


def _check_gradients(encoder: SITSEncoder) -> None:
    with _promise(encoder, 'gradients are finite, whatever unclear pixels hold'):
        encoder.train()
        series = _random_series(encoder, 2, 5, 5, 6)
        series.clear[0] = False
        series.valid[1, 2:] = False
        features = encoder.features(series, depth='joined')
        if features.requires_grad:
            features.float().square().mean().backward()
        for name, parameter in encoder.named_parameters():
            if parameter.grad is not None and not parameter.grad.isfinite().all():
                raise SITSError(f'{name}: expected finite gradients, got others')


@contextmanager
def _promise(encoder: SITSEncoder, promise: str) -> Iterator[None]:
    """Name the promise in whatever is raised while it is checked."""
    try:
        yield
    except SITSError as error:
        name = type(encoder).__name__
        raise SITSError(f'{name} breaks the promise that {promise}: {error}') from error
    except Exception as error:
        error.add_note(f'raised while it was checked that {promise}')
        raise


def _compare_all(expected: dict[str, Tensor], found: dict[str, Tensor], tolerance: float) -> None:
    for name, value in expected.items():
        _compare(name, found[name], value, tolerance)


def _compare(name: str, found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Raise where outputs differ by more than *tolerance*."""
    if found.shape != expected.shape:
        raise SITSError(f'{name}: expected {tuple(expected.shape)}, got {tuple(found.shape)}')
    difference = (found.float() - expected.float()).abs().max()
    if not difference <= tolerance:  # NaN is not
        raise SITSError(
            f'{name}: expected a difference of at most {tolerance:g}, got {difference:.1g}'
        )


def _outputs(encoder: SITSEncoder, series: Series) -> dict[str, Tensor]:
    """Run all methods of an encoder on an image, and on its rows as planes."""
    found = {f'features, {depth}': encoder.features(series, depth=depth) for depth in _DEPTHS}
    found['frame_features'] = encoder.frame_features(series)
    found['embed'], found['forward'] = encoder.embed(series), encoder(series)
    for method, said in (
        ('encode_image', encoder.encode_image(series)),
        ('encode_planes', encoder.encode_planes(image_as_planes(series))),
    ):
        found |= {f'{method}, {name}': value for name, value in said._asdict().items()}
    return found


def _random_series(
    encoder: SITSEncoder, b: int, t: int, h: int, w: int, more: bool = False
) -> Series:
    """Random series; one pixel is never clear, and what is not clear is NaN.

    With *more* they bring all that the encoder takes beside, places that are unknown among them.
    """
    generator = torch.Generator().manual_seed(0)

    def one(channels: int, t: int) -> Series:
        clear = torch.rand(b, t, h, w, generator=generator) > 0.3
        clear[0, :, h // 3, w // 3] = False
        image = torch.randn(b, t, channels, h, w, generator=generator)
        image = image.masked_fill(~clear[:, :, None], float('nan'))
        times = torch.randint(0, 60_000_000, (b, t), generator=generator).sort(-1).values
        return Series(image, 1_500_000_000 + times, torch.ones(b, t, dtype=torch.bool), clear)

    series = one(encoder.in_channels, t)
    if more and encoder.s1_channels:
        series = series._replace(s1=one(encoder.s1_channels, t + 1))
    if more and encoder.takes_location:
        location = 80 * torch.rand(b, 2, generator=generator)
        location[1:2] = float('nan')
        series = series._replace(location=location.to(_device(encoder)))
    return _map_series(series, lambda x: x.to(_device(encoder)))


def _with_padding(series: Series, value: float) -> Series:
    """Series with padding between and after the frames, dated long before and after them."""
    b, t, c, h, w = series.image.shape
    real = torch.arange(t, device=series.image.device) * 3 // 2
    more = int(real[-1]) + 2
    far = torch.tensor([-(10**10), 10**10], device=series.image.device).repeat(more)[:more]
    return Series(
        series.image.new_full((b, more, c, h, w), value).index_copy(1, real, series.image),
        far.expand(b, -1).index_copy(1, real, series.acquisition_times),
        series.valid.new_zeros(b, more).index_fill(1, real, True),
        series.clear.new_ones(b, more, h, w).index_copy(1, real, series.clear),
        None if series.s1 is None else _with_padding(series.s1, value),
        series.location,
    )


def _map_series(series: Series, function: Callable[[Tensor], Tensor]) -> Series:
    """Apply a function to the images, times and masks of a series, and of its Sentinel-1 series."""
    return Series(
        function(series.image),
        function(series.acquisition_times),
        function(series.valid),
        function(series.clear),
        None if series.s1 is None else _map_series(series.s1, function),
        series.location,
    )


def _device(encoder: SITSEncoder) -> torch.device:
    """Device of the weights of an encoder."""
    return next((p.device for p in encoder.parameters()), torch.device('cpu'))
