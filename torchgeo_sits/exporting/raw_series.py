"""A trained model that takes series as they are read, and names what it gives."""

from pathlib import Path
from typing import Any

from einops import rearrange
from torch import Tensor, nn

from ..keys import ACQUISITION_TIMES, IMAGE, MASK_CLEAR, VALID
from ..models import EncoderCard, SITSEncoder, load_encoder
from ..tasks import load_task
from ..tasks.supervised import SITSSupervised
from ..transforms import Normalize

__all__ = ['RawSeriesModel', 'load_model']


class RawSeriesModel(nn.Module):
    """Normalisation, encoder and head in one, for series in the unit of the training data.

    A task with labels gives what its ``predict_step`` does: ``probabilities`` or, for dates of
    change, ``probability`` and ``date``. An encoder alone gives ``embed`` ``(B, D)`` and the
    dense features ``early`` and ``late`` ``(B, D', H / stride, W / stride)``.

    Args:
        model: The encoder, or the task.
        card: Its card, whose ``mean`` and ``std`` are used. Where it knows none, series must
            come as the model was trained.
    """

    def __init__(self, model: SITSEncoder | SITSSupervised, card: EncoderCard) -> None:
        super().__init__()
        self.model = model
        self.normalize: nn.Module = (
            Normalize(card['mean'], card['std']) if card['mean'] else nn.Identity()
        )
        self.eval()

    def forward(
        self, image: Tensor, acquisition_times: Tensor, valid: Tensor, mask_clear: Tensor
    ) -> dict[str, Tensor]:
        """Predict.

        Args:
            image: ``(B, T, C, H, W)`` float32, values as they are read; anything where
                *mask_clear* or *valid* is False.
            acquisition_times: ``(B, T)`` int64, seconds since 1970-01-01 UTC.
            valid: ``(B, T)`` bool, False in padding frames.
            mask_clear: ``(B, T, H, W)`` bool, True where a pixel was seen.

        Returns:
            Outputs by name, see the class.
        """
        batch = {
            IMAGE: image,
            ACQUISITION_TIMES: acquisition_times,
            VALID: valid,
            MASK_CLEAR: mask_clear,
        }
        batch = self.normalize(batch)
        if isinstance(self.model, SITSEncoder):
            said = self.model.encode_image(batch[IMAGE], acquisition_times, valid, mask_clear)
            early, late = (rearrange(x, 'b h w d -> b d h w') for x in (said.early, said.late))
            return {'embed': said.embed, 'early': early, 'late': late}
        found: Any = self.model.predict_step(batch, 0)
        return found if isinstance(found, dict) else {'probabilities': found}


def load_model(path: str | Path) -> tuple[RawSeriesModel, EncoderCard]:
    """The model of a checkpoint, to be exported.

    Args:
        path: Path of a checkpoint of a task with labels, or of a pretraining, whose encoder it
            is then.

    Returns:
        The model, in evaluation mode, and its card.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no checkpoint of this package.
    """
    encoder, card = load_encoder(path)
    model: SITSEncoder | SITSSupervised = encoder
    if card['encoder'] == SITSSupervised.encoder_name:
        model, card = load_task(path)
    return RawSeriesModel(model, card), card
