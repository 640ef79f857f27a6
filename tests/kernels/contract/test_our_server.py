"""Kernels of a server that nbtape starts: the contract of a kernel and a session, and faults of a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
from transport_contract import TransportContract

if TYPE_CHECKING:
    from nbtape import LocalJupyterServer
    from nbtape.kernels.sources import Server


class OurServer:
    kind = "LocalJupyterServer"
    # Without special handling, no connection survives so long a silence.
    stands_still_for = 60

    @pytest.fixture
    def source(self, gateway: LocalJupyterServer) -> Server:
        return gateway

    def processes(self, client: Client) -> list[psutil.Process]:
        servers = [child for child in psutil.Process().children() if is_server(child)]
        return [client.process, *servers, *(kernel for server in servers for kernel in server.children(recursive=True))]


def is_server(process: psutil.Process) -> bool:
    """Return whether a child process is a running server of nbtape, and not one of another test that has just died."""
    try:
        return "nbtape.servers.process.gateway" in process.cmdline()
    except psutil.NoSuchProcess:  # also for a zombie
        return False


class TestTransport(OurServer, TransportContract):
    pass


class TestSession(OurServer, SessionContract):
    pass


class TestFaults(OurServer, EndFaults, HandFaults, DisobedienceFaults):
    pass


@pytest.mark.full
class TestOtherFaults(OurServer, SabotageFaults, ErrorFaults, StandstillFaults, FloodFaults):
    pass
