"""Kernels without a library around them: the lower bound."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def first_result() -> Iterator[Callable[[], dict[str, float]]]:
    """From the start of a bare kernel process to its `kernel_info_reply`, over a unix socket, the fastest transport."""
    import subprocess
    import sys
    from pathlib import Path

    import zmq
    from jupyter_client.connect import write_connection_file
    from jupyter_client.session import Session

    session = Session()
    place = str(Path("bare").absolute())

    def step() -> dict[str, float]:
        path, connection = write_connection_file(f"{place}.json", key=session.key, transport="ipc", ip=place)
        with zmq.Context() as context, context.socket(zmq.DEALER) as shell:
            shell.linger = 0
            # The kernel binds late. Connect every few milliseconds, so that it finds the request waiting.
            shell.reconnect_ivl = 5
            began = time.perf_counter()
            kernel = subprocess.Popen([sys.executable, "-m", "ipykernel_launcher", "-f", path])  # noqa: S603  (ours)
            try:
                shell.connect(f"ipc://{place}-{connection['shell_port']}")
                session.send(shell, "kernel_info_request")
                _, reply = session.recv(shell, mode=0) if shell.poll(60_000) else (None, None)
                seconds = time.perf_counter() - began
            finally:
                kernel.kill()
                kernel.wait()
                Path(path).unlink()
        if reply is None or reply["msg_type"] != "kernel_info_reply":
            raise RuntimeError(f"a bare ipykernel_launcher answers {reply}")
        return {"wall": seconds}

    yield step


def cells(code: str) -> Iterator[Callable[[], dict[str, float]]]:
    """A cell with jupyter_client alone: its messages are read and kept."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel()

    def read(request: str) -> list[Any]:
        messages: list[Any] = []
        while True:
            message = client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") != request:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return messages
            messages.append(message)

    def step() -> dict[str, float]:
        began = time.perf_counter()
        messages = read(client.execute(code))
        reply = client.get_shell_msg(timeout=60)
        seconds = time.perf_counter() - began
        if reply["content"]["status"] != "ok" or not messages:
            raise RuntimeError(f"jupyter_client answers {reply}")
        return {"wall": seconds}

    yield step
    client.stop_channels()
    manager.shutdown_kernel(now=True)
