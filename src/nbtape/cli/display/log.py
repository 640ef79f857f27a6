"""What the library logs, on standard error: its warnings in a line each, or all of it."""

from __future__ import annotations

import logging
import sys
from typing import Final

from nbtape.cli.display.consoles import read_or_not
from nbtape.cli.display.plain import plain

_LIBRARY: Final = logging.getLogger("nbtape")

#: Characters of a message that are shown: there are some with whole outputs in them.
_LONGEST: Final = 2000


def show_log(*, everything: bool) -> None:
    """From now on, show what is logged.

    Others' loggers stay as they are: websockets, for one, logs headers, in which there are tokens.

    Args:
        everything: Whether that is all, with tracebacks, and not warnings alone.
    """
    shown = _StandardError()
    shown.setFormatter(_Event("%(asctime)s %(name)s: %(message)s") if everything else _Line())
    _LIBRARY.handlers[:] = [shown]
    _LIBRARY.setLevel(logging.DEBUG if everything else logging.WARNING)
    _LIBRARY.propagate = False


def is_debugging() -> bool:
    """Whether all is shown."""
    return _LIBRARY.isEnabledFor(logging.DEBUG)


class _StandardError(logging.Handler):
    """Standard error as it is when there is something to say: a progress line stands in for it."""

    def emit(self, record: logging.LogRecord) -> None:
        with read_or_not():
            sys.stderr.write(plain(self.format(record)) + "\n")


class _Event(logging.Formatter):
    """A message within a bound, and the traceback behind it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's)
        message = super().formatMessage(record)
        return message if len(message) <= _LONGEST else f"{message[:_LONGEST]} …"


class _Line(logging.Formatter):
    """A line for people."""

    def format(self, record: logging.LogRecord) -> str:
        return f"nbtape: {record.getMessage()}"
