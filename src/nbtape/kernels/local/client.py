"""jupyter_client's client for a local kernel: bounded messages, and a faster and stricter check that it is ready."""

from __future__ import annotations

import time
from queue import Empty
from typing import TYPE_CHECKING, Any, Final, cast

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from traitlets import Type

from nbtape.errors import KernelStartError
from nbtape.kernels.decoding import LARGE, TooDeep, take_in, unpack
from nbtape.kernels.handshake import Introducer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbtape.kernels.protocols import KernelManager

#: How long to wait for the first iopub message before provoking another one, doubled each time: ZeroMQ drops messages
#: that are published before the subscription arrives.
FIRST_IOPUB_WAIT_SECONDS: Final = 0.01

#: The index of the content among the parts of a message after its identities.
_CONTENT: Final = 4


class LocalChannel(AsyncZMQSocketChannel):
    """jupyter_client's channel, except that it cuts large messages before decoding them."""

    room = LARGE

    async def get_msg(self, timeout: float | None = None) -> dict[str, Any]:  # type: ignore[override]
        """Return the next message; see `Channel.get_msg`."""
        assert self.socket is not None
        if not await self.socket.poll(None if timeout is None else int(timeout * 1000)):
            raise Empty
        frames = await self.socket.recv_multipart(copy=False)
        parts: Any = [frame.buffer if len(frame) > LARGE else frame.bytes for frame in frames]
        _identities, parts = self.session.feed_identities(parts)
        if not all(isinstance(part, bytes) for part in parts[:_CONTENT]):
            raise ValueError(f"its headers have more than {LARGE:,} bytes")
        if len(parts) <= _CONTENT or isinstance(parts[_CONTENT], bytes):
            return _counted(self.session.deserialize(parts))
        message: dict[str, Any] = self.session.deserialize(parts, content=False)  # checks the signature
        content, message["cut"] = take_in(message.pop("content"), self.room)
        del frames, parts  # frees the memory of what was cut
        message["content"] = self.session.unpack(content)
        return _counted(message)


def _counted(message: dict[str, Any]) -> dict[str, Any]:
    """The message; a content that could not be decoded is replaced, and its size counts as cut."""
    if isinstance(content := message["content"], TooDeep):
        message["cut"] = content.size
    return message


class LocalKernelClient(Introducer, AsyncKernelClient):
    """jupyter_client's client with a faster and stricter `wait_for_ready`."""

    shell_channel_class = Type(LocalChannel)
    iopub_channel_class = Type(LocalChannel)
    directory = "."

    _is_heard = _is_ready = False
    _timeout = _deadline = 0.0

    def start_channels(self, **_: Any) -> None:  # type: ignore[override]  # noqa: ANN401
        """Connect only shell and iopub: stdin is not used, and the manager watches the process."""
        self.session.unpack = unpack
        super().start_channels(stdin=False, hb=False, control=False)

    def stop_channels(self) -> None:
        """Disconnect, and close the ZeroMQ context."""
        super().stop_channels()
        self.context.destroy(linger=0)

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Return when the kernel has answered `kernel_info`, sent on iopub, and reported its environment.

        jupyter_client's own method ends with a flush of iopub that always takes 200 ms. It is not needed: messages of
        other requests are skipped because of their parent.
        """
        if self._is_ready:
            return
        self._timeout = 60 if timeout is None else timeout
        self._deadline = time.monotonic() + self._timeout
        if not self.language_info:
            self.language_info = await self._ask_language()
        if self.language_info.get("name") == "python":
            await self._introduce()
        wait = FIRST_IOPUB_WAIT_SECONDS
        while not await self._hears(wait):
            await self._check_start()
            self.kernel_info()
            wait = min(2 * wait, 0.5)
        self._is_ready = True

    async def _ask_language(self) -> dict[str, Any]:
        """Return `language_info` once the kernel has answered and sent on iopub."""
        while True:
            self.kernel_info()
            reply = await self._next(self.shell_channel, timeout=0.5)
            is_heard = await self._hears(0.5 if reply else 0)
            if reply and reply["msg_type"] == "kernel_info_reply" and is_heard:
                return dict(reply["content"].get("language_info") or {})
            await self._check_start()

    async def _evaluate(self, expressions: Mapping[str, str]) -> Mapping[str, Any]:
        request = self.execute("", silent=True, user_expressions=dict(expressions))
        reply: dict[str, Any] | None = None
        while not reply or reply["parent_header"].get("msg_id") != request:
            await self._check_start()
            reply = await self._next(self.shell_channel, timeout=0.5)
        content: Mapping[str, Any] = reply["content"]
        return content

    async def _hears(self, timeout: float) -> bool:
        """Whether a message arrives on iopub within `timeout` seconds."""
        self._is_heard = self._is_heard or await self._next(self.iopub_channel, timeout) is not None
        return self._is_heard

    async def _check_start(self) -> None:
        """Raise `KernelStartError` if the kernel died or its time is up."""
        if not await self.is_alive():
            raise KernelStartError(f"The kernel died during startup. {self._cause()}")
        if time.monotonic() > self._deadline:
            raise KernelStartError(
                f"The kernel did not answer within {self._timeout:g} s. Increase startup_timeout= on a slow machine. "
                f"{self._cause()}"
            )

    def _cause(self) -> str:
        return cast("KernelManager", self.parent).cause_of_death()

    async def catch_up(self) -> None:
        """Do nothing: everything that a local kernel has sent is already in the socket."""

    def missing_output(self) -> str:
        """Return "": no output of a local kernel is lost."""
        return ""

    async def _next(self, channel: Any, timeout: float) -> dict[str, Any] | None:  # noqa: ANN401
        try:
            message: dict[str, Any] = await channel.get_msg(timeout=timeout)
        except Empty:
            return None
        return message
