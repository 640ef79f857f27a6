"""The command `nbtape`: the only place that prints and exits."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

from nbtape.results import INTERRUPTED


def main() -> NoReturn:
    """Do what the command line says, and exit as `exit_codes` has it."""
    code = INTERRUPTED
    try:
        from nbtape.cli.commands import nbtape
        from nbtape.cli.exit import exit_code_of

        code = exit_code_of(nbtape)
    except KeyboardInterrupt:  # while that was imported, or while the end was told
        sys.stderr.write("nbtape: Interrupted.\n")
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # What is left is Python's own end, in which a Ctrl-C would be told with a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(code)
