"""The command `nbtape`: the only place that prints and exits."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

from nbtape.cli.ctrl_c import interruptible
from nbtape.common.own_tokens import hide_own_tokens
from nbtape.results import INTERRUPTED


def main() -> NoReturn:
    """Run the command line, and exit with one of the codes in `nbtape.results`."""
    code = INTERRUPTED
    hide_own_tokens()
    try:
        with interruptible():
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
