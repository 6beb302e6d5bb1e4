"""Augmentations of whole batches of series, and their composition.

Each draws its parameters first and then computes from them, so that the same augmentation can be
applied again. Images, dates and masks change together or not at all.
"""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from kornia.augmentation import AugmentationSequential
from kornia.augmentation._2d.geometric.base import GeometricAugmentationBase2D
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import SITSError
from ..keys import (
    ACQUISITION_TIMES,
    IMAGE,
    IMAGE_S1,
    LENGTH,
    MASK,
    MASK_CLEAR,
    MASK_CLEAR_S1,
    VALID,
)
from .batches import observed, take_dates
from .planar import masks_to_planes, to_planes
from .random import uniform

__all__ = [
    'RandomCloudGaps',
    'RandomDateDrop',
    'RandomDateJitter',
    'RandomFieldVariation',
    'RandomGainOffset',
    'SeriesAugmentation',
    'SeriesGeometry',
    'SeriesSequential',
]


class SeriesAugmentation(nn.Module, ABC):
    """An augmentation of batches in Kornia's vocabulary, for dictionaries with 5-D images.

    A subclass draws in :meth:`generate_parameters` and computes in :meth:`apply_transform`,
    which must keep the shape of every tensor it changes unless ``p`` is 1. The last
    parameters stay in ``_params``: ``augment(batch, augment._params)`` gives equal output,
    bit for bit. The batch given is never changed in place.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import SeriesAugmentation
        >>> times = torch.arange(8).view(1, 8) * 864000  # every ten days
        >>> batch = {'image': torch.rand(1, 8, 3, 16, 16), 'acquisition_times': times}
        >>> class RandomMirror(SeriesAugmentation):
        ...     def generate_parameters(self, batch, *, generator=None):
        ...         return {}
        ...     def apply_transform(self, batch, params):
        ...         clear = batch['mask_clear'].flip(-1)
        ...         return {**batch, 'image': batch['image'].flip(-1), 'mask_clear': clear}
        >>> mirrored = RandomMirror(p=1.0)(batch)
        >>> torch.equal(mirrored['image'], batch['image'].flip(-1))
        True
    """

    def __init__(self, *, p: float = 1.0) -> None:
        """Initialise a new SeriesAugmentation instance.

        Args:
            p: Probability that a sample is augmented, in [0, 1].

        Raises:
            SITSError: If *p* is out of range.
        """
        super().__init__()
        if not 0 <= p <= 1:
            raise SITSError(f'expected a probability p in [0, 1], got {p}')
        self.p = p
        self._params: dict[str, Tensor] = {}

    @abstractmethod
    def generate_parameters(
        self, batch: dict[str, Any], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Draw the parameters for a batch, with one entry per sample in their first axis.

        Args:
            batch: A batch of the contract with ``valid`` and ``mask_clear``.
            generator: Source of randomness; torch's default without one.

        Returns:
            Tensors on the device of the batch.
        """

    @abstractmethod
    def apply_transform(self, batch: dict[str, Any], params: dict[str, Tensor]) -> dict[str, Any]:
        """Augment all samples as *params* say, without drawing anything.

        Args:
            batch: A batch of the contract with ``valid`` and ``mask_clear``.
            params: From :meth:`generate_parameters`.

        Returns:
            A new dictionary.
        """

    def forward(
        self,
        batch: dict[str, Any],
        params: dict[str, Tensor] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> dict[str, Any]:
        """Augment each sample of a batch with probability ``p``.

        Args:
            batch: A batch of the contract, on any device.
            params: Parameters to replay; drawn by default.
            generator: Source of randomness; torch's default without one.

        Returns:
            A new dictionary, with ``valid`` and ``mask_clear`` where there were none.
        """
        valid, clear = observed(batch)
        batch = {**batch, VALID: valid, MASK_CLEAR: clear}
        if params is None:
            params = self.generate_parameters(batch, generator=generator)
            u = uniform((len(valid),), generator=generator, device=valid.device)
            params['applied'] = u < self.p
        self._params = params
        augmented = self.apply_transform(batch, params)
        if self.p == 1:
            return augmented
        applied = params['applied']
        return {
            key: torch.where(applied.view(-1, *(1,) * (new.ndim - 1)), new, batch[key])
            if isinstance(new, Tensor) and new is not batch[key]
            else new
            for key, new in augmented.items()
        }


class SeriesSequential(nn.Module):
    """Augmentations one after the other, replayable as a whole.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import RandomDateDrop, RandomGainOffset, SeriesSequential
        >>> times = torch.arange(8).view(1, 8) * 864000  # every ten days
        >>> batch = {'image': torch.rand(1, 8, 3, 16, 16), 'acquisition_times': times}
        >>> augment = SeriesSequential(RandomDateDrop(), RandomGainOffset(0.2))
        >>> once = augment(batch)
        >>> torch.equal(augment(batch, augment._params)['image'], once['image'])
        True
    """

    def __init__(self, *augmentations: nn.Module) -> None:
        """Initialise a new SeriesSequential instance.

        Args:
            augmentations: Modules called as :class:`SeriesAugmentation` is.
        """
        super().__init__()
        self.augmentations = nn.ModuleList(augmentations)
        self._params: list[Any] = []

    def forward(
        self,
        batch: dict[str, Any],
        params: list[Any] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> dict[str, Any]:
        """Augment a batch.

        Args:
            batch: A batch of the contract with an ``image``.
            params: Parameters to replay, one entry per augmentation; drawn by default.
            generator: Source of randomness; torch's default without one.

        Returns:
            A new dictionary.

        Raises:
            SITSError: If the batch has no image, or *params* another number of entries.
        """
        if IMAGE not in batch:
            raise SITSError(f"expected a batch with 'image', got the keys {sorted(batch)}")
        replay = [None] * len(self.augmentations) if params is None else params
        used = []
        for augmentation, values in zip(self.augmentations, replay, strict=True):
            batch = augmentation(batch, values, generator=generator)
            used.append(augmentation._params)
        self._params = used
        return batch


class RandomDateDrop(SeriesAugmentation):
    """Drop a random share of the dates of each sample.

    What is left moves up, in chronological order, and the end is padded, so that shapes stay
    the same. One date always stays, one with a clear pixel where there is any. Image, times,
    validity, clear mask and a mask with a time axis lose the same dates; ``length`` follows.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import RandomDateDrop
        >>> times = torch.arange(8).view(1, 8) * 864000  # every ten days
        >>> batch = {'image': torch.rand(1, 8, 3, 16, 16), 'acquisition_times': times}
        >>> RandomDateDrop(drop=(0.5, 0.5))(batch)['valid']
        tensor([[ True,  True,  True,  True, False, False, False, False]])
    """

    def __init__(self, drop: tuple[float, float] = (0.0, 0.5), *, p: float = 1.0) -> None:
        """Initialise a new RandomDateDrop instance.

        Args:
            drop: Least and largest share of the valid dates to drop, in [0, 1].
            p: Probability that a sample is augmented.

        Raises:
            SITSError: If a number is out of range.
        """
        super().__init__(p=p)
        if not 0 <= drop[0] <= drop[1] <= 1:
            raise SITSError(f'expected shares 0 <= low <= high <= 1 to drop, got {drop}')
        self.drop = drop

    def generate_parameters(
        self, batch: dict[str, Any], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Draw ``frames`` ``(B, T)`` int64, their new order, and ``keep`` ``(B, T)`` bool."""
        valid, clear = batch[VALID], batch[MASK_CLEAR]
        low, high = self.drop
        u = uniform((len(valid),), generator=generator, device=valid.device)
        number = ((1 - low - u * (high - low)) * valid.sum(1)).round().clamp(min=1)

        noise = uniform(valid.shape, generator=generator, device=valid.device)
        seen = valid & clear.flatten(2).any(2)
        # Clear dates come before other valid ones, and those before padding: the first stays.
        spared = (noise - seen.float() * 2 - valid.float()).argmin(1, keepdim=True)
        turn = noise.masked_fill(~valid, 2.0).scatter(1, spared, -1.0).argsort(1).argsort(1)
        chosen = valid & (turn < number[:, None])

        index = torch.arange(valid.shape[1], device=valid.device)
        frames = torch.where(chosen, index, index + len(index)).argsort(1)
        return {'frames': frames, 'keep': chosen.gather(1, frames)}

    def apply_transform(self, batch: dict[str, Any], params: dict[str, Tensor]) -> dict[str, Any]:
        """Take the frames that are kept, and pad."""
        frames, keep = params['frames'], params['keep']
        out = {**batch, **take_dates(batch, frames, keep)}
        if LENGTH in batch:
            out[LENGTH] = keep.sum(1)
        if MASK in batch and batch[MASK].ndim == 4:
            sample = torch.arange(len(frames), device=frames.device)[:, None]
            out[MASK] = batch[MASK][sample, frames].masked_fill(~keep[..., None, None], 0)
        return out


class RandomDateJitter(SeriesAugmentation):
    """Shift the date of each frame by up to some days; images stay as they are.

    Shifted dates that would swap places are handed out in order, so that frames stay in
    chronological order and no date moves farther than *days*. Padding stays 0.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import RandomDateJitter
        >>> times = torch.arange(8).view(1, 8) * 864000  # every ten days
        >>> batch = {'image': torch.rand(1, 8, 3, 16, 16), 'acquisition_times': times}
        >>> shift = RandomDateJitter(days=3)(batch)['acquisition_times'] - times
        >>> bool((shift.abs() <= 3 * 86400).all())
        True
    """

    def __init__(self, days: float = 3.0, *, p: float = 1.0) -> None:
        """Initialise a new RandomDateJitter instance.

        Args:
            days: Largest shift either way, in days.
            p: Probability that a sample is augmented.

        Raises:
            SITSError: If *days* is negative or *p* out of range.
        """
        super().__init__(p=p)
        if days < 0:
            raise SITSError(f'expected days >= 0, got {days}')
        self.days = days

    def generate_parameters(
        self, batch: dict[str, Any], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Draw ``shift`` ``(B, T)`` int64, in seconds."""
        valid = batch[VALID]
        u = uniform(valid.shape, generator=generator, device=valid.device)
        return {'shift': ((2 * u - 1) * self.days * 86400).long()}

    def apply_transform(self, batch: dict[str, Any], params: dict[str, Tensor]) -> dict[str, Any]:
        """Shift the times and sort them again."""
        valid, times = batch[VALID], batch[ACQUISITION_TIMES]
        last = torch.iinfo(times.dtype).max
        # Sorting may not move padding into the series, wherever the padding lies.
        place = torch.where(valid, 0, 1).argsort(dim=1, stable=True)
        shifted = (times + params['shift']).masked_fill(~valid, last).sort(1).values
        shifted = torch.zeros_like(times).scatter(1, place, shifted)
        return {**batch, ACQUISITION_TIMES: shifted.masked_fill(~valid, 0)}


class RandomGainOffset(SeriesAugmentation):
    """Multiply and shift each band of each date at random: ``image * gain + offset``.

    This is what is left of atmosphere, sun and view angle after correction: different from
    date to date and from band to band, the same for all pixels of a frame. Values are never
    clipped (Kornia's brightness clips at 1, which reflectance exceeds over snow and cloud).
    Pixels that were not observed keep their value.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import RandomGainOffset
        >>> times = torch.arange(8).view(1, 8) * 864000  # every ten days
        >>> batch = {'image': torch.rand(1, 8, 3, 16, 16), 'acquisition_times': times}
        >>> changed = RandomGainOffset(gain=0.1, offset=0.0)(batch)['image']
        >>> ratio = changed / batch['image']
        >>> torch.allclose(ratio[..., 0, 0], ratio[..., 5, 7])  # the same for all pixels
        True
    """

    def __init__(self, gain: float = 0.1, offset: float = 0.1, *, p: float = 1.0) -> None:
        """Initialise a new RandomGainOffset instance.

        Args:
            gain: Gains are uniform in ``[1 - gain, 1 + gain]``.
            offset: Offsets are uniform in ``[-offset, offset]``, in the unit of the image:
                standard deviations after :class:`Normalize`, else reflectance.
            p: Probability that a sample is augmented.

        Raises:
            SITSError: If a number is negative, *gain* is 1 or more, or *p* is out of range.
        """
        super().__init__(p=p)
        if not 0 <= gain < 1 or offset < 0:
            raise SITSError(f'expected 0 <= gain < 1 and offset >= 0, got {gain} and {offset}')
        self.gain = gain
        self.offset = offset

    def generate_parameters(
        self, batch: dict[str, Any], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Draw ``gain`` and ``offset``, ``(B, T, C)`` each."""
        image = batch[IMAGE]
        u = uniform((2, *image.shape[:3]), generator=generator, device=image.device)
        gain, offset = 2 * u - 1
        return {'gain': 1 + self.gain * gain, 'offset': self.offset * offset}

    def apply_transform(self, batch: dict[str, Any], params: dict[str, Tensor]) -> dict[str, Any]:
        """Multiply and shift what was observed."""
        image = batch[IMAGE]
        gain, offset = (params[key].to(image.dtype)[..., None, None] for key in ('gain', 'offset'))
        seen = (batch[MASK_CLEAR] & batch[VALID][..., None, None])[:, :, None]
        return {**batch, IMAGE: torch.where(seen, torch.addcmul(offset, image, gain), image)}


class RandomFieldVariation(SeriesAugmentation):
    """Change a series as another field of the same crop would differ: in calendar, vigour, soil.

    Fields of one class are sown on other days, grow more or less, and lie on other ground; views
    that differ so teach an encoder to look past it. The same change holds for all pixels and
    dates of a sample:

    - *days* shifts all dates by one number of days, so that the whole season is early or late;
    - *vigour* stretches the values of each pixel about their mean over the clear dates;
    - *soil* adds a constant, half of it the same in all bands, half of it of each band's own.

    Padding and pixels that were not observed keep their value. Whether and how much it teaches
    stands in ``study/FINDINGS.md``.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import RandomFieldVariation
        >>> times = torch.arange(8).view(1, 8) * 864000  # every ten days
        >>> batch = {'image': torch.rand(1, 8, 3, 16, 16), 'acquisition_times': times}
        >>> varied = RandomFieldVariation(days=10, vigour=0.3, soil=0.0)(batch)
        >>> (varied['acquisition_times'] - times).unique().numel()  # all dates alike
        1
        >>> ratio = varied['image'].std(1) / batch['image'].std(1)
        >>> torch.allclose(ratio, ratio.mean(), atol=1e-3)
        True
    """

    def __init__(
        self, days: float = 0.0, vigour: float = 0.3, soil: float = 0.4, *, p: float = 1.0
    ) -> None:
        """Initialise a new RandomFieldVariation instance.

        Args:
            days: Largest shift of the season either way, in days.
            vigour: Factors on what changes over time are uniform in ``[1 - vigour, 1 + vigour]``.
            soil: Largest constant, in the unit of the image: standard deviations after
                :class:`Normalize`, else reflectance.
            p: Probability that a sample is augmented.

        Raises:
            SITSError: If a number is negative, *vigour* is 1 or more, or *p* is out of range.
        """
        super().__init__(p=p)
        if days < 0 or not 0 <= vigour < 1 or soil < 0:
            raise SITSError(
                'expected days >= 0, 0 <= vigour < 1 and soil >= 0, got '
                f'{days}, {vigour} and {soil}'
            )
        self.days = days
        self.vigour = vigour
        self.soil = soil

    def generate_parameters(
        self, batch: dict[str, Any], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Draw ``shift`` ``(B,)`` int64 in seconds, ``vigour`` ``(B,)`` and ``soil`` ``(B, C)``."""
        image = batch[IMAGE]
        size = len(image), image.shape[2] + 3
        u = 2 * uniform(size, generator=generator, device=image.device) - 1
        return {
            'shift': (u[:, 0] * self.days * 86400).long(),
            'vigour': 1 + self.vigour * u[:, 1],
            'soil': self.soil * (u[:, 2:3] + u[:, 3:]) / 2,
        }

    def apply_transform(self, batch: dict[str, Any], params: dict[str, Tensor]) -> dict[str, Any]:
        """Shift all dates, stretch the values of each pixel over time, and add a constant."""
        image, valid, times = batch[IMAGE], batch[VALID], batch[ACQUISITION_TIMES]
        seen = (batch[MASK_CLEAR] & valid[..., None, None])[:, :, None]
        total = torch.where(seen, image, 0).sum(1, keepdim=True)
        mean = total / seen.sum(1, keepdim=True).clamp(min=1)
        vigour = params['vigour'].to(image.dtype)[:, None, None, None, None]
        soil = params['soil'].to(image.dtype)[:, None, :, None, None]
        varied = mean + vigour * (image - mean) + soil
        shifted = torch.where(valid, times + params['shift'][:, None], times)
        return {
            **batch,
            IMAGE: torch.where(seen, varied, image),
            ACQUISITION_TIMES: shifted,
        }


class RandomCloudGaps(SeriesAugmentation):
    """Hide cloud-shaped parts of random dates.

    A cloud is where smooth noise (two octaves) exceeds a threshold. There ``mask_clear``
    becomes False and the pixels get one value. For images only: neighbours along a plane are
    not neighbours on the ground.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import RandomCloudGaps
        >>> times = torch.arange(8).view(1, 8) * 864000  # every ten days
        >>> batch = {'image': torch.rand(1, 8, 3, 16, 16), 'acquisition_times': times}
        >>> cloudy = RandomCloudGaps(rate=1.0, cover=(0.3, 0.5), size=8)(batch)
        >>> bool((cloudy['image'].amax(2)[~cloudy['mask_clear']] == 0).all())
        True
    """

    def __init__(
        self,
        rate: float = 0.3,
        *,
        cover: tuple[float, float] = (0.1, 0.6),
        size: float = 16.0,
        fill: float = 0.0,
        p: float = 1.0,
    ) -> None:
        """Initialise a new RandomCloudGaps instance.

        Args:
            rate: Probability that a date is clouded.
            cover: Least and largest share of a clouded date that is hidden, in (0, 1). It
                holds on average: single small images may deviate.
            size: Size of the clouds in pixels.
            fill: Value of the hidden pixels, in the unit of the image. 0 suits images after
                :class:`~torchgeo_sits.transforms.Normalize`; a bright value is closer to a
                cloud where a model also looks at pixels that are not clear.
            p: Probability that a sample is augmented.

        Raises:
            SITSError: If a number is out of range.
        """
        super().__init__(p=p)
        if not 0 <= rate <= 1 or not 0 < cover[0] <= cover[1] < 1 or size <= 0:
            raise SITSError(
                'expected rate in [0, 1], 0 < low <= high < 1 for cover, and size > 0, got '
                f'rate={rate}, cover={cover}, size={size}'
            )
        self.rate = rate
        self.cover = cover
        self.size = size
        self.fill = fill

    def generate_parameters(
        self, batch: dict[str, Any], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Draw the noise of both octaves, ``cover`` and ``clouded``, ``(B, T)`` each."""
        image = batch[IMAGE]
        device = image.device
        frames, (height, width) = image.shape[:2], image.shape[-2:]

        def grid(size: float) -> Tensor:
            """Noise with one node every *size* pixels."""
            nodes = (math.ceil(height / size) + 1, math.ceil(width / size) + 1)
            return uniform((*frames, *nodes), generator=generator, device=device) - 0.5

        low, high = self.cover
        u = uniform(frames, generator=generator, device=device)
        return {
            'coarse': grid(self.size),
            'fine': grid(self.size / 3),
            'cover': low + u * (high - low),
            'clouded': uniform(frames, generator=generator, device=device) < self.rate,
        }

    def apply_transform(self, batch: dict[str, Any], params: dict[str, Tensor]) -> dict[str, Any]:
        """Hide what lies under the clouds."""
        image = batch[IMAGE]
        size = image.shape[-2:]
        noise = sum(
            weight * F.interpolate(params[octave], size, mode='bicubic', align_corners=True)
            for octave, weight in (('coarse', 1.0), ('fine', 0.4))
        )
        assert isinstance(noise, Tensor)
        spread = noise.std((2, 3), correction=0, keepdim=True).clamp(min=1e-6)
        noise = (noise - noise.mean((2, 3), keepdim=True)) / spread
        # The quantile of a normal distribution: near enough, and no sort of all pixels.
        threshold = math.sqrt(2) * torch.erfinv(1 - 2 * params['cover'])
        cloud = (noise > threshold[..., None, None]) & params['clouded'][..., None, None]
        cloud = cloud & batch[VALID][..., None, None]
        return {
            **batch,
            IMAGE: image.masked_fill(cloud[:, :, None], self.fill),
            MASK_CLEAR: batch[MASK_CLEAR] & ~cloud,
        }


class SeriesGeometry(SeriesAugmentation):
    """Flip, turn, crop or warp all frames and masks of a sample in the same way.

    Kornia's :class:`~kornia.augmentation.AugmentationSequential` takes no 5-D images, fails on
    a static mask beside a video, and interpolates clear pixels with clouds. Here it is given
    one image per sample that holds the number of each pixel; what comes out is an index map,
    through which image, ``mask_clear`` and ``mask`` are then read alike, and those of a Sentinel-1
    series on the same grid with them. Pixels are copied,
    never mixed: alignment is exact, and any warp is to the nearest neighbour.

    Pixels from outside the image (the corners of a turned one) become 0, not clear, and 0 in
    ``mask``, NaN where it holds values. ``bounds`` and ``transform`` stay those of the sample
    before.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.transforms import SeriesGeometry
        >>> times = torch.arange(8).view(1, 8) * 864000  # every ten days
        >>> batch = {'image': torch.rand(1, 8, 3, 16, 16), 'acquisition_times': times}
        >>> from kornia.augmentation import RandomHorizontalFlip
        >>> batch['mask'] = torch.arange(256).view(1, 16, 16)
        >>> flipped = SeriesGeometry(RandomHorizontalFlip(p=1.0))(batch)
        >>> torch.equal(flipped['mask'], batch['mask'].flip(-1))
        True
    """

    def __init__(self, *augmentations: GeometricAugmentationBase2D) -> None:
        """Initialise a new SeriesGeometry instance.

        Args:
            augmentations: Geometric augmentations of Kornia, such as
                ``RandomHorizontalFlip()`` or ``RandomRotation90((0, 3))``, each with its own
                probability per sample.

        Raises:
            SITSError: If there is none, or one is not geometric.
        """
        super().__init__()
        odd = [
            type(a).__name__
            for a in augmentations
            if not isinstance(a, GeometricAugmentationBase2D)
        ]
        if odd or not augmentations:
            raise SITSError(
                f'expected geometric augmentations of Kornia, got {odd or "none"}; for '
                'reflectance use RandomGainOffset'
            )
        self.augmentations = AugmentationSequential(*augmentations, data_keys=['input', 'mask'])

    def generate_parameters(
        self, batch: dict[str, Any], *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Draw ``index`` ``(B, h, w)`` int64: the pixel to read, or -1 for none."""
        image = batch[IMAGE]
        height, width = image.shape[-2:]
        number = torch.arange(1, height * width + 1, device=image.device, dtype=torch.float32)
        number = number.view(1, 1, height, width).expand(len(image), -1, -1, -1).contiguous()
        # Kornia draws from torch's own generators only.
        with torch.random.fork_rng(devices=[], enabled=generator is not None):
            if generator is not None:
                seed = torch.randint(2**31, (), generator=generator, device=generator.device)
                torch.manual_seed(int(seed))
            _, warped = self.augmentations(number, number)  # masks go to the nearest neighbour
        return {'index': warped[:, 0].round().long() - 1}

    def apply_transform(self, batch: dict[str, Any], params: dict[str, Tensor]) -> dict[str, Any]:
        """Read images and masks through the index map."""
        outside = params['index'] < 0
        index = params['index'].clamp(min=0)
        out = {**batch}
        for key in (IMAGE, IMAGE_S1):
            if key in batch:
                image = to_planes(batch[key], index).permute(0, 3, 2, 1, 4)
                out[key] = image.masked_fill(outside[:, None, None], 0.0)
        for key in (MASK_CLEAR, MASK_CLEAR_S1, MASK):
            if key in batch:
                mask = masks_to_planes(batch[key], index)
                none = math.nan if mask.is_floating_point() else 0
                if mask.ndim == 4:
                    mask = mask.transpose(1, 2)
                    out[key] = mask.masked_fill(outside[:, None], none)
                else:
                    out[key] = mask.masked_fill(outside, none)
        return out
