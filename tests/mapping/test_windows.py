"""Windows cover a raster, and their weights leave no seam."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchgeo_sits.mapping import OverlappingWindows


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    size=st.integers(1, 128),
    share=st.floats(0, 0.5),
)
def test_each_pixel_has_weight_and_no_window_reaches_beyond(height, width, size, share):
    windows = OverlappingWindows(height, width, size, int(share * size))
    total = np.zeros((height, width))
    h, w = windows.shape
    assert h <= size
    assert w <= size
    for number in range(len(windows)):
        row, column = windows.corner(number)
        assert 0 <= row <= height - h
        assert 0 <= column <= width - w
        total[row : row + h, column : column + w] += windows.weights(number)
    assert total.min() > 0.99


def test_two_neighbours_share_the_weight_and_the_outermost_pixels_have_none():
    windows = OverlappingWindows(8, 112, 64, 16)
    assert windows.shape == (8, 64)
    assert windows.columns == [0, 48]
    left, right = (windows.weights(number)[0] for number in range(2))
    np.testing.assert_allclose(left[48:] + right[:16], 1, atol=1e-6)
    # sin^2 from 0 to 1 over the middle half of the overlap, none over the quarters beside it.
    np.testing.assert_allclose(right[:4], 0)
    np.testing.assert_allclose(right[12:], 1)
    np.testing.assert_allclose(right[4], np.sin(np.pi / 2 * 0.5 / 8) ** 2, rtol=1e-6)
    # The edges of the raster are no borders.
    np.testing.assert_array_equal(left[:48], 1)


def test_windows_are_no_larger_than_so_many_must_be():
    # Three windows of up to 256 cover 512: of 192, with 32 shared, and not of 256.
    assert OverlappingWindows(512, 512, 256, 32).shape == (192, 192)
    assert OverlappingWindows(512, 512, 256, 32).rows == [0, 160, 320]


@pytest.mark.parametrize(('size', 'overlap'), [(0, 0), (64, 33), (64, -1)])
def test_numbers_out_of_range_are_refused(size, overlap):
    with pytest.raises(ValueError, match='expected'):
        OverlappingWindows(100, 100, size, overlap)


def test_windows_over_a_block_are_those_that_share_a_pixel_with_it():
    windows = OverlappingWindows(100, 100, 40, 8)
    h, w = windows.shape
    rows, columns = slice(30, 50), slice(0, 33)
    expected = []
    for number in range(len(windows)):
        row, column = windows.corner(number)
        mask = np.zeros((100, 100), bool)
        mask[row : row + h, column : column + w] = True
        if mask[rows, columns].any():
            expected.append(number)
    assert windows.over(rows, columns) == expected
