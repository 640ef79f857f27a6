"""Checks of the types of arguments, so that a wrong one is an error at once that names it and what it must be."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Maximum length of a value in an error.
_MAX_SHOWN_CHARS = 100


def path_argument(name: str, value: object) -> Path:
    """A path; raises TypeError for anything else than a string or a path of strings."""
    if isinstance(value, str) or (isinstance(value, os.PathLike) and isinstance(value.__fspath__(), str)):
        return Path(value)
    raise _wrong(name, "a path (a string or a pathlib.Path)", value)


def text_argument(name: str, value: object) -> str:
    """A string; raises TypeError for anything else."""
    if isinstance(value, str):
        return value
    raise _wrong(name, "a string", value)


def check_callable(name: str, value: object) -> None:
    """Raise TypeError unless it is callable or None."""
    if value is not None and not callable(value):
        raise _wrong(name, "callable, or None", value)


def check_instance(name: str, value: object, kind: type) -> None:
    """Raise TypeError unless it is of that type."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _wrong(name, {bool: "True or False", int: "an integer"}.get(kind, f"a {kind.__name__}"), value)


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise ValueError unless it is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name}= must be {' or '.join(map(repr, choices))}, not {value!r:.{_MAX_SHOWN_CHARS}}.")


def check_positive(name: str, value: object) -> None:
    """Raise ValueError unless it is a finite number greater than 0."""
    if not (is_number(value) and 0 < value < math.inf):
        raise ValueError(f"{name}= must be a finite number greater than 0, not {value!r:.{_MAX_SHOWN_CHARS}}.")


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is an integer or a float, also one of NumPy, and not a bool."""
    return hasattr(value, "__float__") and hasattr(value, "__lt__") and not isinstance(value, (bool, str))


def _wrong(name: str, kind: str, value: object) -> TypeError:
    return TypeError(f"{name}= must be {kind}, not {value!r:.{_MAX_SHOWN_CHARS}}.")
