"""The import of jsonschema without a grammar that takes a second to build, and that hardly anybody asks for."""

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
