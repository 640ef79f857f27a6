"""Imports that take long: done while a kernel starts, and without a grammar that takes a second to build."""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

#: What jsonschema takes from it is `is_valid_syntax`, for its formats `iri` and `iri_reference`; see its `_format.py`.
#: It is installed where jupyter_server is.
_GRAMMAR: Final = "rfc3987_syntax"

_turn: Final = threading.Lock()


def defer_grammar() -> None:
    """Have the grammar built when it is first asked for. Before anything imports jsonschema, as nbformat does."""
    with _turn:  # of threads that come at once, the second finds jsonschema there
        if "jsonschema" in sys.modules or _GRAMMAR in sys.modules or find_spec(_GRAMMAR) is None:
            return
        stand_in = ModuleType(_GRAMMAR)
        stand_in.is_valid_syntax = _is_valid_syntax  # type: ignore[attr-defined]
        sys.modules[_GRAMMAR] = stand_in
        try:
            import_module("jsonschema")
        finally:
            del sys.modules[_GRAMMAR]


def _is_valid_syntax(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401  (the other's)
    from rfc3987_syntax import is_valid_syntax  # type: ignore[import-not-found,import-untyped,unused-ignore]

    return is_valid_syntax(*arguments, **named)


def import_heavy_packages() -> None:
    """Import what recording needs, while a kernel is on its way: nbclient, nbformat and jsonschema."""
    defer_grammar()
    for package in ("nbclient", "nbformat.v4"):
        import_module(package)


def compile_notebook_schema() -> None:
    """Compile nbformat's schema before the first output needs it: 60 ms that a starting kernel leaves free."""
    import_heavy_packages()
    from nbformat.v4 import new_output

    new_output("stream")
