"""Every fault, on kernels of this machine, on a server of ours, and in a container."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import docker
import psutil  # type: ignore[import-untyped,unused-ignore]
import pytest
from faults import Client, FaultContract

from nbtape.servers.docker.engine import OWNER_LABEL, owner

if TYPE_CHECKING:
    from nbtape import DockerJupyterServer, LocalJupyterServer
    from nbtape.kernels.sources import Server


class TestLocalKernels(FaultContract):
    @pytest.fixture
    def source(self) -> Server:
        return None


class TestOurServer(FaultContract):
    # Silence for so long is what a connection does not survive unless it is made for that.
    stands_still_for = 60

    @pytest.fixture
    def source(self, gateway: LocalJupyterServer) -> Server:
        return gateway

    def processes(self, client: Client) -> list[psutil.Process]:
        servers = [child for child in psutil.Process().children() if is_server(child)]
        return [client.process, *servers, *(kernel for server in servers for kernel in server.children(recursive=True))]


def is_server(process: psutil.Process) -> bool:
    """Whether a child of ours is a server of ours; one of another test that has just died is none."""
    try:
        return "nbtape.servers.process.gateway" in process.cmdline()
    except psutil.NoSuchProcess:  # a zombie, too
        return False


class TestContainer(FaultContract):
    mount = "/workspace"

    @pytest.fixture
    def source(self, container: DockerJupyterServer) -> Server:
        return container

    def processes(self, client: Client) -> list[psutil.Process]:
        with contextlib.closing(docker.from_env()) as engine:
            tops = [
                each.top()
                for each in engine.containers.list(ignore_removed=True, filters={"label": f"{OWNER_LABEL}={owner()}"})
            ]
        inside = [int(row[top["Titles"].index("PID")]) for top in tops for row in top["Processes"]]
        return [client.process, *map(psutil.Process, inside)]
