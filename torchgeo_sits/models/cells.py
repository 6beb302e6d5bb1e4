"""Cells of some pixels along the side of an image."""

__all__ = ['count_cells', 'gap_to_cells']


def count_cells(side: int, stride: int) -> int:
    """Number of cells that cover a side, the last of them in part where it does not divide.

    Args:
        side: Pixels along the side.
        stride: Pixels along the side of a cell.
    """
    # Not -(-side // stride): integers of ONNX are divided towards zero.
    return (side + stride - 1) // stride


def gap_to_cells(side: int, stride: int) -> int:
    """Pixels that a side lacks to be of whole cells; arguments as of :func:`count_cells`."""
    return count_cells(side, stride) * stride - side
