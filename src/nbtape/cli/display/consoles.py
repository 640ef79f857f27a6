"""The terminals that a person looks at, if there are any, and how lively they may be."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console


class Consoles(NamedTuple):
    """Where things are shown.

    Args:
        out: Standard output.
        err: Standard error, or `out`, where both are terminals: one console, so that neither overwrites the other.
    """

    out: Console
    err: Console


def consoles() -> Consoles:
    """Consoles for text that is shown as it is. They honour NO_COLOR and FORCE_COLOR, as rich does."""
    from rich.console import Console

    class Piped(Console):
        """With FORCE_COLOR it may be a pipe, whose end is for us to tell: rich would exit."""

        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704  (rich calls it where it has caught that)

    out, err = (
        Piped(stderr=each, highlight=False, markup=False, emoji=False, soft_wrap=True) for each in (False, True)
    )
    return Consoles(out, out if sys.stdout.isatty() and sys.stderr.isatty() else err)


def shows_progress() -> bool:
    """Whether somebody looks at standard error, on a terminal whose cursor moves."""
    return sys.stderr.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}


def wants_colour() -> bool | None:
    """Whether colours are wanted everywhere, or nowhere; None for on terminals.

    See https://no-color.org and https://force-color.org; the first has the last word.
    """
    if os.environ.get("NO_COLOR"):
        return False
    return True if os.environ.get("FORCE_COLOR") else None


@contextlib.contextmanager
def read_or_not() -> Iterator[None]:
    """Go on where nobody reads what is said any more."""
    try:
        yield
    except BrokenPipeError:
        leave_closed_pipes()


def leave_closed_pipes() -> bool:
    """Have what is said from now on go nowhere where nobody reads it any more, and tell whether that is so anywhere."""
    closed = [stream.fileno() for stream in (sys.stdout, sys.stderr) if _is_closed(stream.fileno())]
    for pipe in closed:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, pipe)
        os.close(nowhere)
    return bool(closed)


def _is_closed(pipe: int) -> bool:
    if not hasattr(select, "poll"):  # Windows, where nobody can tell
        return True
    ends = select.poll()
    ends.register(pipe, 0)
    return bool(ends.poll(0))  # there is nothing to hear of but that
