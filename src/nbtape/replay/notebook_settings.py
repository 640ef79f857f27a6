"""Read a notebook's own settings for judging it, which apply only if the caller trusts the notebook."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from nbtape.notebook.format import own_metadata, own_status
from nbtape.replay.expectations import Expectation, expectation, was_run
from nbtape.replay.markers import ignore_marks, may_fail_marks, skip_marks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbtape.replay.compare.settings import ReplaySettings

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
        is_trusted: Whether the cell's tags and comments apply.
    """

    settings: ReplaySettings
    own: ReplaySettings | None = None
    is_trusted: bool = False

    @classmethod
    def of(cls, block: int, cell: Mapping[str, Any], settings: ReplaySettings, *, trusted: bool) -> CellRules:
        """The rules for a recorded cell; raises ValueError if its trusted settings are invalid."""
        return cls(settings, _own_settings(block, cell, settings) if trusted else None, trusted)

    def expectation(self, cell: Mapping[str, Any]) -> Expectation:
        """What the recorded cell has to do again; its tags and comments may skip it if they are trusted."""
        return expectation(cell, skipped=self.is_trusted and bool(skip_marks(cell)))


def found_settings(cell: Mapping[str, Any]) -> tuple[str, ...]:
    """List the tags, comments and metadata of a recorded code cell that could relax its verdict."""
    found = ["metadata.nbtape.replay"] if own_metadata(cell).get("replay") is not None else []
    found += ignore_marks(cell)
    if was_run(cell):
        found += skip_marks(cell)
        found += ["status not_run"] if own_status(cell) == "not_run" else []
    if not was_run(cell) or own_status(cell) == "running":
        found += may_fail_marks(cell)
    return tuple(found)


def _own_settings(block: int, cell: Mapping[str, Any], settings: ReplaySettings) -> ReplaySettings | None:
    own = own_metadata(cell).get("replay")
    if own is None:
        return None
    try:
        return replace(settings, **{name: _READ[name](value) for name, value in own.items()})
    except (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError, re.error) as exc:
        raise ValueError(f"Block {block} has invalid replay settings ({exc}). See nbtape.ReplaySettings.") from exc
