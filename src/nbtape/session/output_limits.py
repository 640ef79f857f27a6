"""Limits how much output a cell keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from nbtape.common.terminal_text import StreamText
from nbtape.notebook.output_text import output_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbformat import NotebookNode

    from nbtape.kernels.protocols import Message


#: Characters of each part of an error that a cell keeps beyond its limit; also the minimum room for a message.
MAX_ERROR_CHARS: Final = 4000


@dataclass(frozen=True, slots=True)
class Listener:
    """Callbacks on the event loop: the cell at a position has changed; an output arrived, streams in chunks."""

    changed: Callable[[int], None]
    output: Callable[[Mapping[str, Any]], None]


class Growth:
    """Size of the outputs of one cell, and the stream that is being merged."""

    def __init__(self, cell: NotebookNode, limit: int) -> None:
        self.limit = limit
        self._cell = cell  # keeps the cell from being evicted and reloaded without these changes
        self._size = 0
        self._node: NotebookNode | None = None
        self._stream = StreamText()
        self._has_error = False
        self.left_out = 0

    def take_up(self) -> None:
        """Count the outputs that the cell has."""
        for output in self._cell["outputs"]:
            self.begin(output)
            self._has_error = self._has_error or output["output_type"] == "error"

    def clear(self) -> None:
        """The outputs were cleared."""
        self._size, self._node, self._stream = 0, None, StreamText()

    def bears(self, message: Message) -> bool:
        """Whether an output is small enough to be kept in any cell."""
        size, cut = size_of(message), message.get("cut", 0)
        fits = size <= self.limit and not cut
        if not fits:
            self.left_out += size + cut
        return fits

    @property
    def room(self) -> int:
        """Characters that still fit."""
        return self.limit - self._size - len(self._stream)

    def admit(self, message: Message) -> bool:
        """Whether an output fits; stream text is truncated to fit."""
        room = self.room
        over = size_of(message) - room
        self.left_out += message.get("cut", 0)
        if over <= 0:
            return True
        if message["msg_type"] == "stream" and room > 0:
            message["content"]["text"] = message["content"]["text"][:room]
            self.left_out += over
            return True
        self.left_out += size_of(message)
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
        """Add a chunk to the stream that the last output holds; False if it is not of that stream."""
        if message["msg_type"] != "stream" or self._node is None or self._node["name"] != message["content"]["name"]:
            return False
        if not self._cell["outputs"] or self._cell["outputs"][-1] is not self._node:  # they were cleared
            return False
        self._stream.write(message["content"]["text"])
        return True

    def begin(self, node: NotebookNode) -> None:
        """`node` is the last output now."""
        self._size += len(self._stream)
        self._node, self._stream = None, StreamText()
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
