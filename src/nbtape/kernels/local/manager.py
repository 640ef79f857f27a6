"""Local kernels, run by jupyter_client.

ipykernels use unix sockets in a private directory. Unlike ports, these cannot clash when many kernels start at once,
and other local users cannot listen to iopub, which does not authenticate subscribers.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import zmq
from jupyter_client.kernelspec import KernelSpec as KernelSpecFile
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from traitlets import TraitError

from nbtape.common.concurrency import offload
from nbtape.common.finalizers import when_forgotten
from nbtape.common.own_tokens import without_own_tokens
from nbtape.common.text import it_last_said, tail
from nbtape.errors import KernelNotInstalledError, KernelStartError
from nbtape.kernels.handshake import KERNEL_ENVIRONMENT, LOCAL_INTRODUCTION, move
from nbtape.kernels.leftovers import Leftovers
from nbtape.kernels.local.compat_jupyter_client import Context, LeanKernelManager
from nbtape.kernels.local.interpreters import activation, checked_python, lack_of_ipykernel
from nbtape.kernels.processes import end_group, has_current_directory, make_private_directory, unblocking_sigint
from nbtape.kernels.protocols import KernelManager, KernelSource, KernelSpec

if TYPE_CHECKING:
    import weakref
    from collections.abc import Mapping, Sequence
    from subprocess import Popen

    from jupyter_client.manager import AsyncKernelManager

    from nbtape.kernels.local.client import LocalKernelClient
    from nbtape.kernels.protocols import KernelClient

#: Maximum unread messages in this process; each takes as much memory as its content.
_MAX_UNREAD_MESSAGES: Final = 100

_UNIX: Final = sys.platform != "win32"

#: The file that ipykernels read in addition to their own configuration.
_CONFIGURATION: Final = Path(__file__).parents[1] / "inside" / "ipykernel_config.py"


class _OtherPython(KernelSpecManager):
    """The locally installed kernel specs, with the kernels of Python in another interpreter."""

    def __init__(self, python: Path) -> None:
        super().__init__()
        self._python = python

    def get_kernel_spec(self, kernel_name: str) -> KernelSpecFile:
        """Return a kernel spec."""
        spec = super().get_kernel_spec(kernel_name)
        if is_ipykernel(spec.argv):
            spec.argv = [str(self._python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            spec.env = {**spec.env, **activation(self._python)}
        return spec


class LocalKernels(KernelSource):
    """The locally installed kernel specs.

    Args:
        kernel_name: The name of the kernel spec.
        python: The interpreter for a Python kernel; None for the one in the kernel spec.
    """

    def __init__(self, kernel_name: str, python: Path | None = None) -> None:
        self._name = kernel_name
        self._specs = KernelSpecManager() if python is None else _OtherPython(python)

    def check(self) -> None:
        """Raise `KernelNotInstalledError` if the kernel spec is not installed, `KernelStartError` if it is unusable."""
        self._find()

    async def spec(self) -> KernelSpec:
        """Return the kernel spec."""
        return self._find()

    @property
    def is_python(self) -> bool:
        """Whether the kernel spec starts an ipykernel."""
        return is_ipykernel(self._found().argv)

    def _find(self) -> KernelSpec:
        found = self._found()
        return KernelSpec(self._name, found.display_name, found.language)

    def _found(self) -> Any:  # noqa: ANN401  (jupyter_client has no types)
        try:
            installed = self._specs.find_kernel_specs()
            found = self._specs.get_kernel_spec(self._name)
        except NoSuchKernel:
            if directory := installed.get(self._name.lower()):
                raise _without_provisioner(directory) from None
            raise KernelNotInstalledError(self._name, sorted(installed)) from None
        except OSError as exc:
            raise KernelStartError(
                f"The kernel specs cannot be read: {exc.filename}: {exc.strerror}. Repair or remove it."
            ) from exc
        except (TypeError, ValueError, TraitError, RecursionError) as exc:
            raise _unusable(installed[self._name.lower()], str(exc)) from exc
        except RuntimeError as exc:  # jupyter_core's, for a user without HOME and without an entry in the passwd file
            raise KernelStartError(f"Jupyter cannot find its directories: {exc} Set HOME to a directory.") from exc
        if not found.argv:
            raise _unusable(found.resource_dir, "argv is missing")
        return found

    def manager(self) -> KernelManager:
        """Return a manager for one new kernel."""
        return LocalKernelManager(kernel_name=self._name, kernel_spec_manager=self._specs)


class LocalPython:
    """Provides local kernels that run in this Python, as an executor's `jupyter_server`.

    Args:
        python: The interpreter, or the directory of its virtual environment.
        must: Whether a kernel that does not run Python is an error. If not, it starts like any other local kernel.

    Raises:
        ValueError: There is no such interpreter.
    """

    def __init__(self, python: Path | str, *, must: bool = True) -> None:
        self.path = checked_python(python)
        self._must = must

    def kernels_for(self, kernel_name: str, directory: Path) -> LocalKernels:  # noqa: ARG002  (of the interface)
        """Return the kernel source for one session; raises ValueError if the kernel must run Python and does not."""
        kernels = LocalKernels(kernel_name, self.path)
        if self._must and not kernels.is_python:
            raise ValueError(
                f"python= is for Python kernels, and {kernel_name} is another one. Leave it out, or choose another "
                "kernel."
            )
        return kernels


def _unusable(directory: str, why: str) -> KernelStartError:
    """The error for a kernel spec with invalid content."""
    path = Path(directory) / "kernel.json"
    return KernelStartError(f"The kernel spec {path} is invalid: {why.rstrip('.')}. Repair or remove the file.")


def _without_provisioner(directory: str) -> KernelStartError:
    """The error for a kernel spec that jupyter_client does not accept because of its provisioner."""
    stanza = KernelSpecFile.from_resource_dir(directory).metadata.get("kernel_provisioner", {})
    return KernelStartError(
        f"The kernel spec {Path(directory) / 'kernel.json'} needs the kernel provisioner "
        f"{stanza.get('provisioner_name')}, which is not installed. Install its package, or choose another kernel."
    )


class LocalKernelManager(LeanKernelManager, KernelManager):
    """One local kernel process, with a private directory for its sockets and its log."""

    def __init__(self, **traits: Any) -> None:  # noqa: ANN401  (jupyter_client's traits, passed through)
        super().__init__(client_class="nbtape.kernels.local.client.LocalKernelClient", **traits)
        self._process: Popen[bytes] | None = None
        self._leftovers = Leftovers()
        self._known: KernelClient | None = None
        self._introduction: Mapping[str, str] = LOCAL_INTRODUCTION
        self._directory: Path | None = None
        self._reaper: weakref.finalize[..., LocalKernelManager] | None = None
        self._last_cause = ""

    async def start_kernel(self, *, cwd: Path | None) -> None:  # type: ignore[override]
        """Start the kernel process in `cwd`, or else in the root directory, where only root can put modules."""
        self._directory = make_private_directory()
        self.connection_file = str(self._directory / "kernel.json")
        arguments = arrange_ipykernel(self, self._directory / "socket")
        try:
            with (self._directory / "kernel.log").open("wb") as log:
                await super().start_kernel(
                    cwd=str(cwd or Path("/")),
                    env={**KERNEL_ENVIRONMENT, **without_own_tokens(os.environ), **self._leftovers.environment},
                    extra_arguments=arguments,
                    stdout=log,
                    stderr=log,
                    **unblocking_sigint(),
                )
        except OSError as exc:
            await self.cleanup_resources()
            raise self._start_error(exc, cwd) from exc
        self._process = self.provisioner.process if self.provisioner else None  # type: ignore[attr-defined]
        if self._process is not None:
            self._leftovers.watch(self._process.pid)
            self._reaper = when_forgotten(self, _reap, self._process.pid, self._leftovers, str(self._directory))

    def _start_error(self, exc: OSError, cwd: Path | None) -> KernelStartError:
        """Why the system did not start the process."""
        if exc.filename is None and not has_current_directory():
            return KernelStartError(
                "Kernels cannot be started: the current directory of this process was removed. Change to another "
                "directory."
            )
        if cwd is not None and exc.filename == str(cwd):
            return KernelStartError(f"Kernels cannot be started in {cwd}: {exc.strerror}. Create the directory.")
        spec = Path(self.kernel_spec.resource_dir if self.kernel_spec is not None else "") / "kernel.json"
        return KernelStartError(f"Kernel {self.kernel_name} cannot be started: {exc}. Check {spec}.")

    def hand_over(self, client: KernelClient, cwd: Path) -> KernelManager:
        """Return this manager, which is not tied to an event loop; its next clients take over what `client` learned."""
        self._known, self._introduction = client, move(str(cwd))
        return self

    def client(self) -> LocalKernelClient:  # type: ignore[override]
        """Return a client with its own ZeroMQ context, so that the output of a killed kernel stays readable."""
        context = Context()
        # Reconnect after 10 ms, not ZeroMQ's 100, if a kernel binds late. Unread messages wait in the kernel if it
        # keeps them; other kernels would drop them.
        context.setsockopt(zmq.RECONNECT_IVL, 10)
        keeps_unread = self.kernel_spec is not None and is_ipykernel(self.kernel_spec.argv)
        context.setsockopt(zmq.RCVHWM, _MAX_UNREAD_MESSAGES if keeps_unread else 0)
        client: LocalKernelClient = super().client(context=context)  # type: ignore[assignment]
        client.prepare(self._introduction, self._known)
        return client

    async def interrupt_kernel(self) -> None:  # type: ignore[override]
        """Send SIGINT to the kernel and its processes; jupyter_client alone would raise if the kernel is dead."""
        if self.has_kernel and await self.is_alive():
            await super().interrupt_kernel()

    async def shutdown_kernel(self, *, now: bool = False) -> None:  # type: ignore[override]
        """Stop the kernel. Unless `now`, it has a few seconds for its exit handlers before it is killed."""
        if self.has_kernel:
            await offload(self._leftovers.look)
            await super().shutdown_kernel(now=now or not await self.is_alive())
        await self.cleanup_resources()

    async def cleanup_resources(self, restart: bool = False) -> None:  # type: ignore[override]  # noqa: FBT001, FBT002
        """Remove sockets, connection file and log, and kill the processes that the kernel left running."""
        self._last_cause = self.cause_of_death()  # before the log is removed
        await super().cleanup_resources(restart=restart)
        if self._reaper is not None:
            await offload(self._reaper)
        elif self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def cause_of_death(self) -> str:
        """How the process exited: its signal or exit code and the end of its log."""
        if self._process is None or self._directory is None:
            return self._last_cause
        log = self._directory / "kernel.log"
        return describe_end(self._process.poll(), log) if log.exists() else self._last_cause


def is_ipykernel(argv: Sequence[str]) -> bool:
    """Whether a kernel spec's command starts an ipykernel, which then gets `ipykernel_config.py`."""
    return any("ipykernel" in word for word in argv)


def arrange_ipykernel(manager: AsyncKernelManager, socket: Path) -> list[str]:
    """Make an ipykernel that is about to start use unix sockets with the path prefix `socket`, and no history.

    Returns:
        Arguments to add to its command.
    """
    spec = manager.kernel_spec
    if spec is None or not is_ipykernel(spec.argv):
        return []
    if _UNIX:
        manager.transport, manager.ip = "ipc", str(socket)
    return ["--HistoryManager.hist_file=:memory:", f"--IPKernelApp.extra_config_file={_CONFIGURATION}"]


def describe_end(code: int | None, log: Path) -> str:
    """How a kernel's process exited, by its `Popen.returncode` and its log."""
    said = tail(log)
    return lack_of_ipykernel(said) or _describe_exit(code) + it_last_said(said)


def _describe_exit(code: int | None) -> str:
    """The meaning of a `Popen.returncode`."""
    if code is None:
        return ""
    if code >= 0:
        return f"Its process exited with code {code}."
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (out of memory, or killed by another process)" if name == "SIGKILL" else ""
    return f"Its process was killed by {name}{hint}."


def _reap(process_group: int, leftovers: Leftovers, directory: str) -> None:
    """Kill a kernel with all its processes and remove its directory: at cleanup, garbage collection, or exit."""
    if _UNIX:
        end_group(process_group)
        leftovers.end()
    shutil.rmtree(directory, ignore_errors=True)
