"""Places that a user holds out, of data sets without an official split."""

from collections.abc import Sequence

from ...errors import SITSError
from .base import Part

__all__ = ['HeldOut']

#: Turns of four in the order of the names, unless a user says otherwise.
_TURNS: dict[Part, tuple[int, ...]] = {'train': (0, 1), 'val': (2,), 'test': (3,)}


class HeldOut:
    """Places held out for validation and test, by name, or every fourth each where none is named.

    Args:
        val: Names of the places for validation.
        test: Names of those for the test.

    Raises:
        SITSError: If a place is in both.

    Examples:
        >>> from torchgeo_sits.datasets.published.held_out import HeldOut
        >>> HeldOut(None, None).names_of('val', ['a', 'b', 'c', 'd'])
        ['c']
        >>> HeldOut(['a'], None).names_of('train', ['a', 'b', 'c', 'd'])
        ['b', 'c', 'd']
    """

    def __init__(self, val: Sequence[str] | None, test: Sequence[str] | None) -> None:
        self._named: dict[Part, set[str]] | None = None
        if val is not None or test is not None:
            self._named = {'val': set(val or ()), 'test': set(test or ())}
            if both := sorted(self._named['val'] & self._named['test']):
                raise SITSError(
                    f'{both} are held out for validation and test: take them out of one'
                )

    def names_of(self, part: Part, names: Sequence[str]) -> list[str]:
        """Places of a part.

        Args:
            part: The part; 'unlabelled' has none.
            names: Names of all places.

        Raises:
            SITSError: If a place that was named is not among them.
        """
        names = sorted(names)
        if self._named is None:
            turns = _TURNS.get(part, ())
            return [name for number, name in enumerate(names) if number % 4 in turns]
        held_out = self._named['val'] | self._named['test']
        if odd := sorted(held_out - set(names)):
            raise SITSError(f'{odd} are to be held out, but are none of the places {names}')
        if part == 'train':
            return [name for name in names if name not in held_out]
        return sorted(self._named.get(part, ()))
