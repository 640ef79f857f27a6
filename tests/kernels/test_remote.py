"""Kernels on Jupyter servers: the contract, on every kind of server, and what only a server can promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contract import ExecutorContract, Signal

if TYPE_CHECKING:
    from nbtape import DockerJupyterServer, JupyterConnectionInfo, LocalJupyterServer
    from nbtape.options import Server


class TestOurServer(ExecutorContract):
    @pytest.fixture
    def source(self, gateway: LocalJupyterServer) -> Server:
        return gateway


class TestContainer(ExecutorContract):
    @pytest.fixture
    def source(self, container: DockerJupyterServer) -> Server:
        return container

    @pytest.fixture
    def signal(self, tmp_path_factory: pytest.TempPathFactory) -> Signal:
        directory = tmp_path_factory.mktemp("signal")
        return Signal(directory / "given", f"/workspace/{directory.name}")


class TestFarServer(ExecutorContract):
    # A jupyter_server looks every three seconds whether its kernels live.
    notices_death_within = 6.0

    @pytest.fixture
    def source(self, far_server: JupyterConnectionInfo) -> Server:
        return far_server


class TestEnterpriseGateway(ExecutorContract):
    notices_death_within = 6.0

    @pytest.fixture
    def source(self, enterprise: JupyterConnectionInfo) -> Server:
        return enterprise
