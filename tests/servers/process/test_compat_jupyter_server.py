"""jupyter_server has the private members that nbtape depends on."""

from __future__ import annotations

import inspect

from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.kernelmanager import MappingKernelManager

CHANGED = "jupyter_server has changed: adapt nbtape.servers.process.compat_jupyter_server"


def test_a_connection_knows_the_open_sessions() -> None:
    source = inspect.getsource(ZMQChannelsWebsocketConnection)
    assert "_open_sessions" in vars(ZMQChannelsWebsocketConnection), CHANGED
    assert "self._open_sessions[self.session_key] = " in source, CHANGED
    assert "self._open_sessions.pop(self.session_key)" in source, CHANGED


def test_messages_kept_for_a_client_are_a_buffer_of_its_session() -> None:
    source = inspect.getsource(MappingKernelManager.start_buffering)
    assert "self._kernel_buffers[kernel_id]" in source, CHANGED
    assert all(f'"{key}"' in source for key in ("buffer", "session_key")), CHANGED
    assert 'buffer_info["buffer"].append((channel, msg_parts))' in source, CHANGED


def test_a_server_has_methods_to_find_and_bind_its_port_and_to_clean_up() -> None:
    source = inspect.getsource(ServerApp)
    for use in ("self._find_http_port()", "add_callback(self._bind_http_server)", "await self._cleanup()"):
        assert use in source, CHANGED
    assert inspect.iscoroutinefunction(ServerApp._cleanup), CHANGED
