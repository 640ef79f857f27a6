"""Jupyter servers that somebody else might run, for tests: real ones, on loopback, with a deadline to start."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from nbtape import JupyterConnectionInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nbtape import LocalJupyterServer

TOKEN = "sesame-open-sesame-open"

#: What an Enterprise Gateway needs, in an environment of its own: it wants an older Jupyter than nbtape's.
ENTERPRISE_GATEWAY = ["jupyter_enterprise_gateway>=3.2", "ipykernel"]
ENTERPRISE_ENV = Path(__file__).parents[2] / ".venv" / "enterprise_gateway"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(info: JupyterConnectionInfo, path: str, method: str = "GET", /, **body: Any) -> httpx.Response:
    """Ask a server as anybody might who knows its token."""
    trusted = info.make_ssl_context() if info.use_https else True
    url, headers = info.api + path, info.secret_headers
    return httpx.request(method, url, headers=headers, json=body or None, verify=trusted, timeout=30, trust_env=False)


def kernels_of(server: LocalJupyterServer | JupyterConnectionInfo) -> set[str]:
    """The ids of the kernels that a server has."""
    return {kernel["id"] for kernel in ask(server.connection_info, "kernels").json()}


@contextlib.contextmanager
def plain_server(
    home: Path, *options: str, base_path: str = "/", scheme: str = "http", program: str = "jupyter_server"
) -> Iterator[int]:
    """jupyter_server, or what is built on it, as people run it; gives its port.

    Args:
        home: A directory for its files, its settings and its log; kernels work in `home/files`.
        options: More of the command line.
        base_path: Where its API lies.
        scheme: What it speaks, with the options for that.
        program: What is run, as Python calls it.
    """
    (home / "files").mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [
        *(sys.executable, "-m", program, "--allow-root", "--ServerApp.open_browser=False"),
        *(f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1"),
        *(f"--ServerApp.base_url={base_path}", f"--ServerApp.root_dir={home / 'files'}", *options),
    ]
    if program == "jupyter_server":  # JupyterLab, where it is installed, has every server have its pages
        command.append("--ServerApp.jpserver_extensions={'jupyterlab': False}")
    with _serve(command, home, f"{scheme}://127.0.0.1:{port}{base_path}api"):
        yield port


@contextlib.contextmanager
def enterprise_gateway(home: Path) -> Iterator[JupyterConnectionInfo]:
    """An Enterprise Gateway whose kernels run on this machine."""
    port = free_port()
    home.mkdir(parents=True, exist_ok=True)
    program = _enterprise_env() / "bin" / "jupyter-enterprisegateway"
    command = [str(program), "--ip=127.0.0.1", f"--port={port}", "--port_retries=0"]
    # Of its environment, kernels get no more than it is told to give them.
    command += ["--ZMQChannelsHandler.limit_rate=False", "--EnterpriseGatewayApp.inherited_envs=PATH"]
    environment = {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    with _serve(command, home, f"http://127.0.0.1:{port}/api", environment):
        # It refuses to run kernels as root, and takes our word for who we are.
        yield JupyterConnectionInfo(
            "127.0.0.1", use_https=False, port=port, token=TOKEN, kernel_env={"KERNEL_USERNAME": "alice"}
        )


def _enterprise_env() -> Path:
    """The environment, made once: two minutes that later runs do not spend."""
    stamp = ENTERPRISE_ENV / "nbtape.stamp"
    wanted = f"{sys.version} {ENTERPRISE_GATEWAY}"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(ENTERPRISE_ENV, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", ENTERPRISE_ENV], check=True)
        subprocess.run([ENTERPRISE_ENV / "bin/pip", "install", "--quiet", *ENTERPRISE_GATEWAY], check=True)
        stamp.write_text(wanted)
    return ENTERPRISE_ENV


@contextlib.contextmanager
def _serve(command: Sequence[str], home: Path, url: str, more: Mapping[str, str] | None = None) -> Iterator[None]:
    environment = {
        **os.environ,
        **dict.fromkeys(("JUPYTER_TOKEN", "EG_AUTH_TOKEN", "KG_AUTH_TOKEN"), TOKEN),
        **dict.fromkeys(("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"), str(home / "jupyter")),
        **(more or {}),
    }
    log = home / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, cwd=home, stdout=file, stderr=file)
    try:
        _wait_for(url, process, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the server answers, if only to say that it does not know us."""
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            urllib.request.urlopen(url, timeout=5)
        except urllib.error.HTTPError:
            return
        except urllib.error.URLError as exc:
            if "certificate" in str(exc):
                return
            time.sleep(0.05)
        else:
            return
