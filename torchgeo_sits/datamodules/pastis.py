"""Data module of PASTIS and PASTIS-R, with the folds and the normalisation of the authors."""

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torchgeo.datamodules import NonGeoDataModule

from ..collate import pad_time
from ..datasets import PASTIS
from ..errors import SITSError
from ..renamed import PASTIS_OPTIONS, take_old_names
from ..samplers import ShardedSampler
from ..transforms import Normalize
from .base import SeriesDataModule, choose, given_statistics
from .loader import ResumableLoader
from .options import LabelOptions
from .pastis_samples import (
    ParcelSamples,
    PatchSamples,
    ShuffledSamples,
    choose_parcels,
    find_parcels,
)

__all__ = ['PASTISDataModule']


Split = Literal['train', 'val', 'test']
_SPLITS: tuple[Split, ...] = ('train', 'val', 'test')

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
    """

    unlabelled = PASTIS.void
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
            labels: What is labelled, and how much of it is used for training: ``target``,
                ``fields_per_class`` and ``fraction``; fields are the parcels. What lies in no
                parcel counts as one parcel of background in each patch. Patches without any
                label are left out. All is labelled, so that ``supervised`` changes nothing;
                options on label rasters of one's own are refused.
            label_unit: What ``labels.fraction`` is a share of, parcels or patches.
            crop: Height and width in pixels of a square drawn from each patch of training, and
                of the squares around parcels. None reads whole patches, as validation and
                test of patches always do.
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
        """All patches of a split, opened at first use.

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
                ShuffledSamples(len(train), seed=self.seed), drop_last=True
            )
        if stage in ('fit', 'validate'):
            self.val_dataset = self._scored_samples('val')
        if stage == 'test':
            self.test_dataset = self._scored_samples('test')
        if stage == 'predict':
            self.predict_dataset = self._scored_samples('test')
        self._set_transforms()

    def train_dataloader(self) -> ResumableLoader:
        """Samples for training; a resumed run gets the rest of an epoch.

        A last batch that is not full is dropped where there is a full one.

        Returns:
            The loader.
        """
        return ResumableLoader(
            self.train_dataset,
            batch_size=self.batch_size,
            sampler=self.train_sampler,
            num_workers=self.num_workers,
            collate_fn=self.collate_fn,
            drop_last=len(self.train_sampler) >= self.batch_size,
            persistent_workers=self.num_workers > 0,
        )

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
                PatchSamples(
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
        parcels = find_parcels(data)
        kept = choose_parcels(
            parcels,
            per_class=self.labels.fields_per_class,
            fraction=self.labels.fraction,
            seed=self.seed,
        )
        return np.unique(parcels.patch[np.isin(parcels.parcel, kept)]), kept

    def _train_samples(self) -> PatchSamples | ParcelSamples:
        """Samples of training."""
        data = self.patches('train')
        chosen, kept = self._labelled
        if self.target == 'pixel':
            return PatchSamples(data, chosen, crop=self.crop, random=True, kept=kept)
        parcels = find_parcels(data)
        inside = np.isin(parcels.patch, chosen) & (parcels.parcel > 0)
        if kept is not None:
            inside &= np.isin(parcels.parcel, kept)
        return ParcelSamples(data, parcels.only(inside), crop=self.crop)

    def _scored_samples(self, split: Split) -> PatchSamples | ParcelSamples:
        """Samples of validation or test: all of the split."""
        data = self.patches(split)
        if self.target == 'pixel':
            return PatchSamples(data, np.arange(len(data)))
        parcels = find_parcels(data)
        return ParcelSamples(data, parcels.only(parcels.parcel > 0), crop=self.crop)
