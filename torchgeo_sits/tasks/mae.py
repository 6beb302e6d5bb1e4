"""Masked reconstruction of satellite image time series."""

from typing import Any, ClassVar

from .pretraining import SITSPretraining, ViewLosses

__all__ = ['SITSMAE']


class SITSMAE(SITSPretraining):
    """Masked reconstruction: tell the values at hidden dates and pixels from what is seen.

    Space-time positions of planes are hidden: dates, pixels of paths, or blocks of both. The
    encoder sees the rest, as it sees a series with clouds, and a small decoder is given the
    feature of a pixel and the date that is asked for. Only clear pixels count in the loss
    (MAE, https://arxiv.org/abs/2111.06377, section 3, here on series). Its term of the loss
    joins other methods by their ``reconstruction_weight``.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.tasks import SITSMAE
        >>> task = SITSMAE(model='tempcnn', in_channels=3)
        >>> batch = {
        ...     'image': torch.rand(4, 6, 3, 16, 16),
        ...     'acquisition_times': 86_400 * torch.arange(6).expand(4, 6),
        ...     'valid': torch.ones(4, 6, dtype=torch.bool),
        ...     'mask_clear': torch.ones(4, 6, 16, 16, dtype=torch.bool),
        ... }
        >>> views = task.make_views(batch)
        >>> loss, embedding = task.reconstruction(task.backbone, views[0])
        >>> loss.shape, embedding.shape[0]
        (torch.Size([]), 4)
    """

    # What is fixed below is no choice: whoever gives it is refused, and so it must not come
    # back from a checkpoint.
    ignore = ('weights', *(f'{k}_weight' for k in ('image', 'object', 'pixel', 'reconstruction')))
    default_views: ClassVar[dict[str, Any]] = {
        'global_views': 1,
        'local_views': 0,
        'dates': (1.0, 1.0),
    }

    reference_lr: ClassVar[float] = 1e-3

    def __init__(self, **kwargs: Any) -> None:
        """Initialize a new SITSMAE instance.

        Args:
            **kwargs: Arguments of the base class,
                :class:`~torchgeo_sits.tasks.pretraining.SITSPretraining`.

        Raises:
            SITSError: If an argument is out of its range, or does not go with another.
        """
        super().__init__(
            image_weight=0.0,
            object_weight=0.0,
            pixel_weight=0.0,
            reconstruction_weight=1.0,
            **kwargs,
        )

    def build_heads(self, dim: int) -> None:
        """Build nothing: the decoder is that of the reconstruction."""

    def compare_views(self, views: list[dict[str, Any]], batch: dict[str, Any]) -> ViewLosses:
        """Compare nothing: the reconstruction is the whole loss."""
        return ViewLosses({}, {})
