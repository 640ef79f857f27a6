"""jupyter_client's client for a local kernel: bounded messages, and a faster and stricter check that it is ready."""

from __future__ import annotations

import time
from queue import Empty
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from traitlets import Type

from nbtape.errors import KernelStartError
from nbtape.kernels.decoding import LARGE, TooDeep, take_in, unpack
from nbtape.kernels.handshake import LOCAL_INTRODUCTION, introduce

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbtape.environment import Environment

#: How long to wait for a first iopub message before provoking another one; doubled each time. ZeroMQ drops what is
#: published before the subscription arrives.
FIRST_IOPUB_WAIT_SECONDS: Final = 0.01

#: The position of the content in what is left of a message without its identities.
_CONTENT: Final = 4


class LocalChannel(AsyncZMQSocketChannel):
    """jupyter_client's channel, which cuts a large message before decoding it."""

    room = LARGE

    async def get_msg(self, timeout: float | None = None) -> dict[str, Any]:  # type: ignore[override]
        """Return the next message.

        Args:
            timeout: Seconds to wait; None waits forever.

        Raises:
            queue.Empty: None came in time.
        """
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
        message: dict[str, Any] = self.session.deserialize(parts, content=False)  # with its signature checked
        content, message["cut"] = take_in(message.pop("content"), self.room)
        del frames, parts  # the memory of what was cut
        message["content"] = self.session.unpack(content)
        return _counted(message)


def _counted(message: dict[str, Any]) -> dict[str, Any]:
    """The message, with the size of a content that could not be decoded as what is cut."""
    if isinstance(content := message["content"], TooDeep):
        message["cut"] = content.size
    return message


class KernelProcess(Protocol):
    """What the client asks about its kernel's process."""

    def cause_of_death(self) -> str:
        """How the process ended, a sentence; empty while it runs."""
        ...


class LocalKernelClient(AsyncKernelClient):
    """jupyter_client's client, with a quicker and stricter idea of "ready"."""

    shell_channel_class = Type(LocalChannel)
    iopub_channel_class = Type(LocalChannel)

    def __init__(self, **traits: Any) -> None:  # noqa: ANN401  (jupyter_client's traits, passed through)
        super().__init__(**traits)
        self.language_info: dict[str, Any] = {}
        self.directory = "."
        self.environment: Environment | None = None
        self.stamp = ""
        self.introduction: Mapping[str, str] = LOCAL_INTRODUCTION
        self._is_heard = False
        self._is_ready = False

    def start_channels(self, **_: Any) -> None:  # type: ignore[override]  # noqa: ANN401
        """Connect shell and iopub: no one types into stdin, and the manager watches the process."""
        self.session.unpack = unpack
        super().start_channels(stdin=False, hb=False, control=False)

    def stop_channels(self) -> None:
        """Disconnect and give the context back."""
        super().stop_channels()
        self.context.destroy(linger=0)

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Return when the kernel has answered `kernel_info`, was heard on iopub and has told its environment.

        jupyter_client's own ends in a flush of iopub that always waits 200 ms; messages of other requests are
        skipped by their parent anyway. A kernel that was handed over is not asked again what is known of it.

        Raises:
            KernelStartError: The kernel died, or did not answer within `timeout` seconds.
        """
        if self._is_ready:
            return
        patience = 60 if timeout is None else timeout
        deadline = time.monotonic() + patience
        if not self.language_info:
            self.language_info = await self._meet(deadline, patience)
        if self.language_info.get("name") == "python":
            await self._introduce(deadline, patience)
        wait = FIRST_IOPUB_WAIT_SECONDS
        while not await self._hears(wait):
            await self._see_to_life(deadline, patience)
            self.kernel_info()
            wait = min(2 * wait, 0.5)
        self._is_ready = True

    async def _meet(self, deadline: float, patience: float) -> dict[str, Any]:
        """What the kernel speaks, when it has answered and was heard."""
        while True:
            self.kernel_info()
            reply = await self._next(self.shell_channel, timeout=0.5)
            is_heard = await self._hears(0.5 if reply else 0)
            if reply and reply["msg_type"] == "kernel_info_reply" and is_heard:
                return dict(reply["content"].get("language_info") or {})
            await self._see_to_life(deadline, patience)

    async def _introduce(self, deadline: float, patience: float) -> None:
        """Give the kernel what every kernel gets, and have it tell its environment."""

        async def ask(expressions: Mapping[str, str]) -> Mapping[str, Any]:
            request = self.execute("", silent=True, user_expressions=dict(expressions))
            reply: dict[str, Any] | None = None
            while not reply or reply["parent_header"].get("msg_id") != request:
                await self._see_to_life(deadline, patience)
                reply = await self._next(self.shell_channel, timeout=0.5)
            content: Mapping[str, Any] = reply["content"]
            return content

        self.environment, self.stamp = await introduce(ask, self.introduction, self.environment, self.stamp)

    async def _hears(self, timeout: float) -> bool:
        """Whether the kernel was heard on iopub by now."""
        self._is_heard = self._is_heard or await self._next(self.iopub_channel, timeout) is not None
        return self._is_heard

    async def _see_to_life(self, deadline: float, patience: float) -> None:
        """Whether there is still hope.

        Raises:
            KernelStartError: The kernel died, or its time is up.
        """
        if not await self.is_alive():
            raise KernelStartError(f"The kernel died while it started. {self._cause()}")
        if time.monotonic() > deadline:
            raise KernelStartError(
                f"The kernel did not answer within {patience:g} s. Raise startup_timeout if this machine is slow. "
                f"{self._cause()}"
            )

    async def catch_up(self) -> None:
        """What a local kernel has sent is in our socket."""

    def missing_output(self) -> str:
        """A local kernel's output all comes."""
        return ""

    def _cause(self) -> str:
        return cast("KernelProcess", self.parent).cause_of_death()

    async def _next(self, channel: Any, timeout: float) -> dict[str, Any] | None:  # noqa: ANN401
        try:
            message: dict[str, Any] = await channel.get_msg(timeout=timeout)
        except Empty:
            return None
        return message
