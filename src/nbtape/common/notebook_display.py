"""How nbtape's objects are displayed as the value of a notebook cell.

Jupyter calls `_repr_html_`: https://ipython.readthedocs.io/en/stable/config/integrating.html#custom-methods.
"""

from __future__ import annotations

from html import escape


def preformatted(text: str) -> str:
    """Return text as inert HTML that keeps its line breaks."""
    return f"<pre>{escape(text)}</pre>"


class Displayed:
    """Something that a notebook shows as its text."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return preformatted(str(self))
