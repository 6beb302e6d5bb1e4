"""Data module of PASTIS and PASTIS-R, with the folds and the normalisation of the authors."""

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchgeo.datamodules import NonGeoDataModule
from torchgeo.datasets.utils import Sample

from ..collate import pad_time
from ..datasets import PASTIS
from ..errors import SITSError
from ..keys import LABEL, MASK, MASK_CLEAR
from ..renamed import PASTIS_OPTIONS, take_old_names
from ..samplers import ShardedSampler
from ..transforms import Normalize
from .base import SeriesDataModule, choose, given_statistics
from .fields import choose_fields
from .loader import DrawnSample, ShuffledSamples
from .options import LabelOptions

__all__ = ['PASTISDataModule']

#: Room for the published ids within a patch.
_ID_BITS = 40


class _Parcels(NamedTuple):
    """_Parcels of some patches: a parcel that is cut by an edge is one in each patch."""

    #: Position of the patch ``(N,)``.
    patch: NDArray[np.int64]
    #: Id of the parcel ``(N,)``, see `_parcel_map`.
    parcel: NDArray[np.int64]
    #: Class of most of its pixels there ``(N,)``.
    label: NDArray[np.int64]

    def only(self, rows: NDArray[np.bool_]) -> '_Parcels':
        """Some of the rows.

        Args:
            rows: Which, ``(N,)``.

        Returns:
            The parcels.
        """
        return _Parcels(*(values[rows] for values in self))


def _parcel_map(data: PASTIS, index: int) -> NDArray[np.int64]:
    """Ids of the parcels of a patch.

    Args:
        data: The data set.
        index: Position of the patch.

    Returns:
        ``(H, W)``, different in all patches: nothing says that published ids are. What lies in
        no parcel is one of its own in each patch, with a negative id: background is a class,
        of which a share is labelled as of the others.
    """
    parcels = data.parcels(index).astype(np.int64)
    return np.where(parcels == 0, -1 - index, parcels + (index << _ID_BITS))


def _find_parcels(data: PASTIS) -> _Parcels:
    """Read all parcels, but for those that are void in a patch.

    Args:
        data: The data set; its annotations are read once.

    Returns:
        The parcels.
    """
    found = [np.zeros((3, 0), np.int64)]
    for index in range(len(data)):
        # One number for id and class, of which 20 fit between two ids.
        pairs = _parcel_map(data, index) * len(data.classes) + data.labels(index)
        keys, sizes = np.unique(pairs, return_counts=True)
        parcel, label = np.divmod(keys, len(data.classes))
        order = np.lexsort((-sizes, parcel))
        first = order[np.unique(parcel[order], return_index=True)[1]]
        first = first[label[first] != data.void]
        where = np.full(len(first), index)
        found.append(np.stack([where, parcel[first], label[first]]))
    return _Parcels(*np.concatenate(found, axis=1))


def _choose_parcels(
    parcels: _Parcels, *, per_class: int | None, fraction: float | None, seed: int
) -> NDArray[np.int64]:
    """Choose parcels class by class; of a larger number, a smaller one is a part.

    Args:
        parcels: The parcels.
        per_class: Number of parcels of each class.
        fraction: Share of the parcels of each class, and at least one.
        seed: Seed of the choice.

    Returns:
        Ids of the chosen ones, sorted.
    """
    everyone = np.ones(len(parcels.parcel), bool)
    chosen = choose_fields(
        parcels.label, everyone, per_class=per_class, fraction=fraction, seed=seed
    )
    return np.sort(parcels.parcel[chosen])


#: Position of a sample, and for one that draws a seed to draw by.
Item = int | DrawnSample


class _PatchSamples(Dataset[Sample]):
    """Some patches of PASTIS, whole or a square of each.

    Args:
        data: The data set.
        patches: Positions of the patches, ``(N,)``.
        crop: Height and width of the square; None is the whole patch.
        random: Draw the square: by the seed of the item, or by torch's generator where it has
            none. False takes the middle.
        kept: Ids of the parcels that are labelled, sorted; None labels all. Where a square is
            drawn at random it holds a pixel of one of them.
    """

    def __init__(
        self,
        data: PASTIS,
        patches: NDArray[np.int64],
        *,
        crop: int | None = None,
        random: bool = False,
        kept: NDArray[np.int64] | None = None,
    ) -> None:
        self.data = data
        self.patches = patches
        self.crop = crop
        self.random = random
        self.kept = kept

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, item: Item) -> Sample:
        """Read a patch, see :meth:`torchgeo_sits.datasets.PASTIS.read`."""
        index, seed = item if isinstance(item, tuple) else (item, None)
        patch = int(self.patches[index])
        labelled = None
        if self.kept is not None:
            labelled = np.isin(_parcel_map(self.data, patch), self.kept)
        window = self._window(self.data.labels(patch).shape, labelled, seed)
        sample = self.data.read(patch, window)
        if labelled is not None:
            hidden = torch.from_numpy(~labelled[window])
            sample[MASK] = sample[MASK].masked_fill(hidden, self.data.void)
        return sample

    def _window(
        self, shape: tuple[int, ...], labelled: NDArray[np.bool_] | None, seed: int | None
    ) -> tuple[slice, slice]:
        """Rows and columns to read of a patch."""
        if self.crop is None:
            return slice(0, shape[0]), slice(0, shape[1])
        if not self.random:
            middle = [_slice_around(self.crop, side, side // 2) for side in shape]
            return middle[0], middle[1]
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        around: list[int | None] = [None, None]
        if labelled is not None and labelled.any():
            pixels = np.argwhere(labelled)
            around = pixels[_draw(0, len(pixels) - 1, generator)].tolist()
        drawn = [
            _random_slice(self.crop, side, pixel, generator)
            for side, pixel in zip(shape, around, strict=True)
        ]
        return drawn[0], drawn[1]


class _ParcelSamples(Dataset[Sample]):
    """_Parcels of PASTIS, one sample for each.

    ``label`` is the class; ``mask_clear`` and ``mask`` are those of the parcel alone, the rest
    is neither clear nor labelled.

    Args:
        data: The data set.
        parcels: The parcels.
        crop: Height and width of the square around the middle of the parcel's extent; pixels
            of a larger parcel are left out. None is the whole patch.
    """

    def __init__(self, data: PASTIS, parcels: _Parcels, *, crop: int | None = None) -> None:
        self.data = data
        self.parcels = parcels
        self.crop = crop

    def __len__(self) -> int:
        return len(self.parcels.patch)

    def __getitem__(self, item: Item) -> Sample:
        """Read a parcel; nothing is drawn."""
        index = item[0] if isinstance(item, tuple) else item
        patch = int(self.parcels.patch[index])
        inside = _parcel_map(self.data, patch) == self.parcels.parcel[index]
        window = slice(0, inside.shape[0]), slice(0, inside.shape[1])
        if self.crop is not None:
            pixels = np.argwhere(inside)
            # A pixel of the parcel, also where its shape leaves the middle of the extent out.
            middle = (pixels.min(axis=0) + pixels.max(axis=0)) / 2
            row, column = pixels[np.square(pixels - middle).sum(axis=1).argmin()]
            window = (
                _slice_around(self.crop, inside.shape[0], int(row)),
                _slice_around(self.crop, inside.shape[1], int(column)),
            )
        sample = self.data.read(patch, window)
        here = torch.from_numpy(inside[window])
        sample[MASK_CLEAR] = sample[MASK_CLEAR] & here
        sample[MASK] = sample[MASK].masked_fill(~here, self.data.void)
        sample[LABEL] = torch.tensor(int(self.parcels.label[index]))
        return sample


def _slice_around(length: int, whole: int, middle: int) -> slice:
    """A slice of *length*, or of the whole, with *middle* as near to its middle as fits."""
    start = min(max(middle - length // 2, 0), max(whole - length, 0))
    return slice(start, min(start + length, whole))


def _random_slice(
    length: int, whole: int, around: int | None, generator: torch.Generator | None
) -> slice:
    """A random slice of *length*, or the whole, which holds *around*."""
    first, last = 0, max(whole - length, 0)
    if around is not None:
        first, last = min(max(around - length + 1, 0), last), min(around, last)
    start = _draw(first, last, generator)
    return slice(start, min(start + length, whole))


def _draw(first: int, last: int, generator: torch.Generator | None) -> int:
    """A random number from *first* to *last*."""
    return int(torch.randint(first, last + 1, (), generator=generator))


Split = Literal['train', 'val', 'test']

#: Most patches that a k-NN probe looks up, and most that it scores.
_PROBED = 32


class PASTISDataModule(SeriesDataModule, NonGeoDataModule):
    """PASTIS or PASTIS-R in one of the five official runs.

    Run k trains on the folds k, k + 1 and k + 2, validates on the next and tests on the last,
    beginning again at 1 after 5 (``fold_sequence`` of the authors,
    https://github.com/VSainteuf/utae-paps, train_semantic.py). Each split is normalised as
    the authors do it, by the published statistics averaged over its own folds. Padding frames
    are 0 after that, and so are pixels without data, which the authors leave at -10000. Void
    parcels (19) are not labelled, background (0) is a class. The last batch of validation and
    of test is not dropped, so that all patches are scored; the score over the five runs is
    :func:`torchgeo_sits.metrics.overall_score`.

    Attributes:
        folds: Official folds of each split.
        unlabelled: Value in ``mask`` of what is not labelled.
        class_names: Names of the classes, background and void included.

    Examples:
        >>> from torchgeo_sits.datamodules import LabelOptions, PASTISDataModule
        >>> data = PASTISDataModule('PASTIS-R', fold=2, labels=LabelOptions(fraction=0.01))
        >>> data.folds
        {'train': (2, 3, 4), 'val': (5,), 'test': (1,)}
        >>> data.num_classes, data.in_channels
        (20, 10)
    """

    unlabelled = PASTIS.void
    task_config = 'segmentation'
    class_names = list(PASTIS.classes)

    @take_old_names(PASTIS_OPTIONS, labels=LabelOptions)
    def __init__(
        self,
        root: str = 'data',
        *,
        modality: Literal['s2', 's1a', 's1d'] = 's2',
        fold: int = 1,
        bands: list[str] | None = None,
        labels: LabelOptions = LabelOptions(),
        label_unit: Literal['field', 'patch'] = 'field',
        crop: int | None = None,
        instances: bool = False,
        batch_size: int = 4,
        num_workers: int = 0,
        seed: int = 0,
        mean: list[float] | None = None,
        std: list[float] | None = None,
        download: bool = False,
        checksum: bool = True,
    ) -> None:
        """Initialize a new PASTISDataModule instance.

        Args:
            root: The folder of the release, or the one that holds it as PASTIS-R or PASTIS.
            modality: Sentinel-2, or Sentinel-1 from its ascending or descending orbits, which
                PASTIS-R alone has.
            fold: Number of the official run, from 1 to 5.
            bands: Names of the bands to read. Defaults to all.
            labels: Labels to train on and to validate by: ``target``,
                ``fields_per_class`` and ``fraction``; fields are the parcels. What lies in no
                parcel counts as one parcel of background in each patch. Patches without any
                label are left out. All is labelled, so that ``supervised`` changes nothing;
                options on label rasters of one's own are refused.
            label_unit: What ``labels.fraction`` is a share of, parcels or patches.
            crop: Height and width in pixels of a square drawn from each patch of training, and
                of the squares around parcels. None reads whole patches, as validation and
                test of patches always do.
            instances: Read the numbers of the parcels, too, as ``mask_instance``, for
                :class:`~torchgeo_sits.tasks.SITSPanoptic`.
            batch_size: Number of samples in a batch.
            num_workers: Number of worker processes that read.
            seed: Seed of the choice of labels, of the order of samples and of the squares.
            mean: Mean of each band to normalise all splits by. Defaults to the published ones.
            std: Standard deviation of each band.
            download: Download PASTIS-R (54 GB) where nothing is found.
            checksum: Check the MD5 of what is downloaded.

        Raises:
            SITSError: If an argument is out of its range or does not go with another.
        """
        if fold not in range(1, 6):
            raise SITSError(f'fold={fold}: expected one of the official runs, from 1 to 5')
        if modality not in PASTIS.modalities:
            raise SITSError(f'unknown modality {modality!r}: expected one of {PASTIS.modalities}')
        if label_unit not in ('field', 'patch'):
            raise SITSError(f"unknown label_unit {label_unit!r}: expected 'field' or 'patch'")
        for name, value, least in (
            ('crop', crop, 1),
            ('batch_size', batch_size, 1),
            ('num_workers', num_workers, 0),
        ):
            if value is not None and value < least:
                raise SITSError(f'{name}={value}: expected {least} at least')
        labels.take_only(
            {'supervised', 'target', 'fields_per_class', 'fraction'},
            'PASTIS brings labels of its own',
        )
        if labels.fields_per_class is not None and label_unit == 'patch':
            raise SITSError(
                f'labels.fields_per_class counts parcels, got {labels.fields_per_class} with '
                "label_unit='patch': leave one of them out"
            )
        if (mean is None) != (std is None):
            raise SITSError('give both mean and std, or neither')
        super().__init__(
            PASTIS,
            batch_size,
            num_workers,
            root=root,
            modality=modality,
            bands=bands,
            annotations=['instance'] if instances else [],
            download=download,
            checksum=checksum,
        )
        turned = [(fold - 1 + i) % 5 + 1 for i in range(5)]
        self.fold = fold
        self.folds: dict[Split, tuple[int, ...]] = {
            'train': tuple(turned[:3]),
            'val': (turned[3],),
            'test': (turned[4],),
        }
        self._bands = list(PASTIS.bands_of(modality) if bands is None else bands)
        self.labels = labels
        self.target = labels.target
        self.label_unit = label_unit
        self.crop = crop
        self.seed = seed
        self.collate_fn = pad_time
        self._opened: dict[Split, PASTIS] = {}
        self._chosen: tuple[NDArray[np.int64], NDArray[np.int64] | None] | None = None
        #: Statistics that hold for all splits: those of the user, or of a checkpoint.
        self._common: tuple[Tensor, Tensor] | None = None
        self._given = None if mean is None or std is None else (mean, std)
        if self._given is not None:
            self._common = given_statistics(*self._given, self.bands)

    # -- normalisation ---------------------------------------------------------------------

    @property
    def bands(self) -> list[str]:
        """Names of the bands, in the order of the channels."""
        return list(self._bands)

    @property
    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each band ``(C,)`` that training is normalised by.

        Raises:
            FileNotFoundError: If the published statistics are missing.
            SITSError: If they are not as published.
        """
        return self._common or self._measure()

    def _measure(self) -> tuple[Tensor, Tensor]:
        """Published statistics ``(C,)`` of training."""
        return self._published('train')

    def state_dict(self) -> dict[str, Any]:
        """The card and the run, so that a resumed run goes on as it did."""
        return {**self.card, 'fold': self.fold}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the statistics of a checkpoint.

        Raises:
            SITSError: If the checkpoint was trained on other bands, or on other folds.
        """
        if state_dict['fold'] != self.fold:
            raise SITSError(
                f'The checkpoint is of fold={state_dict["fold"]}, the data of fold={self.fold}, '
                'which tests on patches that the checkpoint was trained on or chosen by: use '
                f'fold={state_dict["fold"]}'
            )
        super().load_state_dict(state_dict)

    def _take(self, mean: Tensor, std: Tensor) -> None:
        """Normalise all splits as a checkpoint did.

        Where training is normalised so anyway, as after pretraining on the same folds, each
        split keeps its own statistics: a run with the checkpoint then sees what one without
        it sees.
        """
        own = self._common is None
        if not (own and all(map(torch.allclose, self._published('train'), (mean, std)))):
            self._common = mean, std
        self._set_transforms()

    def _published(self, split: Split) -> tuple[Tensor, Tensor]:
        """Published statistics ``(C,)``, averaged over the folds of a split."""
        return given_statistics(*self.patches(split).statistics(), self.bands)

    def _set_transforms(self) -> None:
        """Normalise every batch by the statistics of its split; flip and turn those of training."""
        super()._set_transforms()
        # Without one of its own a split is normalised by `aug`.
        self.val_aug = self.test_aug = self.predict_aug = None
        if self._common is None:
            self.val_aug = Normalize(*self._published('val'))
            self.test_aug = self.predict_aug = Normalize(*self._published('test'))

    # -- samples ---------------------------------------------------------------------------

    def patches(self, split: Split) -> PASTIS:
        """Patches of a split, opened at first use.

        Args:
            split: The split.

        Raises:
            DatasetNotFoundError: If the release is not found.
        """
        if split not in self._opened:
            # Downloaded by prepare_data, in one process.
            options = {**self.kwargs, 'download': False}
            self._opened[split] = PASTIS(folds=self.folds[split], **options)
        return self._opened[split]

    def setup(self, stage: str) -> None:
        """Open the patches, and choose those that are labelled.

        Args:
            stage: Either 'fit', 'validate', 'test', or 'predict'.
        """
        if stage == 'fit':
            self.train_dataset = train = self._train_samples()
            self.train_sampler = ShardedSampler(
                ShuffledSamples(len(train), len(train), seed=self.seed), drop_last=True
            )
        if stage in ('fit', 'validate'):
            self.val_dataset = self._scored_samples('val')
        if stage == 'test':
            self.test_dataset = self._scored_samples('test')
        if stage == 'predict':
            self.predict_dataset = self._scored_samples('test')
        self._set_transforms()

    def probe_dataloaders(self) -> tuple[DataLoader[Any], DataLoader[Any]]:
        """Squares in the middle of up to 32 patches of each split, for a k-NN probe.

        Returns:
            Labelled patches of training to look up, and patches of validation to score.
        """
        bank, kept = self._labelled
        query = np.arange(len(self.patches('val')))
        probed: list[tuple[Split, NDArray[np.int64], NDArray[np.int64] | None]] = [
            ('train', bank, kept),
            ('val', query, None),
        ]
        bank_loader, query_loader = (
            DataLoader(
                _PatchSamples(
                    self.patches(split),
                    np.array(choose(chosen.tolist(), _PROBED, self.seed)),
                    crop=self.crop,
                    kept=labelled,
                ),
                self.batch_size,
                num_workers=self.num_workers,
                collate_fn=self.collate_fn,
            )
            for split, chosen, labelled in probed
        )
        return bank_loader, query_loader

    @property
    def _labelled(self) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
        """Patches of training with labels, and ids of the parcels that have them; None for all."""
        if self._chosen is None:
            self._chosen = self._choose()
        return self._chosen

    def _choose(self) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
        """Choose what is labelled of training."""
        data = self.patches('train')
        everyone = np.arange(len(data))
        if self.labels.fields_per_class is None and self.labels.fraction is None:
            return everyone, None
        if self.label_unit == 'patch':
            most = max(1, round((self.labels.fraction or 1.0) * len(data)))
            return np.sort(choose(everyone.tolist(), most, self.seed)), None
        parcels = _find_parcels(data)
        kept = _choose_parcels(
            parcels,
            per_class=self.labels.fields_per_class,
            fraction=self.labels.fraction,
            seed=self.seed,
        )
        return np.unique(parcels.patch[np.isin(parcels.parcel, kept)]), kept

    def _train_samples(self) -> _PatchSamples | _ParcelSamples:
        """Samples of training."""
        data = self.patches('train')
        chosen, kept = self._labelled
        if self.target == 'pixel':
            return _PatchSamples(data, chosen, crop=self.crop, random=True, kept=kept)
        parcels = _find_parcels(data)
        inside = np.isin(parcels.patch, chosen) & (parcels.parcel > 0)
        if kept is not None:
            inside &= np.isin(parcels.parcel, kept)
        return _ParcelSamples(data, parcels.only(inside), crop=self.crop)

    def _scored_samples(self, split: Split) -> _PatchSamples | _ParcelSamples:
        """Samples of validation or test: all of the split."""
        data = self.patches(split)
        if self.target == 'pixel':
            return _PatchSamples(data, np.arange(len(data)))
        parcels = _find_parcels(data)
        return _ParcelSamples(data, parcels.only(parcels.parcel > 0), crop=self.crop)
