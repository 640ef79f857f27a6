"""What `nbtape watch` says when it begins to follow a session, and when that has ended: on a terminal as on a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbtape.cli.display.plain import plain_line
from nbtape.cli.display.status_line import say
from nbtape.summary.wording import conclusion_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbtape.watch.follow import Session


def say_until_when(session: Session, name: str) -> None:
    """Say until when a notebook is followed, as of the first look."""
    name = plain_line(name)
    if session.lives is None:
        say(f"Following {name}. Where it is, nobody can tell when a session ends: Ctrl-C ends this.")
    elif session.lives:
        say(f"Following {name} until its session ends, or Ctrl-C.")


def say_conclusion(session: Session, name: str, counts: Mapping[str, int]) -> None:
    """Say what became of it.

    Args:
        session: The session, which has ended.
        name: What its notebook is called.
        counts: How many cells of code ended how.
    """
    hint = " That is as far as it goes; --wait waits for a session." if session.ending == "not written" else ""
    say(f"\n{conclusion_of(plain_line(name), session.ending, counts)}{hint}")
