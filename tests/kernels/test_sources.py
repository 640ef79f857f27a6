"""Sources of kernels: what is accepted as a server, and that accepting it starts nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import pytest

from nbtape import KernelPool, LocalJupyterServer
from nbtape.kernels.sources import checked_source

if TYPE_CHECKING:
    from pathlib import Path


class StartsWhenRead:
    """A server object of another library, which starts when its address is read."""

    @property
    def connection_info(self) -> NoReturn:
        pytest.fail("the server was started")


def test_accepting_a_foreign_server_does_not_start_it(tmp_path: Path) -> None:
    assert checked_source(StartsWhenRead(), "python3", None, tmp_path).manager().has_kernel is False


@pytest.mark.parametrize("other", [3, object(), b"http://127.0.0.1:8888"])
def test_an_object_without_connection_info_is_rejected(other: object, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="is not a source of kernels"):
        checked_source(other, "python3", None, tmp_path)  # type: ignore[arg-type]


def test_a_pool_on_a_server_with_pages_needs_an_output_dir_in_the_servers_files(tmp_path: Path) -> None:
    pool = KernelPool(LocalJupyterServer(lab=True, root_dir=tmp_path))
    with pytest.raises(ValueError, match="Choose an output_dir= in it"):
        pool.kernels_for("python3", tmp_path.parent)
