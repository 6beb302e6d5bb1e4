"""The commands of ``torchgeo-sits``: a module each, and the parser and training they share."""
