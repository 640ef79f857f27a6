"""The private API of jupyter_client that nbtape depends on.

jupyter_client calls private methods of its managers while a kernel starts and stops, and has no public hooks for that.
`tests/kernels/local/test_compat_jupyter_client.py` checks each use.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import zmq.asyncio
from jupyter_client.manager import AsyncKernelManager
from traitlets import default

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Poll interval for a kernel that is stopping. jupyter_client polls every 100 ms, and most kernels exit within 30.
_EXIT_POLL_SECONDS: Final = 0.005


class Context(zmq.asyncio.Context):
    """A ZeroMQ context that can be garbage-collected with its sockets."""

    def __del__(self) -> None:
        """Terminate in a thread, because that waits for the sockets, which may be collected only after the context."""
        # While the interpreter exits, a new thread never runs, and starting one would block forever.
        if not self.closed and not sys.is_finalizing():
            with contextlib.suppress(RuntimeError):
                threading.Thread(target=self.term, daemon=True).start()


class _PromptKernelManager(AsyncKernelManager):
    """A manager that detects a kernel's exit sooner."""

    async def _async_wait(self, pollinterval: float = _EXIT_POLL_SECONDS) -> None:
        await super()._async_wait(min(pollinterval, _EXIT_POLL_SECONDS))


class LeanKernelManager(_PromptKernelManager):
    """A manager that opens no control socket before it is used.

    With its context, that socket takes seven open files. A process may have only 1,024 and run fifty sessions.
    """

    @default("context")
    def _context_default(self) -> Context:
        self._created_context = True  # `cleanup_resources` destroys it
        return Context()

    async def _async_post_start_kernel(self, **arguments: Any) -> None:  # noqa: ANN401  (jupyter_client's)
        assert self.provisioner is not None, "the kernel was launched"
        await self.provisioner.post_launch(**arguments)


class HookedKernelManager(_PromptKernelManager):
    """A manager for servers, with hooks that are called while a kernel starts and stops."""

    def extra_arguments(self) -> list[str]:
        """Arguments to add to the kernel's command. Called before each start."""
        return []

    def kernel_log(self) -> Path:
        """Return the log file for the output of the kernel's process."""
        raise NotImplementedError

    def launch_failed(self, error: OSError) -> Exception:
        """Return the exception to raise when the kernel's command cannot be run."""
        return error

    def kernel_environment(self) -> Mapping[str, str]:
        """Return variables to add to the environment of the kernel. Called before each start."""
        return {}

    def kernel_stopping(self) -> None:
        """Run before the kernel is shut down, before a restart too."""

    def kernel_started(self) -> None:
        """Run after the launch."""

    def kernel_stopped(self) -> None:
        """Run after the kernel has stopped, before a restart too."""

    async def _async_pre_start_kernel(self, **options: Any) -> Any:  # noqa: ANN401  (jupyter_client's)
        return await super()._async_pre_start_kernel(**{**options, "extra_arguments": self.extra_arguments()})

    async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:  # noqa: ANN401  (jupyter_client's)
        try:
            with self.kernel_log().open("wb") as log:
                env = {**(options.get("env") or os.environ), **self.kernel_environment()}
                await super()._async_launch_kernel(kernel_cmd, **{**options, "stdout": log, "stderr": log, "env": env})
        except OSError as exc:
            raise self.launch_failed(exc) from exc

    async def _async_post_start_kernel(self, **options: Any) -> None:  # noqa: ANN401  (jupyter_client's)
        await super()._async_post_start_kernel(**options)
        self.kernel_started()

    async def _async_shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:  # noqa: FBT001, FBT002  (jupyter_client's)
        self.kernel_stopping()
        await super()._async_shutdown_kernel(now=now, restart=restart)

    async def _async_cleanup_resources(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002  (jupyter_client's)
        self.kernel_stopped()
        await super()._async_cleanup_resources(restart=restart)

    # jupyter_server calls them by these names.
    pre_start_kernel = _async_pre_start_kernel  # type: ignore[assignment]
    _launch_kernel = _async_launch_kernel  # type: ignore[assignment]
    post_start_kernel = _async_post_start_kernel  # type: ignore[assignment]
    shutdown_kernel = _async_shutdown_kernel  # type: ignore[assignment]
    cleanup_resources = _async_cleanup_resources  # type: ignore[assignment]
