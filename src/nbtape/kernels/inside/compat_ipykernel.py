"""The private API of ipykernel that nbtape depends on, to make a kernel send all output, in pieces and as valid JSON.

Another part reports failed shell commands (`!false`, `%pip install missing`), which leave a cell successful.

This file is read as text and runs in a kernel, in its own namespace. ipykernel collects everything printed within 0.2
seconds into one message of any size, which the reader must hold in memory: here, the message is sent in pieces, with
pauses for reading them. ipykernel's flush returns when the output is queued: here, it returns when the output is sent.
Both are set up in the sending thread, because hooks are kept per thread. See ipykernel's iostream.py.
`ipykernel_config.py` keeps ZeroMQ from dropping messages. `tests/kernels/inside/test_compat_ipykernel.py` checks each
use.

It runs on the kernel's Python and must not import nbtape.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from typing import Any

from ipykernel import zmqshell
from jupyter_client.jsonutil import json_clean, json_default

#: Programs whose first argument is a command.
INSTALLERS = ("apt", "apt-get", "conda", "mamba", "npm", "pip", "pip3", "uv")

INTERRUPT = 2


def send_in_pieces(stream: Any, size: int = 1 << 20, pause: float = 0.004) -> None:
    def send(piece: Any, parent: Any) -> None:
        message = stream.session.msg("stream", piece, parent)
        stream.session.send(stream.pub_thread.socket, message, ident=stream.topic)
        time.sleep(pause)

    def send_all_but_the_last(message: Any) -> Any:
        content = message["content"]
        text = content["text"]
        last = max(0, len(text) - 1) // size * size
        for start in range(0, last, size):
            piece = {**content, "text": text[start : start + size]}
            # Schedule each piece by itself, behind what is already queued; otherwise they would be sent together.
            stream.pub_thread.schedule(lambda piece=piece: send(piece, message["parent_header"]))
        content["text"] = text[last:]
        return message

    stream.register_hook(send_all_but_the_last)


def flush_until_sent(stream: Any) -> None:
    flush = stream.flush

    def flush_and_wait() -> None:
        sender = stream.pub_thread
        thread = sender and sender.thread  # None if the code has closed it
        if not thread or not thread.is_alive() or thread is threading.current_thread():
            flush()
            return
        # ipykernel waits only until the message is queued, and native code that follows may never let the sending
        # thread run. At exit, it also waits for a thread that has ended.
        sent = threading.Event()
        sender.schedule(stream._flush)
        sender.schedule(lambda: sender.schedule(sent.set))
        for _ in range(int(stream.flush_timeout / 0.1)):
            if sent.wait(0.1) or not thread.is_alive():
                break

    stream.flush = flush_and_wait


def send_half_characters(session: Any) -> None:
    """Send lone surrogates, which UTF-8 cannot encode, as JSON's escapes. Otherwise the whole message is lost."""
    pack = session.pack

    def pack_anything(content: Any) -> Any:
        try:
            return pack(content)
        except UnicodeEncodeError:
            return json.dumps(json_clean(content), default=json_default, allow_nan=False).encode()

    session.pack = pack_anything


def send_all() -> None:
    send_half_characters(sys.stdout.session)  # type: ignore[union-attr]  # ipykernel's, shared by its sockets
    for stream in (sys.stdout, sys.stderr):
        send_in_pieces(stream)
        flush_until_sent(stream)


def report_failed_commands() -> None:
    """Print a line for each `!command` and `%pip` that fails. A second call changes nothing.

    The function gets a command with its variables expanded, and only returns its exit code.
    """
    system = getattr(zmqshell, "system", None)
    if system is None or hasattr(system, "is_reporting"):
        return

    def system_and_report(command: Any) -> Any:
        code = system(command)
        if isinstance(code, int) and code not in (0, -INTERRUPT):
            how = f"failed with exit code {code}" if code > 0 else f"was killed by signal {-code}"
            sys.stderr.write(f"\n[nbtape: {short_name(command)} {how}]\n")
        return code

    system_and_report.is_reporting = True  # type: ignore[attr-defined]
    zmqshell.system = system_and_report  # type: ignore[assignment, attr-defined]


def short_name(command: Any) -> str:
    """The name of a command without its arguments, which may be secrets from variables."""
    words = [word for word in str(command).split() if not re.match(r"\w+=", word)]
    if not words or re.search(r"[;&|\n`]", str(command)):
        return "the command"
    if words[0].strip("'\"") == sys.executable and words[1:2] == ["-m"]:
        words = words[2:]
    count = 2 if words[0] in INSTALLERS else 1
    return f"`{' '.join(words[:count])[:100]}{' …' if words[count:] else ''}`"


report_failed_commands()
sys.stdout.pub_thread.schedule(send_all)  # type: ignore[union-attr]  # ipykernel's
