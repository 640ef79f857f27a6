"""Shorten a session with a breach by trying smaller and smaller parts of it: delta debugging."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stress.sessions import Session, Step


def shrink(session: Session, shows: Callable[[Session], bool]) -> Session:
    """Return the shortest session found that has the same breach as `session`.

    Args:
        session: A session with the breach.
        shows: Plays a session and returns whether it has the same breach; always False when the time is over.
    """
    parts = 2
    while len(session.steps) > 1:
        shorter = next((found for found in _without_a_part(session, parts) if shows(found)), None)
        if shorter is not None:
            session, parts = shorter, max(2, parts - 1)
        elif parts < len(session.steps):
            parts = min(2 * parts, len(session.steps))
        else:
            break
    for position in range(len(session.steps)):
        session = next((found for found in _smaller(session, position) if shows(found)), session)
    return session


def _without_a_part(session: Session, parts: int) -> Iterator[Session]:
    steps = session.steps
    length = -(-len(steps) // parts)
    for start in range(0, len(steps), length):
        yield session.having(steps[:start] + steps[start + length :])


def _smaller(session: Session, position: int) -> Iterator[Session]:
    """Return the session with one smaller step; the smallest first."""
    size = session.steps[position].size
    for smaller in {size // 100, size // 10} - {0, size}:
        yield session.having(_at(session, position, replace(session.steps[position], size=smaller)))


def _at(session: Session, position: int, step: Step) -> tuple[Step, ...]:
    return (*session.steps[:position], step, *session.steps[position + 1 :])
