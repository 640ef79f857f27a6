"""A kernel client over a websocket, which sends requests, dispatches replies, and detects lost messages.

The connection may break and be reopened. The ledger replaces messages that are lost in between, see delivery.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
import time
from queue import Empty
from typing import TYPE_CHECKING, Any, Final

from jupyter_client.session import Session

from nbtape.errors import KernelStartError
from nbtape.kernels.decoding import LARGE
from nbtape.kernels.handshake import Introducer
from nbtape.kernels.remote.delivery import Ledger
from nbtape.kernels.remote.websocket import WebsocketConnection

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping

    from nbtape.kernels.protocols import Message
    from nbtape.kernels.remote.connection import JupyterConnectionInfo

logger = logging.getLogger(__name__)

#: Bytes of unread messages at which reading pauses, so that a flood of output is slowed down instead of kept in memory.
_MAX_UNREAD_BYTES: Final = 64 << 20
#: How long to wait for the second half of a block's end before checking whether it was lost.
_HALF_END_SECONDS: Final = 2.0
#: How long an idle kernel may be unreachable before it counts as dead.
_UNREACHABLE_SECONDS: Final = 10.0

#: The exceptions that parsers raise for a broken or forged frame.
_UNREADABLE: Final = (
    *(ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError),
    struct.error,
)


class WebsocketKernelClient(Introducer):
    """A kernel client over a websocket.

    Args:
        info: The server.
        context: Which certificates to trust; None if the server does not use TLS.
        kernel_id: The id of the kernel.
        why_gone: Asks the server why the kernel no longer exists; empty if it may exist.
        why_dead: Returns how the kernel died, if that is known locally; empty if not.
        directory: The kernel's working directory; None to ask the kernel.
    """

    def __init__(
        self,
        info: JupyterConnectionInfo,
        context: ssl.SSLContext | None,
        kernel_id: str,
        why_gone: Callable[[], Awaitable[str]],
        why_dead: Callable[[], str],
        directory: str | None,
    ) -> None:
        super().__init__()
        self.allow_stdin = False
        self.directory = directory or ""
        self.shell_channel = WebsocketChannel()
        self.iopub_channel = WebsocketChannel()
        self._url = info.url
        self._kernel_id = kernel_id
        self._why_gone = why_gone
        self._why_dead = why_dead
        self._asks_directory = directory is None
        self._session = Session(username="nbtape")  # for ids and headers; the server signs
        self._connection = WebsocketConnection(info, context, kernel_id, self._session.session, why_gone, self)
        self._ledger = Ledger()
        self._block: Message | None = None
        self._answers: dict[str, _Answer] = {}
        self._half_end: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()  # connected, or gone
        self._is_ready = False
        self.cause_of_death = ""
        #: Whether the server has replaced the kernel's process, under the same id.
        self.was_replaced = False
        #: Whether another user stopped the kernel.
        self.was_ended = False

    def start_channels(self) -> None:
        """Connect, and connect again whenever the connection breaks."""
        if self._task is None:
            self._task = asyncio.create_task(self._stay_connected())

    def stop_channels(self) -> None:
        """Disconnect. The kernel keeps running."""
        if self._task is not None and not self._task.get_loop().is_closed():
            self._task.cancel()

    async def wait_stopped(self) -> None:
        """Return when the connection is closed."""
        if self._task is not None and not self._task.get_loop().is_closed():
            await asyncio.wait({self._task})

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Return when the kernel answers, sends on iopub, and has reported its working directory."""
        if self._is_ready:
            return
        try:
            async with asyncio.timeout(timeout):
                if not self.language_info:
                    info = await self._ask_until_answered("kernel_info_request", {})
                    self.language_info = dict(info["content"].get("language_info") or {})
                if self.language_info.get("name") == "python":
                    await self._introduce()
                    if self._asks_directory:
                        self.directory = self.environment.directory if self.environment else ""
        except TimeoutError:
            raise KernelStartError(
                f"The kernel on {self._url} did not answer within {timeout:g} s. Increase "
                f"startup_timeout= if the server is slow. {self._connection.last_error}".rstrip()
            ) from None
        self._is_ready = self._connection.keeps_session = True

    def execute(self, code: str, **options: Any) -> str:  # noqa: ANN401  (nbclient's)
        """Send a block, now or after reconnecting; return its message id.

        Silent requests between blocks count as blocks: they are also sent again if they did not reach the kernel.
        """
        self._block = self._session.msg("execute_request", _execution(code, **options))
        request: str = self._block["msg_id"]
        self._ledger.send_block(request)
        self._connection.send("shell", self._block)
        return request

    async def is_alive(self) -> bool:
        """Whether the kernel was not reported dead. Without a connection, it counts as alive."""
        return not self.cause_of_death

    async def is_reachable(self) -> bool:
        """Whether the kernel is alive and connected within 10 seconds; if not, it counts as dead from now on."""
        lost_at = self._connection.lost_at
        # A block that has not ended has already waited for the connection.
        left = 0 if self._ledger.waits else lost_at + _UNREACHABLE_SECONDS - time.monotonic()
        try:
            await asyncio.wait_for(self._settled.wait(), max(0.5, left))
        except TimeoutError:
            away = time.monotonic() - lost_at
            self._die(f"It could not be reached for {away:.0f} s. {self._connection.last_error}")
        return not self.cause_of_death

    async def catch_up(self) -> None:
        """Return when the kernel has answered and everything it sent before has arrived, or after one second."""
        if self._connection.is_open and not self.cause_of_death:
            with contextlib.suppress(TimeoutError, KernelStartError):
                await asyncio.wait_for(self._ask("execute_request", _execution("", silent=True)), 1)

    def missing_output(self) -> str:
        """A sentence on why output of the last block may be missing; empty if it is complete."""
        return self._ledger.missing()

    async def _ask_until_answered(self, kind: str, content: dict[str, Any]) -> Message:
        """Repeat a request every second: it may get lost, and the server may not listen to iopub yet at first."""
        asked: set[asyncio.Task[Message]] = set()
        try:
            while True:
                asked.add(asyncio.create_task(self._ask(kind, content)))
                answered, _ = await asyncio.wait(asked, timeout=1, return_when=asyncio.FIRST_COMPLETED)
                if answered:
                    return answered.pop().result()
        finally:
            for question in asked:
                question.cancel()

    async def _evaluate(self, expressions: Mapping[str, str]) -> Mapping[str, Any]:
        question = _execution("", silent=True, user_expressions=dict(expressions))
        content: Mapping[str, Any] = (await self._ask_until_answered("execute_request", question))["content"]
        return content

    async def _ask(self, kind: str, content: dict[str, Any]) -> Message:
        """Send an internal request; return its reply when everything that the kernel sent before has arrived.

        Raises:
            KernelStartError: The kernel died.
        """
        request = self._post(kind, content)
        answer = self._answers[request] = _Answer(asyncio.get_running_loop().create_future())
        try:
            return await answer.whole
        finally:
            del self._answers[request]

    def _post(self, kind: str, content: dict[str, Any]) -> str:
        message = self._session.msg(kind, content)
        request: str = message["msg_id"]
        self._ledger.send_question(request)
        self._connection.send("shell", message)
        return request

    def _inquire(self) -> None:
        """Send an empty request, whose answer shows what was lost before it."""
        self._post("execute_request", _execution("", silent=True))

    async def _stay_connected(self) -> None:
        try:
            self._die(await self._connection.run())
        except Exception:
            logger.exception("The connection to kernel %s failed unexpectedly.", self._kernel_id)
            self._die("The connection to it failed; see the log.")

    def connection_opened(self) -> None:
        """Find out what happened to a running block."""
        self._settled.set()
        if self._ledger.waits:
            self._inquire()

    async def frame_received(self, frame: bytes | str) -> None:
        """Process a message; return when there is room for the next one."""
        self._take(frame)
        await self.iopub_channel.wait_for_room()

    async def connection_silent(self) -> None:
        """Check that the kernel of a running block exists: a server does not report that it was deleted."""
        if self._ledger.waits and (cause := await self._why_gone()):
            self._die(cause)

    def connection_lost(self) -> None:
        """Note that messages may be lost."""
        if not self.cause_of_death:
            self._settled.clear()
        self._ledger.cut()

    def _take(self, frame: bytes | str) -> None:
        try:
            channel, message = self._connection.wire.decode(frame, self.iopub_channel.room)
            made_up = self._ledger.take(channel, message)
        except _UNREADABLE as exc:
            logger.warning("A message from kernel %s is invalid and was skipped: %s", self._kernel_id, exc)
            return
        for made_up_channel, made_up_message in made_up:
            self._deliver(made_up_channel, made_up_message, 0)
        self._deliver(channel, message, len(frame))
        if self._ledger.wants_block_again() and self._block is not None:
            self._connection.send("shell", self._block)
        if self._ledger.waits_for_half and self._half_end is None:
            self._half_end = asyncio.get_running_loop().call_later(_HALF_END_SECONDS, self._check_half_end)

    def _check_half_end(self) -> None:
        self._half_end = None
        if self._ledger.waits_for_half:
            self._inquire()

    def _deliver(self, channel: str, message: Message, size: int) -> None:
        """Deliver a message to its channel or request. Messages for other clients of the kernel are dropped."""
        parent = str(message["parent_header"].get("msg_id"))
        if channel == "iopub" and message["msg_type"] == "status":
            self._take_status(str(message["content"].get("execution_state")), parent)
        if channel == "iopub" and message["msg_type"] == "shutdown_reply":
            self._take_end(is_restart=message["content"].get("restart") is True)
        if parent in self._answers:
            self._answers[parent].take(channel, message)
        elif parent.startswith(self._session.session):
            if channel == "shell":
                self.shell_channel.put(message, size)
            elif channel == "iopub":
                self.iopub_channel.put(message, size)

    def _take_end(self, *, is_restart: bool) -> None:
        self.was_replaced, self.was_ended = is_restart, not is_restart
        self._die("Another user restarted it." if is_restart else "Another user stopped it.")

    def _take_status(self, state: str, parent: str) -> None:
        if state in {"restarting", "autorestarting"} or (state == "starting" and self._is_ready):
            self.was_replaced = True
            self._die("Its process exited, and the server restarted it.")
        elif state == "dead":
            self._die("Its process exited, as reported by the server.")
        elif state == "idle" and parent in self._answers:
            self._answers[parent].end()

    def _die(self, cause: str) -> None:
        """Give up the kernel, for the given cause unless an earlier or better one is known."""
        self.cause_of_death = self.cause_of_death or self._why_dead() or cause
        self._connection.reconnects = False
        self._settled.set()
        for answer in self._answers.values():
            answer.fail(KernelStartError(f"The kernel died. {self.cause_of_death}"))


class WebsocketChannel:
    """The unread messages of one channel."""

    def __init__(self) -> None:
        self.room = LARGE
        self._messages: asyncio.Queue[tuple[int, Message]] = asyncio.Queue()
        self._size = 0
        self._has_room = asyncio.Event()
        self._has_room.set()

    async def get_msg(self, timeout: float | None = None) -> Message:
        """Return the next message; see `Channel.get_msg`."""
        try:
            if self._messages.empty():
                async with asyncio.timeout(timeout):
                    size, message = await self._messages.get()
            else:
                size, message = self._messages.get_nowait()
        except TimeoutError:
            raise Empty from None
        self._size -= size
        if self._size < _MAX_UNREAD_BYTES:
            self._has_room.set()
        return message

    def put(self, message: Message, size: int) -> None:
        """Add a message whose frame had `size` bytes."""
        self._messages.put_nowait((size, message))
        self._size += size
        if self._size >= _MAX_UNREAD_BYTES:
            self._has_room.clear()

    async def wait_for_room(self) -> None:
        """Return when there is room for another message."""
        await self._has_room.wait()


class _Answer:
    """The answer to an internal request: its reply, and the status `idle` after everything else on iopub."""

    def __init__(self, whole: asyncio.Future[Message]) -> None:
        self.whole = whole
        self._reply: Message | None = None
        self._is_idle = False

    def take(self, channel: str, message: Message) -> None:
        if channel == "shell":
            self._reply = message
            self._settle()

    def end(self) -> None:
        self._is_idle = True
        self._settle()

    def fail(self, error: Exception) -> None:
        if not self.whole.done():
            self.whole.set_exception(error)

    def _settle(self) -> None:
        if self._reply is not None and self._is_idle and not self.whole.done():
            self.whole.set_result(self._reply)


def _execution(code: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401  (nbclient's)
    """The content of an `execute_request`, with jupyter_client's defaults."""
    switches = {"silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
    content = {"code": code, "user_expressions": {}, **switches, **options}
    return {**content, "store_history": content["store_history"] and not content["silent"]}
