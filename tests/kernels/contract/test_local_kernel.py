"""Local kernels: the whole contract of a kernel and a session, and every fault."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from executors import FLOOD_WHILE_THE_PARENT_STANDS_STILL
from fault_contract import FaultContract
from reading import code_cells, stream_text
from session_contract import SessionContract
from transport_contract import TransportContract

if TYPE_CHECKING:
    from pathlib import Path

    from nbtape.kernels.sources import Server


class LocalKernel:
    stands_still_for = 2  # no connection of a local kernel depends on how long this is

    @pytest.fixture
    def source(self) -> Server:
        return None


class TestTransport(LocalKernel, TransportContract):
    def test_nothing_is_lost_from_a_kernel_that_is_faster_than_its_client(self, output_dir: Path) -> None:
        code = (
            "from nbtape import CodeBlock, JupyterCodeExecutor\n"
            "with JupyterCodeExecutor() as executor:\n"
            f"    executor.execute_code_blocks([CodeBlock({FLOOD_WHILE_THE_PARENT_STANDS_STILL!r}, 'python')])"
        )
        subprocess.run([sys.executable, "-c", code], cwd=output_dir, check=True, timeout=120)
        (cell,) = code_cells(output_dir / "session.ipynb")
        assert stream_text(cell) == "".join(f"line {n}\n" for n in range(5000)) + "end\n"


@pytest.mark.usefixtures("warm_kernels")
class TestSession(LocalKernel, SessionContract):
    pass


class TestFaults(LocalKernel, FaultContract):
    pass
