"""Read a notebook's own settings for judging it, which apply only if the caller trusts the notebook."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from nbtape.notebook.format import is_left_out, own_metadata, own_status
from nbtape.replay.expectations import may_fail_tags, was_run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbtape.replay.compare.settings import ReplaySettings

#: Tags of nbval (https://nbval.readthedocs.io) for cells whose outputs are not compared.
_IGNORING: Final = frozenset({"nbval-ignore-output", "NBVAL_IGNORE_OUTPUT"})

#: Conversions of settings from JSON.
_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(("relative", "absolute", "last_place"), float),
    "levels": int,
    "cosmetic": frozenset,
    "extra": tuple,
}


@dataclass(frozen=True, slots=True)
class CellRules:
    """How one cell is judged.

    Args:
        settings: The caller's settings.
        own: The settings with the cell's own `replay` metadata, if that exists and is trusted; otherwise None.
        is_trusted: Whether the cell's tags apply.
    """

    settings: ReplaySettings
    own: ReplaySettings | None = None
    is_trusted: bool = False

    @classmethod
    def of(cls, index: int, cell: Mapping[str, Any], settings: ReplaySettings, *, trusted: bool) -> CellRules:
        """The rules for a recorded cell; raises ValueError if its trusted settings are invalid."""
        return cls(settings, _own_settings(index, cell, settings) if trusted else None, trusted)


def found_settings(cell: Mapping[str, Any]) -> tuple[str, ...]:
    """List the tags and metadata of a recorded code cell that could relax its verdict."""
    tags = cell["metadata"].get("tags", [])
    found = ["metadata.nbtape.replay"] if own_metadata(cell).get("replay") is not None else []
    found += sorted(_IGNORING.intersection(tags))
    if was_run(cell):
        found += ["skip-execution"] if is_left_out(cell) else []
        found += ["status not_run"] if own_status(cell) == "not_run" else []
    if not was_run(cell) or own_status(cell) == "running":
        found += may_fail_tags(cell)
    return tuple(found)


def ignores_outputs(cell: Mapping[str, Any]) -> bool:
    """Whether a tag excludes the outputs of a cell from the comparison."""
    return bool(_IGNORING.intersection(cell["metadata"].get("tags", [])))


def _own_settings(index: int, cell: Mapping[str, Any], settings: ReplaySettings) -> ReplaySettings | None:
    own = own_metadata(cell).get("replay")
    if own is None:
        return None
    try:
        return replace(settings, **{name: _READ[name](value) for name, value in own.items()})
    except (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError, re.error) as exc:
        raise ValueError(f"Cell {index} has invalid replay settings ({exc}). See nbtape.ReplaySettings.") from exc
