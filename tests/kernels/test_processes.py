"""Processes that nbtape starts, and the directory and signals that they inherit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from nbtape.kernels.processes import has_current_directory, unblocking_sigint

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PRINT_BLOCKED = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"


def test_a_process_can_be_interrupted_although_its_parent_blocks_sigint() -> None:
    printed, after = [], []

    def start() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        for options in ({}, unblocking_sigint()):
            command = [sys.executable, "-c", PRINT_BLOCKED]
            printed.append(subprocess.run(command, capture_output=True, text=True, check=True, **options).stdout)
        after.append(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert printed == ["True\n", "False\n"]
    assert after == [True]
    assert unblocking_sigint() == {}


def test_a_removed_current_directory_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_current_directory()
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    try:
        assert not has_current_directory()
    finally:
        os.chdir(tmp_path)
