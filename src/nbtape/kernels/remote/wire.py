"""Encode and decode messages on a Jupyter server's websocket: the binary subprotocol, and JSON as the fallback.

Formats: https://jupyter-server.readthedocs.io/en/latest/developers/websocket-protocols.html.
"""

from __future__ import annotations

import json
import struct
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Protocol

from jupyter_client.adapter import adapt
from jupyter_client.jsonutil import json_default
from jupyter_client.session import json_packer, json_unpacker

from nbtape.kernels.decoding import LARGE, TooDeep, decode_json, take_in, with_date

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbtape.kernels.protocols import Message

BINARY: Final = "v1.kernel.websocket.jupyter.org"

#: The parts of a message in transmission order; buffers follow.
_PARTS: Final = ("header", "parent_header", "metadata", "content")


class Wire(Protocol):
    """A format of messages on a websocket."""

    def encode(self, channel: str, message: Message) -> bytes | str:
        """Encode a message for a channel."""
        ...

    def decode(self, frame: bytes | str, room: int) -> tuple[str, Message]:
        """Decode a frame into channel and message; strings of a large message keep `room` bytes each.

        Raises:
            ValueError, TypeError, LookupError, ArithmeticError, RecursionError, struct.error: The frame is broken.
        """
        ...


def wire_of(subprotocol: str | None) -> Wire:
    """Return the format of the subprotocol that client and server have agreed on."""
    return BinaryWire() if subprotocol == BINARY else JsonWire()


class BinaryWire:
    """`v1.kernel.websocket.jupyter.org`: the parts of a message as the kernel gets them; the server signs."""

    def encode(self, channel: str, message: Message) -> bytes:
        parts = [channel.encode(), *(json_packer(message[name]) for name in _PARTS)]
        offsets = [8 * (len(parts) + 2)]
        for part in parts:
            offsets.append(offsets[-1] + len(part))
        return b"".join([struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets), *parts])

    def decode(self, frame: bytes | str, room: int) -> tuple[str, Message]:
        if isinstance(frame, str):
            raise TypeError("a text frame instead of a binary one")
        (count,) = struct.unpack_from("<Q", frame)
        offsets = struct.unpack_from(f"<{count}Q", frame, 8)
        channel, *parts = _parts(memoryview(frame), offsets)
        taken = [_taken_in(part, room) for part in parts[: len(_PARTS)]]
        fields = dict(zip(_PARTS, [decode_json(text) for text, _ in taken], strict=False))
        cut = sum(cut for _, cut in taken)
        if isinstance(content := fields.get("content"), TooDeep):
            cut += content.size
        return bytes(channel).decode(), _message(fields, parts[len(_PARTS) :], cut)


class JsonWire:
    """The format of servers without the subprotocol: JSON, followed by any buffers."""

    def encode(self, channel: str, message: Message) -> str:
        return json.dumps({**message, "channel": channel, "buffers": []}, default=json_default)

    def decode(self, frame: bytes | str, room: int) -> tuple[str, Message]:
        buffers: list[memoryview] = []
        if isinstance(frame, bytes):
            (count,) = struct.unpack_from("!I", frame)
            offsets = [*struct.unpack_from(f"!{count}I", frame, 4), len(frame)]
            body, *buffers = _parts(memoryview(frame), offsets)
        else:
            body = memoryview(frame.encode(errors="surrogatepass"))
        text, cut = _taken_in(body, room)
        fields = json_unpacker(text)
        return str(fields["channel"]), _message(fields, buffers, cut)


def _parts(frame: memoryview, offsets: Sequence[int]) -> list[memoryview]:
    if list(offsets) != sorted(offsets):
        raise ValueError("the parts of a frame overlap")  # a small frame could become a huge message
    return [frame[start:end] for start, end in pairwise(offsets)]


def _taken_in(part: memoryview, room: int) -> tuple[bytes, int]:
    """JSON with long strings cut if it is large, and the number of omitted characters."""
    return take_in(part, room) if len(part) > LARGE else (bytes(part), 0)


def _message(fields: dict[str, Any], buffers: Sequence[memoryview], cut: int) -> Message:
    """Build a message like jupyter_client, in its version of the protocol."""
    header = with_date(fields["header"])
    return adapt(
        {
            "header": header,
            "msg_id": header["msg_id"],
            "msg_type": header["msg_type"],
            "parent_header": with_date(fields["parent_header"]),
            "metadata": fields["metadata"],
            "content": fields["content"],
            "buffers": list(buffers),
            **({"cut": cut} if cut else {}),
        }
    )
