"""PASTIS-HD: the release of PASTIS-R as it lies at the root of its repository."""

from ...pastis_release import write_release as write_pastis


def write_release(folder):
    """Write the release into a folder."""
    return write_pastis(folder, size=24)
