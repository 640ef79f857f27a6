"""Turn kernel messages into the outputs of a cell, by nbclient's rules.

In addition, malformed messages are dropped, stream chunks are merged as they arrive, the size of a cell is limited, and
text that a thread prints after its cell has ended is recorded in that cell.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from queue import Empty
from typing import TYPE_CHECKING, Any, Final

from nbclient.exceptions import CellExecutionComplete, DeadKernelError
from nbformat import from_dict

from nbtape.notebook.output_text import output_size
from nbtape.session.compat_nbclient import PollingClient
from nbtape.session.kernel_messages import clean_message, is_message, page_of, parent_id
from nbtape.session.output_limits import MAX_ERROR_CHARS, Growth, output_of, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbformat import NotebookNode

    from nbtape.kernels.protocols import Channel, KernelClient, KernelManager, Message
    from nbtape.session.output_limits import Listener

logger = logging.getLogger(__name__)

_DISPLAYS: Final = frozenset({"display_data", "update_display_data", "execute_result"})
_OUTPUTS: Final = _DISPLAYS | {"stream", "error"}

#: Maximum number of cells whose outputs are merged: the running one, and earlier ones whose threads still print.
_MAX_OPEN_CELLS: Final = 4

#: Maximum number of displays with an id; nbclient remembers each of them.
_MAX_DISPLAY_IDS: Final = 10_000

#: How often to check whether a kernel that has not answered yet is alive.
DEATH_POLL_SECONDS: Final = 1

#: How long to continue reading if a kernel's threads never stop printing.
DRAIN_TIMEOUT_SECONDS: Final = 10.0


class Recorder(PollingClient):
    """Writes a kernel's output into the cells of a notebook, and calls the listener on changes."""

    def __init__(
        self, notebook: NotebookNode, manager: KernelManager, kernel: KernelClient, listener: Listener
    ) -> None:
        # nbclient does not limit widget state, nor the messages that follow a reply. A short iopub_timeout would give
        # up in the middle of a flood of output, so it is a day: the deadline of the cell applies instead.
        super().__init__(
            notebook,
            km=manager,  # type: ignore[arg-type]  # our interface instead of jupyter_client's class
            allow_errors=True,
            store_widget_state=False,
            skip_cells_with_tag=",",  # tags have no commas: nbtape, not nbclient, decides which cells to skip
            iopub_timeout=24 * 3600,
            shell_timeout_interval=DEATH_POLL_SECONDS,
            log=logger,
        )
        self.kc = _TappedClient(kernel, self)  # type: ignore[assignment]
        self._kernel = kernel
        self.on_cell_executed = self._replied
        self._listener = listener
        # The growth of cells that may still change; for all others, only the limit is kept.
        self._growth: dict[int, Growth] = {}
        self._limits: dict[int, int] = {}
        self._current = self._previous = -1
        self._requests: dict[str, int] = {}
        # Events by request id, set when the kernel is idle after an internal request.
        self._questions: dict[str, asyncio.Event] = {}
        self._displays: defaultdict[str, set[int]] = defaultdict(set)  # cells that show a display, by display id
        self.begun = asyncio.Event()
        self.reply: Mapping[str, Any] = {}

    async def record(self, index: int, limit: int) -> None:
        """Send cell `index` and write at most `limit` characters of its output, until the kernel is idle.

        Raises nbclient's DeadKernelError.
        """
        self._previous, self._current = self._current, index
        self._limits[index] = limit
        self._growth[index] = Growth(self.nb["cells"][index], limit)
        for old in list(self._growth)[:-_MAX_OPEN_CELLS]:
            self._growth.pop(old).settle()
        self._kernel.iopub_channel.room = max(limit, MAX_ERROR_CHARS)
        self.begun.clear()
        self.reply = {"status": "ok"}  # for an empty cell, which nbclient does not send
        try:
            await self.async_execute_cell(self.nb["cells"][index], index)
        finally:
            self.stop_polling()
            self.settle(index)

    async def ask(self, expressions: Mapping[str, str]) -> Mapping[str, Any]:
        """Let the kernel evaluate expressions silently; return the content of its reply, unchecked.

        Output of threads in the meantime is recorded in the last cell. Raises nbclient's DeadKernelError.
        """
        assert self.kc is not None
        request = self.kc.execute("", silent=True, store_history=False, user_expressions=dict(expressions))
        answered = self._questions[request] = asyncio.Event()
        # If a thread has printed much, the reply arrives only after its output is read.
        reading = asyncio.ensure_future(self._read_on())
        try:
            reply = await self.async_wait_for_reply(request)
            await self._wait_until_idle(answered)
        finally:
            reading.cancel()
            await asyncio.wait({reading})
            self.settle(self._current)
        assert reply is not None, "there is no timeout"
        content: Mapping[str, Any] = reply["content"]
        return content

    async def _wait_until_idle(self, answered: asyncio.Event) -> None:
        """Wait for the kernel's `idle`: everything that it sent before its reply has arrived by then."""
        waiting = asyncio.ensure_future(answered.wait())
        try:
            while not (await asyncio.wait({waiting}, timeout=DEATH_POLL_SECONDS))[0]:
                if not await self._kernel.is_alive():
                    raise DeadKernelError("Kernel died")
        finally:
            waiting.cancel()

    async def _read_on(self) -> None:
        while True:
            await self._read(pause=None)

    def settle(self, index: int) -> None:
        """Write the merged stream of a cell into its node."""
        if index in self._growth:
            self._growth[index].settle()

    def left_out(self, index: int) -> int:
        """The number of characters of output that cell `index` had over its limit."""
        return self._growth[index].left_out

    def _growth_of(self, index: int) -> Growth:
        """The growth of a cell, even if it is no longer tracked."""
        if index not in self._growth:
            growth = self._growth[index] = Growth(self.nb["cells"][index], self._limits[index])
            growth.take_up()
        return self._growth[index]

    async def drain(self, pause: float) -> None:
        """Read messages until none arrives for `pause` seconds.

        Used for a dead kernel, which sends no `idle`, and for text that threads printed since the last cell.
        """
        deadline = time.monotonic() + DRAIN_TIMEOUT_SECONDS
        with contextlib.suppress(Empty):
            while time.monotonic() < deadline:
                await self._read(pause)
        self.settle(self._current)

    async def _read(self, pause: float | None) -> None:
        """Read one message for the cell it belongs to."""
        assert self.kc is not None
        message = await self.kc.iopub_channel.get_msg(timeout=pause)
        if parent_id(message) in self._requests:
            with contextlib.suppress(CellExecutionComplete):
                self.process_message(message, self.nb["cells"][self._current], self._current)

    def sent(self, request: str) -> None:
        """Note that `request` was sent for the current cell."""
        self._requests[request] = self._current

    def take_late(self, message: Message) -> bool:
        """Handle a message of an earlier cell or an internal request; return False for other messages."""
        request, kind = parent_id(message), message["header"].get("msg_type")
        index = self._requests.get(request, self._current)
        if request in self._questions and kind == "status" and message["content"].get("execution_state") == "idle":
            self._questions[request].set()
        if index < 0:
            return True
        if index == self._current:
            if request not in self._questions:
                return False
            if kind in _OUTPUTS or kind == "clear_output":
                self.process_message(message, self.nb["cells"][index], index)
        elif kind in _OUTPUTS:
            # A `clear_output(wait=True)` of the current cell waits for an output of that cell, not for this one.
            waiting, self.clear_before_next_output = self.clear_before_next_output, False
            if index == self._previous and not self.begun.is_set():
                self.process_message(message, self.nb["cells"][index], index)
            else:
                self._record_late(message, index)
            self.clear_before_next_output = waiting
            self.settle(index)
        return True

    def _record_late(self, message: Message, index: int) -> None:
        """Append an output to an earlier cell, as a separate output that is marked as late.

        A thread of that cell may have sent it, or code of the running cell in its name.
        """
        if message["header"]["msg_type"] == "execute_result":
            message["header"]["msg_type"] = "display_data"
        message["content"].pop("execution_count", None)
        cell, growth = self.nb["cells"][index], self._growth_of(index)
        if growth.late_during != self._current:
            growth.seal()
            growth.late_during = self._current
        before = len(cell["outputs"])
        self.process_message(message, cell, index)
        if len(cell["outputs"]) > before:
            entry = {"output": before, "during": self.nb["cells"][self._current]["id"]}
            ours = cell["metadata"].setdefault("nbtape", from_dict({}))
            ours["late"] = [*ours.get("late", []), from_dict(entry)]

    def _mark_update(self, index: int) -> None:
        """Note that a later cell has updated a display of an earlier one."""
        if index != self._current:
            ours = self.nb["cells"][index]["metadata"].setdefault("nbtape", from_dict({}))
            name = self.nb["cells"][self._current]["id"]
            if name not in ours.get("updated_by", []):
                ours["updated_by"] = [*ours.get("updated_by", []), name]

    def process_message(self, msg: Message, cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        """Clean a message and let nbclient process it; drop malformed ones."""
        message = clean_message(msg)
        if message is None:
            return None
        kind, content = message["msg_type"], message["content"]
        if kind == "execute_input":
            self.begun.set()
        if kind in _DISPLAYS and not self._growth_of(cell_index).bears(message):
            return None
        display_id = content.get("transient", {}).get("display_id")
        if display_id and not self._affords_update(message, display_id):
            return None
        out = super().process_message(message, cell, cell_index)
        for index in self._displays.get(display_id, ()):
            self._mark_update(index)
            self._listener.changed(index)
        if kind != "status":
            self._listener.changed(cell_index)
        self._make_room()
        return out

    def _affords_update(self, message: Message, display_id: str) -> bool:
        """Whether all outputs that show a display have room for its new content; charges the current cell for it."""
        size, added = size_of(message), {True: 0, False: 0}
        for index, positions in self.places_by_display_id.get(display_id, {}).items():
            outputs = self.nb["cells"][index]["outputs"] if positions else []
            added[index == self._current] += sum(size - output_size(outputs[position]) for position in positions)
        return self._growth_of(self._current).affords(added[True], added[False])

    def _make_room(self) -> None:
        """Set how much of the next message the channel keeps: as much as the current cell has room for."""
        growth = self._growth[self._current]
        self._kernel.iopub_channel.room = max(
            growth.limit if self.clear_before_next_output else growth.room, MAX_ERROR_CHARS
        )

    def output(
        self, outs: list[NotebookNode], msg: Message, display_id: str | None, cell_index: int
    ) -> NotebookNode | None:
        """Add an output: merge stream chunks, apply the cell's limit, call the listener."""
        growth = self._growth_of(cell_index)
        if self.clear_before_next_output:
            growth.clear()
        if not growth.admit(msg):
            return None
        self._listener.output(output_of(msg))
        if growth.extend(msg):
            return outs[-1]
        growth.settle()
        if display_id and display_id not in self._displays and len(self._displays) >= _MAX_DISPLAY_IDS:
            display_id = None  # it is shown but not updated
        if display_id:
            self._displays[display_id].add(cell_index)
        out = super().output(outs, _without_data(msg), display_id, cell_index)
        if out is not None:
            if "data" in out:
                out["data"] = from_dict(msg["content"]["data"])
            growth.begin(out)
        return out

    def clear_output(self, outs: list[NotebookNode], msg: Message, cell_index: int) -> None:
        """Clear the outputs and their size."""
        super().clear_output(outs, msg, cell_index)
        if not outs:
            self._growth_of(cell_index).clear()

    def _replied(self, *, execute_reply: Message, **_: Any) -> None:  # noqa: ANN401  (nbclient's hook)
        content = execute_reply["content"]
        self.reply = content if isinstance(content, dict) else {}
        if page := page_of(execute_reply):
            self.process_message(page, self.nb["cells"][self._current], self._current)


class _TappedClient:
    """The subset of a client that nbclient uses, with a filter on iopub."""

    allow_stdin = False

    def __init__(self, kernel: KernelClient, recorder: Recorder) -> None:
        kernel.allow_stdin = False
        self._kernel = kernel
        self._recorder = recorder
        self.shell_channel = kernel.shell_channel
        self.iopub_channel = _TappedChannel(kernel.iopub_channel, recorder.take_late)

    def execute(self, code: str, **options: Any) -> str:  # noqa: ANN401  (nbclient's)
        request = self._kernel.execute(code, **options)
        self._recorder.sent(request)
        return request

    async def is_alive(self) -> bool:
        return await self._kernel.is_alive()


class _TappedChannel:
    """The iopub channel without messages of earlier cells and without unreadable messages."""

    def __init__(self, channel: Channel, take: Callable[[Message], bool]) -> None:
        self._channel = channel
        self._take = take

    async def get_msg(self, timeout: float | None = None) -> Message:
        while True:
            try:
                message = await self._channel.get_msg(timeout=timeout)
            except (ValueError, TypeError, KeyError, IndexError, RecursionError) as exc:
                # What jupyter_client's Session raises for a forged or broken message.
                logger.warning("A message from the kernel is invalid and was skipped: %s", exc)
                continue
            if is_message(message) and not self._take(message):
                return message


def _without_data(message: Message) -> Message:
    """The message without its data, which would make nbformat's error for a schema mismatch very long."""
    content = message["content"]
    return {**message, "content": {**content, "data": {}}} if "data" in content else message
