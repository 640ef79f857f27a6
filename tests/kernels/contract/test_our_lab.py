"""Kernels of a JupyterLab that nbtape starts: a jupyter_server like the external one; with `--full`, all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from session_contract import SessionContract
from transport_contract import DeathContract, InterruptContract, OutputContract, TimeoutContract

if TYPE_CHECKING:
    from nbtape import LocalJupyterServer
    from nbtape.kernels.sources import Server


class OurLab:
    kind = "LocalJupyterServer(lab=True)"

    @pytest.fixture
    def source(self, lab_server: LocalJupyterServer) -> Server:
        return lab_server


class TestTransport(OurLab, DeathContract):
    pass


@pytest.mark.full
class TestMoreTransport(OurLab, OutputContract, TimeoutContract, InterruptContract):
    pass


@pytest.mark.full
class TestSession(OurLab, SessionContract):
    pass
