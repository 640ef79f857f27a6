"""Kernels of an Enterprise Gateway; with `--full`, the whole contract of every kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from session_contract import SessionContract
from transport_contract import DeathContract, InterruptContract, OutputContract, TimeoutContract

if TYPE_CHECKING:
    from nbtape import JupyterConnectionInfo
    from nbtape.kernels.sources import Server


class EnterpriseGateway:
    kind = "Enterprise Gateway"
    notices_death_within = 6.0

    @pytest.fixture
    def source(self, enterprise: JupyterConnectionInfo) -> Server:
        return enterprise


class TestTransport(EnterpriseGateway, OutputContract, DeathContract):
    pass


@pytest.mark.full
class TestMoreTransport(EnterpriseGateway, TimeoutContract, InterruptContract):
    pass


@pytest.mark.full
class TestSession(EnterpriseGateway, SessionContract):
    pass
