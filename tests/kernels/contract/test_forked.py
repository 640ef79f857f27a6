"""Kernels from a fork server, with the channels of other local kernels; with `--full`, all tests."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from session_contract import SessionContract
from transport_contract import DeathContract, InterruptContract, OutputContract, TimeoutContract

from nbtape.kernels.local.forked import ForkedKernels

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.platform == "win32":
    pytest.skip("Windows has no fork", allow_module_level=True)


class Forked:
    @pytest.fixture
    def source(self) -> Iterator[ForkedKernels]:
        kernels = ForkedKernels("python3", (), 60, must=True)
        yield kernels
        kernels.close()


class TestTransport(Forked, DeathContract, InterruptContract):
    pass


@pytest.mark.full
class TestMoreTransport(Forked, OutputContract, TimeoutContract):
    pass


@pytest.mark.full
class TestSession(Forked, SessionContract):
    pass
