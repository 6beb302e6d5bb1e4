"""Options of a data module by flat names, such as ``labels__paths``, put into their groups."""

from torchgeo_sits.datamodules import (
    ImageOptions,
    LabelOptions,
    PatchOptions,
    Sentinel1Options,
    SplitOptions,
)

GROUPS = {
    'images': ImageOptions,
    'labels': LabelOptions,
    'split': SplitOptions,
    'patches': PatchOptions,
    's1': Sentinel1Options,
}


def grouped(**options):
    """Arguments of a data module: those with a group in front as its dataclass."""
    plain, groups = {}, {}
    for name, value in options.items():
        group, separator, option = name.partition('__')
        if separator:
            groups.setdefault(group, {})[option] = value
        else:
            plain[name] = value
    return plain | {group: GROUPS[group](**given) for group, given in groups.items()}
