"""Track requests to a kernel over an unreliable connection: which were answered, and what must have been lost.

A kernel takes requests in order and ends each with a reply (shell) and the status `idle` (iopub). When the end of a
later request arrives on a channel, a missing end of an earlier one was lost. A replacement is created, because nbclient
would wait for it forever. Lost outputs are counted: kernels built on jupyter_client number messages in the `msg_id`
(`<session>_<process>_<number>`, see `jupyter_client.session.Session.msg_id`).
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from nbtape.kernels.protocols import Message

CUT: Final = "The connection to the kernel was interrupted; output may be missing."
UNKNOWN: Final = (
    "The connection to the kernel was lost: it is not known whether the block ran or what it printed. Check before you "
    "run it again."
)
RATE_LIMITED: Final = (
    "Output is missing: the server's rate limit dropped it. To keep it, start the server with "
    "--ZMQChannelsWebsocketConnection.limit_rate=False."
)

_NUMBERED: Final = re.compile(r"(.+)_(\d{1,18})")
_LIMIT_LINE: Final = re.compile(r"IOPub (data|message) rate exceeded\.")


@dataclass(slots=True)
class _Request:
    """One request, and how much of its end has arrived."""

    id: str
    has_begun: bool = False
    has_reply: bool = False
    has_idle: bool = False
    error: dict[str, Any] | None = None

    @property
    def is_open(self) -> bool:
        return not (self.has_reply and self.has_idle)


class Ledger:
    """The requests of one client to one kernel, in the order in which they were sent."""

    def __init__(self) -> None:
        self._open: dict[str, _Request] = {}
        self._block: _Request | None = None
        # The execution count of the last cell known to have run; the first reply of a used kernel corrects it.
        self._count: object = 0
        self._numbers = _Numbers()
        self._was_cut = self._never_ran = False
        self._why_missing = ""

    def send_block(self, request_id: str) -> None:
        """Note that a block is sent."""
        self._block = self._open[request_id] = _Request(request_id)
        self._numbers = _Numbers()
        self._was_cut = self._never_ran = False
        self._why_missing = ""

    def send_question(self, request_id: str) -> None:
        """Note that an internal request without output is sent."""
        self._open[request_id] = _Request(request_id)

    def cut(self) -> None:
        """Note that the connection broke."""
        self._was_cut = True

    @property
    def waits(self) -> bool:
        """Whether a block has not ended yet."""
        return self._block is not None and self._block.is_open

    @property
    def waits_for_half(self) -> bool:
        """Whether one half of a block's end has arrived and the other has not."""
        return self._block is not None and self._block.has_reply != self._block.has_idle

    def wants_block_again(self) -> bool:
        """Whether the block did not reach the kernel and has to be sent again. True only once."""
        wanted, self._never_ran = self._never_ran, False
        return wanted

    def missing(self) -> str:
        """Why output of the last block may be missing, a sentence; empty if it is complete."""
        if self._why_missing:
            return self._why_missing
        return CUT if self._was_cut and (self.waits or self._numbers.lost_some()) else ""

    def take(self, channel: str, message: Message) -> list[tuple[str, Message]]:
        """Note that a message arrived; return replacements for messages lost before it, with their channels."""
        request = self._open.get(str(message["parent_header"].get("msg_id")))
        if channel == "shell":
            return [] if request is None else self._take_reply(request, message)
        return self._take_output(request, message) if channel == "iopub" else []

    def _take_reply(self, request: _Request, reply: Message) -> list[tuple[str, Message]]:
        made_up = []
        count = reply["content"].get("execution_count")
        for earlier in self._before(request):
            if earlier is self._block and not earlier.has_begun and count is not None and count == self._count:
                # The kernel counts its cells, and no further cell has run.
                self._never_ran = True
                self._open[earlier.id] = self._open.pop(earlier.id)
                continue
            if not earlier.has_begun:
                made_up.append(("iopub", self._make_up_idle(earlier)))
            if not earlier.has_reply:
                made_up.append(("shell", self._make_up_reply(earlier)))
        self._count = self._count if count is None else count  # missing in the reply of an aborted request
        request.has_begun = request.has_reply = True
        self._forget_ended()
        return made_up

    def _take_output(self, request: _Request | None, message: Message) -> list[tuple[str, Message]]:
        made_up = []
        is_idle = _is_status(message, "idle")
        if request is not None and is_idle:
            # A request that has not begun may not have reached the kernel; its reply will show that.
            made_up = [
                ("iopub", self._make_up_idle(earlier))
                for earlier in self._before(request)
                if not earlier.has_idle and earlier.has_begun
            ]
        self._numbers.take(message, of_block=request is not None and request is self._block, is_idle=is_idle)
        if _is_limit_line(message) and not self._numbers.counts(message):
            self._why_missing = RATE_LIMITED
        if request is not None:
            request.has_begun = True
            request.has_idle = request.has_idle or is_idle
            if message["msg_type"] == "error":
                request.error = dict(message["content"])
        if is_idle:
            self._forget_ended()
        return made_up

    def _before(self, request: _Request) -> list[_Request]:
        requests = list(self._open.values())
        return requests[: requests.index(request)]

    def _make_up_idle(self, request: _Request) -> Message:
        request.has_idle = True
        return _message("status", {"execution_state": "idle"}, request.id)

    def _make_up_reply(self, request: _Request) -> Message:
        request.has_reply = True
        content: dict[str, Any] = {"status": "ok"}
        if request.error is not None:
            content = {**request.error, "status": "error"}
        elif request is self._block and not request.has_begun:  # not an earlier, abandoned block
            self._why_missing = UNKNOWN
            content = {"status": "error", "ename": "ConnectionLost", "evalue": UNKNOWN, "traceback": []}
        return _message("execute_reply", content, request.id)

    def _forget_ended(self) -> None:
        self._open = {name: request for name, request in self._open.items() if request.is_open}


class _Numbers:
    """Whether all messages of a block have arrived, by the numbers that the kernel gives its messages."""

    def __init__(self) -> None:
        self._kernel: str | None = None
        self._first = self._last = 0
        self._received = 0
        self._elsewhere = 1  # sent on other channels: the block's reply, and replies to other clients
        self._has_ended = self._lacks_head = False

    def counts(self, message: Message) -> bool:
        """Whether the number of the message is from the kernel, not from the server."""
        numbered = _NUMBERED.fullmatch(str(message["header"].get("msg_id")))
        return numbered is not None and numbered[1] == self._kernel

    def take(self, message: Message, *, of_block: bool, is_idle: bool) -> None:
        """Count an iopub message."""
        numbered = _NUMBERED.fullmatch(str(message["header"].get("msg_id")))
        if numbered is None or self._has_ended:
            return
        number = int(numbered[2])
        if self._kernel is None and of_block:
            self._kernel, self._first = numbered[1], number
            self._lacks_head = message["msg_type"] != "execute_input" and not _is_status(message, "busy")
        if numbered[1] != self._kernel:
            return
        self._received += 1
        self._last = max(self._last, number)
        self._has_ended = of_block and is_idle
        if is_idle and not of_block and str(message["parent_header"].get("msg_type")).endswith("_request"):
            self._elsewhere += 1

    def lost_some(self) -> bool:
        """Whether messages are missing, or cannot be counted: the first or last is unknown, or they have no numbers."""
        if self._lacks_head or not self._has_ended:
            return True
        return self._last - self._first + 1 > self._received + self._elsewhere


def _is_status(message: Message, state: str) -> bool:
    return bool(message["msg_type"] == "status" and message["content"].get("execution_state") == state)


def _is_limit_line(message: Message) -> bool:
    return message["msg_type"] == "stream" and bool(_LIMIT_LINE.match(str(message["content"].get("text"))))


def _message(kind: str, content: dict[str, Any], request_id: str) -> Message:
    header = {"msg_id": uuid.uuid4().hex, "msg_type": kind}
    return {
        "header": header,
        **header,
        "parent_header": {"msg_id": request_id},
        "metadata": {},
        "content": content,
        "buffers": [],
    }
