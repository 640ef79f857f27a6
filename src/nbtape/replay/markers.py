"""Tags and comments in a cell that control how it is run and compared.

They are those of nbclient and nbval (https://nbval.readthedocs.io). A comment of nbval takes a whole line, such as
`# NBVAL_SKIP`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from nbtape.notebook.format import is_left_out

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAY_FAIL: Final = frozenset({"raises-exception", "nbval-raises-exception"})
_SKIP: Final = frozenset({"nbval-skip", "NBVAL_SKIP"})
_IGNORE_OUTPUT: Final = frozenset({"nbval-ignore-output", "NBVAL_IGNORE_OUTPUT", "PYTEST_VALIDATE_IGNORE_OUTPUT"})


def may_fail_marks(cell: Mapping[str, Any]) -> list[str]:
    """The tags of a cell that let it fail."""
    return sorted(_MAY_FAIL.intersection(cell["metadata"].get("tags", [])))


def skip_marks(cell: Mapping[str, Any]) -> list[str]:
    """The tags and comments of a cell that leave it out of a run."""
    return [*(["skip-execution"] if is_left_out(cell) else []), *_found(cell, _SKIP)]


def ignore_marks(cell: Mapping[str, Any]) -> list[str]:
    """The tags and comments of a cell that leave its outputs out of a comparison."""
    return _found(cell, _IGNORE_OUTPUT)


def _found(cell: Mapping[str, Any], names: frozenset[str]) -> list[str]:
    comments = {line.lstrip("#").strip() for line in map(str.strip, cell["source"].splitlines()) if line[:1] == "#"}
    tags = names.intersection(cell["metadata"].get("tags", []))
    return [*sorted(tags), *(f"# {name}" for name in sorted(names & comments))]
