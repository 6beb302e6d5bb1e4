"""Names of published weights and addresses of the Hub, known before heavy imports."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .errors import SITSError

__all__ = ['PUBLISHED_NAMES', 'HubAddress', 'find_on_hub', 'find_published']

#: Names of published weights; :data:`torchgeo_sits.models.PUBLISHED` says what they are.
PUBLISHED_NAMES: Final = (
    'sits_s2_tiny',
    'presto',
    'galileo_nano',
    'tessera',
    'olmoearth_v1_nano',
    'olmoearth_v1_tiny',
    'olmoearth_v1_base',
    'olmoearth_v1_2_nano',
    'olmoearth_v1_2_tiny',
    'olmoearth_v1_2_small',
    'olmoearth_v1_2_base',
)


def find_published(weights: str | Path | None) -> tuple[str, str | None] | None:
    """Tell whether weights are published ones, by name.

    Args:
        weights: ``NAME``, or ``NAME:FILE`` for a file of them that is at hand; or anything else.

    Returns:
        One of :data:`PUBLISHED_NAMES`, and the file or None; None where it is something else, as
        the path of a file that has such a name.

    Examples:
        >>> from torchgeo_sits.weight_names import find_published
        >>> find_published('presto'), find_published('presto:weights/x.safetensors')
        (('presto', None), ('presto', 'weights/x.safetensors'))
        >>> find_published('logs/presto.ckpt') is None
        True
    """
    name, _, file = str(weights or '').partition(':')
    if name not in PUBLISHED_NAMES or Path(str(weights)).is_file():
        return None
    return name, file or None


@dataclass(frozen=True)
class HubAddress:
    """Where weights are on the Hub of Hugging Face, https://huggingface.co.

    Attributes:
        repo: The repository, ``ORG/REPO``.
        revision: Branch, tag or commit; None for the main branch.
        file: File in it; None for the two that ``torchgeo-sits push`` writes.

    Examples:
        >>> from torchgeo_sits.weight_names import HubAddress
        >>> str(HubAddress('me/sits', 'v1'))
        'hf://me/sits@v1'
    """

    repo: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        revision = '' if self.revision is None else f'@{self.revision}'
        return f'hf://{self.repo}{revision}' + ('' if self.file is None else f'/{self.file}')


#: Names as the Hub has them; two dots or dashes in a row are none.
_PART: Final = r'(?!.*(?:\.\.|--))\w(?:[\w.-]{0,94}\w)?'
_ADDRESS: Final = re.compile(
    rf'hf://(?P<repo>(?P<org>{_PART})/(?P<name>{_PART}))(?:@(?P<revision>[\w.-]+))?'
    r'(?:/(?P<file>[\w.-]+(?:/[\w.-]+)*))?',
    re.ASCII,
)


def find_on_hub(weights: str | Path | None) -> HubAddress | None:
    """Tell whether weights are those of a repository of the Hub.

    Args:
        weights: ``hf://ORG/REPO[@REVISION][/FILE]``, or anything else.

    Returns:
        The address; None where it is something else.

    Raises:
        SITSError: If it begins as an address of the Hub does, and is none.

    Examples:
        >>> from torchgeo_sits.weight_names import find_on_hub
        >>> find_on_hub('hf://me/sits@v1/x/presto.safetensors')
        HubAddress(repo='me/sits', revision='v1', file='x/presto.safetensors')
        >>> find_on_hub('logs/me.ckpt') is None
        True
    """
    text = str(weights or '')
    if not text.startswith(('hf:', 'HF:')):
        return None
    found = _ADDRESS.fullmatch(text)
    if found is None or '..' in (found['file'] or '').split('/'):
        raise SITSError(
            f'{text}: expected hf://ORG/REPO, hf://ORG/REPO@REVISION, or of published weights '
            'NAME:hf://ORG/REPO@REVISION/FILE.safetensors'
        )
    return HubAddress(found['repo'], found['revision'], found['file'])
