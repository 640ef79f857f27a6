"""The internals of jsonschema that nbtape depends on. `tests/common/test_compat_jsonschema.py` checks each use."""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

#: Installed with jupyter_server. jsonschema's `_format.py` imports only `is_valid_syntax` from it, for the formats
#: `iri` and `iri-reference`. Importing it builds a grammar, which takes a second.
_GRAMMAR: Final = "rfc3987_syntax"

_importing: Final = threading.Lock()


def defer_grammar() -> None:
    """Import jsonschema without its grammar, which is built on first use. Call this before importing nbformat."""
    with _importing:
        if "jsonschema" in sys.modules or _GRAMMAR in sys.modules or find_spec(_GRAMMAR) is None:
            return
        stand_in = ModuleType(_GRAMMAR)
        stand_in.is_valid_syntax = _is_valid_syntax  # type: ignore[attr-defined]
        sys.modules[_GRAMMAR] = stand_in
        try:
            import_module("jsonschema")
        finally:
            del sys.modules[_GRAMMAR]


def _is_valid_syntax(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (the signature of rfc3987_syntax)
    from rfc3987_syntax import is_valid_syntax  # type: ignore[import-not-found,import-untyped,unused-ignore]

    return is_valid_syntax(*args, **kwargs)
