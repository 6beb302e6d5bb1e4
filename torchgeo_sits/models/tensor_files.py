"""Files of tensors by name, read without running any code."""

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import SITSError

__all__ = ['load_plain', 'read_tensors']


def load_plain(path: str | Path) -> Any:
    """Read a file of torch that holds plain tensors and values.

    Args:
        path: Path of the file.

    Returns:
        What it holds, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        SITSError: If it holds Python objects, which may run code, or is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no checkpoint at {path}: give the path of a .ckpt file')
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        # Also raised for a text file; torch's own message names the class it refused.
        raise SITSError(
            f'{path}: not readable as plain tensors and values ({_line(error)}). '
            'It is no checkpoint, or holds Python objects, which may run code when loaded: save '
            'it again with plain hyperparameters'
        ) from error
    except (RuntimeError, EOFError, OSError, LookupError, ValueError) as error:
        raise SITSError(
            f'{path}: damaged, cut short, or no checkpoint at all ({_line(error)}). Use another '
            'checkpoint of the run, or train again'
        ) from error


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read tensors by name, of safetensors or of torch.

    Args:
        path: Path of a ``.safetensors`` file, or of one that torch wrote: a state dict, alone or
            under ``state_dict`` or ``model``.

    Returns:
        The tensors, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        SITSError: If it holds anything else, or is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'no weights at {path}: give the path of a file')
    if path.suffix == '.safetensors':
        try:
            return load_file(path)
        except (SafetensorError, ValueError, OSError) as error:
            raise SITSError(
                f'{path}: damaged, cut short, or no safetensors at all ({_line(error)}). Fetch it '
                'again'
            ) from error
    content = load_plain(path)
    for name in ('state_dict', 'model'):
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise SITSError(f'{path}: expected tensors by name, found {type(content).__name__}')
    return content


def _line(error: Exception) -> str:
    """The first sentence of an error's message, with its name."""
    text = (str(error).splitlines() or [''])[0].split('. ')[0][:200]
    return f'{type(error).__name__}: {text}' if text else type(error).__name__
