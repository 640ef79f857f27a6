"""ipykernel sends output as nbtape's code in the kernel expects."""

from __future__ import annotations

import inspect

from ipykernel import zmqshell
from ipykernel.iostream import IOPubThread, OutStream
from ipykernel.kernelapp import IPKernelApp
from jupyter_client.session import Session

CHANGED = "ipykernel has changed: adapt nbtape.kernels.inside.compat_ipykernel"


def test_a_flush_only_queues_output_for_the_sending_thread() -> None:
    source = inspect.getsource(OutStream.flush)
    assert "self.pub_thread.schedule(self._flush)" in source, CHANGED
    assert "self.pub_thread.thread.is_alive()" in source, CHANGED
    assert "evt.wait(self.flush_timeout)" in source, CHANGED


def test_a_hook_sees_a_stream_message_before_it_is_sent() -> None:
    source = inspect.getsource(OutStream._flush)
    assert '{"name": self.name, "text": data}' in source, CHANGED
    assert "for hook in self._hooks:" in source, CHANGED
    assert "self._local = local()" in inspect.getsource(OutStream.__init__), f"{CHANGED}: hooks are not kept per thread"


def test_the_sending_thread_runs_scheduled_calls_in_order() -> None:
    assert list(inspect.signature(IOPubThread.schedule).parameters) == ["self", "f"], CHANGED
    assert "self.socket = socket" in inspect.getsource(IOPubThread.__init__), CHANGED


def test_the_session_of_a_kernel_packs_each_message() -> None:
    assert "content = self.pack(content)" in inspect.getsource(Session.serialize), CHANGED
    assert "self.session.msg(" in inspect.getsource(OutStream._flush), CHANGED


def test_a_shell_command_runs_in_a_function_that_returns_its_exit_code() -> None:
    assert callable(zmqshell.system), CHANGED  # type: ignore[attr-defined]
    source = inspect.getsource(zmqshell.ZMQInteractiveShell.system_piped)
    assert "system(self.var_expand(cmd, depth=1))" in source, CHANGED


def test_the_output_socket_is_created_from_the_given_context() -> None:
    source = inspect.getsource(IPKernelApp.init_iopub)
    assert "self.iopub_socket = context.socket(" in source, "adapt nbtape.kernels.inside.ipykernel_config"
    assert list(inspect.signature(IPKernelApp.init_iopub).parameters) == ["self", "context"], CHANGED
