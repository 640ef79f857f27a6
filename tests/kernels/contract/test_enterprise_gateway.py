"""Kernels of an Enterprise Gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from session_contract import SessionContract
from transport_contract import TransportContract

if TYPE_CHECKING:
    from nbtape import JupyterConnectionInfo
    from nbtape.kernels.sources import Server


class EnterpriseGateway:
    kind = "Enterprise Gateway"
    notices_death_within = 6.0

    @pytest.fixture
    def source(self, enterprise: JupyterConnectionInfo) -> Server:
        return enterprise


class TestTransport(EnterpriseGateway, TransportContract):
    pass


@pytest.mark.full
class TestSession(EnterpriseGateway, SessionContract):
    pass
