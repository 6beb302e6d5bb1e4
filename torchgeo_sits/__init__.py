"""Self-supervised learning on satellite image time series, an extension of TorchGeo.

Importing the package is cheap: nothing heavy is loaded before :func:`register` or a
submodule is asked for, so that ``torchgeo-sits --version`` answers at once.
"""

__all__ = ['__version__', 'register']

__version__ = '0.1.0'


def register() -> None:
    """Make the extension's classes and models known to TorchGeo, timm and smp.

    Idempotent. Short class names (``SITSDINO``, ``SITSDataModule``, ...) resolve in
    TorchGeo's command line once their modules are imported, and
    :func:`torchgeo.models.get_model` sees the models once they are in its tables.
    """
    from . import datamodules, tasks  # noqa: F401
    from .models.api import register_models

    register_models()
