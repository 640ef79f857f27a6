"""Write the parameters of a session as Python, for a cell that papermill can find and override.

See https://papermill.readthedocs.io/en/latest/usage-parameterize.html.
"""

from __future__ import annotations

import ast
import keyword
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The tag of the cell.
TAG: Final = "parameters"


def assignments(values: Mapping[str, object]) -> str:
    """One line of Python per parameter; raises ValueError for invalid names and for values that are not literals."""
    if not values:
        raise ValueError("Pass at least one parameter, as in parameters(n=14).")
    return "\n".join(f"{_checked_name(name)} = {_literal(name, value)}" for name, value in values.items())


def _checked_name(name: str) -> str:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"{name!r} is not a valid name for a Python variable. Rename the parameter.")
    return name


def _literal(name: str, value: object) -> str:
    text = repr(value)
    try:
        if ast.literal_eval(text) == value:
            return text
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass
    raise ValueError(
        f"The parameter {name} is not a Python literal. Use a finite number, a string, a boolean, None, or a list, "
        "tuple or dict of them."
    )
