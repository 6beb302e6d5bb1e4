"""Files of the Hub of Hugging Face: an encoder in two files, or a file of others."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import logging
from torch import Tensor

from ..errors import SITSError
from ..weight_names import HubAddress
from .tensor_files import read_tensors

__all__ = [
    'CARD_FILE',
    'WEIGHTS_FILE',
    'fetch_encoder',
    'fetch_file',
    'hub_host',
    'read_folder',
]

#: Names of the two files of an encoder: its tensors by name, and its card as JSON.
WEIGHTS_FILE: Final = 'model.safetensors'
CARD_FILE: Final = 'card.json'


def hub_host() -> str:
    """Name of the host of the Hub, that of ``HF_ENDPOINT`` where it is set.

    Examples:
        >>> from torchgeo_sits.models.hub import hub_host
        >>> bool(hub_host())
        True
    """
    return urlsplit(constants.ENDPOINT).netloc


def fetch_file(address: HubAddress, *, local: str) -> Path:
    """Fetch a file of the Hub, or find it in the Hub's cache.

    Args:
        address: The repository and the file, which ends with ``.safetensors`` or ``.json``:
            nothing else is read, for it may run code.
        local: What to give instead where there is no network, for messages.

    Returns:
        The file, in the cache of the Hub (``HF_HOME``).

    Raises:
        OSError: If there is no such file, or it cannot be fetched.
        SITSError: If it is of another kind.
    """
    file = address.file or WEIGHTS_FILE
    if Path(file).suffix not in ('.safetensors', '.json'):
        raise SITSError(
            f'{address}: expected a file of the repository that ends with .safetensors: files of '
            'other kinds may run code when loaded'
        )
    where = f'{hub_host()}, repository {address.repo}, file {file}'
    instead = f'Or fetch it where there is a network, and give {local}'
    revision, own = address.revision or 'main', file in (CARD_FILE, WEIGHTS_FILE)
    try:
        # Beside it first, and renamed when its size is right: nothing half written is left.
        with _quiet():
            return Path(hf_hub_download(address.repo, file, revision=address.revision))
    except GatedRepoError as error:  # a kind of one that is not found
        raise OSError(
            f'{address}: access to the repository is restricted ({where}): ask its owners on its '
            f'page, and log in (hf auth login). {instead}'
        ) from error
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f'{address}: there is no such repository, or it is private ({where}): check the name, '
            'or log in (hf auth login)'
        ) from error
    except RevisionNotFoundError as error:
        raise FileNotFoundError(
            f'{address}: the repository has no branch, tag or commit {revision!r} ({where}): check '
            'what follows the @'
        ) from error
    except LocalEntryNotFoundError as error:  # a kind of a file that is not found
        reason = _line(error.__cause__ or error)
        raise OSError(
            f'{address}: cannot be fetched ({where}): no connection, or no answer ({reason}). '
            f'{instead}'
        ) from error
    except EntryNotFoundError as error:
        raise FileNotFoundError(
            f'{address}: the repository has no such file ({where}, revision {revision}): '
            + ('expected what torchgeo-sits push writes' if own else 'check its name')
        ) from error
    except HfHubHTTPError as error:
        raise OSError(
            f'{address}: the Hub refuses it ({where}): {_line(error)}. {instead}'
        ) from error
    except Exception as error:
        # Of several libraries, as connections can break in many ways; a fault of ours shows in
        # what caused it.
        raise OSError(
            f'{address}: the download was interrupted ({where}): {_line(error)}. Nothing of it '
            f'was kept: give the same command again. {instead}'
        ) from error


def fetch_encoder(address: HubAddress) -> Path:
    """Fetch the two files of an encoder.

    Args:
        address: The repository, without a file.

    Returns:
        The folder that they lie in.

    Raises:
        OSError: As :func:`fetch_file` does.
        SITSError: If the address names a file.
    """
    if address.file is not None:
        raise SITSError(
            f'{address}: a file alone does not say what model it is of: leave /{address.file} out, '
            f'or say of which published model it is: NAME:{address}'
        )
    local = f'the folder of {CARD_FILE} and {WEIGHTS_FILE}'
    card = fetch_file(HubAddress(address.repo, address.revision, CARD_FILE), local=local)
    # Of the same commit, if somebody pushes meanwhile: the cache has a folder for each.
    weights = HubAddress(address.repo, card.parent.name, WEIGHTS_FILE)
    return fetch_file(weights, local=local).parent


def read_folder(folder: Path) -> tuple[dict[str, Tensor], Any]:
    """Read the two files of an encoder.

    Args:
        folder: Where they are.

    Returns:
        The tensors by name, on the CPU, and what the card holds, unchecked.

    Raises:
        FileNotFoundError: If one is missing.
        SITSError: If one is damaged.
    """
    missing = [name for name in (CARD_FILE, WEIGHTS_FILE) if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f'{folder}: the folder has no {" and no ".join(missing)}: give the path of a .ckpt '
            'file, or a folder that torchgeo-sits push has written'
        )
    try:
        card = json.loads((folder / CARD_FILE).read_text(encoding='utf-8'))
    except (ValueError, RecursionError) as error:
        raise SITSError(
            f'{folder / CARD_FILE}: no JSON ({_line(error)}): fetch or write the folder again'
        ) from error
    return read_tensors(folder / WEIGHTS_FILE), card


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what the library says of each try: all of it is said in one line at the end."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _line(error: BaseException) -> str:
    """An error's message in one short line, with its name."""
    text = ' '.join(str(error).split())[:200]
    return f'{type(error).__name__}: {text}' if text else type(error).__name__
