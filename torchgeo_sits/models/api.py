"""Registration of the encoders with TorchGeo, timm and smp.

The only file that touches TorchGeo's private tables: TorchGeo 0.10 has no public way to
register a model. There are no published weights yet, so :func:`torchgeo.models.get_weight`
has nothing to find and no weights enum is registered.
"""

from .builders import ENCODERS

__all__ = ['register_models']


def register_models() -> None:
    """Make the encoders known to TorchGeo, timm and segmentation_models_pytorch.

    Afterwards :func:`torchgeo.models.list_models` and :func:`~torchgeo.models.get_model` see
    them; ``timm.create_model('sits_planar_vit_tiny', in_chans=T * C, num_classes=0)`` builds
    them for TorchGeo's own tasks; and smp knows ``sits_planar_vit_tiny`` as an encoder.
    Calling it again changes nothing, and names that others have taken are left to them.
    """
    # Slow to import (seconds), so only here.
    from torchgeo.models import api as torchgeo_api

    from .backbones import register_smp_encoder, register_timm_backbone

    for name, builder in ENCODERS.items():
        torchgeo_api._model.setdefault(name, builder)
        register_timm_backbone(f'sits_{name}', encoder=name)
        register_smp_encoder(f'sits_{name}', encoder=name)
