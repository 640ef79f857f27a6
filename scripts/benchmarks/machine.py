"""The test conditions: versions, and the machine as far as it reports them."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.sessions import REPO, environment_name, python_of

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The relevant packages of each environment: nbtape's, then those of its peers.
_PACKAGES: Final = {
    "": (
        *("nbtape", "ipykernel", "jupyter_client", "nbclient", "nbformat", "papermill", "pyzmq"),
        *("jupyter_kernel_gateway", "jupyter_server", "websockets", "pandas", "matplotlib"),
    ),
    "autogen": ("autogen-ext", "ipykernel", "jupyter_client", "nbclient", "nbformat"),
    "ag2": ("ag2", "ipykernel", "jupyter_client", "jupyter_kernel_gateway"),
    "smolagents": ("smolagents", "websocket-client"),
    "jupyter_kernel_client": ("jupyter_kernel_client", "ipykernel", "jupyter_client", "jupyter_server"),
}

_TELL: Final = """
import sys
from importlib.metadata import PackageNotFoundError, version
for name in sys.argv[1:]:
    try:
        print(name, version(name))
    except PackageNotFoundError:
        print(name, "missing")
"""


def versions(peers: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the versions of what was measured, by environment."""
    found = {}
    for peer in ["", *peers]:
        said = _said(str(python_of(peer)), "-c", _TELL, *_PACKAGES[peer])
        found[environment_name(peer) or "nbtape"] = dict(line.split(" ", 1) for line in said.splitlines())
    ours = found["nbtape"]
    if commit := _said("git", "-C", str(REPO), "describe", "--always", "--dirty"):
        ours["nbtape"] = f"{ours.get('nbtape', '')} ({commit})"
    return found


def machine() -> dict[str, str]:
    """Describe the machine as far as it reports."""
    docker = _said("docker", "version", "--format", "{{.Server.Version}}")
    return {
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "os": f"{_os()}, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "file system": f"{_file_system(Path(tempfile.gettempdir()))} ({tempfile.gettempdir()})",
        **({"docker": docker} if docker else {}),
    }


def _said(*command: str) -> str:
    """Return the output of a command; empty if there is no such command, or it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""


def _cpu() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith("model name")).partition(":")[2].strip()
    return _said("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()


def _os() -> str:
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    return f"macOS {platform.mac_ver()[0]}" if sys.platform == "darwin" else platform.system()


def _file_system(path: Path) -> str:
    """Return the type of the file system that holds `path`: that of the nearest mount above it."""
    if sys.platform == "darwin":  # /dev/disk1 on / (apfs, local, journaled)
        mounts = [line.partition(" on ")[2].rpartition(" (") for line in _said("mount").splitlines()]
        types = {place: options.partition(",")[0] for place, _, options in mounts}
    else:  # /dev/vda / ext4 rw 0 0
        types = {fields[1]: fields[2] for fields in map(str.split, _said("cat", "/proc/mounts").splitlines())}
    path = path.resolve()
    return next((types[str(place)] for place in [path, *path.parents] if str(place) in types), "unknown")
