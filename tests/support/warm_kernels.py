"""Fork the local kernels of tests that do not test the start, which takes a fifth of the processor time.

Such a test that needs a kernel of its own starts it from `LocalKernels`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from nbtape import JupyterCodeExecutor
from nbtape.kernels.local import manager
from nbtape.kernels.local.forked import ForkedKernels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbtape.kernels.local.manager import LocalKernels

#: The directories whose tests get forked kernels.
PLACES: Final = {Path(__file__).parents[1] / name for name in ("export", "notebook", "session", "summary", "watch")}


@pytest.fixture(scope="session")
def warm_parent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedKernels]:
    kernels = ForkedKernels("python3", (), 60, must=True)
    # Start its process here: `leaves_nothing` would blame the first test that forks.
    with JupyterCodeExecutor(kernels, output_dir=tmp_path_factory.mktemp("warm")):
        pass
    yield kernels
    kernels.close()


@pytest.fixture
def warm_kernels(warm_parent: ForkedKernels, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork the kernels of executors that name neither a source nor another kernel spec."""
    start = manager.LocalKernels

    def fork(kernel_name: str) -> LocalKernels:
        return warm_parent if kernel_name == "python3" else start(kernel_name)

    monkeypatch.setattr(manager, "LocalKernels", fork)


@pytest.fixture(autouse=True)
def _warm_where_starts_do_not_matter(request: pytest.FixtureRequest) -> None:
    if sys.platform == "linux" and request.path.parent in PLACES:
        request.getfixturevalue("warm_kernels")
