"""Kernels of an external jupyter_server: below a path, over https; with `--full`, the whole contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from session_contract import SessionContract
from transport_contract import DeathContract, InterruptContract, OutputContract, TimeoutContract

if TYPE_CHECKING:
    from nbtape import JupyterConnectionInfo
    from nbtape.kernels.sources import Server


class FarServer:
    kind = "jupyter_server"
    # A jupyter_server checks every three seconds whether its kernels are alive.
    notices_death_within = 6.0

    @pytest.fixture
    def source(self, far_server: JupyterConnectionInfo) -> Server:
        return far_server


class TestTransport(FarServer, OutputContract, DeathContract, InterruptContract):
    pass


@pytest.mark.full
class TestMoreTransport(FarServer, TimeoutContract):
    pass


@pytest.mark.full
class TestSession(FarServer, SessionContract):
    pass
