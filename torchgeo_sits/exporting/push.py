"""The encoder of a checkpoint as a repository of the Hub, or a folder of the same files."""

import json
import re
import shlex
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import yaml
from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
from safetensors.torch import save_file

from ..errors import SITSError
from ..models import CARD_FILE, WEIGHTS_FILE, EncoderCard, hub_host, load_bare_encoder
from ..weight_names import find_on_hub
from ..whole_files import whole_file

__all__ = ['push_encoder']

#: Licences that the Hub knows by their names of SPDX, in lower case; others are 'other' there.
_LICENCES: Final = frozenset(
    (
        'apache-2.0',
        'mit',
        'bsd-2-clause',
        'bsd-3-clause',
        'cc0-1.0',
        'cc-by-3.0',
        'cc-by-4.0',
        'cc-by-sa-3.0',
        'cc-by-sa-4.0',
        'cc-by-nc-3.0',
        'cc-by-nc-4.0',
        'cc-by-nd-4.0',
        'cc-by-nc-nd-4.0',
        'cc-by-nc-sa-3.0',
        'cc-by-nc-sa-4.0',
        'etalab-2.0',
        'eupl-1.1',
        'eupl-1.2',
        'gpl-2.0',
        'gpl-3.0',
        'agpl-3.0',
        'lgpl-2.1',
        'lgpl-3.0',
        'isc',
        'mpl-2.0',
        'odbl',
        'odc-by',
        'unlicense',
    )
)


def push_encoder(
    checkpoint: str | Path,
    target: str | Path,
    *,
    private: bool = False,
    licence: str | None = None,
) -> tuple[EncoderCard, str]:
    """Write the encoder of a checkpoint to a repository of the Hub, or to a folder.

    There are three files: ``model.safetensors``, the tensors by name; ``card.json``, the card; and
    ``README.md``, the page of the model, which says what the card does and no more. All that takes
    a checkpoint to start from takes the repository, and the folder.

    Args:
        checkpoint: As of :func:`~torchgeo_sits.models.load_encoder`.
        target: ``hf://ORG/REPO``, with ``@BRANCH`` for one that is there; or the path of a folder
            that is not there yet, or empty.
        private: Make a new repository private.
        licence: Licence of the weights. None leaves that of the card, if it states one.

    Returns:
        The card, and where the encoder can be read from.

    Raises:
        OSError: If the checkpoint cannot be read, or the target not be written.
        SITSError: If the file is no checkpoint, the folder has files, or the address is none.

    Examples:
        >>> import tempfile, torch
        >>> from torchgeo_sits.exporting import push_encoder
        >>> from torchgeo_sits.models import CARD_KEY, build_encoder, encoder_card, load_encoder
        >>> encoder = build_encoder('tempcnn', 2, num_dates=4, hidden_dim=4, embed_dim=8)
        >>> weights = {f'backbone.{name}': value for name, value in encoder.state_dict().items()}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     content = {'state_dict': weights, CARD_KEY: encoder_card('tempcnn', encoder)}
        ...     torch.save(content, f'{folder}/X.ckpt')
        ...     _ = push_encoder(f'{folder}/X.ckpt', f'{folder}/mine', licence='CC-BY-4.0')
        ...     encoder, card = load_encoder(f'{folder}/mine')
        >>> card['model'], card['licence']
        ('tempcnn', 'CC-BY-4.0')
    """
    address = find_on_hub(target)
    if address is not None and address.file is not None:
        raise SITSError(f'{target}: expected a repository without a file, {address.repo!r} alone')
    encoder, card = load_bare_encoder(checkpoint)
    card = {**card, 'encoder': ''}
    if licence is not None:
        card = {**card, 'licence': licence}
    # Of their own memory: safetensors refuses tensors that share it.
    tensors = {name: value.clone().contiguous() for name, value in encoder.state_dict().items()}
    parameters = sum(weight.numel() for weight in encoder.parameters())

    def write(folder: Path, name: str) -> None:
        save_file(tensors, folder / WEIGHTS_FILE, metadata={'format': 'pt'})
        text = json.dumps(card, indent=2, ensure_ascii=False)
        (folder / CARD_FILE).write_text(text + '\n', encoding='utf-8')
        (folder / 'README.md').write_text(_page(card, name, parameters), encoding='utf-8')

    if address is not None:
        with TemporaryDirectory() as scratch:
            write(Path(scratch), str(address))
            _upload(Path(scratch), str(address), address.repo, address.revision, private=private)
        return card, str(address)
    if private:
        raise SITSError(f'--private is for repositories of the Hub, {target} is a folder')
    folder = Path(target)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise SITSError(f'{folder} is there already: choose another name, or remove it first')
    with whole_file(folder) as draft:
        draft.mkdir()
        write(draft, str(target))
    return card, str(target)


def _upload(folder: Path, address: str, repo: str, revision: str | None, *, private: bool) -> None:
    """Make the repository, unless it is there, and commit the files of a folder to it."""
    api, what = HfApi(library_name='torchgeo_sits'), f'{hub_host()}, repository {repo}'
    try:
        api.create_repo(repo, private=private or None, exist_ok=True)
        api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            revision=revision,
            commit_message='Add an encoder of torchgeo_sits',
        )
    except RevisionNotFoundError as error:
        raise FileNotFoundError(
            f'{address}: the repository has no branch {revision!r} ({what}): make it first, '
            f'or leave @{revision} out'
        ) from error
    except Exception as error:
        # Of several libraries, as connections can break in many ways.
        status = getattr(getattr(error, 'response', None), 'status_code', None)
        reason = ' '.join(str(error).split())[:200]
        if status in (401, 403) or isinstance(error, RepositoryNotFoundError):
            advice = 'Log in as one who may write there (hf auth login, or HF_TOKEN)'
        else:
            advice = 'Give the same command again'
        raise OSError(
            f'{address}: not pushed ({what}): {type(error).__name__}: {reason}. {advice}, or write '
            'a folder (torchgeo-sits push X.ckpt FOLDER) and upload it where that is possible'
        ) from error


def _page(card: EncoderCard, name: str, parameters: int) -> str:
    """Write the page of a model, of what its card says."""
    licence, typed = card.get('licence'), shlex.quote(name)
    front: dict[str, Any] = {
        'library_name': 'torchgeo_sits',
        'tags': ['satellite-image-time-series', 'remote-sensing', card['model']],
    }
    if licence is not None:
        known = licence.lower() in _LICENCES
        front['license'] = licence.lower() if known else 'other'
        if not known:
            front['license_name'] = re.sub(r'[^a-z0-9.]+', '-', licence.lower()).strip('-')
    lines = [
        '---',
        yaml.safe_dump(front, sort_keys=False, allow_unicode=True).rstrip(),
        '---',
        '',
        f'# {card["model"]}',
        '',
        f'An encoder of satellite image time series, {parameters:,} parameters, of '
        f'torchgeo_sits {card["version"]}.',
        '',
        *_facts(card),
        '',
        '## Use',
        '',
        '```sh',
        f'torchgeo-sits embed {typed} DIR  # the features of each pixel',
        f'torchgeo-sits fit --config conf/segmentation.yaml --model.weights {typed}',
        '```',
        '',
        '```python',
        'from torchgeo_sits.models import load_encoder',
        '',
        f'encoder, card = load_encoder({name!r})',
        '```',
        '',
        'The encoder takes values '
        + (
            'as they are read, in the unit of the training data, and normalises them itself.'
            if card['mean']
            else 'that are normalised already: the card has no statistics.'
        ),
    ]
    return '\n'.join(lines) + '\n'


def _facts(card: EncoderCard) -> list[str]:
    """What a card says of data and licence, as a list and tables of Markdown."""
    facts = []
    if 'task' in card:
        facts.append(f'Trained by: {card["task"]}')
    if 'dataset' in card:
        named = ', '.join(f'`{path}`' for path in card.get('paths', []))
        facts.append(f'Training data: {card["dataset"]}' + (f' of {named}' if named else ''))
    if 'dates' in card:
        first, last, number = (card['dates'][key] for key in ('first', 'last', 'number'))
        facts.append(f'Dates: {number} days from {first} to {last}')
    if 'source' in card:
        facts.append(f'Source: {card["source"]}')
    facts.append(f'Licence: {card.get("licence", "none was stated")}')
    lines = [f'- {fact}' for fact in facts]
    lines += ['', *_table(card['bands'], card['mean'], card['std'], card['in_channels'])]
    if 'bands_s1' in card:
        s1 = card['bands_s1']
        stats = card.get('mean_s1', []), card.get('std_s1', [])
        lines += ['', 'Of Sentinel-1:', '', *_table(s1, *stats, len(s1))]
    return lines


def _table(bands: list[str], mean: list[float], std: list[float], number: int) -> list[str]:
    """The bands in their order, and how they were normalised."""
    if not bands and not mean:
        return [f'{number} bands, of unknown names.']
    rows = [
        (
            bands[i] if bands else f'band {i + 1}',
            f'{mean[i]:.6g}' if mean else 'unknown',
            f'{std[i]:.6g}' if std else 'unknown',
        )
        for i in range(number)
    ]
    head = ['| Band | Mean | Standard deviation |', '|---|---|---|']
    return [*head, *(f'| {" | ".join(row)} |' for row in rows)]
