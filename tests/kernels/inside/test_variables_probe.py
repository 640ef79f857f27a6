"""What the code that lists variables does in a kernel's process."""

from __future__ import annotations

import os
import signal
import time

from nbtape.kernels.inside.variables_probe import MIME_TYPE, answer


class BothSignals:
    """A value whose time is up at the very moment of an interrupt."""

    def __repr__(self) -> str:
        signals = {signal.SIGINT, signal.SIGALRM}
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        for each in signals:
            os.kill(os.getpid(), each)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        time.sleep(60)
        return "never"


def test_an_interrupt_ends_the_list_even_when_the_time_of_a_value_is_up() -> None:
    values = {f"value{number}": BothSignals() for number in range(3)}
    told = answer(values, 10, 60)._repr_mimebundle_()[MIME_TYPE]
    reprs = [variable["repr"] for variable in told["variables"]]
    assert reprs[0] in {"<repr was interrupted>", "<repr took too long>"}
    assert reprs[-1] == "<repr not asked for: there was no time left>"
