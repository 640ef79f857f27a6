"""Every fault, on kernels of this machine, on a server of ours, and in a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contract import Signal
from faults import FaultContract

if TYPE_CHECKING:
    from nbtape import DockerJupyterServer, LocalJupyterServer
    from nbtape.options import Server


class TestLocalKernels(FaultContract):
    @pytest.fixture
    def source(self) -> Server:
        return None


class TestOurServer(FaultContract):
    @pytest.fixture
    def source(self, gateway: LocalJupyterServer) -> Server:
        return gateway


class TestContainer(FaultContract):
    @pytest.fixture
    def source(self, container: DockerJupyterServer) -> Server:
        return container

    @pytest.fixture
    def signal(self, tmp_path_factory: pytest.TempPathFactory) -> Signal:
        directory = tmp_path_factory.mktemp("signal")
        return Signal(directory / "given", f"/workspace/{directory.name}")
