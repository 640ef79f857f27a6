"""The command `nbtape`: the only place that prints and exits."""

from __future__ import annotations

import contextlib
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from nbtape.common.own_tokens import hide_own_tokens
from nbtape.results import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


def main() -> NoReturn:
    """Run the command line, and exit with one of the codes in `nbtape.results`."""
    code = INTERRUPTED
    hide_own_tokens()
    try:
        with _interruptible():
            from nbtape.cli.display.consoles import prepare_streams

            prepare_streams()
            from nbtape.cli.commands import nbtape
            from nbtape.cli.exit import exit_code_of
        code = exit_code_of(nbtape)
    except KeyboardInterrupt:  # during the imports, or while an error was printed
        if sys.stderr is not None:
            sys.stderr.write("nbtape: Interrupted.\n")
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # During Python's own shutdown, Ctrl-C would print a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(code)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt for Ctrl-C during imports: some turn it into a RuntimeError or an ImportError."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    interrupts: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except Exception as exc:
        if interrupts:
            raise KeyboardInterrupt from exc
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
