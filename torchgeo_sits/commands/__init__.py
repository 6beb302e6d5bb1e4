"""The jobs of ``torchgeo-sits`` beside training: one module, one command."""
