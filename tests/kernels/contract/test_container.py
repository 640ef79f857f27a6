"""Kernels in a Docker container: interrupts, deaths and faults; with `--full`, the whole contract of every kernel."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import docker
import psutil  # type: ignore[import-untyped,unused-ignore]
import pytest
from fault_contract import (
    Client,
    DisobedienceFaults,
    EndFaults,
    ErrorFaults,
    FloodFaults,
    HandFaults,
    SabotageFaults,
    StandstillFaults,
)
from session_contract import SessionContract
from transport_contract import DeathContract, InterruptContract, OutputContract, TimeoutContract

from nbtape.servers.docker.engine import OWNER_LABEL, owner

if TYPE_CHECKING:
    from nbtape import DockerJupyterServer
    from nbtape.kernels.sources import Server


class Container:
    kind = "container"
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


class TestTransport(Container, DeathContract, InterruptContract):
    pass


class TestFaults(Container, EndFaults):
    pass


@pytest.mark.full
class TestMoreTransport(Container, OutputContract, TimeoutContract):
    pass


@pytest.mark.full
class TestSession(Container, SessionContract):
    pass


@pytest.mark.full
class TestOtherFaults(
    Container, HandFaults, DisobedienceFaults, SabotageFaults, ErrorFaults, StandstillFaults, FloodFaults
):
    pass
