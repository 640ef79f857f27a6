"""Kernels of a pool, each started separately, with the channels of local kernels; with `--full`, all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from session_contract import SessionContract
from transport_contract import DeathContract, InterruptContract, OutputContract, TimeoutContract

from nbtape import KernelPool

if TYPE_CHECKING:
    from collections.abc import Iterator


class Pooled:
    is_starting_after = 0.001

    @pytest.fixture
    def source(self) -> Iterator[KernelPool]:
        with KernelPool(size=1, fork=False) as pool:
            yield pool


class TestTransport(Pooled, DeathContract):
    pass


@pytest.mark.full
class TestMoreTransport(Pooled, OutputContract, TimeoutContract, InterruptContract):
    pass


@pytest.mark.full
class TestSession(Pooled, SessionContract):
    pass
