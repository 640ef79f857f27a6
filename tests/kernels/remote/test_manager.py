"""Kernels on Jupyter servers: the contract, on every kind of server, and what only a server can promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from contract import ExecutorContract

if TYPE_CHECKING:
    from nbtape import DockerJupyterServer, JupyterConnectionInfo, LocalJupyterServer
    from nbtape.kernels.sources import Server


class TestOurServer(ExecutorContract):
    @pytest.fixture
    def source(self, gateway: LocalJupyterServer) -> Server:
        return gateway


class TestOurLab(ExecutorContract):
    @pytest.fixture
    def source(self, lab_server: LocalJupyterServer) -> Server:
        return lab_server


class TestContainer(ExecutorContract):
    mount = "/workspace"

    @pytest.fixture
    def source(self, container: DockerJupyterServer) -> Server:
        return container


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
