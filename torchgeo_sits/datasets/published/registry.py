"""The published data sets by name, and those of others by dotted path."""

from importlib import import_module
from inspect import isabstract
from typing import Final

from ...errors import SITSError
from .base import PublishedTimeSeries
from .biomassters import BioMassters
from .bradd import BraDDS1TS
from .breizhcrops import BreizhCrops
from .cropharvest import CropHarvest
from .cv4akenya import CV4AKenya
from .dafals import DAFALS
from .denethor import Denethor
from .dynamicearthnet import DynamicEarthNet
from .eurocropsml import EuroCropsML
from .flairhub import FLAIRHUB
from .mtlcc import MTLCC
from .multisenge import MultiSenGE
from .pastis_hd import PASTISHD
from .sen4agrinet import Sen4AgriNet
from .sen4map import Sen4Map
from .sickle import Sickle
from .sitsscd_dynamicearthnet import SitsSCDDynamicEarthNet
from .sitsscd_muds import SitsSCDMUDS
from .spacenet7 import SpaceNet7
from .ssl4eos12 import SSL4EOS12
from .timesen2crop import TimeSen2Crop
from .tiselac import TiSeLaC
from .treesataits import TreeSatAITS
from .zuericrop import ZueriCrop

__all__ = ['DATASETS', 'find_dataset']

#: The data sets by the names that ``data.dataset`` and ``torchgeo-sits data`` take.
DATASETS: Final[dict[str, type[PublishedTimeSeries]]] = {
    'biomassters': BioMassters,
    'bradd': BraDDS1TS,
    'breizhcrops': BreizhCrops,
    'cropharvest': CropHarvest,
    'cv4akenya': CV4AKenya,
    'dafals': DAFALS,
    'denethor': Denethor,
    'dynamicearthnet': DynamicEarthNet,
    'eurocropsml': EuroCropsML,
    'flairhub': FLAIRHUB,
    'mtlcc': MTLCC,
    'multisenge': MultiSenGE,
    'pastis_hd': PASTISHD,
    'sen4agrinet': Sen4AgriNet,
    'sen4map': Sen4Map,
    'sickle': Sickle,
    'sitsscd_dynamicearthnet': SitsSCDDynamicEarthNet,
    'sitsscd_muds': SitsSCDMUDS,
    'spacenet7': SpaceNet7,
    'ssl4eos12': SSL4EOS12,
    'timesen2crop': TimeSen2Crop,
    'tiselac': TiSeLaC,
    'treesataits': TreeSatAITS,
    'zuericrop': ZueriCrop,
}


def find_dataset(name: str) -> type[PublishedTimeSeries]:
    """Find a data set.

    Args:
        name: One of :data:`DATASETS`, or the dotted path of a class of one's own.

    Raises:
        SITSError: If there is none.

    Examples:
        >>> from torchgeo_sits.datasets.published import find_dataset
        >>> find_dataset('breizhcrops').__name__
        'BreizhCrops'
    """
    if name in DATASETS:
        return DATASETS[name]
    module, _, attribute = name.rpartition('.')
    try:
        found = getattr(import_module(module), attribute) if module else None
    except (ImportError, AttributeError, TypeError) as error:  # the last where it is relative
        raise SITSError(f'the data set {name!r} cannot be imported: {error}') from error
    if not (isinstance(found, type) and issubclass(found, PublishedTimeSeries)):
        raise SITSError(
            f'there is no data set {name!r}: expected one of {", ".join(sorted(DATASETS))}, or the '
            'dotted path of a subclass of PublishedTimeSeries'
        )
    if isabstract(found):
        lacking = ', '.join(sorted(found.__abstractmethods__))
        raise SITSError(f'{name!r} is no data set yet: it does not say {lacking}')
    return found
