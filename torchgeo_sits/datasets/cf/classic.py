"""Length of classic NetCDF files: their library reads what is cut off as zeros."""

import math
import struct
from typing import BinaryIO

__all__ = ['missing_bytes']

#: Bytes of a value, by the number of its type.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}


def missing_bytes(path: str) -> int:
    """Count the bytes that a classic NetCDF file lacks.

    Args:
        path: Any file.

    Returns:
        How many its header tells of that are not there; 0 for files of other formats.

    Examples:
        >>> from tempfile import NamedTemporaryFile
        >>> from torchgeo_sits.datasets.cf.classic import missing_bytes
        >>> with NamedTemporaryFile() as file:
        ...     _ = file.write(b'no NetCDF')
        ...     file.flush()
        ...     missing_bytes(file.name)
        0
    """
    with open(path, 'rb') as file:
        magic = file.read(4)
        if magic[:3] != b'CDF' or magic[3:] not in (b'\1', b'\2', b'\5'):
            return 0
        try:
            expected = _Header(file, magic[3]).end()
        except struct.error:  # the header itself is cut off
            return 1
        file.seek(0, 2)
        return max(0, expected - file.tell())


class _Header:
    """The header of a classic file, as the specification of its format has it.

    Args:
        file: The file, after its first four bytes.
        version: 1, 2 (large offsets) or 5 (large numbers).
    """

    def __init__(self, file: BinaryIO, version: int) -> None:
        self._file = file
        self._number = '>Q' if version == 5 else '>I'
        self._offset = '>I' if version == 1 else '>Q'

    def _read(self, kind: str) -> int:
        """Read one number."""
        size = struct.calcsize(kind)
        value: int = struct.unpack(kind, self._file.read(size))[0]
        return value

    def _skip(self, size: int) -> None:
        """Pass over so many bytes, and those that fill up four."""
        self._file.seek(size + -size % 4, 1)

    def _skip_attributes(self) -> None:
        """Pass over a list of attributes."""
        for _ in range(self._count()):
            self._skip(self._read(self._number))
            size = _SIZES.get(self._read('>I'), 1)
            self._skip(size * self._read(self._number))

    def _count(self) -> int:
        """Read the tag of a list, and the number of its items."""
        self._read('>I')
        return self._read(self._number)

    def end(self) -> int:
        """Find where the last value ends.

        Returns:
            Bytes from the start of the file.
        """
        records = self._read(self._number)
        lengths = []
        for _ in range(self._count()):
            self._skip(self._read(self._number))
            lengths.append(self._read(self._number))  # 0 for that of records
        self._skip_attributes()
        end = self._file.tell()
        of_records: list[tuple[int, int]] = []  # beginning, and bytes in each record
        for _ in range(self._count()):
            self._skip(self._read(self._number))
            shape = [lengths[self._read(self._number)] for _ in range(self._read(self._number))]
            self._skip_attributes()
            size = _SIZES.get(self._read('>I'), 1)
            self._read(self._number)  # their sum, which is too short for large variables
            begin = self._read(self._offset)
            if shape and shape[0] == 0:
                of_records.append((begin, math.prod(shape[1:]) * size))
            else:
                end = max(end, begin + math.prod(shape) * size)
        # Records of several variables are filled up to four bytes, those of one are not.
        length = sum(size + -size % 4 for _, size in of_records)
        if len(of_records) == 1:
            length = of_records[0][1]
        streamed = records == (2**64 if self._number == '>Q' else 2**32) - 1
        if records and not streamed:
            for begin, size in of_records:
                end = max(end, begin + (records - 1) * length + size)
        return end
