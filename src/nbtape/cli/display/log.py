"""Show the library's log on standard error: warnings in one line each, or everything."""

from __future__ import annotations

import logging
from typing import Final

from nbtape.cli.display.consoles import read_or_not
from nbtape.cli.display.plain import plain_code
from nbtape.cli.display.printing import guard_standard_error, write_error
from nbtape.cli.option_names import as_options

_LIBRARY: Final = logging.getLogger("nbtape")

#: Some messages hold whole outputs.
_MAX_MESSAGE_CHARS: Final = 2000


def show_log(*, everything: bool) -> None:
    """Show everything that nbtape logs, with tracebacks, or only its warnings.

    Other loggers stay silent, because some log secrets: websockets logs headers with tokens.
    """
    handler = _StandardError()
    handler.setFormatter(_Event("%(asctime)s %(name)s: %(message)s") if everything else _Line())
    _LIBRARY.handlers[:] = [handler]
    _LIBRARY.setLevel(logging.DEBUG if everything else logging.WARNING)
    _LIBRARY.propagate = False
    guard_standard_error()


def is_debugging() -> bool:
    """Whether everything is shown."""
    return _LIBRARY.isEnabledFor(logging.DEBUG)


class _StandardError(logging.Handler):
    """Writes each record to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        with read_or_not():
            write_error(plain_code(self.format(record)))


class _Event(logging.Formatter):
    """A message of limited length, followed by its traceback."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's)
        message = super().formatMessage(record)
        return message if len(message) <= _MAX_MESSAGE_CHARS else f"{message[:_MAX_MESSAGE_CHARS]} …"


class _Line(logging.Formatter):
    """A message without its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        return f"nbtape: {as_options(record.getMessage())}"
