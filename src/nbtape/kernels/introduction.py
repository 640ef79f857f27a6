"""What a Python kernel is asked and given before its first cell. It leaves no trace in the session.

All of it is expressions of a silent `execute_request`: they are evaluated, and the reply has what came out.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbtape.kernels.base import Message

#: pip is quiet on success and loud on failure, asks nothing, and does not advise about itself.
#: See https://pip.pypa.io/en/stable/topics/configuration/.
KERNEL_ENVIRONMENT: Final[Mapping[str, str]] = {
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_QUIET": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
}

#: What ipykernel sends is neither to be lost, for which there is `ipykernel_config.py` besides, nor to be too much at
#: once. What was printed in 0.2 seconds is one message, hundreds of megabytes if need be, which whoever reads it must
#: hold as a whole: it is to come in pieces, with pauses in which they are read. And what was flushed may only have been
#: queued: it is to be on its way. All of it is done in the thread that sends: hooks are registered for a thread. See
#: ipykernel's iostream.py.
_SEND_ALL: Final = """
import sys, threading, time

def send_in_pieces(stream, size=1 << 20, pause=0.004):
    def send(piece, parent):
        message = stream.session.msg("stream", piece, parent)
        stream.session.send(stream.pub_thread.socket, message, ident=stream.topic)
        time.sleep(pause)

    def send_all_but_the_last(message):
        content = message["content"]
        text = content["text"]
        last = max(0, len(text) - 1) // size * size
        for start in range(0, last, size):
            piece = {**content, "text": text[start : start + size]}
            # In its turn, after what is waiting to be sent, and each at once: else they would go all together.
            stream.pub_thread.schedule(lambda piece=piece: send(piece, message["parent_header"]))
        content["text"] = text[last:]
        return message

    stream.register_hook(send_all_but_the_last)

def flush_until_sent(stream):
    flush = stream.flush

    def flush_and_wait():
        flush()
        # That has put the message behind what it waits for. Native code may follow that never lets another thread run.
        sender = stream.pub_thread
        if sender is not None and threading.current_thread() is not sender.thread:  # None: the code has closed it
            sent = threading.Event()
            sender.schedule(sent.set)
            sent.wait(stream.flush_timeout)

    stream.flush = flush_and_wait

def send_all():
    for stream in (sys.stdout, sys.stderr):
        send_in_pieces(stream)
        flush_until_sent(stream)

sys.stdout.pub_thread.schedule(send_all)
"""

SEND_ALL: Final = {"send_all": f"exec({_SEND_ALL!r}, {{}})"}

#: Linux ends the kernel with the thread that started it: a kernel that stands still cannot look for us by itself. See
#: prctl(2), PR_SET_PDEATHSIG.
END_WITH_US: Final = {"end_with_us": "__import__('ctypes').CDLL(None).prctl(1, 9)"}

INTRODUCTION: Final = {
    **SEND_ALL,
    "directory": "__import__('os').getcwd()",
    "environment": f"[__import__('os').environ.setdefault(*_) for _ in {list(KERNEL_ENVIRONMENT.items())!r}]",
}


def directory_of(reply: Message) -> str:
    """Where the kernel works, by its reply to the `INTRODUCTION`; empty if that does not say."""
    told = reply["content"].get("user_expressions", {}).get("directory", {}).get("data", {}).get("text/plain")
    try:
        return str(ast.literal_eval(told))
    except (ValueError, TypeError, SyntaxError):
        return ""
