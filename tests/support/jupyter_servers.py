"""Real Jupyter servers on loopback, started by tests as other users run them, with a timeout to start."""

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

#: What an Enterprise Gateway needs, in an environment of its own: it requires an older Jupyter than nbtape does.
ENTERPRISE_GATEWAY = ["jupyter_enterprise_gateway>=3.2", "ipykernel"]
ENTERPRISE_ENV = Path(__file__).parents[2] / ".venv" / "enterprise_gateway"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(info: JupyterConnectionInfo, path: str, method: str = "GET", /, **body: Any) -> httpx.Response:
    """Send a request to a server with its token."""
    trusted = info.make_ssl_context() if info.use_https else True
    url, headers = info.api + path, info.secret_headers
    return httpx.request(method, url, headers=headers, json=body or None, verify=trusted, timeout=30, trust_env=False)


def kernels_of(server: LocalJupyterServer | JupyterConnectionInfo) -> set[str]:
    """Return the ids of the kernels that a server runs."""
    return {kernel["id"] for kernel in ask(server.connection_info, "kernels").json()}


@contextlib.contextmanager
def plain_server(
    home: Path, *options: str, base_path: str = "/", scheme: str = "http", program: str = "jupyter_server"
) -> Iterator[int]:
    """Run jupyter_server, or a program built on it, with usual settings, and return its port.

    Args:
        home: A directory for its files, its settings and its log; kernels work in `home/files`.
        options: More command-line options.
        base_path: The path of its API.
        scheme: `http`, or `https` with the options for it.
        program: The module to run.
    """
    (home / "files").mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [
        *(sys.executable, "-m", program, "--allow-root", "--ServerApp.open_browser=False"),
        *(f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1"),
        *(f"--ServerApp.base_url={base_path}", f"--ServerApp.root_dir={home / 'files'}", *options),
    ]
    if program == "jupyter_server":  # JupyterLab, if installed, adds its pages to every server
        command.append("--ServerApp.jpserver_extensions={'jupyterlab': False}")
    with _serve(command, home, f"{scheme}://127.0.0.1:{port}{base_path}api"):
        yield port


@contextlib.contextmanager
def enterprise_gateway(home: Path) -> Iterator[JupyterConnectionInfo]:
    """Run an Enterprise Gateway whose kernels are local processes."""
    port = free_port()
    home.mkdir(parents=True, exist_ok=True)
    program = _enterprise_env() / "bin" / "jupyter-enterprisegateway"
    command = [str(program), "--ip=127.0.0.1", f"--port={port}", "--port_retries=0"]
    # Of its environment, kernels get only the variables that it is configured to pass.
    command += ["--ZMQChannelsHandler.limit_rate=False", "--EnterpriseGatewayApp.inherited_envs=PATH"]
    environment = {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    with _serve(command, home, f"http://127.0.0.1:{port}/api", environment):
        # It refuses to run kernels as root, and trusts the user name it is given.
        yield JupyterConnectionInfo(
            "127.0.0.1", use_https=False, port=port, token=TOKEN, kernel_env={"KERNEL_USERNAME": "alice"}
        )


def _enterprise_env() -> Path:
    """Create the environment once, which takes two minutes; later runs reuse it."""
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
    """Return when the server answers, even if only to reject the request."""
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
