"""ConvLSTM: TorchGeo's recurrent network as an encoder of this package."""

import torch
from torch import Tensor, nn

from ..errors import SITSError
from ..keys import Series
from .encoder import Depth, SITSEncoder
from .frame_order import chronological, mark_unclear, take_frames

__all__ = ['ConvLSTM']


class ConvLSTM(SITSEncoder):
    """Convolutional LSTM (Shi et al. 2015, https://arxiv.org/abs/1506.04214) over the frames.

    The network is :class:`torchgeo.models.ConvLSTM` without its head. Features are the hidden
    state ``H_t`` of equation 3 after the last valid frame, zeros for a series without one.
    Frames are put in the order of their dates, whose distances the network does not see.
    Pixels that are not clear enter as zeros, and a channel more says which they are.

    With 160 hidden channels, the default, it is the ConvLSTM held against U-TAE on PASTIS
    (Garnot & Landrieu 2021, https://arxiv.org/abs/2107.07933, table 2), where the cell state
    stood for the hidden state and a 3 x 3 convolution for the linear head.

    Every step mixes neighbouring pixels, so there is no depth before spatial context: *early*
    features are the late ones.

    Args:
        in_channels: Number of bands C.
        hidden_dim: Channels D of the hidden state of each layer.
        num_layers: Recurrent layers.
        kernel_size: Side of the convolutions' windows, odd, in pixels.

    Raises:
        SITSError: If a size is below 1 or *kernel_size* is even.

    Examples:
        >>> import torch
        >>> from torchgeo_sits.models import ConvLSTM, Series
        >>> image, times = torch.rand(2, 5, 4, 8, 8), 10**6 * torch.arange(5).expand(2, 5)
        >>> series = Series(image, times, valid=torch.ones(2, 5, dtype=torch.bool))
        >>> ConvLSTM(4, hidden_dim=6).eval().features(series).shape
        torch.Size([2, 6, 8, 8])
    """

    def __init__(
        self,
        in_channels: int = 10,
        *,
        hidden_dim: int = 160,
        num_layers: int = 1,
        kernel_size: int = 3,
    ) -> None:
        arguments = {k: v for k, v in locals().items() if k not in ('self', '__class__')}
        super().__init__(in_channels=in_channels, embed_dim=hidden_dim)
        self.config = arguments
        if num_layers < 1:
            raise SITSError(f'expected num_layers of at least 1, got {num_layers}')
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise SITSError(f'expected an odd kernel_size, got {kernel_size}: maps would shrink')
        # Slow to import (seconds), so only here.
        from torchgeo.models import ConvLSTM as Network

        self.network = Network(in_channels + 1, hidden_dim, kernel_size, num_layers)
        # Heads belong to tasks; one that no loss reaches would stop distributed training.
        self.network.head = nn.Identity()  # type: ignore[assignment]

    def forward_features(self, series: Series, depth: Depth) -> Tensor:
        """Hidden state after the last valid frame.

        All depths give late features, *joined* twice.

        Returns:
            ``(B, D, H, W)``, or ``(B, 2 D, H, W)`` for *joined*.
        """
        copies = self.feature_dim(depth) // self.embed_dim
        states, _ = self._states(series)
        last = (series.valid.sum(-1) - 1).clamp(min=0)
        late = states[torch.arange(len(states), device=states.device), last]
        # where, not a product: the state after a padding frame is finite, but may be anything.
        late = torch.where(series.valid.any(-1)[:, None, None, None], late, 0)
        return torch.cat([late] * copies, 1)

    def forward_frames(self, series: Series) -> Tensor:
        """Hidden state after each frame, of the frames up to it.

        Returns:
            ``(B, T, D, H, W)``.
        """
        states, order = self._states(series)
        return take_frames(states, order.argsort(-1))

    def _states(self, series: Series) -> tuple[Tensor, Tensor]:
        """Hidden states in the order of the dates, and that order.

        Padding frames come last, where they no longer change the states of valid ones.

        Returns:
            ``(B, T, D, H, W)``, and ``(B, T)`` int64.
        """
        order = chronological(series.acquisition_times, series.valid)
        frames = mark_unclear(take_frames(series.image, order), take_frames(series.clear, order))
        outputs, _ = self.network.forward_features(frames)
        return outputs[-1], order
