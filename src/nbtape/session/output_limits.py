"""Limit how much output a cell keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.terminal_text import StreamText
from nbtape.notebook.output_text import OUTPUT_COST, output_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbformat import NotebookNode

    from nbtape.kernels.protocols import Message


#: Characters of each part of an error that a cell keeps even over its limit; also the minimum room for a message.
MAX_ERROR_CHARS: Final = 4000


@dataclass(frozen=True, slots=True)
class Listener:
    """Callbacks on the event loop: the cell at a position has changed; an output arrived, streams in chunks."""

    changed: Callable[[int], None]
    output: Callable[[Mapping[str, Any]], None]


class Growth:
    """Tracks the size of the outputs of one cell, and the stream that is being merged."""

    def __init__(self, cell: NotebookNode, limit: int) -> None:
        self.limit = limit
        self._cell = cell  # a reference, so that the cell is not evicted and reloaded without these changes
        self._size = 0
        self._charged = 0  # what updates of earlier cells' displays have added to them
        self._node: NotebookNode | None = None
        self._stream = StreamText()
        self._has_error = False
        self._is_empty = True
        self.left_out = 0
        self.late_during = -1  # the later cell that ran when the last output arrived

    def take_up(self) -> None:
        """Count the outputs that the cell already has."""
        for output in self._cell["outputs"]:
            self.begin(output)
            self._has_error = self._has_error or output["output_type"] == "error"

    def clear(self) -> None:
        """Forget the outputs, which were cleared."""
        self._size, self._node, self._stream, self._is_empty = 0, None, StreamText(), True

    def bears(self, message: Message) -> bool:
        """Whether an output is small enough for a cell to keep."""
        size, cut = size_of(message), message.get("cut", 0)
        fits = size <= self.limit and not cut
        if not fits:
            self.left_out += size + cut
        return fits

    def affords(self, added: int, elsewhere: int) -> bool:
        """Whether an update may add so many characters to this cell's outputs, and `elsewhere` to earlier cells'."""
        if max(0, added) + max(0, elsewhere) > self.room:
            self.left_out += added + elsewhere
            return False
        self._size += added
        self._charged = max(0, self._charged + elsewhere)
        return True

    @property
    def room(self) -> int:
        """The number of characters that still fit."""
        return self.limit - self._size - self._charged - len(self._stream)

    def admit(self, message: Message) -> bool:
        """Whether an output fits; stream text is truncated to fit."""
        room = self.room
        if not self._is_empty and not self._continues(message):
            room -= OUTPUT_COST
        over = size_of(message) - room
        self.left_out += message.get("cut", 0)
        if over <= 0:
            return True
        if message["msg_type"] == "stream" and room > 0:
            message["content"]["text"] = message["content"]["text"][:room]
            self.left_out += over
            return True
        self.left_out += size_of(message) or 1  # an output that is left out is reported, even if it is empty
        return self._admit_error(message)

    def _admit_error(self, message: Message) -> bool:
        """Always keep the end of the traceback of one error."""
        if message["msg_type"] != "error" or self._has_error:
            return False
        self._has_error = True
        content = message["content"]
        content["ename"], content["evalue"] = content["ename"][:MAX_ERROR_CHARS], content["evalue"][:MAX_ERROR_CHARS]
        content["traceback"] = ["\n".join(content["traceback"])[-MAX_ERROR_CHARS:]]
        self.left_out -= size_of(message)
        return True

    def extend(self, message: Message) -> bool:
        """Add a chunk to the stream of the last output; False if it belongs to another stream."""
        if not self._continues(message):
            return False
        self._stream.write(message["content"]["text"])
        return True

    def _continues(self, message: Message) -> bool:
        """Whether a message continues the stream of the last output."""
        if message["msg_type"] != "stream" or self._node is None or self._node["name"] != message["content"]["name"]:
            return False
        outputs = self._cell["outputs"]  # they may have been cleared
        return bool(outputs) and outputs[-1] is self._node

    def seal(self) -> None:
        """Prevent later chunks from changing the last output."""
        self.settle()
        self._size += len(self._stream)
        self._node, self._stream = None, StreamText()

    def begin(self, node: NotebookNode) -> None:
        """Make `node` the last output."""
        self.seal()
        if not self._is_empty:
            self._size += OUTPUT_COST
        self._is_empty = False
        if node["output_type"] == "stream":
            self._node = node
            self._stream.write(node["text"])
        else:
            self._size += output_size(node)

    def settle(self) -> None:
        """Write the merged text into the node."""
        if self._node is not None:
            self._node["text"] = self._stream.getvalue()


def output_of(message: Message) -> dict[str, Any]:
    """The output of a message, in nbformat's form."""
    return {"output_type": message["msg_type"], **message["content"]}


def size_of(message: Message) -> int:
    return output_size(output_of(message))
