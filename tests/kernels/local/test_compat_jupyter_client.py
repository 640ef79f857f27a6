"""jupyter_client calls the private methods that nbtape overrides."""

from __future__ import annotations

import inspect

import pytest
from jupyter_client.manager import AsyncKernelManager, KernelManager

CHANGED = "jupyter_client has changed: adapt nbtape.kernels.local.compat_jupyter_client"


def source(method: str) -> str:
    return inspect.getsource(inspect.unwrap(getattr(KernelManager, method)))


@pytest.mark.parametrize(
    ("caller", "called"),
    [
        ("_async_start_kernel", "self._async_pre_start_kernel(**kw)"),
        ("_async_start_kernel", "self._async_launch_kernel(kernel_cmd, **kw)"),
        ("_async_start_kernel", "self._async_post_start_kernel(**kw)"),
        ("_async_finish_shutdown", "self._async_wait(pollinterval=pollinterval)"),
        ("_async_shutdown_kernel", "self._async_cleanup_resources(restart=restart)"),
        ("_async_cleanup_resources", "self._created_context"),
    ],
)
def test_a_method_that_nbtape_overrides_is_called(caller: str, called: str) -> None:
    assert called in source(caller), CHANGED


def test_only_the_control_socket_needs_to_be_left_out_after_the_launch() -> None:
    steps = [line.strip() for line in source("_async_post_start_kernel").split('"""')[-1].splitlines() if line.strip()]
    assert steps == [
        "self.start_restarter()",
        "self._connect_control_socket()",
        "assert self.provisioner is not None",
        "await self.provisioner.post_launch(**kw)",
    ], CHANGED
    assert source("start_restarter").endswith("        pass\n"), f"{CHANGED}: it does something now"


def test_an_exit_is_polled_until_the_kernel_is_gone() -> None:
    assert list(inspect.signature(AsyncKernelManager._async_wait).parameters) == ["self", "pollinterval"], CHANGED
