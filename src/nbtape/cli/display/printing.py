"""Print to standard output and standard error. In the command line, only this module and rich do so."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from nbtape.cli.display.plain import plain_code, shown

if TYPE_CHECKING:
    from types import TracebackType


def echo(text: str = "", *, err: bool = False, end: str = "\n") -> None:
    """Print text; unless it is `Shown`, its escape sequences are removed and its other controls are shown."""
    # Without a file, click writes UTF-8 to a terminal that supports only ASCII.
    click.echo(shown(text) + end, sys.stderr if err else sys.stdout, nl=False)


def write_error(text: str) -> None:
    """Print a line on the current `sys.stderr`, which rich replaces while it shows progress."""
    sys.stderr.write(shown(text) + "\n")
    sys.stderr.flush()


def write_line(text: str) -> None:
    """Print a line on standard output at once."""
    sys.stdout.write(shown(text) + "\n")
    sys.stdout.flush()


def set_last_line(text: str) -> None:
    """Replace the last line of the terminal, whose cursor stays in it."""
    sys.stdout.write("\r\x1b[2K" + shown(text))
    sys.stdout.flush()


def guard_standard_error() -> None:
    """Make plain what Python and other libraries print on standard error, such as warnings and errors in threads."""
    import logging
    import threading
    import traceback
    import warnings

    def show_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
        write_error(plain_code(warnings.formatwarning(message, category, filename, lineno, "").rstrip()))

    def show_error(kind: type[BaseException], error: BaseException | None, where: TracebackType | None) -> None:
        write_error(plain_code("".join(traceback.format_exception(kind, error, where)).rstrip()))

    class LastResort(logging.Handler):
        """Warnings of libraries that have no handler."""

        def emit(self, record: logging.LogRecord) -> None:
            write_error(plain_code(self.format(record)))

    warnings.showwarning = show_warning  # type: ignore[assignment]
    sys.excepthook = show_error
    threading.excepthook = lambda told: show_error(told.exc_type, told.exc_value, told.exc_traceback)
    sys.unraisablehook = lambda told: show_error(told.exc_type, told.exc_value, told.exc_traceback)
    logging.lastResort = LastResort(logging.WARNING)
