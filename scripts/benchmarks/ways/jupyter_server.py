"""A jupyter_server with usual settings, for the ways that need one."""

from __future__ import annotations

import contextlib
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def run_server() -> Iterator[tuple[int, str]]:
    """Run the server; return its port and token. It stops at the end of the `with` block."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    token = secrets.token_hex()
    options = {"ip": "127.0.0.1", "port": port, "port_retries": 0, "open_browser": False, "root_dir": "."}
    process = subprocess.Popen(  # noqa: S603  (ours)
        [
            *(sys.executable, "-m", "jupyter_server", "--allow-root", f"--IdentityProvider.token={token}"),
            *(f"--ServerApp.{name}={value}" for name, value in options.items()),
        ]
    )
    try:
        _await_answer(f"http://127.0.0.1:{port}/api")
        yield port, token
    finally:
        process.terminate()
        process.wait()


def _await_answer(url: str) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), urllib.request.urlopen(url):  # noqa: S310  (local http)
            return
        time.sleep(0.1)
    raise RuntimeError("jupyter_server did not answer within a minute")
