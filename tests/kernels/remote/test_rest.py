"""Servers that are unreachable, not Jupyter, or reject the client: one clear error, quickly, without the token."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from executors import run
from jupyter_servers import kernels_of, plain_server
from reading import eventually

from nbtape import JupyterCodeExecutor, JupyterConnectionInfo, KernelNotInstalledError, KernelStartError, ServerError
from nbtape.kernels.remote.jupyter_server import ForeignServer
from nbtape.kernels.remote.manager import RemoteKernels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nbtape import LocalJupyterServer

pytestmark = pytest.mark.usefixtures("leaves_nothing")

SECRET = "sesame-7c1d"

#: Seconds within which the error is raised.
SOON = 10


def check_refused(info: JupyterConnectionInfo, said: str, output_dir: Path) -> str:
    """Check that an executor on this server fails to start quickly with a clear error, and records nothing."""
    began = time.monotonic()
    executor = JupyterCodeExecutor(info, output_dir=output_dir)
    with pytest.raises((ServerError, KernelStartError), match=said) as caught:
        run(executor, "1")
    assert time.monotonic() - began < SOON
    executor.stop()
    message = str(caught.value)
    assert info.url in message
    causes: list[BaseException] = [caught.value]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)
    assert not any(SECRET in str(cause) for cause in causes)
    assert list(output_dir.iterdir()) == []
    return message


@pytest.fixture(params=["ours", "far"])
def sound(
    request: pytest.FixtureRequest, gateway: LocalJupyterServer, far_server: JupyterConnectionInfo
) -> JupyterConnectionInfo:
    """A working server: one of nbtape, and an external one with https below a path."""
    return gateway.connection_info if request.param == "ours" else far_server


class TestRefusals:
    """A Jupyter server that gets an invalid request."""

    def test_a_wrong_token_is_reported(self, sound: JupyterConnectionInfo, output_dir: Path) -> None:
        message = check_refused(
            dataclasses.replace(sound, token=SECRET), "rejected the token.*Set token= to the server's token", output_dir
        )
        assert str(sound.token) not in message

    def test_a_missing_token_is_reported(self, sound: JupyterConnectionInfo, output_dir: Path) -> None:
        check_refused(dataclasses.replace(sound, token=None), "requires a token", output_dir)

    def test_a_wrong_base_path_is_reported(self, sound: JupyterConnectionInfo, output_dir: Path) -> None:
        check_refused(
            dataclasses.replace(sound, base_path="/user/bob/"),
            "Check its port and path|Set token= to the server's token",
            output_dir,
        )

    def test_an_untrusted_certificate_is_reported(self, far_server: JupyterConnectionInfo, output_dir: Path) -> None:
        check_refused(
            dataclasses.replace(far_server, ca_file=None), "certificate that is not trusted.*ca_file=", output_dir
        )

    def test_a_certificate_for_another_host_is_reported(
        self, far_server: JupyterConnectionInfo, output_dir: Path
    ) -> None:
        check_refused(dataclasses.replace(far_server, host="localhost"), "certificate that is not trusted", output_dir)

    def test_certificate_checks_can_be_switched_off(self, far_server: JupyterConnectionInfo, output_dir: Path) -> None:
        info = dataclasses.replace(far_server, ca_file=None, verify=False)
        with JupyterCodeExecutor(info, output_dir=output_dir) as executor:
            assert run(executor, "print(1)").output == "1\n"

    def test_https_to_an_http_server_is_reported(self, gateway: LocalJupyterServer, output_dir: Path) -> None:
        check_refused(
            dataclasses.replace(gateway.connection_info, use_https=True), "use http:// instead of https://", output_dir
        )

    def test_http_to_an_https_server_is_reported(self, far_server: JupyterConnectionInfo, output_dir: Path) -> None:
        check_refused(dataclasses.replace(far_server, use_https=False), "use https:// instead of http://", output_dir)

    def test_a_missing_kernel_spec_is_an_error_that_names_the_available_ones(
        self, sound: JupyterConnectionInfo, output_dir: Path
    ) -> None:
        executor = JupyterCodeExecutor(sound, kernel_name="fortran", output_dir=output_dir)
        with pytest.raises(KernelNotInstalledError, match=r"^Kernel fortran is not installed\..*python3"):
            executor.start()
        executor.stop()


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket], Any] | None) -> Iterator[int]:
    """Listen on a port with a given handler for every connection."""
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    kept.append(connection)
                    if serve is not None:
                        serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for connection in kept:
                connection.close()


def answering(status: str, body: bytes, *headers: str) -> Callable[[socket.socket], None]:
    """Run an HTTP server that always gives the same answer."""
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers])

    def serve(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(f"{head}\r\n\r\n".encode() + body)
        connection.close()

    return serve


def secure_shell(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
    connection.recv(1 << 16)
    connection.close()


def endless(connection: socket.socket) -> None:
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n[")
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(b"1," * (1 << 16))


class TestNoJupyter:
    """Another program answers on the port, or none does."""

    def test_a_missing_server_is_reported_with_the_remedy(self, output_dir: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        check_refused(info_at(port), "cannot be reached.*Start it, or check the URL", output_dir)

    def test_an_unknown_host_is_reported(self, output_dir: Path) -> None:
        info = JupyterConnectionInfo("no-such-host.invalid", use_https=False, token=SECRET)
        check_refused(info, "cannot be reached", output_dir)

    def test_a_port_that_never_answers_times_out(self, output_dir: Path) -> None:
        with listening(None) as port:
            check_refused(info_at(port), "did not answer within", output_dir)

    @pytest.mark.parametrize(
        ("serve", "said"),
        [
            (answering("200 OK", b"<html>hello</html>"), "did not return JSON"),
            (answering("200 OK", b"[1, 2]"), "no kernel specs"),
            (answering("200 OK", b'{"kernelspecs": "none"}'), "no kernel specs"),
            (answering("404 Not Found", b"<html>"), "Check its port and path"),
            (answering("500 Internal Server Error", b"x"), r"failed \(HTTP 500"),
            (answering("503 Service Unavailable", b'{"message": "come back later"}'), "come back later"),
            (answering("302 Found", b"", "Location: http://127.0.0.1:1/login"), "token"),
            (answering("200 OK", b"\xff\xfe", "Content-Encoding: gzip"), r"does not speak HTTP \("),
            (lambda connection: connection.close(), r"does not speak HTTP \(|closed the connection"),
            (secure_shell, r"does not speak HTTP \("),
            (endless, "too long"),
        ],
        ids=["a page", "a list", "no specs", "404", "500", "503", "redirect", "no gzip", "closes", "ssh", "endless"],
    )
    def test_a_server_that_is_not_jupyter_is_reported(
        self, serve: Callable[[socket.socket], Any], said: str, output_dir: Path
    ) -> None:
        with listening(serve) as port:
            check_refused(info_at(port), said, output_dir)

    def test_a_redirect_does_not_send_the_token_elsewhere(self, output_dir: Path) -> None:
        heard: list[bytes] = []

        def overhear(connection: socket.socket) -> None:
            heard.append(connection.recv(1 << 16))
            connection.close()

        with (
            listening(overhear) as elsewhere,
            listening(answering("307 Temporary", b"", f"Location: http://127.0.0.1:{elsewhere}/")) as port,
        ):
            check_refused(info_at(port), "HTTP 307", output_dir)
        assert heard == []


def info_at(port: int) -> JupyterConnectionInfo:
    return JupyterConnectionInfo("127.0.0.1", use_https=False, port=port, token=SECRET)


class TestStart:
    """A kernel whose start fails partway."""

    @pytest.mark.parametrize("answer", [b"{}", b'{"id": 5}', b'{"id": "../../etc"}', b'{"id": ""}', b"[]", b"null"])
    def test_an_invalid_kernel_id_is_rejected(self, answer: bytes, output_dir: Path) -> None:
        specs = b'{"kernelspecs": {"python3": {"spec": {"language": "python"}}}}'

        def serve(connection: socket.socket) -> None:
            request = connection.recv(1 << 16)
            body = specs if b"kernelspecs" in request else answer
            connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            connection.close()

        with listening(serve) as port:
            check_refused(info_at(port), "returned no valid id", output_dir)

    def test_a_garbage_collected_executor_leaves_no_kernel_on_a_server_without_a_token(
        self, tmp_path_factory: pytest.TempPathFactory, output_dir: Path
    ) -> None:
        # Without a token, Jupyter rejects a request that changes something without proof that it is not forged.
        with plain_server(tmp_path_factory.mktemp("open"), "--IdentityProvider.token=") as port:
            info = JupyterConnectionInfo("127.0.0.1", use_https=False, port=port)
            manager = RemoteKernels(ForeignServer(info), "python3").manager()
            asyncio.run(manager.start_kernel(cwd=output_dir))
            assert len(kernels_of(info)) == 1
            del manager
            gc.collect()
            assert kernels_of(info) == set()

    def test_an_abandoned_start_leaves_no_kernel(self, gateway: LocalJupyterServer, output_dir: Path) -> None:
        before = kernels_of(gateway)
        executor = JupyterCodeExecutor(gateway, output_dir=output_dir, startup_timeout=0.01)
        with pytest.raises(KernelStartError, match=r"did not answer within 0\.01 s"):
            executor.start()
        executor.stop()
        assert eventually(lambda: kernels_of(gateway) <= before)
