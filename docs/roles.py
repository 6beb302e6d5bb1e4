"""Sphinx's roles in docstrings, as TorchGeo and Lightning write them, for mkdocstrings."""

import re
from typing import Any

from griffe import Extension, Object

ROLE = re.compile(r':(?:py:)?(?:class|func|meth|mod|data|attr|exc):`(~?)([^`]+)`')


class Roles(Extension):
    """Turn ``:class:`~a.b.C``` into code that reads ``C``."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Rewrite the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = ROLE.sub(plain, obj.docstring.value)


def plain(role: re.Match[str]) -> str:
    """Write the name that a role refers to."""
    short, target = role.groups()
    name = target.rpartition('.')[2] if short else target.removeprefix('.')
    return f'`{name}`'
