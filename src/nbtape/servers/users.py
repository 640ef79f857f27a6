"""Whose a container's processes and files are, by numbers: names mean nothing outside of its image."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_NUMBERS: Final = re.compile(r"(\d+)(?::(\d+))?")


@dataclass(frozen=True)
class User:
    """A user and its group.

    Args:
        number: The user's number.
        group: The group's.
    """

    number: int
    group: int

    @classmethod
    def of(cls, text: str) -> User | None:
        """The user of `1000:1000`, or of `1000`, whose group has the same number; None of any other text."""
        found = _NUMBERS.fullmatch(text)
        return cls(int(found[1]), int(found[2] or found[1])) if found else None

    def __str__(self) -> str:
        return f"{self.number}:{self.group}"


#: Who it is where there is nobody whose files it would write.
NOBODY: Final = User(1000, 1000)
